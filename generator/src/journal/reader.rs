//! Reads a journal back, and makes its readings again.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use super::{FORMAT, Header, MOST_AT_ONCE, RESERVE, positions::Positions};
use crate::{
    error::Error,
    workload::{Made, SeriesSpec, Workload, possible_step, series_hash},
};

/// Bytes of the first line, which has whole sets of ids, and of any other.
const MAX_HEADER: u64 = 64 << 20;
const MAX_RECORD: u64 = 200;

/// A journal that was read.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) header: Header,
    connections: Vec<Connection>,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Connection {
    /// No reading beyond this position was sent.
    may: u64,
    /// The connection has ended in an orderly way: exactly `may` readings were handed over.
    ended: bool,
    /// Everything up to this position is settled.
    through: u64,
    /// Rejected up to `through`.
    rejected: u64,
    /// What else is settled.
    settled: Positions,
    /// What was rejected by name.
    named: Positions,
    /// Position, base and step.
    clocks: Vec<(u64, i64, f64)>,
}

/// One reading that was, or may have been, sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) series: &'a SeriesSpec,
    pub(crate) series_hash: u64,
    pub(crate) made: Made,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Acknowledged as stored.
    Stored,
    /// Acknowledged as rejected.
    Rejected,
    /// Not acknowledged: it may be stored or not.
    Open,
}

impl Journal {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let failed = |line: usize, reason: &str| {
            Error::Usage(format!("{}, line {line}: {reason}", path.display()))
        };
        let file = File::open(path)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut line = String::new();
        let mut number = 1;
        let no_journal = "this is no journal of sluicegen run --journal";
        read_line(&mut file, &mut line, MAX_HEADER).map_err(|_| failed(number, no_journal))?;
        let header: Header = line
            .strip_suffix('\n')
            .and_then(|line| serde_json::from_str(line).ok())
            .ok_or_else(|| failed(number, no_journal))?;
        if header.sluicegen_journal != FORMAT || header.sluicegen != env!("CARGO_PKG_VERSION") {
            let reason = format!(
                "sluicegen {} wrote this journal: verify it with that version",
                header.sluicegen
            );
            return Err(failed(number, &reason));
        }
        if !header.workload.is_possible() {
            return Err(failed(number, no_journal));
        }
        let mut connections = Vec::new();
        connections.resize_with(header.workload.connections.into(), Connection::default);
        loop {
            line.clear();
            number += 1;
            let no_record = "this is no record of a journal";
            read_line(&mut file, &mut line, MAX_RECORD).map_err(|_| failed(number, no_record))?;
            let Some(record) = line.strip_suffix('\n') else {
                break;
            };
            take(&mut connections, record).ok_or_else(|| failed(number, no_record))?;
        }
        Ok(Self {
            header,
            connections,
        })
    }

    /// Calls `take` with every reading, connection by connection, in the order in which they were made.
    pub(crate) fn each(&self, mut take: impl FnMut(&Entry<'_>)) {
        for (place, connection) in self.connections.iter().enumerate() {
            let mut workload = Workload::new(&self.header.workload, place as u16);
            let series: Vec<SeriesSpec> = workload.series().to_vec();
            let hashes: Vec<u64> = series
                .iter()
                .map(|one| series_hash(one.id1, &one.id2, &one.sensor_type))
                .collect();
            let mut clocks = connection.clocks.iter().peekable();
            let mut settled = connection.settled.walk();
            let mut named = connection.named.walk();
            for position in 1..=connection.may {
                while let Some((_, base_us, step_us)) = clocks.next_if(|clock| clock.0 < position) {
                    workload.set_clock(*base_us, *step_us);
                }
                let made = workload.next();
                let is_settled = position <= connection.through || settled(position);
                let is_rejected = made.bad || named(position);
                let fate = match (is_settled, is_rejected) {
                    (true, true) => Fate::Rejected,
                    (true, false) => Fate::Stored,
                    (false, _) => Fate::Open,
                };
                take(&Entry {
                    series: &series[made.series],
                    series_hash: hashes[made.series],
                    made,
                    fate,
                });
            }
        }
    }

    /// Every series of every connection.
    pub(crate) fn series(&self) -> impl Iterator<Item = SeriesSpec> + '_ {
        (0..self.connections.len()).flat_map(|place| {
            Workload::new(&self.header.workload, place as u16)
                .series()
                .to_vec()
        })
    }

    /// True when every connection came to its end.
    pub(crate) fn complete(&self) -> bool {
        self.connections.iter().all(|connection| connection.ended)
    }

    /// Readings that the service said it rejected.
    pub(crate) fn rejected(&self) -> u64 {
        self.connections
            .iter()
            .map(|connection| connection.rejected.max(connection.named_and_settled()))
            .sum()
    }
}

impl Connection {
    /// What was rejected by name is settled a moment later: a run that ended between may have told of it only.
    fn named_and_settled(&self) -> u64 {
        let mut settled = self.settled.walk();
        let named = self.named.each();
        named
            .filter(|&position| position <= self.through || settled(position))
            .count() as u64
    }
}

/// A line with its end, or what there is of the last one; an error when it is longer than that.
fn read_line(file: &mut impl BufRead, line: &mut String, most: u64) -> io::Result<()> {
    let read = file.by_ref().take(most).read_line(line)?;
    match read as u64 == most && !line.ends_with('\n') {
        true => Err(io::ErrorKind::InvalidData.into()),
        false => Ok(()),
    }
}

/// Takes what a record says, unless it cannot be.
fn take(connections: &mut [Connection], record: &str) -> Option<()> {
    let mut words = record.split(' ');
    let kind = words.next()?;
    let connection = connections.get_mut(words.next()?.parse::<usize>().ok()?)?;
    let position: u64 = words.next()?.parse().ok()?;
    let may = connection.may;
    // `s` runs ahead, by so much at most; everything else is about readings that it let go.
    let (least, most) = match kind {
        "s" => (may, may.saturating_add(RESERVE + MOST_AT_ONCE)),
        "a" | "e" | "t" => (0, may),
        _ => (1, may),
    };
    if !(least..=most).contains(&position) {
        return None;
    }
    match kind {
        "s" if !connection.ended => connection.may = position,
        "e" => (connection.may, connection.ended) = (position, true),
        "a" => {
            connection.through = connection.through.max(position);
            let rejected: u64 = words.next()?.parse().ok()?;
            connection.rejected = connection.rejected.max(rejected.min(position));
        }
        "A" => {
            let last: u64 = words.next()?.parse().ok()?;
            if !(position..=may).contains(&last) {
                return None;
            }
            connection.settled.add(position, last);
        }
        "r" => connection.named.add(position, position),
        "t" => {
            let (base_us, step_us) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let before = connection.clocks.last().map_or(0, |clock| clock.0);
            if position < before || !possible_step(step_us) {
                return None;
            }
            connection.clocks.push((position, base_us, step_us));
        }
        _ => return None,
    }
    words.next().is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use crate::patterns::Patterns;

    fn header() -> Header {
        let workload = WorkloadSpec {
            patterns: Patterns::default(),
            connections: 2,
            start_us: 0,
            step_us: 10.0,
        };
        Header::new("stream-acked".to_owned(), "s".to_owned(), workload)
    }

    fn fates(journal: &Journal) -> Vec<Fate> {
        let mut fates = Vec::new();
        journal.each(|entry| fates.push(entry.fate));
        fates
    }

    #[test]
    fn a_journal_tells_what_was_acknowledged_and_forgets_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let writer = Writer::create(&path, &header()).unwrap();
        let (mut first, mut second) = (Log::new(&writer, 0), Log::new(&writer, 1));
        assert!(first.before_sending(5) && second.before_sending(3));
        first.acks().rejected([2].into_iter());
        first.acks().through(3, 1);
        first.end(5);
        second.acks().range(2, 2);
        second.end(3);
        writer.append("a 1 3");
        let journal = Journal::read(&path).unwrap();
        use Fate::{Open, Rejected, Stored};
        let expected = [Stored, Rejected, Stored, Open, Open, Open, Stored, Open];
        assert_eq!(fates(&journal), expected);
        assert!(journal.complete());
        assert!(
            Writer::create(&path, &header()).is_err(),
            "a journal is not overwritten"
        );
    }

    #[test]
    fn a_journal_that_was_cut_off_knows_what_may_have_been_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let writer = Writer::create(&path, &header()).unwrap();
        assert!(Log::new(&writer, 0).before_sending(1));
        let journal = Journal::read(&path).unwrap();
        assert!(!journal.complete());
        assert_eq!(fates(&journal).len() as u64, 1 + RESERVE);
        std::fs::write(&path, "{}\n").unwrap();
        assert!(Journal::read(&path).is_err());
    }

    /// Whatever happened to the file: it is read or refused, and it never asks for readings without end.
    #[test]
    fn a_journal_that_is_cut_or_damaged_anywhere_is_read_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let writer = Writer::create(&path, &header()).unwrap();
        let (mut first, second) = (Log::new(&writer, 0), Log::new(&writer, 1));
        assert!(first.before_sending(5));
        first.clock(0, 1_000_000, 10.0);
        first.acks().rejected([2].into_iter());
        first.acks().range(3, 4);
        first.acks().through(2, 1);
        first.end(5);
        second.end(0);
        let whole = std::fs::read(&path).unwrap();
        let header_end = whole.iter().position(|byte| *byte == b'\n').unwrap();
        let read = |bytes: &[u8]| {
            let damaged = directory.path().join("damaged");
            std::fs::write(&damaged, bytes).unwrap();
            Journal::read(&damaged)
        };
        let check = |result: Result<Journal, Error>| match result {
            Ok(journal) => {
                let most = RESERVE + MOST_AT_ONCE;
                assert!(journal.connections.iter().all(|one| one.may <= most));
                true
            }
            Err(error) => {
                let text = error.to_string();
                assert_eq!(error.exit_code(), std::process::ExitCode::from(2));
                assert!(text.contains("line") && !text.contains('\n'), "{text}");
                false
            }
        };
        for cut in 0..whole.len() {
            // A cut within the first line leaves nothing to go by; any other one loses records.
            assert_eq!(check(read(&whole[..cut])), cut > header_end, "{cut}");
        }
        for place in 0..whole.len() {
            for byte in [0xff, b'9', b'\n'] {
                let mut damaged = whole.clone();
                damaged[place] = byte;
                check(read(&damaged));
            }
        }
        for record in [
            "s 0 9999999999",
            "s 2 1",
            "a 1 1 0",
            "A 0 4 3",
            "A 0 1 6",
            "r 0 0",
            "e 0 6",
            "t 0 1 0 NaN",
            "t 0 1 0 0",
            "q 0 1",
            "a 0 1 1 1",
            "",
        ] {
            let bytes = [&whole, record.as_bytes(), b"\n".as_slice()].concat();
            assert!(!check(read(&bytes)), "{record}");
        }
        let endless = [&whole, vec![b'1'; 100_000].as_slice()].concat();
        assert!(!check(read(&endless)));
    }
}
