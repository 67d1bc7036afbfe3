//! What the ledger says of a batch: which parts are fenced, misplaced or stored already, and where the streams stand
//! afterwards.

use std::collections::BTreeMap;

use super::{DroppedRows, LoadPart, PartOutcome};
use crate::model::{Epoch, Rejection, Seq, SourceMark, StreamId, StreamPosition};

/// What a ledger row gains by a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerGain {
    pub epoch: Epoch,
    pub committed_seq: Seq,
    pub committed: u64,
    pub rejected: u64,
    pub duplicate: u64,
    /// None where the source's position stays what it was.
    pub mark: Option<SourceMark>,
}

impl LedgerGain {
    /// Nothing gained yet by a stream that stands there.
    #[must_use]
    pub fn at(position: StreamPosition) -> Self {
        let StreamPosition {
            epoch,
            committed_seq,
        } = position;
        Self {
            epoch,
            committed_seq,
            committed: 0,
            rejected: 0,
            duplicate: 0,
            mark: None,
        }
    }

    /// Adds readings to the counts.
    pub fn add(&mut self, committed: u64, rejected: u64, duplicate: u64) {
        self.committed += committed;
        self.rejected += rejected;
        self.duplicate += duplicate;
    }
}

/// What a batch does to table and ledger.
#[derive(Debug, Default)]
pub struct Plan {
    /// Of each part, in order.
    pub outcomes: Vec<PartOutcome>,
    pub dropped: DroppedRows,
    /// Rejections to put into quarantine, as indexes: part, rejection of the batch.
    pub quarantined: Vec<(usize, usize)>,
    /// Named streams only.
    pub gains: BTreeMap<StreamId, LedgerGain>,
    /// Anonymous readings, which the lane's own row counts.
    pub anonymous: (u64, u64),
}

/// Holds the parts of a batch against the ledger, in order.
#[must_use]
pub fn plan(
    parts: &[LoadPart],
    rejections: &[Rejection],
    ledger: &BTreeMap<StreamId, StreamPosition>,
) -> Plan {
    let mut plan = Plan::default();
    let mut positions = ledger.clone();
    for (index, part) in parts.iter().enumerate() {
        let outcome = match &part.stream {
            None => plan.store(index, part, rejections, 0),
            Some((stream, epoch)) => match positions.get_mut(stream) {
                None => PartOutcome::NotOpened,
                Some(position) if position.epoch < *epoch => PartOutcome::LedgerBehind {
                    known: position.epoch,
                    held: *epoch,
                },
                Some(position) if position.epoch != *epoch => PartOutcome::Fenced {
                    current: position.epoch,
                },
                Some(position) if part.first_seq > position.committed_seq.plus(1) => {
                    PartOutcome::Gap {
                        committed_seq: position.committed_seq,
                    }
                }
                Some(position) => {
                    let known = position.committed_seq.plus(1).0 - part.first_seq.0;
                    let duplicate = known.min(part.readings);
                    let mark = part.mark_after(position.committed_seq).cloned();
                    position.committed_seq = position.committed_seq.max(part.last_seq());
                    let position = *position;
                    let outcome = plan.store(index, part, rejections, duplicate);
                    plan.gain(stream, position, mark, &outcome);
                    outcome
                }
            },
        };
        if !matches!(outcome, PartOutcome::Stored { .. }) {
            plan.drop_rows(part.rows.clone());
        }
        plan.outcomes.push(outcome);
    }
    plan
}

impl Plan {
    fn store(
        &mut self,
        index: usize,
        part: &LoadPart,
        rejections: &[Rejection],
        duplicate: u64,
    ) -> PartOutcome {
        let first_new = part.first_seq.plus(duplicate);
        let of_part = &rejections[part.rejections.clone()];
        let known_rejections = of_part.partition_point(|rejection| rejection.seq < first_new);
        let known_rows = duplicate as u32 - known_rejections as u32;
        self.drop_rows(part.rows.start..part.rows.start + known_rows);
        let new_rejections = part.rejections.start + known_rejections..part.rejections.end;
        let rejected = new_rejections.len() as u64;
        self.quarantined
            .extend(new_rejections.map(|rejection| (index, rejection)));
        let committed = part.readings - duplicate - rejected;
        if part.stream.is_none() {
            self.anonymous.0 += committed;
            self.anonymous.1 += rejected;
        }
        PartOutcome::Stored {
            committed,
            duplicate,
            rejected,
            found_by_database: Vec::new(),
        }
    }

    fn gain(
        &mut self,
        stream: &StreamId,
        position: StreamPosition,
        mark: Option<SourceMark>,
        outcome: &PartOutcome,
    ) {
        let gain = self
            .gains
            .entry(stream.clone())
            .or_insert(LedgerGain::at(position));
        gain.committed_seq = position.committed_seq;
        gain.mark = mark.or(gain.mark.take());
        if let PartOutcome::Stored {
            committed,
            rejected,
            duplicate,
            ..
        } = outcome
        {
            gain.add(*committed, *rejected, *duplicate);
        }
    }

    fn drop_rows(&mut self, rows: std::ops::Range<u32>) {
        if !rows.is_empty() {
            self.dropped.push(rows);
        }
    }

    /// Moves a reading that the database refused from committed to rejected.
    pub fn refuse(
        &mut self,
        parts: &[LoadPart],
        arrival: u32,
        mut rejection: Rejection,
        rejections: &[Rejection],
    ) {
        let index = parts.partition_point(|part| part.rows.end <= arrival);
        let Some(part) = parts.get(index) else {
            return;
        };
        rejection.seq = seq_of_row(part, arrival, rejections);
        if let PartOutcome::Stored {
            committed,
            rejected,
            found_by_database,
            ..
        } = &mut self.outcomes[index]
        {
            *committed -= 1;
            *rejected += 1;
            found_by_database.push(rejection);
        }
        match &part.stream {
            None => {
                self.anonymous.0 -= 1;
                self.anonymous.1 += 1;
            }
            Some((stream, _)) => {
                if let Some(gain) = self.gains.get_mut(stream) {
                    gain.committed -= 1;
                    gain.rejected += 1;
                }
            }
        }
    }
}

/// The position of an accepted row in its stream: rejected readings before it count too.
fn seq_of_row(part: &LoadPart, arrival: u32, rejections: &[Rejection]) -> Seq {
    let mut seq = part.first_seq.plus(u64::from(arrival - part.rows.start));
    for rejection in &rejections[part.rejections.clone()] {
        if rejection.seq <= seq {
            seq = seq.plus(1);
        }
    }
    seq
}
