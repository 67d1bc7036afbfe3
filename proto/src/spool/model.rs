//! The log against a model: random appends, crashes in mid-write, reads, acknowledgements and drops. Whatever was reported as durable
//! is stored once and in order, or counted as dropped.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{
    error::SpoolError,
    log::{Appended, Log},
    options::SpoolOptions,
    position::{Identity, Place, SpoolPosition},
    reader::{Next, Reader},
    record::Batch,
    recovery,
    resume::Standing,
};
use crate::v1::{ColumnBatch, Series};

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions::new(folder).max_bytes(1 << 20)
}

fn open(folder: &Path) -> Log {
    recovery::open(&options(folder), "gateway").unwrap()
}

/// Readings whose values are their numbers.
fn batch(values: std::ops::Range<u64>, has_position: bool) -> Batch {
    let readings = (values.end - values.start) as usize;
    let position = values.end.to_string().into_bytes();
    Batch {
        columns: ColumnBatch {
            series: vec![Series {
                id1: 1,
                id2: "x".repeat(40),
                sensor_type: "t".to_owned(),
            }],
            series_index: vec![0; readings],
            sensor_value: values.map(|value| value as f64).collect(),
            base_timestamp_us: 5,
            timestamp_delta_us: vec![1; readings],
            ..ColumnBatch::default()
        },
        source_position: if has_position { position } else { Vec::new() },
        marked: if has_position { readings as u32 } else { 0 },
    }
}

/// All that a reader gets from here on.
fn read_all(log: &mut Log, reader: &mut Reader) -> Result<Vec<(Vec<u64>, Place)>, SpoolError> {
    let mut all = Vec::new();
    while let Next::Record(stored) = reader.next(log)? {
        let values = &stored.columns.sensor_value[stored.skip..];
        all.push((
            values.iter().map(|value| *value as u64).collect(),
            stored.place,
        ));
    }
    Ok(all)
}

/// The service: what is stored of the stream, and where it stands.
#[derive(Default)]
struct Service {
    stored: Vec<u64>,
    position: Option<(SpoolPosition, u64)>,
}

impl Service {
    fn standing(&self) -> Standing {
        Standing {
            committed_seq: self.stored.len() as u64,
            source_seq: self.position.map(|(_, seq)| seq),
            source_position: self
                .position
                .map(|(position, _)| position.to_string().into_bytes()),
        }
    }

    /// Stores a record, or the beginning of it, which brings no position.
    fn store(&mut self, identity: Identity, values: &[u64], place: Place, whole: bool) {
        let kept = if whole {
            values.len()
        } else {
            values.len() / 2
        };
        self.stored.extend(&values[..kept]);
        if whole {
            let position = SpoolPosition { identity, place };
            self.position = Some((position, self.stored.len() as u64));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        readings: u64,
        has_position: bool,
    },
    /// The power goes while a record is written: so much of it is there, of a thousandth, and then rubbish.
    Torn {
        readings: u64,
        share: usize,
        rubbish: Vec<u8>,
    },
    /// The process ends without a word, or in order.
    Reopen {
        in_order: bool,
    },
    /// So many records are sent; the last of them may be stored in part. The acknowledgement may be lost.
    Send {
        records: usize,
        in_part: bool,
        is_heard: bool,
    },
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..2_000_u64, any::<bool>())
            .prop_map(|(readings, has_position)| Step::Append { readings, has_position }),
        2 => (1..300_u64, 0..1_000_usize, prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(readings, share, rubbish)| Step::Torn { readings, share, rubbish }),
        2 => any::<bool>().prop_map(|in_order| Step::Reopen { in_order }),
        3 => (1..6_usize, any::<bool>(), any::<bool>())
            .prop_map(|(records, in_part, is_heard)| Step::Send { records, in_part, is_heard }),
        1 => Just(Step::Drop),
    ]
}

struct Model {
    folder: tempfile::TempDir,
    log: Option<Log>,
    service: Service,
    /// Of the source: the next value.
    next: u64,
    /// Behind this value the source was told to stand, durably.
    marked: u64,
    dropped: Vec<u64>,
    torn: u64,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            log: Some(open(folder.path())),
            folder,
            service: Service::default(),
            next: 0,
            marked: 0,
            dropped: Vec::new(),
            torn: 0,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn reopen(&mut self, in_order: bool) {
        if in_order {
            self.log().close().unwrap();
        }
        self.log = None;
        self.log = Some(open(self.folder.path()));
        let next = self.next;
        let log = self.log();
        assert_eq!(
            log.last.reading, next,
            "what was durable is there, and nothing else"
        );
        let marked = log.source.reading;
        assert_eq!(marked, self.marked);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                readings,
                has_position,
            } => {
                let batch = batch(self.next..self.next + readings, has_position);
                if let Appended::Durable = self.log().append(&batch).unwrap() {
                    self.next += readings;
                    if has_position {
                        self.marked = self.next;
                    }
                }
            }
            Step::Torn {
                readings,
                share,
                rubbish,
            } => self.tear(readings, share, &rubbish),
            Step::Reopen { in_order } => self.reopen(in_order),
            Step::Send {
                records,
                in_part,
                is_heard,
            } => self.send(records, in_part, is_heard),
            Step::Drop => {
                let sent = self.log().state().sent;
                let unsent = self
                    .log()
                    .segments
                    .iter()
                    .find(|one| one.first_record() > sent);
                let values = unsent.map(|one| one.header.reading..one.last_reading);
                if let Some(readings) = self.log().drop_oldest().unwrap() {
                    let values = values.unwrap();
                    assert_eq!(readings, values.end - values.start);
                    self.dropped.extend(values);
                }
            }
        }
    }

    /// Writes a part of the next record to where it would go, and dies.
    fn tear(&mut self, readings: u64, share: usize, rubbish: &[u8]) {
        let next = self.next;
        let log = self.log();
        let frame = batch(next..next + readings, true).frame(log.last.record + 1, log.last.reading);
        let part = frame.len() * share / 1_000;
        let torn = [&frame[..part], rubbish].concat();
        let path = match log.segments.back() {
            Some(last) if last.header.session == log.session => log.path(last),
            _ => log.folder.segment(log.last.record + 1),
        };
        let before = fs::read(&path).unwrap_or_default();
        fs::write(&path, [before, torn].concat()).unwrap();
        self.torn += 1;
        self.reopen(false);
    }

    fn send(&mut self, records: usize, in_part: bool, is_heard: bool) {
        let standing = self.service.standing();
        let mut service = std::mem::take(&mut self.service);
        let log = self.log();
        let begin = log.begin(&standing).unwrap();
        let mut reader = Reader::new(begin);
        for number in 1..=records {
            let Next::Record(stored) = reader.next(log).unwrap() else {
                break;
            };
            let values = &stored.columns.sensor_value[stored.skip..];
            let values: Vec<u64> = values.iter().map(|value| *value as u64).collect();
            let whole = number < records || !in_part;
            service.store(log.folder.identity(), &values, stored.place, whole);
            if whole && is_heard {
                log.acknowledged(stored.place).unwrap();
            }
        }
        self.service = service;
    }

    /// Everything is sent; each durable reading is stored once, or was dropped.
    fn judge(mut self) {
        for _ in 0..10_000 {
            let before = self.service.stored.len();
            self.send(1_000, false, true);
            if self.service.stored.len() == before {
                break;
            }
        }
        let mut all = [self.service.stored.clone(), self.dropped.clone()].concat();
        assert!(self.service.stored.is_sorted(), "in order");
        all.sort_unstable();
        assert_eq!(all, (0..self.next).collect::<Vec<_>>());
        let dropped = self.dropped.len() as u64;
        let log = self.log();
        assert_eq!((log.pending(), log.state().dropped), (0, dropped));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn whatever_breaks_a_durable_reading_is_stored_once_or_counted(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.reopen(true);
        model.judge();
    }
}

#[test]
fn a_record_that_is_torn_at_any_byte_is_cut_off_and_all_before_it_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    for first in [0, 3] {
        log.append(&batch(first..first + 3, true)).unwrap();
    }
    let path = log.path(log.segments.back().unwrap());
    let whole = fs::read(&path).unwrap();
    log.append(&batch(6..9, true)).unwrap();
    let longer = fs::read(&path).unwrap();
    drop(log);
    for torn_at in whole.len()..longer.len() {
        for rubbish in [&b""[..], &[0; 50], b"SGR1", &longer[..100]] {
            fs::write(&path, [&longer[..torn_at], rubbish].concat()).unwrap();
            let mut log = open(folder.path());
            assert_eq!((log.last.record, log.last.reading), (2, 6), "at {torn_at}");
            assert_eq!(
                (log.source.position.as_slice(), log.source.reading),
                (&b"6"[..], 6)
            );
            let cut = torn_at - whole.len() + rubbish.len();
            assert_eq!(log.cut_bytes, cut as u64);
            let begin = log.begin(&Standing::default()).unwrap();
            let read = read_all(&mut log, &mut Reader::new(begin)).unwrap();
            assert_eq!(read.concat_values(), [0, 1, 2, 3, 4, 5]);
        }
    }
}

trait Values {
    fn concat_values(&self) -> Vec<u64>;
}

impl Values for Vec<(Vec<u64>, Place)> {
    fn concat_values(&self) -> Vec<u64> {
        self.iter().flat_map(|(values, _)| values.clone()).collect()
    }
}

/// A spool of some segments with 200 records of 100 readings.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    for record in 0..200 {
        let values = 100 * record..100 * (record + 1);
        log.append(&batch(values, true)).unwrap();
    }
    assert!(log.segments.len() >= 3, "{}", log.segments.len());
    log.close().unwrap();
    folder
}

#[test]
fn flipped_bits_are_an_error_that_names_the_place_or_are_skipped_and_counted() {
    let folder = filled();
    let names: Vec<_> = open(folder.path()).folder.segments().unwrap();
    for name in names {
        for at in [3, 30, 130, 150, 2_000, 5_000] {
            let path = open(folder.path()).folder.segment(name);
            let intact = fs::read(&path).unwrap();
            let papers = fs::read(folder.path().join("state")).unwrap();
            let mut damaged = intact.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let read = |skip| {
                let options = options(folder.path()).skip_damaged(skip);
                let mut log = recovery::open(&options, "gateway")?;
                let begin = log.begin(&Standing::default())?;
                let read = read_all(&mut log, &mut Reader::new(begin))?;
                Ok::<_, SpoolError>((read.concat_values(), log.state().damaged))
            };
            let refused = read(false).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{name:020}.segment, byte ")),
                "{refused}"
            );
            assert!(refused.contains("skip_damaged"), "{refused}");
            let (values, lost) = read(true).unwrap();
            // Without its header a segment is as good, but for who has written it.
            assert_eq!((lost > 0, values.is_sorted()), (at > 100, true));
            assert_eq!(values.len() as u64 + lost, 20_000, "byte {at} of {name}");
            // As it was.
            let _ = fs::remove_file(path.with_extension("damaged"));
            fs::write(&path, intact).unwrap();
            fs::write(folder.path().join("state"), papers).unwrap();
        }
    }
}

#[test]
fn a_folder_has_one_process_one_stream_and_no_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("a/spool");
    let log = open(&spool);
    let refuse = |folder: &Path, stream: &str| {
        let opened = recovery::open(&options(folder), stream);
        opened.map(drop).unwrap_err().to_string()
    };
    assert!(refuse(&spool, "gateway").contains("in use by another process"));
    drop(log);
    assert!(refuse(&spool, "other").contains("is of the stream \"gateway\""));
    assert!(refuse(folder.path(), "gateway").contains("is no spool and not empty"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&spool).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

/// A stream that has all records so far.
fn sent(log: &mut Log, service: &mut Service) {
    let begin = log.begin(&service.standing()).unwrap();
    let mut reader = Reader::new(begin);
    for (values, place) in read_all(log, &mut reader).unwrap() {
        service.store(log.folder.identity(), &values, place, true);
        log.acknowledged(place).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn refusal(log: &mut Log, service: &Service) -> String {
    log.begin(&service.standing()).unwrap_err().to_string()
}

#[test]
fn a_folder_that_came_back_from_an_old_copy_is_refused_even_when_it_has_grown_since() {
    let folder = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let mut service = Service::default();
    let mut log = open(folder.path());
    log.append(&batch(0..10, true)).unwrap();
    sent(&mut log, &mut service);
    copy(folder.path(), old.path());
    for first in [10, 20, 30] {
        log.append(&batch(first..first + 10, true)).unwrap();
    }
    sent(&mut log, &mut service);
    let mut log = open(old.path());
    assert!(refusal(&mut log, &service).contains("restored from an older copy"));
    for first in [10, 20, 30, 40] {
        log.append(&batch(first..first + 10, true)).unwrap();
    }
    assert!(refusal(&mut log, &service).contains("restored from an older copy"));
    // Somebody says that it is to be sent all the same.
    log.adopt_stream = true;
    let begin = log.begin(&service.standing()).unwrap();
    assert_eq!((begin.behind.record, begin.skip), (0, 0));
}

#[test]
fn a_stream_that_stands_elsewhere_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::default();
    let mut log = open(folder.path());
    // Another producer's.
    service.stored.push(1);
    assert!(refusal(&mut log, &service).contains("has 1 readings already"));
    // Of a spool whose folder was deleted.
    let elsewhere = Identity::random();
    service.store(
        elsewhere,
        &[2],
        Place {
            session: 1,
            record: 1,
            reading: 1,
        },
        true,
    );
    assert!(refusal(&mut log, &service).contains("stands in another source than the spool"));
    // A database that was restored, or made anew.
    let mut service = Service::default();
    for first in [0, 10] {
        log.append(&batch(first..first + 10, true)).unwrap();
        sent(&mut log, &mut service);
        log.close().unwrap();
        drop(log);
        log = open(folder.path());
    }
    sent(&mut log, &mut service);
    let (position, _) = service.position.unwrap();
    let earlier = Place {
        record: 1,
        ..position.place
    };
    let earlier = SpoolPosition {
        place: earlier,
        ..position
    };
    service.position = Some((earlier, 10));
    assert!(refusal(&mut log, &service).contains("restored from a backup"));
    assert!(refusal(&mut log, &Service::default()).contains("the database is another one"));
    // Another producer beside this one.
    service.position = Some((position, 20));
    service.stored.push(7);
    assert!(refusal(&mut log, &service).contains("another producer writes to it"));
}

#[test]
fn what_is_on_its_way_is_never_dropped_and_what_is_dropped_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    let begin = log.begin(&Standing::default()).unwrap();
    let mut reader = Reader::new(begin);
    let (mut taken, mut seen, mut dropped) = (0, Vec::new(), 0);
    while dropped < 50_000 {
        let batch = batch(taken..taken + 500, true);
        match log.append(&batch).unwrap() {
            Appended::Durable => taken += 500,
            Appended::Full(reason) => {
                assert!(reason.contains("(max_bytes)"), "{reason}");
                dropped += log.drop_oldest().unwrap().unwrap();
            }
        }
        assert!(log.used_bytes() <= 1 << 20);
        // Nothing is acknowledged: the reader comes only so far.
        let read = read_all(&mut log, &mut reader).unwrap();
        seen.extend(read);
    }
    let (values, places): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    let values = values.concat();
    assert_eq!(values, (0..values.len() as u64).collect::<Vec<_>>());
    assert_eq!(log.state().dropped, dropped);
    let last = *places.last().unwrap();
    drop(log);
    // It all came through but for the acknowledgements.
    let mut log = open(folder.path());
    assert_eq!(log.state().dropped, dropped);
    let position = SpoolPosition {
        identity: log.folder.identity(),
        place: last,
    };
    let standing = Standing {
        committed_seq: values.len() as u64,
        source_seq: Some(values.len() as u64),
        source_position: Some(position.to_string().into_bytes()),
    };
    let begin = log.begin(&standing).unwrap();
    let mut reader = Reader::new(begin);
    let mut rest = Vec::new();
    loop {
        let read = read_all(&mut log, &mut reader).unwrap();
        let Some((_, place)) = read.last() else { break };
        log.acknowledged(*place).unwrap();
        rest.extend(read.concat_values());
    }
    let first = values.len() as u64 + dropped;
    assert_eq!(rest, (first..taken).collect::<Vec<_>>());
    assert_eq!(log.pending(), 0);
}
