//! Reads a journal back, and makes its readings again.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use rustc_hash::FxHashSet;

use super::{FORMAT, Header};
use crate::{
    error::Error,
    workload::{Made, SeriesSpec, Workload, series_hash},
};

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
    /// Ranges that are settled, first and last position, in order of `first`.
    ranges: Vec<(u64, u64)>,
    named: FxHashSet<u64>,
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
        file.read_line(&mut line)
            .map_err(|error| failed(number, &error.to_string()))?;
        let header: Header = serde_json::from_str(&line)
            .map_err(|_| failed(number, "this is no journal of sluicegen run --journal"))?;
        if header.sluicegen_journal != FORMAT || header.sluicegen != env!("CARGO_PKG_VERSION") {
            let reason = format!(
                "sluicegen {} wrote this journal: verify it with that version",
                header.sluicegen
            );
            return Err(failed(number, &reason));
        }
        let mut connections = Vec::new();
        connections.resize_with(header.workload.connections.into(), Connection::default);
        loop {
            line.clear();
            number += 1;
            file.read_line(&mut line)
                .map_err(|error| failed(number, &error.to_string()))?;
            let Some(record) = line.strip_suffix('\n') else {
                break;
            };
            take(&mut connections, record)
                .ok_or_else(|| failed(number, "this is no record of a journal"))?;
        }
        for connection in &mut connections {
            connection.ranges.sort_unstable();
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
            let mut ranges = connection.ranges.iter().peekable();
            for position in 1..=connection.may {
                while let Some((_, base_us, step_us)) = clocks.next_if(|clock| clock.0 < position) {
                    workload.set_clock(*base_us, *step_us);
                }
                let made = workload.next();
                while ranges.next_if(|range| range.1 < position).is_some() {}
                let settled = position <= connection.through
                    || ranges.peek().is_some_and(|range| range.0 <= position);
                let refused = made.bad || connection.named.contains(&position);
                let fate = match (settled, refused) {
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
            .map(|connection| connection.rejected.max(connection.named.len() as u64))
            .sum()
    }
}

fn take(connections: &mut [Connection], record: &str) -> Option<()> {
    let mut words = record.split(' ');
    let kind = words.next()?;
    let connection = connections.get_mut(words.next()?.parse::<usize>().ok()?)?;
    let position: u64 = words.next()?.parse().ok()?;
    match kind {
        "s" => connection.may = connection.may.max(position),
        "e" => (connection.may, connection.ended) = (position, true),
        "a" => {
            connection.through = connection.through.max(position);
            connection.rejected = connection.rejected.max(words.next()?.parse().ok()?);
        }
        "A" => connection
            .ranges
            .push((position, words.next()?.parse().ok()?)),
        "r" => drop(connection.named.insert(position)),
        "t" => {
            let clock = (
                position,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
            );
            connection.clocks.push(clock);
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
}
