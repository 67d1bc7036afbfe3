//! Random appends, crashes in mid-write, reads, acknowledgements and drops. Whatever was reported as durable is stored once and in order,
//! or counted as dropped.

use std::fs;

use proptest::prelude::*;

use super::{
    super::{
        log::{Appended, Log},
        reader::{Next, Reader},
    },
    Service, batch, open,
};

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
