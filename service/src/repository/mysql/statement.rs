//! Builds the statements over `sensor_readings`: which rows, in which order, by which index.
//!
//! Columns are `utf8mb4_bin`, which pads with blanks: 'a' = 'a '. The length in bytes beside the comparison makes it
//! exact and leaves the index its use.

use mysql_async::Value;

use super::{indexes::Indexes, instant, names::quoted};
use crate::{
    model::{IdPair, Limits, Order, ReadingKey, Selection, TimeRange},
    repository::Stretch,
};

/// A statement under construction, and what stands for its question marks.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
}

/// What a statement has to know of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) limits: &'a Limits,
    pub(super) indexes: &'a Indexes,
}

pub(super) const READING_COLUMNS: &str = "id, ts, id1, id2, sensor_type, sensor_value";

impl Statement {
    pub(super) fn new(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            params: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, sql: &str, params: impl IntoIterator<Item = Value>) -> &mut Self {
        self.sql.push_str(sql);
        self.params.extend(params);
        self
    }

    /// The index for this selection, after the name of the table.
    pub(super) fn force_index(&mut self, shape: Shape<'_>, selection: &Selection) -> &mut Self {
        let index = match selection.pairs {
            Some(_) => &shape.indexes.ids,
            None => &shape.indexes.time,
        };
        if let Some(name) = index {
            self.push(&format!(" FORCE INDEX ({})", quoted(name)), []);
        }
        self
    }

    /// The conditions of one leg of a selection.
    pub(super) fn of_leg(
        &mut self,
        shape: Shape<'_>,
        selection: &Selection,
        leg: u32,
    ) -> &mut Self {
        self.push(" WHERE TRUE", []);
        if let Some(pair) = selection.pair(leg) {
            self.push(" AND ", []).of_pair(shape, pair);
        }
        self.of_time(shape, selection.time)
            .of_sensor_type(selection.sensor_type.as_deref())
            .of_tags(&selection.tags)
    }

    /// Readings that bring their names along, of series that have these tags.
    pub(super) fn of_tags(&mut self, tags: &[(String, String)]) -> &mut Self {
        for (tag, value) in tags {
            self.push(
                " AND EXISTS (SELECT 1 FROM series STRAIGHT_JOIN series_tags ON series_tags.series_id = series.series_id \
                 AND tag = ? AND value = ? WHERE series.id1 = sensor_readings.id1 AND series.id2 = sensor_readings.id2 \
                 AND series.sensor_type = sensor_readings.sensor_type AND series.id2_bytes = LENGTH(sensor_readings.id2) \
                 AND series.sensor_type_bytes = LENGTH(sensor_readings.sensor_type))",
                [tag.as_str().into(), value.as_str().into()],
            );
        }
        self
    }

    pub(super) fn of_pair(&mut self, shape: Shape<'_>, pair: &IdPair) -> &mut Self {
        if shape.indexes.by_hash {
            self.push("id_hash = ? AND ", [pair.hash().into()]);
        }
        self.push(
            "id1 = ? AND id2 = ? AND LENGTH(id2) = ?",
            [
                pair.id1.into(),
                pair.id2.as_str().into(),
                pair.id2.len().into(),
            ],
        )
    }

    /// Bounds that lie outside of what the column can hold are left out: the database would make something else of
    /// them. Between two instants that the column can hold lies no reading, so both bounds may be rounded up.
    pub(super) fn of_time(&mut self, shape: Shape<'_>, time: Option<TimeRange>) -> &mut Self {
        let Some(time) = time else {
            return self;
        };
        let range = &shape.limits.timestamp;
        let step = 10_i64.pow(6 - u32::from(range.decimals.min(6)));
        let round_up = |at: i64| at.saturating_add((-at.rem_euclid(step)).rem_euclid(step));
        let (from, to) = (round_up(time.from_us), round_up(time.to_us));
        if from > range.max_us || to <= range.min_us {
            return self.push(" AND FALSE", []);
        }
        if from > range.min_us {
            self.push(" AND ts >= ?", [instant::to_value(from)]);
        }
        if to <= range.max_us {
            self.push(" AND ts < ?", [instant::to_value(to)]);
        }
        self
    }

    pub(super) fn of_sensor_type(&mut self, sensor_type: Option<&str>) -> &mut Self {
        let Some(sensor_type) = sensor_type else {
            return self;
        };
        self.push(
            " AND sensor_type = ? AND LENGTH(sensor_type) = ?",
            [sensor_type.into(), sensor_type.len().into()],
        )
    }

    /// Only what lies behind a key. Both engines make two ranges of (ts, id) of it, so that no page has to step over
    /// the readings of the same instant that earlier pages brought.
    pub(super) fn behind(&mut self, key: Option<ReadingKey>, order: Order) -> &mut Self {
        let Some(key) = key else {
            return self;
        };
        let sql = match order {
            Order::Ascending => " AND ((ts = ? AND id > ?) OR ts > ?)",
            Order::Descending => " AND ((ts = ? AND id < ?) OR ts < ?)",
        };
        let at = instant::to_value(key.timestamp_us);
        self.push(sql, [at.clone(), key.id.into(), at])
    }

    /// Only what lies behind `after` and not behind `last`.
    pub(super) fn within(&mut self, stretch: Stretch) -> &mut Self {
        let at = instant::to_value(stretch.last.timestamp_us);
        self.behind(stretch.after, Order::Ascending).push(
            " AND ((ts = ? AND id <= ?) OR ts < ?)",
            [at.clone(), stretch.last.id.into(), at],
        )
    }

    pub(super) fn ordered(&mut self, order: Order, limit: usize) -> &mut Self {
        let sql = match order {
            Order::Ascending => " ORDER BY ts, id LIMIT ?",
            Order::Descending => " ORDER BY ts DESC, id DESC LIMIT ?",
        };
        self.push(sql, [limit.into()])
    }
}

/// The index to be used, behind the name of the table.
pub(super) fn force(index: Option<&String>) -> String {
    index.map_or_else(String::new, |name| {
        format!(" FORCE INDEX ({})", quoted(name))
    })
}

/// Numbers of series, between commas.
pub(super) fn listed(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimestampRange;

    fn bounds(decimals: u8, from_us: i64, to_us: i64) -> (String, Vec<Option<i64>>) {
        let timestamp = TimestampRange {
            min_us: 1_000_000,
            max_us: 9_999_999,
            decimals,
        };
        let limits = Limits {
            timestamp,
            ..Limits::default()
        };
        let indexes = Indexes::default();
        let shape = Shape {
            limits: &limits,
            indexes: &indexes,
        };
        let mut statement = Statement::default();
        statement.of_time(shape, Some(TimeRange { from_us, to_us }));
        let params = statement.params.iter().map(instant::from_value).collect();
        (statement.sql, params)
    }

    #[test]
    fn a_bound_between_two_instants_of_the_table_is_rounded_up() {
        let both = " AND ts >= ? AND ts < ?".to_owned();
        let rounded = vec![Some(3_000_000), Some(5_000_000)];
        assert_eq!(bounds(0, 2_000_001, 5_000_000), (both.clone(), rounded));
        let exact = vec![Some(2_000_001), Some(5_000_000)];
        assert_eq!(bounds(6, 2_000_001, 5_000_000), (both, exact));
    }

    #[test]
    fn a_bound_outside_of_the_table_is_left_out() {
        assert_eq!(bounds(6, i64::MIN, i64::MAX).0, "");
        assert_eq!(bounds(6, i64::MIN, 5_000_000).0, " AND ts < ?");
        assert_eq!(bounds(6, 2_000_000, 10_000_000).0, " AND ts >= ?");
        assert_eq!(bounds(6, 10_000_000, 20_000_000).0, " AND FALSE");
        assert_eq!(bounds(6, -5, 1_000_000).0, " AND FALSE");
    }
}
