//! Stores what is in quarantine, after whatever kept it out was mended. A row is in the quarantine or its readings are in the
//! table, so that a replay can be broken off and begun again at any time.

use std::{collections::BTreeSet, sync::Arc};

use sluicegate_decode::Mapping;
use tokio::time::Instant;

use super::{
    super::{Busy, Manage, pace},
    revival::{Revival, Reviver},
};
use crate::{
    model::{
        IdPair, LongName, QuarantineFilter, QuarantineStretch, Quarantined, Restored, Revived,
        TimeRange,
    },
    repository::RepositoryError,
    usecase::changes::Extent,
};

/// Rows that are looked at together.
const PAGE_ROWS: usize = 200;
/// Readings that one transaction stores, but for those of the last row in it.
const STEP_READINGS: usize = 2_000;
/// How often a transaction that meets others is tried.
const ATTEMPTS: u32 = 10;
/// Rows that are told one by one, of those that stay.
const MAX_TOLD: usize = 100;

/// What is to be replayed.
#[derive(Clone, Debug, Default)]
pub struct ReplayOrder {
    pub filter: QuarantineFilter,
    /// The mapping of requests by which payloads are read, instead of the one that they were read by.
    pub mapping: Option<String>,
    /// Where an earlier call stopped.
    pub from: Option<ReplayPlace>,
    /// As many rows are looked at.
    pub limit: usize,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// A place in a replay: behind a row, and up to what was the newest one when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReplayPlace {
    pub after: u64,
    pub last: u64,
}

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Rows that have left the quarantine, or would.
    pub replayed: u64,
    /// Readings that were stored, or would be.
    pub stored: u64,
    /// Rows that stay.
    pub kept: u64,
    /// The first of them.
    pub told: Vec<Kept>,
    /// None when there is nothing behind.
    pub next: Option<ReplayPlace>,
}

/// A row that stays in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: u64,
    pub reason: String,
}

/// Why a replay did not go to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no mapping {0}")]
    NoMapping(String),
    #[error("{0}")]
    Busy(Busy),
    #[error("{source}; {replayed} rows were replayed before that")]
    Storage {
        replayed: u64,
        source: RepositoryError,
    },
}

impl From<Busy> for ReplayError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl Manage {
    /// Replays some of the quarantine.
    ///
    /// # Errors
    /// When the mapping is not known, when another replay is under way, and when the database does not answer or takes no
    /// readings: what was stored before has left the quarantine.
    pub async fn replay(&self, order: &ReplayOrder) -> Result<Replay, ReplayError> {
        let mapping = match &order.mapping {
            Some(name) => {
                let mapping = self.mappings.requests.get(name);
                Some(mapping.ok_or_else(|| ReplayError::NoMapping(name.clone()))?)
            }
            None => None,
        };
        let _turn = self.replays.take().await?;
        let mut replay = Replay::default();
        let walked = self.walk_quarantine(order, mapping, &mut replay).await;
        self.quarantine_metrics
            .replayed
            .inc_by(match order.dry_run {
                true => 0,
                false => replay.replayed,
            });
        walked.map_err(|source| ReplayError::Storage {
            replayed: replay.replayed,
            source,
        })?;
        Ok(replay)
    }

    async fn walk_quarantine(
        &self,
        order: &ReplayOrder,
        mapping: Option<&Arc<Mapping>>,
        replay: &mut Replay,
    ) -> Result<(), RepositoryError> {
        let mut place = match order.from {
            Some(place) => place,
            None => match self.stores.quarantine.ids().await? {
                Some((_, last)) => ReplayPlace { after: 0, last },
                None => return Ok(()),
            },
        };
        // Those of readings that come in: what retention would remove at once must not come back either (P1).
        let limits = self.clock.limits(self.limits());
        let reviver = Reviver {
            mappings: &self.mappings,
            named: mapping,
            limits: &limits,
        };
        let mut left = order.limit;
        while left > 0 {
            let begun = Instant::now();
            let stretch = QuarantineStretch {
                after: place.after,
                last: place.last,
            };
            let rows = PAGE_ROWS.min(left);
            let ledger = &self.stores.ledger;
            let page = ledger
                .quarantine_stretch(&order.filter, stretch, rows)
                .await?;
            let Some(last_row) = page.last() else {
                return Ok(());
            };
            place.after = last_row.id;
            left -= page.len();
            self.replay_page(&page, &reviver, order.dry_run, replay)
                .await?;
            let readings_come_in = self.ingest.figures().in_flight > 0;
            tokio::time::sleep(pace::rest(begun.elapsed(), readings_come_in)).await;
        }
        replay.next = Some(place);
        Ok(())
    }

    async fn replay_page(
        &self,
        page: &[Quarantined],
        reviver: &Reviver<'_>,
        dry_run: bool,
        replay: &mut Replay,
    ) -> Result<(), RepositoryError> {
        let mut step = Step::default();
        for row in page {
            match reviver.revive(row) {
                Ok(revival) => step.push(row.id, revival),
                Err(reason) => replay.keep(row.id, reason),
            }
            if step.readings >= STEP_READINGS {
                self.restore(std::mem::take(&mut step), dry_run, replay)
                    .await?;
            }
        }
        self.restore(step, dry_run, replay).await
    }

    async fn restore(
        &self,
        step: Step,
        dry_run: bool,
        replay: &mut Replay,
    ) -> Result<(), RepositoryError> {
        if dry_run {
            replay.replayed += step.revived.len() as u64;
            replay.stored += step.readings as u64;
            return Ok(());
        }
        if step.revived.is_empty() {
            return Ok(());
        }
        // They come past the lanes, which tell of what they commit.
        let told = self
            .stores
            .told
            .begin(Extent::Of {
                pairs: Some(&pairs_of(&step.revived)),
                time: time_of(&step.revived),
            })
            .await?;
        let restored = self.restore_pieces(&step.revived, replay).await;
        told.end().await;
        restored?;
        self.ingest.long_names().keep(step.long_names);
        Ok(())
    }

    async fn restore_pieces(
        &self,
        revived: &[Revived],
        replay: &mut Replay,
    ) -> Result<(), RepositoryError> {
        // What is too big for a limit of the database is divided until it is one row.
        let mut pieces = vec![revived];
        while let Some(piece) = pieces.pop() {
            match self.restore_piece(piece).await {
                Err(RepositoryError::TooBig(_)) if piece.len() > 1 => {
                    let (first, second) = piece.split_at(piece.len() / 2);
                    pieces.extend([second, first]);
                }
                restored => replay.settle(piece, restored?),
            }
        }
        Ok(())
    }

    async fn restore_piece(
        &self,
        piece: &[Revived],
    ) -> Result<Vec<(u64, Restored)>, RepositoryError> {
        let mut attempt = 1;
        loop {
            match self.stores.quarantine.restore(piece).await {
                Err(RepositoryError::Contention(reason)) if attempt < ATTEMPTS => {
                    tracing::debug!(reason, attempt, "a replay met another transaction");
                    tokio::time::sleep(pace::back_off(attempt)).await;
                    attempt += 1;
                }
                settled => return settled,
            }
        }
    }
}

/// When they are of.
fn time_of(revived: &[Revived]) -> Option<TimeRange> {
    let times = revived.iter().flat_map(|one| &one.readings);
    let times: Vec<i64> = times.map(|reading| reading.timestamp_us).collect();
    Some(TimeRange {
        from_us: *times.iter().min()?,
        to_us: times.iter().max()?.saturating_add(1),
    })
}

/// Of which pairs they are.
fn pairs_of(revived: &[Revived]) -> Vec<IdPair> {
    let readings = revived.iter().flat_map(|one| &one.readings);
    let pairs: BTreeSet<(i32, &str)> = readings
        .map(|reading| (reading.series.id1, &*reading.series.id2))
        .collect();
    let pair = |(id1, id2): (i32, &str)| IdPair {
        id1,
        id2: id2.to_owned(),
    };
    pairs.into_iter().map(pair).collect()
}

/// Rows that are stored together.
#[derive(Default)]
struct Step {
    revived: Vec<Revived>,
    readings: usize,
    long_names: Vec<LongName>,
}

impl Step {
    fn push(&mut self, id: u64, revival: Revival) {
        let Revival {
            readings,
            long_names,
        } = revival;
        self.readings += readings.len();
        self.revived.push(Revived { id, readings });
        self.long_names.extend(long_names);
    }
}

impl Replay {
    fn keep(&mut self, id: u64, reason: String) {
        self.kept += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(Kept { id, reason });
        }
    }

    fn settle(&mut self, piece: &[Revived], restored: Vec<(u64, Restored)>) {
        for (id, restored) in restored {
            match restored {
                Restored::Stored => {
                    let readings = piece.iter().find(|one| one.id == id);
                    self.stored += readings.map_or(0, |one| one.readings.len() as u64);
                    self.replayed += 1;
                }
                Restored::Gone => {}
                Restored::Refused(reason) => {
                    self.keep(id, format!("the database refused the row: {reason}"));
                }
            }
        }
    }
}
