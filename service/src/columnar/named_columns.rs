//! The columns of a batch by their names, whatever they were written with.

use arrow_array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray, TimestampMicrosecondArray, cast::AsArray as _,
};
use arrow_schema::{DataType, TimeUnit};

use super::fault::Fault;

/// The value of a row, or the column that has none and why.
type Found<T> = Result<T, (&'static str, String)>;

/// The columns of which readings are made.
pub(super) struct NamedColumns<'a> {
    id1: Whole<'a>,
    id2: Texts<'a>,
    sensor_type: Texts<'a>,
    sensor_value: &'a Float64Array,
    timestamp: &'a TimestampMicrosecondArray,
}

impl<'a> NamedColumns<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        let column = |name: &'static str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| Fault::of_column(name, "it is missing"))
        };
        let (value, time) = (column("sensor_value")?, column("timestamp")?);
        let sensor_value = value
            .as_any()
            .downcast_ref()
            .ok_or_else(|| of_type("sensor_value", value, "float64"))?;
        Ok(Self {
            id1: Whole::of("id1", column("id1")?)?,
            id2: Texts::of("id2", column("id2")?)?,
            sensor_type: Texts::of("sensor_type", column("sensor_type")?)?,
            sensor_value,
            timestamp: times(time)?,
        })
    }

    pub(super) fn id1(&self, row: usize) -> Found<i32> {
        self.id1.at(row)
    }

    pub(super) fn id2(&self, row: usize) -> Found<&'a str> {
        self.id2.at(row)
    }

    pub(super) fn sensor_type(&self, row: usize) -> Found<&'a str> {
        self.sensor_type.at(row)
    }

    pub(super) fn sensor_value(&self, row: usize) -> Found<f64> {
        let name = "sensor_value";
        let value = there(name, self.sensor_value, row).map(|()| self.sensor_value.value(row))?;
        match value.is_finite() {
            true => Ok(value),
            false => Err((name, format!("{value} is not a finite number"))),
        }
    }

    pub(super) fn timestamp_us(&self, row: usize) -> Found<i64> {
        there("timestamp", self.timestamp, row).map(|()| self.timestamp.value(row))
    }
}

fn of_type(name: &'static str, column: &ArrayRef, wanted: &str) -> Fault {
    let found = column.data_type();
    Fault::of_column(
        name,
        format!("it is of the type {found}, and has to be {wanted}"),
    )
}

fn there(name: &'static str, column: &dyn Array, row: usize) -> Found<()> {
    match column.is_null(row) {
        true => Err((name, "it is null".to_owned())),
        false => Ok(()),
    }
}

/// Microseconds of UTC. A time without a zone could be of any place.
fn times(column: &ArrayRef) -> Result<&TimestampMicrosecondArray, Fault> {
    let is_utc = |zone: &str| matches!(zone, "UTC" | "Etc/UTC" | "Z" | "+00:00" | "utc");
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if is_utc(zone) => {
            Ok(column.as_primitive())
        }
        _ => Err(of_type(
            "timestamp",
            column,
            "a timestamp in microseconds of UTC",
        )),
    }
}

/// Whole numbers of 32 bits, or of 64 that hold such.
enum Whole<'a> {
    Short(&'static str, &'a Int32Array),
    Long(&'static str, &'a Int64Array),
}

impl<'a> Whole<'a> {
    fn of(name: &'static str, column: &'a ArrayRef) -> Result<Self, Fault> {
        match column.data_type() {
            DataType::Int32 => Ok(Self::Short(name, column.as_primitive())),
            DataType::Int64 => Ok(Self::Long(name, column.as_primitive())),
            _ => Err(of_type(name, column, "int32")),
        }
    }

    fn at(&self, row: usize) -> Found<i32> {
        match *self {
            Self::Short(name, column) => there(name, column, row).map(|()| column.value(row)),
            Self::Long(name, column) => {
                there(name, column, row)?;
                let value = column.value(row);
                let must = "does not fit into 32 bits";
                i32::try_from(value).map_err(|_| (name, format!("{value} {must}")))
            }
        }
    }
}

/// Texts, with a dictionary or without.
struct Texts<'a> {
    name: &'static str,
    column: &'a ArrayRef,
    /// Where each row's text stands among the values; None: in its own row.
    places: Option<Vec<usize>>,
    values: Values<'a>,
}

enum Values<'a> {
    Short(&'a StringArray),
    Long(&'a LargeStringArray),
    Viewed(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    fn of(name: &'static str, column: &'a ArrayRef) -> Result<Self, Fault> {
        let dictionary = column.as_any_dictionary_opt();
        let places = dictionary.map(|it| match it.values().is_empty() {
            // Nothing but nulls.
            true => vec![0; it.len()],
            false => it.normalized_keys(),
        });
        let values = dictionary.map_or(column, |it| it.values());
        let values = match values.data_type() {
            DataType::Utf8 => Values::Short(values.as_string()),
            DataType::LargeUtf8 => Values::Long(values.as_string()),
            DataType::Utf8View => Values::Viewed(values.as_string_view()),
            _ => return Err(of_type(name, column, "a text")),
        };
        Ok(Self {
            name,
            column,
            places,
            values,
        })
    }

    fn at(&self, row: usize) -> Found<&'a str> {
        there(self.name, self.column, row)?;
        let place = self.places.as_ref().map_or(row, |places| places[row]);
        match self.values {
            Values::Short(values) => there(self.name, values, place).map(|()| values.value(place)),
            Values::Long(values) => there(self.name, values, place).map(|()| values.value(place)),
            Values::Viewed(values) => there(self.name, values, place).map(|()| values.value(place)),
        }
    }
}
