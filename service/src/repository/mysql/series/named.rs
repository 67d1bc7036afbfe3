//! What wants numbers: the series of a batch, or some by their names.

use std::sync::OnceLock;

use crate::{
    model::PrincipalName,
    repository::{LoadBatch, SeriesEra},
};

/// Series to be numbered.
pub(in super::super) trait Named {
    fn count(&self) -> u32;
    /// Id1, id2 and sensor type of one of them.
    fn series(&self, place: u32) -> (i32, &str, &str);
    /// Leaves those of which there are readings: others get no number.
    fn retain_used(&self, places: &mut Vec<u32>);
    /// The numbers that are known already, of places in order, [`super::NO_NUMBER`] for others; None unless they are of that era.
    fn known(&self, era: SeriesEra) -> Option<&[u32]>;
    /// Who brings one of which there are readings.
    fn principal(&self, place: u32) -> Option<PrincipalName>;
}

/// The series of a batch.
pub(in super::super) struct OfBatch<'a> {
    batch: &'a dyn LoadBatch,
    /// The first row of each; behind all rows for those that have none.
    first_rows: OnceLock<Vec<u32>>,
}

impl<'a> OfBatch<'a> {
    pub(in super::super) fn new(batch: &'a dyn LoadBatch) -> Self {
        Self {
            batch,
            first_rows: OnceLock::new(),
        }
    }

    fn first_rows(&self) -> &[u32] {
        self.first_rows.get_or_init(|| {
            let mut first = vec![u32::MAX; self.batch.series_count() as usize];
            for (&place, row) in self.batch.columns().series.iter().zip(0..) {
                let known = &mut first[place as usize];
                *known = row.min(*known);
            }
            first
        })
    }
}

impl Named for OfBatch<'_> {
    fn count(&self) -> u32 {
        self.batch.series_count()
    }

    fn retain_used(&self, places: &mut Vec<u32>) {
        let first = self.first_rows();
        places.retain(|&place| first[place as usize] != u32::MAX);
    }

    fn known(&self, era: SeriesEra) -> Option<&[u32]> {
        self.batch.known_numbers(era)
    }

    fn principal(&self, place: u32) -> Option<PrincipalName> {
        let (row, parts) = (self.first_rows()[place as usize], self.batch.parts());
        let part = parts.partition_point(|part| part.rows.end <= row);
        parts.get(part)?.principal.clone()
    }

    fn series(&self, place: u32) -> (i32, &str, &str) {
        self.batch.series(place)
    }
}

impl Named for &[(i32, &str, &str)] {
    fn count(&self) -> u32 {
        self.len() as u32
    }

    fn series(&self, place: u32) -> (i32, &str, &str) {
        self[place as usize]
    }

    fn retain_used(&self, _: &mut Vec<u32>) {}

    fn known(&self, _: SeriesEra) -> Option<&[u32]> {
        None
    }

    fn principal(&self, _: u32) -> Option<PrincipalName> {
        None
    }
}
