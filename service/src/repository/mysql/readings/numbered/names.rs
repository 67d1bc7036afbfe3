//! Names of series by their numbers, remembered for pages through time: to join each reading with its series takes the database half as
//! long as all the rest of a page.
//!
//! A page asks for the proof beside its readings, in one statement: names are used if it is still the one that they rest on, and those
//! above its anchor are not used.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mysql_async::{Row, Value};

use super::{
    super::super::{answers::unexpected, instant, series::Proof},
    NumberedReadings,
};
use crate::{
    model::{Order, Reading, ReadingKey, Selection, Series, StoredReading},
    repository::RepositoryError,
};

/// Memory for names, bytes.
const BUDGET_BYTES: usize = 8 << 20;
/// What a name takes beside its texts, bytes.
const BESIDE_TEXT_BYTES: usize = 96;
/// After a page whose names were not all known, so many at the most are asked for with their names at once.
const MOST_JOINED: u32 = 63;

#[derive(Debug, Default)]
pub(in super::super) struct NameMemory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// None where nothing is known.
    proof: Option<Proof>,
    names: HashMap<u32, Series>,
    size_bytes: usize,
    is_full: bool,
    /// Changes when everything is forgotten.
    era: u64,
    /// Pages that are to be asked for with their names before another try, and how many they were last.
    joined: u32,
    joined_last: u32,
}

/// By what names are told to be right, and since when.
#[derive(Clone, Copy)]
struct Resting {
    proof: Option<Proof>,
    era: u64,
}

impl Remembered {
    fn forget(&mut self) {
        *self = Self {
            era: self.era + 1,
            ..Self::default()
        };
    }

    /// Whether a page may do without names now.
    fn is_worth_a_try(&mut self) -> bool {
        match self.joined.checked_sub(1) {
            _ if self.names.is_empty() => false,
            None => true,
            Some(left) => {
                self.joined = left;
                false
            }
        }
    }

    fn failed(&mut self) {
        if self.is_full && self.joined_last == MOST_JOINED {
            // Others are asked for by now.
            self.names.clear();
            (self.size_bytes, self.is_full) = (0, false);
        }
        self.joined_last = (self.joined_last * 2 + 1).min(MOST_JOINED);
        self.joined = self.joined_last;
    }

    /// A page that was asked for with its names would have done without them, and so will the next one.
    fn knew_all(&mut self) {
        (self.joined, self.joined_last) = (0, 0);
    }

    /// What has no room is not remembered.
    fn insert(&mut self, number: u32, series: &Series) {
        if self.is_full || self.names.contains_key(&number) {
            return;
        }
        let bytes = BESIDE_TEXT_BYTES + series.id2.len() + series.sensor_type.len();
        if self.size_bytes + bytes > BUDGET_BYTES {
            self.is_full = true;
            return;
        }
        self.size_bytes += bytes;
        self.names.insert(number, series.clone());
    }
}

impl NameMemory {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NumberedReadings {
    /// A page of all readings, whatever their series.
    pub(super) async fn page_through_time(
        &self,
        selection: &Selection,
        order: Order,
        after: Option<ReadingKey>,
        limit: usize,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        let (resting, is_worth_a_try) = {
            let mut remembered = self.names.remembered();
            let resting = Resting {
                proof: remembered.proof,
                era: remembered.era,
            };
            (resting, remembered.is_worth_a_try())
        };
        if is_worth_a_try {
            let rows = self
                .ask(resting, false, (selection, order, after, limit))
                .await?;
            if let Some(page) = self.by_memory(resting, &rows)? {
                return Ok(page);
            }
        }
        let rows = self
            .ask(resting, true, (selection, order, after, limit))
            .await?;
        self.with_names(resting, rows)
    }

    async fn ask(
        &self,
        resting: Resting,
        with_names: bool,
        (selection, order, after, limit): (&Selection, Order, Option<ReadingKey>, usize),
    ) -> Result<Vec<Row>, RepositoryError> {
        let proof = resting.proof.unwrap_or_default().column();
        let columns = match with_names {
            true => format!(
                "id, ts, readings.series_id, sensor_value, {proof}, id1, id2, sensor_type, {}",
                Proof::newest_column()
            ),
            false => format!("id, ts, series_id, sensor_value, {proof}"),
        };
        let mut statement = self.through_time(&columns, selection, with_names);
        statement.behind(after, order).ordered(order, limit);
        self.asking.rows(statement).await
    }

    /// The page, if all of its names are known.
    fn by_memory(
        &self,
        resting: Resting,
        rows: &[Row],
    ) -> Result<Option<Vec<StoredReading>>, RepositoryError> {
        let Some(first) = rows.first() else {
            return Ok(Some(Vec::new()));
        };
        let mut remembered = self.names.remembered();
        if remembered.era != resting.era {
            return Ok(None);
        }
        let Some(proof) = resting.proof.filter(|proof| told(first, 4) == Some(*proof)) else {
            remembered.forget();
            return Ok(None);
        };
        let mut page = Vec::with_capacity(rows.len());
        for row in rows {
            let (number, mut stored) = without_name(row)?;
            let known = match proof.stands_for(number) {
                true => remembered.names.get(&number),
                false => None,
            };
            let Some(series) = known else {
                remembered.failed();
                return Ok(None);
            };
            stored.reading.series.clone_from(series);
            page.push(stored);
        }
        remembered.joined_last = 0;
        Ok(Some(page))
    }

    /// The page with the names that came with it, which are remembered.
    fn with_names(
        &self,
        resting: Resting,
        rows: Vec<Row>,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        let mut page = Vec::with_capacity(rows.len());
        let mut numbers = Vec::with_capacity(rows.len());
        for row in &rows {
            let (number, mut stored) = without_name(row)?;
            let names = (row.get_opt(5), row.get_opt(6), row.get_opt(7));
            let (Some(Ok(id1)), Some(Ok(id2)), Some(Ok(sensor_type))) = names else {
                return Err(unexpected());
            };
            stored.reading.series = Series {
                id1,
                id2,
                sensor_type,
            };
            numbers.push(number);
            page.push(stored);
        }
        let Some(newest) = rows.first().and_then(|first| told(first, 8)) else {
            return Ok(page);
        };
        let mut remembered = self.names.remembered();
        // Whoever learned something meanwhile has learned enough.
        if remembered.era != resting.era || remembered.proof != resting.proof {
            return Ok(page);
        }
        let holds = resting.proof.is_some()
            && rows.first().and_then(|first| told(first, 4)) == resting.proof;
        let is_known = |number: &u32| {
            let rests = resting.proof.is_some_and(|proof| proof.stands_for(*number));
            rests && remembered.names.contains_key(number)
        };
        if !holds {
            remembered.forget();
        } else if numbers.iter().all(is_known) {
            remembered.knew_all();
        }
        for (stored, &number) in page.iter().zip(&numbers) {
            remembered.insert(number, &stored.reading.series);
        }
        remembered.proof = Some(newest);
        Ok(page)
    }
}

/// The proof that a column tells.
fn told(row: &Row, column: usize) -> Option<Proof> {
    let text: Option<Result<String, _>> = row.get_opt(column);
    Proof::told(&text?.ok()?)
}

/// The number of its series, and the reading with an empty one.
fn without_name(row: &Row) -> Result<(u32, StoredReading), RepositoryError> {
    let columns = (
        row.get_opt(0),
        row.get_opt::<Value, _>(1),
        row.get_opt(2),
        row.get_opt(3),
    );
    let (Some(Ok(id)), Some(Ok(ts)), Some(Ok(number)), Some(Ok(sensor_value))) = columns else {
        return Err(unexpected());
    };
    let series = Series {
        id1: 0,
        id2: String::new(),
        sensor_type: String::new(),
    };
    let stored = StoredReading {
        id,
        reading: Reading {
            series,
            sensor_value,
            timestamp_us: instant::from_value(&ts).ok_or_else(unexpected)?,
        },
    };
    Ok((number, stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(id2: &str) -> Series {
        Series {
            id1: 1,
            id2: id2.to_owned(),
            sensor_type: "t".to_owned(),
        }
    }

    #[test]
    fn names_are_bounded_and_pages_that_fail_are_tried_more_and_more_rarely() {
        let mut remembered = Remembered::default();
        assert!(!remembered.is_worth_a_try(), "nothing is known");
        for number in 0..200_000 {
            remembered.insert(number, &series("sensor"));
            assert!(remembered.size_bytes <= BUDGET_BYTES);
        }
        let named = BUDGET_BYTES / (BESIDE_TEXT_BYTES + 7);
        assert_eq!(remembered.names.len(), named);
        let tries = |remembered: &mut Remembered, pages: u32| {
            (0..pages).filter(|_| remembered.is_worth_a_try()).count()
        };
        assert_eq!(tries(&mut remembered, 5), 5);
        for joined in [1, 3, 7, 15, 31, 63] {
            remembered.failed();
            assert_eq!(tries(&mut remembered, joined), 0);
            assert_eq!(tries(&mut remembered, 1), 1);
        }
        remembered.failed();
        assert!(remembered.names.is_empty(), "others are asked for by now");
        remembered.insert(1, &series("sensor"));
        remembered.knew_all();
        assert_eq!(tries(&mut remembered, 3), 3);
        remembered.failed();
        assert_eq!(tries(&mut remembered, 2), 1, "from the beginning");
        remembered.forget();
        assert!(!remembered.is_worth_a_try());
        assert_eq!((remembered.era, remembered.proof), (1, None));
    }
}
