//! A model test of ledger and fence: thousands of schedules of open, send, resend, commit, crash and zombie writers,
//! held against what P1 and P2 promise. The ledger is a map; what decides is the real [`plan`].

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{LedgerGain, LoadPart, PartOutcome, plan};
use crate::model::{Epoch, Seq, SourceMark, SourcePosition, StreamId, StreamPosition};

const STREAMS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A producer opens its stream; whoever held it before becomes a zombie that does not know.
    Open { stream: usize },
    /// The same, and goes on at its source's position.
    OpenAtSource { stream: usize },
    /// The newest writer sends on from where it believes to stand.
    Send { stream: usize, readings: u64 },
    /// The same, with where its source stands behind them, if there are any.
    SendMarked { stream: usize, readings: u64 },
    /// The newest writer sends again what it sent last, as after a lost reply.
    Resend { stream: usize },
    /// A fenced writer wakes up and sends.
    Zombie { stream: usize, readings: u64 },
    /// A writer skips ahead.
    Skip { stream: usize, by: u64 },
    /// The batch commits and its acknowledgements arrive.
    Commit,
    /// The batch commits, but the reply is lost with the service.
    CommitUnheard,
    /// The batch was too big: its first half commits, its second one waits.
    CommitHalf,
    /// The database refuses readings of a stream: what waits of it goes through the slow lane, and what follows.
    Move { stream: usize },
    /// The slow lane commits.
    CommitSlow,
    /// The service dies before the commit.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stream = 0..STREAMS;
    let step = prop_oneof![
        2 => stream.clone().prop_map(|stream| Step::Open { stream }),
        1 => stream.clone().prop_map(|stream| Step::OpenAtSource { stream }),
        4 => (stream.clone(), 0..50_u64).prop_map(|(stream, readings)| Step::SendMarked { stream, readings }),
        6 => (stream.clone(), 1..50_u64).prop_map(|(stream, readings)| Step::Send { stream, readings }),
        2 => stream.clone().prop_map(|stream| Step::Resend { stream }),
        2 => (stream.clone(), 1..50_u64).prop_map(|(stream, readings)| Step::Zombie { stream, readings }),
        1 => (stream.clone(), 1..9_u64).prop_map(|(stream, by)| Step::Skip { stream, by }),
        2 => Just(Step::CommitHalf),
        2 => stream.prop_map(|stream| Step::Move { stream }),
        2 => Just(Step::CommitSlow),
        4 => Just(Step::Commit),
        1 => Just(Step::CommitUnheard),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..80)
}

/// A writer as it sees itself.
#[derive(Clone, Copy, Debug, Default)]
struct Writer {
    epoch: u64,
    next_seq: u64,
    last_sent: Option<(u64, u64, bool)>,
}

/// One row of the table: which epoch wrote which position.
type Row = (u64, u64);

#[derive(Default)]
struct World {
    ledger: BTreeMap<StreamId, StreamPosition>,
    marks: BTreeMap<StreamId, SourceMark>,
    writers: [Writer; STREAMS],
    zombies: [Option<Writer>; STREAMS],
    batch: Vec<LoadPart>,
    /// What waits in the slow lane.
    slow: Vec<LoadPart>,
    is_slow: [bool; STREAMS],
    rows: u32,
    table: [Vec<Row>; STREAMS],
    acknowledged: [u64; STREAMS],
}

/// The source of the model counts as its stream does.
fn mark_at(seq: u64) -> SourceMark {
    SourceMark {
        seq: Seq(seq),
        position: SourcePosition::stored(&seq.to_be_bytes()),
    }
}

fn name(stream: usize) -> StreamId {
    StreamId::parse(&format!("stream-{stream}")).unwrap()
}

impl World {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open { stream } => self.open(stream),
            Step::OpenAtSource { stream } => {
                self.open(stream);
                let mark = self.marks.get(&name(stream));
                self.writers[stream].next_seq = mark.map_or(0, |mark| mark.seq.0) + 1;
            }
            Step::Send { stream, readings } => self.send(stream, readings, false),
            Step::SendMarked { stream, readings } => self.send(stream, readings, true),
            Step::Resend { stream } => {
                let writer = self.writers[stream];
                if let Some((first_seq, readings, is_marked)) = writer.last_sent {
                    self.submit(stream, writer.epoch, first_seq, readings, is_marked);
                }
            }
            Step::Zombie { stream, readings } => {
                if let Some(zombie) = self.zombies[stream] {
                    self.submit(stream, zombie.epoch, zombie.next_seq, readings, true);
                }
            }
            Step::Skip { stream, by } => self.writers[stream].next_seq += by,
            Step::Commit => self.commit(true),
            Step::CommitUnheard => self.commit(false),
            Step::CommitHalf => self.commit_half(),
            Step::Move { stream } => self.move_over(stream),
            Step::CommitSlow => {
                let slow = std::mem::take(&mut self.slow);
                self.is_slow = [false; STREAMS];
                self.store(&slow, true);
            }
            Step::Crash => self.forget_batch(),
        }
    }

    fn open(&mut self, stream: usize) {
        let at = StreamPosition {
            epoch: Epoch(0),
            committed_seq: Seq(0),
        };
        let position = self.ledger.entry(name(stream)).or_insert(at);
        position.epoch.0 += 1;
        self.zombies[stream] = Some(self.writers[stream]).filter(|writer| writer.epoch > 0);
        self.writers[stream] = Writer {
            epoch: position.epoch.0,
            next_seq: position.committed_seq.0 + 1,
            last_sent: None,
        };
    }

    fn send(&mut self, stream: usize, readings: u64, is_marked: bool) {
        let writer = self.writers[stream];
        if writer.epoch > 0 {
            self.submit(stream, writer.epoch, writer.next_seq, readings, is_marked);
            self.writers[stream].last_sent = Some((writer.next_seq, readings, is_marked));
            self.writers[stream].next_seq += readings;
        }
    }

    fn submit(
        &mut self,
        stream: usize,
        epoch: u64,
        first_seq: u64,
        readings: u64,
        is_marked: bool,
    ) {
        let rows = self.rows..self.rows + readings as u32;
        self.rows = rows.end;
        let lane = match self.is_slow[stream] {
            true => &mut self.slow,
            false => &mut self.batch,
        };
        lane.push(LoadPart {
            stream: Some((name(stream), Epoch(epoch))),
            principal: None,
            first_seq: Seq(first_seq),
            readings,
            rows,
            rejections: 0..0,
            messages: 1,
            marks: is_marked
                .then(|| mark_at(first_seq + readings - 1))
                .into_iter()
                .collect(),
        });
    }

    fn commit_half(&mut self) {
        let mut before = self.batch.iter().map(|part| part.readings).sum::<u64>() / 2;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for part in std::mem::take(&mut self.batch) {
            let stays = before.min(part.readings);
            before -= stays;
            let (half, rest) = part.divide(stays, &[]);
            first.extend((half.readings > 0).then_some(half));
            second.extend((rest.readings + rest.messages > 0).then_some(rest));
        }
        self.store(&first, true);
        self.batch = second;
    }

    fn move_over(&mut self, stream: usize) {
        let is_moved = |part: &LoadPart| {
            part.stream
                .as_ref()
                .is_some_and(|(id, _)| *id == name(stream))
        };
        let batch = std::mem::take(&mut self.batch);
        let (moved, batch) = batch.into_iter().partition(is_moved);
        self.batch = batch;
        self.slow.extend::<Vec<_>>(moved);
        self.is_slow[stream] = true;
    }

    fn commit(&mut self, heard: bool) {
        let batch = std::mem::take(&mut self.batch);
        self.store(&batch, heard);
        if !heard {
            self.forget_batch();
        }
    }

    /// Stores a batch in one transaction.
    fn store(&mut self, batch: &[LoadPart], heard: bool) {
        let planned = plan(batch, &[], &self.ledger);
        let dropped = |row: u32| planned.dropped.iter().any(|range| range.contains(&row));
        for (part, outcome) in batch.iter().zip(&planned.outcomes) {
            let (id, epoch) = part.stream.clone().unwrap();
            let stream = (0..STREAMS).find(|&stream| name(stream) == id).unwrap();
            for row in part.rows.clone().filter(|&row| !dropped(row)) {
                let seq = part.first_seq.0 + u64::from(row - part.rows.start);
                self.table[stream].push((epoch.0, seq));
            }
            if let (true, PartOutcome::Stored { .. }) = (heard, outcome) {
                let acknowledged = &mut self.acknowledged[stream];
                *acknowledged = (*acknowledged).max(part.last_seq().0);
            }
        }
        for (stream, gain) in planned.gains {
            let LedgerGain {
                epoch,
                committed_seq,
                mark,
                ..
            } = gain;
            if let Some(mark) = mark {
                self.marks.insert(stream.clone(), mark);
            }
            self.ledger.insert(
                stream,
                StreamPosition {
                    epoch,
                    committed_seq,
                },
            );
        }
    }

    /// The service is gone with what it held; every producer opens its stream again before it goes on.
    fn forget_batch(&mut self) {
        self.batch.clear();
        self.slow.clear();
        self.is_slow = [false; STREAMS];
        self.rows = 0;
        self.lose_writers();
    }

    fn lose_writers(&mut self) {
        for stream in 0..STREAMS {
            if self.writers[stream].epoch > 0 {
                self.open(stream);
            }
        }
    }

    fn check(&self) {
        for stream in 0..STREAMS {
            let rows = &self.table[stream];
            let seqs: Vec<u64> = rows.iter().map(|&(_, seq)| seq).collect();
            let expected: Vec<u64> = (1..=rows.len() as u64).collect();
            assert_eq!(seqs, expected, "stored once, in order, without a gap (P2)");
            assert!(
                rows.is_sorted_by_key(|&(epoch, _)| epoch),
                "a fenced epoch never writes again"
            );
            assert!(
                self.acknowledged[stream] <= rows.len() as u64,
                "acknowledged is committed (P1)"
            );
            let position = self
                .ledger
                .get(&name(stream))
                .map_or(0, |at| at.committed_seq.0);
            assert_eq!(
                position,
                rows.len() as u64,
                "the ledger says what the table holds"
            );
            if let Some(mark) = self.marks.get(&name(stream)) {
                assert!(
                    mark.seq.0 <= position,
                    "what lies before the source's position is in the table"
                );
                assert_eq!(
                    *mark,
                    mark_at(mark.seq.0),
                    "the position is that of its reading"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_loses_repeats_or_reorders_a_reading(steps in steps()) {
        let mut world = World::default();
        for step in &steps {
            world.take(step);
            world.check();
        }
    }
}
