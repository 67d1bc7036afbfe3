//! Readings as columns, with each series once.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::model::Series;

/// Some readings: of each its place in `series`, its value and its time, in three columns of the same length.
#[derive(Debug, Default, PartialEq)]
pub struct Columns {
    pub series: Vec<Series>,
    pub series_index: Vec<u32>,
    pub sensor_value: Vec<f64>,
    /// Microseconds since the Unix epoch, UTC.
    pub timestamp_us: Vec<i64>,
}

impl Columns {
    #[must_use]
    pub fn len(&self) -> usize {
        self.sensor_value.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sensor_value.is_empty()
    }
}

/// Gathers readings.
#[derive(Debug, Default)]
pub struct Gathering {
    columns: Columns,
    places: HashTable<u32>,
}

impl Gathering {
    /// Takes one in.
    pub fn push(&mut self, names: (i32, &str, &str), sensor_value: f64, timestamp_us: i64) {
        let place = self.place(names);
        self.columns.series_index.push(place);
        self.columns.sensor_value.push(sensor_value);
        self.columns.timestamp_us.push(timestamp_us);
    }

    fn place(&mut self, names: (i32, &str, &str)) -> u32 {
        let hash = FxBuildHasher.hash_one(names);
        let series = &mut self.columns.series;
        let named = |series: &[Series], place: u32| names_of(&series[place as usize]) == names;
        if let Some(&place) = self.places.find(hash, |&place| named(series, place)) {
            return place;
        }
        // A gathering has fewer readings than that.
        let place = u32::try_from(series.len()).unwrap_or(u32::MAX);
        let (id1, id2, sensor_type) = names;
        series.push(Series {
            id1,
            id2: id2.to_owned(),
            sensor_type: sensor_type.to_owned(),
        });
        self.places.insert_unique(hash, place, |&place| {
            FxBuildHasher.hash_one(names_of(&series[place as usize]))
        });
        place
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// What was gathered.
    #[must_use]
    pub fn done(self) -> Columns {
        self.columns
    }
}

fn names_of(series: &Series) -> (i32, &str, &str) {
    (series.id1, &series.id2, &series.sensor_type)
}
