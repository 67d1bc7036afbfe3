//! The numbers of series, on the layout `series`.
//!
//! A series gets its number once, outside of the transaction that loads its readings. Whoever has learned numbers keeps the
//! proof by which it can be told that they are still right, and looks at it again in each transaction that uses them: a table
//! that was restored, emptied or made again meanwhile is noticed, and its numbers are learned anew.

mod bounds;
mod cache;
mod catalog;
mod checking;
mod interning;
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
use self::{
    cache::NumberCache,
    interning::{COUNTER, Memory, Step},
    named::Named,
    proof::LOOKING,
};
pub use self::{catalog::MySqlSeries, upkeep::MySqlSeriesUpkeep};
pub(crate) use self::{catalog::Retagged, upkeep::SEEN_AT_ONCE};
use super::{error::explain_to, migrations::make, tsv::is_dropped};
use crate::{
    ledger::DroppedRows,
    model::{Fault, Limits},
    repository::{LoadBatch, RepositoryError},
};

/// Stands for the number of a series that has none. No series gets it.
pub(super) const NO_NUMBER: u32 = 0;

/// So many series are in one transaction, for which others wait that have new ones, too.
const STEP_SERIES: usize = 10_000;
/// Memory for the numbers of those who ask now and then, bytes.
const SMALL_CACHE_BYTES: usize = 1 << 20;

/// The numbers that one connection's owner has learned.
#[derive(Debug)]
pub(super) struct SeriesNumbers {
    cache: NumberCache,
    /// None before the table was looked at.
    proof: Option<Proof>,
    limits: Limits,
    bounds: Arc<Bounds>,
    /// The table of readings that have the numbers.
    used_in: &'static str,
}

/// The numbers of some series, in their order.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) numbers: Arc<Vec<u32>>,
    /// Places of series that are not let in, and why; their number is [`NO_NUMBER`].
    pub(super) refused: Vec<(u32, Fault)>,
    /// To be looked at in the transaction that uses them.
    pub(super) proof: Proof,
}

impl Numbers {
    /// Of readings that bring their names along.
    pub(super) fn none() -> Self {
        Self {
            numbers: Arc::default(),
            refused: Vec::new(),
            proof: Proof::default(),
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
            cache: NumberCache::new(cache_bytes),
            proof: None,
            limits,
            bounds,
            used_in,
        }
    }

    /// Forgets everything: the table is another one.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
        self.proof = None;
    }

    /// Finds the number of each series, and gives one to those that have none. Must be called outside of a transaction.
    ///
    /// # Errors
    /// `Contention` when the table turned out to be another one: everything is forgotten then, and the next call begins anew.
    pub(super) async fn of(
        &mut self,
        conn: &mut Conn,
        named: impl Named,
    ) -> Result<Numbers, RepositoryError> {
        let mut numbers = Vec::with_capacity(named.count() as usize);
        let mut unknown = Vec::new();
        for place in 0..named.count() {
            let number = self.cache.find(named.series(place));
            numbers.push(number.unwrap_or(NO_NUMBER));
            if number.is_none() {
                unknown.push(place);
            }
        }
        let mut refused = Vec::new();
        if !unknown.is_empty() {
            named.retain_used(&mut unknown);
        }
        if !unknown.is_empty() || self.proof.is_none() {
            // In the order of the key, so that those who bring the same series at the same time wait for each other.
            unknown.sort_unstable_by_key(|&place| named.series(place));
            let mut first = unknown.clone();
            first.dedup_by(|one, other| named.series(*one) == named.series(*other));
            self.learn(conn, &named, &first, &mut numbers, &mut refused)
                .await?;
            copy_to_others(&named, &unknown, &mut numbers, &mut refused);
        }
        Ok(Numbers {
            numbers: Arc::new(numbers),
            refused,
            proof: self.proof.unwrap_or_default(),
        })
    }

    async fn learn(
        &mut self,
        conn: &mut Conn,
        named: &impl Named,
        unknown: &[u32],
        numbers: &mut [u32],
        refused: &mut Vec<(u32, Fault)>,
    ) -> Result<(), RepositoryError> {
        if self.proof.is_none() {
            self.proof = Some(Proof::begin(conn).await?);
        }
        let mut takes = false;
        let mut steps: Vec<&[u32]> = unknown.chunks(STEP_SERIES).rev().collect();
        while let Some(places) = steps.pop() {
            let step = Step {
                named,
                places,
                limits: &self.limits,
                bounds: &self.bounds,
                used_in: self.used_in,
            };
            let mut memory = Memory {
                cache: &mut self.cache,
                proof: self.proof.get_or_insert_default(),
            };
            match step.take(conn, &mut memory).await {
                Ok(Some(learned)) => {
                    takes |= learned.were_given;
                    for (&place, &number) in places.iter().zip(&learned.numbers) {
                        numbers[place as usize] = number;
                    }
                    let beyond = learned.refused.into_iter();
                    refused.extend(
                        beyond.map(|(index, bound)| (places[index], Fault::TooManySeries(bound))),
                    );
                }
                Ok(None) => return Err(self.is_of_another_table()),
                Err(RepositoryError::Data(reason)) => match places {
                    [place] => {
                        takes = takes || interning::takes_a_probe(conn, &self.limits).await?;
                        if !takes {
                            return Err(RepositoryError::Table(reason));
                        }
                        refused.push((*place, Fault::RefusedByDatabase(reason)));
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

    /// The numbers that were learned are of another table.
    pub(super) fn is_of_another_table(&mut self) -> RepositoryError {
        info!(
            "the table series is not the one that numbers were learned from: they are learned anew"
        );
        self.forget();
        RepositoryError::Contention(
            "the table series was restored, emptied or made again: its numbers are learned anew"
                .to_owned(),
        )
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
