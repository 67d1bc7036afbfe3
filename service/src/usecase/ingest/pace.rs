//! How much a lane loads at once. A load alone on its lane may be as large as batches get; one that others wait for
//! should be over soon, and how many rows that is, the loads before it tell.

use std::time::Duration;

/// How long a load may take while other calls wait for it.
const SHARED_LOAD: Duration = Duration::from_millis(120);
/// Fewer would spend more on the transaction than on its rows.
const ROWS_MIN: usize = 4_000;
/// Until a load has told. Slow machines load as many in a second, with everything on them.
const FIRST_ROWS_PER_S: f64 = 60_000.0;
/// How much a load counts among those before it.
const WEIGHT: f64 = 0.3;
/// A rejection costs the database as much as so many rows: it goes by a statement of its own kind, with all of its texts.
const ROWS_OF_REJECTION: usize = 6;

/// What a batch costs the database, in rows.
pub(super) fn cost_rows(rows: usize, rejections: usize) -> usize {
    rows + rejections * ROWS_OF_REJECTION
}

/// A lane begins with small loads, each at most so many times as large as those before: who prepares the table for a
/// backlog that begins should not wait for a large one, nor find it in the way.
const GROWTH: usize = 4;
/// With each load that is smaller, what a lane has grown to counts for a part of this: one small load among large ones
/// is no new beginning.
const SHRINKING: usize = 2;

/// The rate at which a lane's loads go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rows_per_s: f64,
    grown_rows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rows_per_s: FIRST_ROWS_PER_S,
            grown_rows: 0,
        }
    }
}

impl Pace {
    /// Takes note of a load. Small ones say nothing of rows: they spend their time on the transaction.
    pub(super) fn note(&mut self, cost_rows: usize, took: Duration) {
        self.grown_rows = cost_rows.max(self.grown_rows / SHRINKING);
        if cost_rows < ROWS_MIN / 2 || took.is_zero() {
            return;
        }
        let rows_per_s = cost_rows as f64 / took.as_secs_f64();
        self.rows_per_s += WEIGHT * (rows_per_s - self.rows_per_s);
    }

    /// Rows of a load that nobody waits for, `most` at most.
    pub(super) fn lone_rows(&self, most: usize) -> usize {
        (self.grown_rows * GROWTH).max(ROWS_MIN).min(most)
    }

    /// Rows of a load that others wait for, `most` at most.
    pub(super) fn shared_rows(&self, most: usize) -> usize {
        let rows = self.rows_per_s * SHARED_LOAD.as_secs_f64();
        (rows as usize).max(ROWS_MIN).min(self.lone_rows(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_load_is_as_large_as_its_time_allows() {
        let mut pace = Pace::default();
        assert_eq!(pace.lone_rows(250_000), ROWS_MIN);
        for _ in 0..50 {
            pace.note(100_000, Duration::from_millis(500));
        }
        assert_eq!(pace.lone_rows(1_000_000), 400_000);
        assert_eq!(pace.lone_rows(250_000), 250_000);
        assert!((23_900..=24_000).contains(&pace.shared_rows(250_000)));
        assert_eq!(pace.shared_rows(10_000), 10_000, "no more than a batch");
        pace.note(10, Duration::from_millis(5));
        assert_eq!(pace.lone_rows(1_000_000), 200_000, "one small load");
        for _ in 0..20 {
            pace.note(10, Duration::from_millis(5));
        }
        assert_eq!(pace.lone_rows(1_000_000), ROWS_MIN, "a new beginning");
        // A database that stood still for a minute, and rows that say nothing.
        for _ in 0..50 {
            pace.note(20_000, Duration::from_secs(60));
        }
        pace.note(1, Duration::from_millis(1));
        assert_eq!(pace.shared_rows(250_000), ROWS_MIN);
    }
}
