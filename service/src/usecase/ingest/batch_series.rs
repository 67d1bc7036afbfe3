//! The series of a batch, each with its number where that was known as its readings came.

use crate::{model::SeriesSet, repository::SeriesEra};

#[derive(Debug, Default)]
pub(super) struct BatchSeries {
    set: SeriesSet,
    /// Of each of them; 0 where it is not known.
    numbers: Vec<u32>,
    /// When they were known.
    era: SeriesEra,
}

impl BatchSeries {
    pub(super) fn len(&self) -> u32 {
        self.set.len()
    }

    /// Id1, id2 and sensor type of one of them.
    pub(super) fn get(&self, place: u32) -> (i32, &str, &str) {
        self.set.get(place)
    }

    /// The numbers that are known, if they are of that era.
    pub(super) fn numbers(&self, era: SeriesEra) -> Option<&[u32]> {
        (self.era == era).then_some(self.numbers.as_slice())
    }

    /// Appends a series without looking for it.
    pub(super) fn append(&mut self, (id1, id2, sensor_type): (i32, &str, &str)) -> u32 {
        self.numbers.push(0);
        self.set.append(id1, id2, sensor_type)
    }

    /// Appends one whose number is known since that era.
    pub(super) fn append_known(
        &mut self,
        series: (i32, &str, &str),
        number: u32,
        era: SeriesEra,
    ) -> u32 {
        if self.era != era {
            // Those of before are of another table.
            self.numbers.fill(0);
            self.era = era;
        }
        let place = self.append(series);
        self.numbers[place as usize] = number;
        place
    }

    /// Finds or appends a series.
    pub(super) fn intern(&mut self, (id1, id2, sensor_type): (i32, &str, &str)) -> u32 {
        let place = self.set.intern(id1, id2, sensor_type);
        if place as usize == self.numbers.len() {
            self.numbers.push(0);
        }
        place
    }

    /// Memory of texts, places and numbers, bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.set.size_bytes() + self.numbers.len() * size_of::<u32>()
    }

    pub(super) fn clear(&mut self) {
        self.set.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_era_are_not_those_of_another() {
        let mut series = BatchSeries::default();
        let (first, second) = (SeriesEra(1), SeriesEra(2));
        series.append_known((1, "a", "t"), 7, first);
        series.intern((1, "b", "t"));
        assert_eq!(series.numbers(first), Some([7, 0].as_slice()));
        assert_eq!(series.numbers(second), None);
        series.append_known((1, "c", "t"), 3, second);
        assert_eq!(series.numbers(first), None);
        assert_eq!(series.numbers(second), Some([0, 0, 3].as_slice()));
        assert_eq!(series.intern((1, "b", "t")), 1);
        assert_eq!(series.numbers(second).map(<[u32]>::len), Some(3));
        series.clear();
        assert_eq!(series.numbers(second), Some([].as_slice()));
    }
}
