//! The numbers of series, on the layout `series`.
//!
//! A series gets its number once, outside of the transaction that loads its readings. With what a process has learned goes the
//! proof by which it can be told that it is still right, and that is looked at again in each transaction that uses numbers: a
//! table that was restored, emptied or made again meanwhile is noticed. Then a new era begins, and numbers are learned anew.

mod bounds;
mod cache;
mod catalog;
mod checking;
mod interning;
mod mirror;
mod named;
mod naming;
mod proof;
mod removal;
mod upkeep;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use mysql_async::{Conn, prelude::Queryable as _};
use tracing::{info, warn};

pub(super) use self::{
    bounds::Bounds, checking::check, named::OfBatch, naming::Naming, proof::Proof,
};
pub use self::{catalog::MySqlSeries, upkeep::MySqlSeriesUpkeep};
pub(crate) use self::{catalog::Retagged, upkeep::SEEN_AT_ONCE};
use self::{
    interning::{COUNTER, Memory, Step},
    mirror::{Mirror, learned_anew},
    named::Named,
    proof::LOOKING,
};
use super::{error::explain_to, migrations::make, tsv::is_dropped};
use crate::{
    ledger::DroppedRows,
    model::{Fault, Limits},
    repository::{LoadBatch, RepositoryError, SeriesEra},
};

/// Stands for the number of a series that has none. No series gets it.
pub(super) const NO_NUMBER: u32 = 0;

/// So many series are in one transaction, for which others wait that have new ones, too.
const STEP_SERIES: usize = 10_000;
/// Memory for the numbers of those who ask now and then, bytes.
pub(super) const SMALL_CACHE_BYTES: usize = 1 << 20;

/// The numbers that this process has learned.
#[derive(Debug)]
pub(super) struct SeriesNumbers {
    mirror: Mirror,
    /// One step at a time asks the table and gives numbers: who comes next finds in the mirror what it has learned.
    turn: tokio::sync::Mutex<()>,
    /// Who has many goes through all of its steps before another one does, and loads its readings while that one goes through its own.
    many: tokio::sync::Mutex<()>,
    limits: Limits,
    bounds: Arc<Bounds>,
    /// The table of readings that have the numbers.
    used_in: &'static str,
}

/// Tells the numbers of series that are known, as the readings come in.
#[derive(Clone, Debug)]
pub(crate) struct KnownSeries(Arc<SeriesNumbers>);

impl KnownSeries {
    pub(super) fn new(numbers: Arc<SeriesNumbers>) -> Self {
        Self(numbers)
    }

    pub(crate) fn era(&self) -> SeriesEra {
        self.0.mirror.era()
    }

    /// The number of one series, if it is known and numbers of that era are still good.
    pub(crate) fn find(&self, era: SeriesEra, series: (i32, &str, &str)) -> Option<u32> {
        self.0.mirror.find(era, series)
    }
}

/// The numbers of some series, in their order.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) numbers: Arc<Vec<u32>>,
    /// Places of series that are not let in, and why; their number is [`NO_NUMBER`].
    pub(super) refused: Vec<(u32, Fault)>,
    /// To be looked at in the transaction that uses them.
    pub(super) proof: Proof,
    /// When they were learned.
    pub(super) era: SeriesEra,
}

impl Numbers {
    /// Of readings that bring their names along.
    pub(super) fn none() -> Self {
        Self {
            numbers: Arc::default(),
            refused: Vec::new(),
            proof: Proof::default(),
            era: SeriesEra::default(),
        }
    }

    /// Why one of these series was refused, if one was.
    pub(super) fn refusal_within(&self, places: &Range<u32>) -> Option<String> {
        let mut refused = self.refused.iter();
        let found = refused.find(|(place, _)| places.contains(place));
        found.map(|(_, fault)| match fault {
            Fault::RefusedByDatabase(reason) => reason.clone(),
            other => other.to_string(),
        })
    }

    pub(super) fn at(&self, place: u32) -> u32 {
        self.numbers
            .get(place as usize)
            .copied()
            .unwrap_or(NO_NUMBER)
    }
}

/// Puts the rows there that giving numbers begins with, unless they are there.
pub(super) async fn start(conn: &mut Conn) -> Result<(), RepositoryError> {
    // A table of before has no such column.
    let column = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                  AND TABLE_NAME = 'series' AND COLUMN_NAME = 'tagged_at'";
    let found: Option<u64> = conn
        .query_first(column)
        .await
        .map_err(|error| explain_to(LOOKING, error))?;
    if found == Some(0) {
        let add = "ALTER TABLE series ADD COLUMN tagged_at DATETIME(6) NULL COMMENT 'UTC, when its tags were last set over REST'";
        make(conn, add).await?;
    }
    let generation = rand::random::<u64>();
    let rows = [
        (
            "series_generation WHERE id = 1".to_owned(),
            format!(
                "INSERT IGNORE INTO series_generation (id, generation) VALUES (1, {generation})"
            ),
        ),
        (
            format!("id_blocks WHERE name = '{COUNTER}'"),
            format!("INSERT IGNORE INTO id_blocks (name, next_id) VALUES ('{COUNTER}', 1)"),
        ),
    ];
    for (row, insert) in rows {
        // An account that may not make it is good enough where it is there.
        let counting = format!("SELECT COUNT(*) FROM {row}");
        let found: Option<u64> = conn
            .query_first(counting)
            .await
            .map_err(|error| explain_to(LOOKING, error))?;
        if found != Some(1) {
            make(conn, &insert).await?;
        }
    }
    Ok(())
}

impl SeriesNumbers {
    /// With memory for so many bytes of what it learns.
    pub(super) fn new(
        cache_bytes: usize,
        limits: Limits,
        bounds: Arc<Bounds>,
        used_in: &'static str,
    ) -> Self {
        Self {
            mirror: Mirror::new(cache_bytes),
            turn: tokio::sync::Mutex::new(()),
            many: tokio::sync::Mutex::new(()),
            limits,
            bounds,
            used_in,
        }
    }

    /// Finds the number of each series, and gives one to those that have none. Must be called outside of a transaction.
    ///
    /// # Errors
    /// `Contention` when the table turned out to be another one: everything is forgotten then, and the next call begins anew.
    pub(super) async fn of(
        &self,
        conn: &mut Conn,
        named: impl Named,
    ) -> Result<Numbers, RepositoryError> {
        let era = self.mirror.era();
        let mut numbers = match named.known(era) {
            Some(known) => known.to_vec(),
            None => vec![NO_NUMBER; named.count() as usize],
        };
        let missing = (0..named.count()).filter(|&place| numbers[place as usize] == NO_NUMBER);
        let mut unknown: Vec<u32> = missing.collect();
        self.mirror
            .find_all(era, &named, &mut unknown, &mut numbers)?;
        let mut refused = Vec::new();
        if !unknown.is_empty() {
            named.retain_used(&mut unknown);
        }
        if self.mirror.with(era, |known| known.proof.is_none())? {
            let proof = Proof::begin(conn).await?;
            self.mirror
                .with(era, |known| known.proof.get_or_insert(proof).to_owned())?;
        }
        if !unknown.is_empty() {
            // In the order of the key, so that those who bring the same series at the same time wait for each other.
            unknown.sort_unstable_by_key(|&place| named.series(place));
            let mut first = unknown.clone();
            first.dedup_by(|one, other| named.series(*one) == named.series(*other));
            self.learn(conn, era, &named, &first, &mut numbers, &mut refused)
                .await?;
            copy_to_others(&named, &unknown, &mut numbers, &mut refused);
        }
        // Of now: it stands for all that was found since.
        let proof = self.mirror.with(era, |known| known.proof)?;
        Ok(Numbers {
            numbers: Arc::new(numbers),
            refused,
            proof: proof.unwrap_or_default(),
            era,
        })
    }

    async fn learn(
        &self,
        conn: &mut Conn,
        era: SeriesEra,
        named: &impl Named,
        unknown: &[u32],
        numbers: &mut [u32],
        refused: &mut Vec<(u32, Fault)>,
    ) -> Result<(), RepositoryError> {
        let _many = match unknown.len() > STEP_SERIES {
            true => Some(self.many.lock().await),
            false => None,
        };
        let mut takes = false;
        let mut steps: Vec<&[u32]> = unknown.chunks(STEP_SERIES).rev().collect();
        while let Some(places) = steps.pop() {
            // Only for a step: others have new series, too, and few perhaps.
            let _turn = self.turn.lock().await;
            let mut left = places.to_vec();
            self.mirror.find_all(era, named, &mut left, numbers)?;
            if left.is_empty() {
                continue;
            }
            let step = Step {
                named,
                places: &left,
                limits: &self.limits,
                bounds: &self.bounds,
                used_in: self.used_in,
                memory: Memory {
                    mirror: &self.mirror,
                    era,
                },
            };
            match step.take(conn).await {
                Ok(Some(learned)) => {
                    takes |= learned.were_given;
                    for (&place, &number) in left.iter().zip(&learned.numbers) {
                        numbers[place as usize] = number;
                    }
                    let beyond = learned.refused.into_iter();
                    refused.extend(
                        beyond.map(|(index, bound)| (left[index], Fault::TooManySeries(bound))),
                    );
                }
                Ok(None) => return Err(self.is_of_another_table(era)),
                Err(RepositoryError::Data(reason)) => match places {
                    [place] if takes => refused.push((*place, Fault::RefusedByDatabase(reason))),
                    [_] => {
                        takes = interning::takes_a_probe(conn, &self.limits).await?;
                        if !takes {
                            return Err(RepositoryError::Table(reason));
                        }
                        // Perhaps only since: somebody who mends the table has waited for the transaction that was refused.
                        steps.push(places);
                    }
                    _ => {
                        let (first, second) = places.split_at(places.len() / 2);
                        steps.extend([second, first]);
                    }
                },
                Err(other) => return Err(other),
            }
        }
        if let [(_, reason), ..] = refused.as_slice() {
            let count = refused.len();
            warn!(count, %reason, "new series are not let in");
        }
        Ok(())
    }

    /// Numbers that were learned in that era are of another table.
    pub(super) fn is_of_another_table(&self, era: SeriesEra) -> RepositoryError {
        if self.mirror.forget(era) {
            info!(
                "the table series is not the one that numbers were learned from: they are learned anew"
            );
        }
        learned_anew()
    }
}

/// What is true of the first of alike series, which stand beside each other, is true of the others.
fn copy_to_others(
    named: &impl Named,
    sorted: &[u32],
    numbers: &mut [u32],
    refused: &mut Vec<(u32, Fault)>,
) {
    let reasons: BTreeMap<u32, Fault> = refused.iter().cloned().collect();
    for alike in sorted.chunk_by(|&one, &other| named.series(one) == named.series(other)) {
        let [first, others @ ..] = alike else {
            continue;
        };
        for &other in others {
            numbers[other as usize] = numbers[*first as usize];
            if let Some(reason) = reasons.get(first) {
                refused.push((other, reason.clone()));
            }
        }
    }
}

/// The rows of a batch whose series were refused, in order of arrival, and why; without those that are left out in any case.
pub(super) fn rows_of(
    batch: &dyn LoadBatch,
    refused: &[(u32, Fault)],
    dropped: &DroppedRows,
) -> Vec<(u32, Fault)> {
    if refused.is_empty() {
        return Vec::new();
    }
    let reasons: BTreeMap<u32, &Fault> = refused
        .iter()
        .map(|(place, reason)| (*place, reason))
        .collect();
    let rows = batch.columns().series.iter().zip(0..);
    let rows = rows.filter(|&(_, arrival)| !is_dropped(dropped, arrival));
    rows.filter_map(|(place, arrival)| {
        let reason = reasons.get(place)?;
        Some((arrival, (*reason).clone()))
    })
    .collect()
}
