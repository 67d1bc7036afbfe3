//! Messages of the contract, in the model's words.

use sluicegate_proto::v1::{self, StreamReadingsRequest, stream_readings_request::Message as Kind};

use crate::{
    model::{
        Epoch, SentReading, Seq, Series, SourcePosition, StreamHeader, StreamId, TaggedSeries,
        fault_of_tags,
    },
    usecase::ingest::{
        ColumnReadings, IngestError, Readings,
        conversation::{Message, Sent},
    },
};

pub(crate) fn stream_id(name: &str) -> Result<StreamId, IngestError> {
    StreamId::parse(name).map_err(|error| IngestError::Malformed {
        field: "stream_id".to_owned(),
        reason: error.to_string(),
    })
}

pub(crate) fn header(header: &v1::StreamHeader) -> Result<StreamHeader, IngestError> {
    Ok(StreamHeader {
        stream_id: stream_id(&header.stream_id)?,
        epoch: Epoch(header.epoch),
        first_seq: Seq(header.first_seq),
    })
}

/// One message of a stream.
pub(crate) fn message(request: StreamReadingsRequest) -> Result<Message, IngestError> {
    let StreamReadingsRequest {
        message,
        source_position,
    } = request;
    let malformed = |field: &str, reason: String| IngestError::Malformed {
        field: field.to_owned(),
        reason,
    };
    let source_position = SourcePosition::parse(&source_position)
        .map_err(|error| malformed("source_position", error.to_string()))?;
    let readings = match message {
        Some(Kind::Header(_)) if source_position.is_some() => {
            let reason =
                "a header brings no source_position: send that with the readings before it";
            return Err(malformed("source_position", reason.to_owned()));
        }
        Some(Kind::Header(sent)) => return header(&sent).map(Message::Header),
        Some(Kind::Rows(batch)) if batch.position.is_some() => {
            let reason = "a batch inside a stream has no position of its own: the header has it";
            return Err(malformed("rows.position", reason.to_owned()));
        }
        Some(Kind::Rows(batch)) => rows(batch.readings),
        Some(Kind::Columns(batch)) => columns(batch)?,
        // One without a field has no reading.
        None => rows(Vec::new()),
    };
    Ok(Message::Readings(Sent {
        readings,
        source_position,
    }))
}

pub(crate) fn reading(reading: v1::SensorReading) -> SentReading {
    let v1::SensorReading {
        sensor_value,
        sensor_type,
        id1,
        id2,
        timestamp_us,
    } = reading;
    SentReading {
        series: Series {
            id1,
            id2,
            sensor_type,
        },
        sensor_value,
        timestamp_us,
    }
}

pub(crate) fn rows(readings: Vec<v1::SensorReading>) -> Readings {
    Readings::Rows(readings.into_iter().map(reading).collect())
}

/// Columns that do not match in length have no rows: the message as a whole is malformed.
pub(crate) fn columns(batch: v1::ColumnBatch) -> Result<Readings, IngestError> {
    let rows = batch.series_index.len();
    for (field, length) in [
        ("sensor_value", batch.sensor_value.len()),
        ("timestamp_delta_us", batch.timestamp_delta_us.len()),
    ] {
        if length != rows {
            return Err(IngestError::Malformed {
                field: format!("columns.{field}"),
                reason: format!(
                    "{field} has {length} elements, series_index has {rows}: columns need the same length"
                ),
            });
        }
    }
    let tags = tags(batch.series_tags, batch.series.len())?;
    let series = batch.series.into_iter().map(|one| Series {
        id1: one.id1,
        id2: one.id2,
        sensor_type: one.sensor_type,
    });
    Ok(Readings::Columns(ColumnReadings {
        series: series.collect(),
        extend_dictionary: batch.extend_dictionary,
        series_index: batch.series_index,
        sensor_value: batch.sensor_value,
        base_timestamp_us: batch.base_timestamp_us,
        timestamp_delta_us: batch.timestamp_delta_us,
        undecoded: Vec::new(),
        tags,
    }))
}

/// What is wrong with one of them is wrong with the message: its producer is a program, and is told.
fn tags(told: Vec<v1::SeriesTags>, series: usize) -> Result<Vec<TaggedSeries>, IngestError> {
    let mut tags = Vec::with_capacity(told.len());
    for (place, one) in told.into_iter().enumerate() {
        let malformed = |field: &str, reason| {
            Err(IngestError::Malformed {
                field: format!("columns.series_tags[{place}].{field}"),
                reason,
            })
        };
        let index = one.series_index;
        if index as usize >= series {
            let reason = format!("series_index is {index}, and the message brings {series} series");
            return malformed("series_index", reason);
        }
        let one = TaggedSeries {
            index,
            tags: one.tags.into_iter().collect(),
        };
        if let Some(fault) = fault_of_tags(&one.tags) {
            return malformed("tags", fault);
        }
        tags.push(one);
    }
    Ok(tags)
}
