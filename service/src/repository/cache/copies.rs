//! How a reading is kept: times and ids as digits that order as the numbers do, so that a script can tell which is newer.

use crate::model::{IdPair, Reading, Series, StoredReading};

/// Digits of a number.
const DIGITS: usize = 16;

/// A reading as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub(super) pair: String,
    /// One for each type, or one for all.
    pub(super) field: String,
    pub(super) reading: String,
}

impl Copy {
    pub(super) fn of_stored(stored: &StoredReading, of_each_type: bool) -> Self {
        let Reading {
            series,
            sensor_value,
            timestamp_us,
        } = &stored.reading;
        Self::new(
            series,
            (*timestamp_us, stored.id),
            *sensor_value,
            of_each_type,
        )
    }

    /// `key` is time and id.
    #[must_use]
    pub fn new(
        series: &Series,
        (timestamp_us, id): (i64, i64),
        sensor_value: f64,
        of_each_type: bool,
    ) -> Self {
        let sensor_type = &series.sensor_type;
        Self {
            pair: pair_text(series.id1, &series.id2),
            field: match of_each_type {
                true => format!("r{sensor_type}"),
                false => "r".to_owned(),
            },
            reading: format!(
                "{:016x}{:016x}{:016x}{sensor_type}",
                ordered(timestamp_us),
                ordered(id),
                sensor_value.to_bits()
            ),
        }
    }
}

/// What a pair is called.
#[must_use]
pub fn pair_of(pair: &IdPair) -> String {
    pair_text(pair.id1, &pair.id2)
}

fn pair_text(id1: i32, id2: &str) -> String {
    format!("{id1}:{id2}")
}

/// The pair of this name.
pub(super) fn pair(name: &str) -> Option<IdPair> {
    let (id1, id2) = name.split_once(':')?;
    Some(IdPair {
        id1: id1.parse().ok()?,
        id2: id2.to_owned(),
    })
}

/// The reading of a pair that is kept like this.
pub(super) fn stored(pair: &IdPair, reading: &str) -> Option<StoredReading> {
    let number = |place: usize| {
        let digits = reading.get(place * DIGITS..(place + 1) * DIGITS)?;
        u64::from_str_radix(digits, 16).ok()
    };
    Some(StoredReading {
        id: number_of(number(1)?),
        reading: Reading {
            series: Series {
                id1: pair.id1,
                id2: pair.id2.clone(),
                sensor_type: reading.get(3 * DIGITS..)?.to_owned(),
            },
            sensor_value: f64::from_bits(number(2)?),
            timestamp_us: number_of(number(0)?),
        },
    })
}

/// Negative numbers before the others.
fn ordered(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn number_of(ordered: u64) -> i64 {
    (ordered ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reading_is_kept_as_it_is_and_orders_by_time_and_id(
            id1: i32, id2 in "\\PC{0,9}", sensor_type in "\\PC{0,9}", bits: u64, one: (i64, i64), other: (i64, i64),
        ) {
            let series = Series { id1, id2: id2.clone(), sensor_type };
            let value = f64::from_bits(bits);
            let copy = |key| Copy::new(&series, key, value, true);
            let pair = pair(&copy(one).pair).unwrap();
            prop_assert_eq!((pair.id1, &pair.id2), (id1, &id2));
            let read = stored(&pair, &copy(one).reading).unwrap();
            prop_assert_eq!((read.reading.timestamp_us, read.id), one);
            prop_assert_eq!(read.reading.sensor_value.to_bits(), bits);
            prop_assert_eq!(&read.reading.series, &series);
            prop_assert_eq!(copy(one).reading[..32].cmp(&copy(other).reading[..32]), one.cmp(&other));
        }
    }
}
