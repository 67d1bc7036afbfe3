//! Protobuf <-> model.

use sluicegate_proto::v1::{self, StreamReadingsRequest, stream_readings_request::Message as Kind};

use crate::{
    model::{
        Epoch, Resumption, ResumptionError, SentReading, Seq, Series, SourceMark, SourcePosition,
        StreamHeader, StreamId,
    },
    usecase::ingest::{
        ColumnReadings, IngestError, Readings, RejectionNote,
        conversation::{Acknowledgement, Message, Sent},
    },
};

pub(super) fn stream_id(name: &str) -> Result<StreamId, IngestError> {
    StreamId::parse(name).map_err(|error| IngestError::Malformed {
        field: "stream_id".to_owned(),
        reason: error.to_string(),
    })
}

pub(super) fn header(header: &v1::StreamHeader) -> Result<StreamHeader, IngestError> {
    Ok(StreamHeader {
        stream_id: stream_id(&header.stream_id)?,
        epoch: Epoch(header.epoch),
        first_seq: Seq(header.first_seq),
    })
}

pub(super) fn resumption(resume: v1::ResumeStream) -> Result<Resumption, IngestError> {
    Resumption::new(Epoch(resume.held_epoch), Epoch(resume.next_epoch)).map_err(|error| {
        let field = match error {
            ResumptionError::NeverHeld => "resume.held_epoch",
            ResumptionError::Step => "resume.next_epoch",
        };
        IngestError::Malformed {
            field: field.to_owned(),
            reason: error.to_string(),
        }
    })
}

/// One message of a stream.
pub(super) fn message(request: StreamReadingsRequest) -> Result<Message, IngestError> {
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

/// A position as it is sent; empty for none.
pub(super) fn source_position(mark: Option<&SourceMark>) -> Vec<u8> {
    mark.map_or_else(Vec::new, |mark| mark.position.as_bytes().to_vec())
}

pub(super) fn reading(reading: v1::SensorReading) -> SentReading {
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

pub(super) fn rows(readings: Vec<v1::SensorReading>) -> Readings {
    Readings::Rows(readings.into_iter().map(reading).collect())
}

/// Columns that do not match in length have no rows: the message as a whole is malformed.
fn columns(batch: v1::ColumnBatch) -> Result<Readings, IngestError> {
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
    }))
}

pub(super) fn acknowledgement(of: Acknowledgement) -> v1::StreamAck {
    let Acknowledgement {
        progress,
        rejections,
        draining,
    } = of;
    v1::StreamAck {
        committed_seq: progress.committed_seq.0,
        committed: progress.committed,
        rejected: progress.rejected,
        duplicate: progress.duplicate,
        draining,
        rejected_readings: rejected(rejections),
        source_position: source_position(progress.mark.as_ref()),
    }
}

pub(super) fn rejected(notes: Vec<RejectionNote>) -> Vec<v1::RejectedReading> {
    let one = |note: RejectionNote| v1::RejectedReading {
        seq: note.seq.0,
        field: note.field.as_str().to_owned(),
        reason: note.reason,
    };
    notes.into_iter().map(one).collect()
}
