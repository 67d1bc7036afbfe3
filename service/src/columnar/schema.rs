//! The columns of a table of readings, and how rows become columns.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, types::Int32Type,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::model::StoredReading;

/// Names of the columns, in their order.
pub const COLUMNS: [&str; 6] = [
    "id",
    "timestamp",
    "id1",
    "id2",
    "sensor_type",
    "sensor_value",
];

const UTC: &str = "UTC";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let types = [
        DataType::Int64,
        DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        DataType::Int32,
        text(),
        text(),
        DataType::Float64,
    ];
    let field = |(name, of_type)| Field::new(name, of_type, false);
    let fields: Vec<Field> = COLUMNS.into_iter().zip(types).map(field).collect();
    Arc::new(Schema::new(fields))
});

pub(super) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Rows as columns. Each text stands once in the dictionary of the batch, which has no more entries than the batch has rows.
pub(super) fn record_batch(readings: &[StoredReading]) -> Result<RecordBatch, ArrowError> {
    let rows = || readings.iter().map(|stored| &stored.reading);
    let ids: Int64Array = readings.iter().map(|stored| Some(stored.id)).collect();
    let times: TimestampMicrosecondArray = rows().map(|row| Some(row.timestamp_us)).collect();
    let id1: Int32Array = rows().map(|row| Some(row.series.id1)).collect();
    let values: Float64Array = rows().map(|row| Some(row.sensor_value)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(times.with_timezone(UTC)),
        Arc::new(id1),
        Arc::new(texts(rows().map(|row| row.series.id2.as_str()))?),
        Arc::new(texts(rows().map(|row| row.series.sensor_type.as_str()))?),
        Arc::new(values),
    ];
    RecordBatch::try_new(schema(), columns)
}

fn texts<'a>(
    rows: impl Iterator<Item = &'a str>,
) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let mut places = hashbrown::HashMap::new();
    let mut values = Vec::new();
    let mut keys = Vec::new();
    for text in rows {
        let next = i32::try_from(values.len()).unwrap_or(i32::MAX);
        let key = *places.entry(text).or_insert_with(|| {
            values.push(text);
            next
        });
        keys.push(key);
    }
    let values = Arc::new(StringArray::from_iter_values(values));
    DictionaryArray::try_new(Int32Array::from(keys), values)
}
