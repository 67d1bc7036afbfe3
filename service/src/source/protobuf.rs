//! Payloads that are messages of the contract.

use sluicegate_proto::v1::{ColumnBatch, SensorBatch, SensorReading};

use crate::{
    config::Protobuf,
    contract::{self, Unreadable, Weighed},
    model::SentReading,
    usecase::ingest::{IngestError, Readings},
};

const UNREADABLE: &str = "is cut short, or no protobuf";

/// What a payload takes in memory, bytes; or why nothing can be read of it.
pub(super) fn weigh(of: Protobuf, payload: &[u8]) -> Result<usize, String> {
    let weighed = match of {
        Protobuf::SensorReading => SensorReading::weigh(payload),
        Protobuf::SensorBatch => SensorBatch::weigh(payload),
        Protobuf::ColumnBatch => ColumnBatch::weigh(payload),
    };
    match weighed {
        Err(Unreadable) => Err(format!("the payload {UNREADABLE}")),
        Ok(Err(error)) => Err(reason(error)),
        Ok(Ok(weight)) => Ok(weight.bytes()),
    }
}

/// Reads a payload.
pub(super) fn read(of: Protobuf, payload: &[u8]) -> Result<Readings, String> {
    match of {
        Protobuf::SensorReading => {
            let reading: SensorReading = decode(payload)?;
            Ok(Readings::Rows(vec![contract::reading(reading)]))
        }
        Protobuf::SensorBatch => {
            let batch: SensorBatch = decode(payload)?;
            match batch.position {
                None => Ok(contract::rows(batch.readings)),
                Some(_) => Err("position: a batch in a queue has none of its own".to_owned()),
            }
        }
        Protobuf::ColumnBatch => {
            let batch: ColumnBatch = decode(payload)?;
            if batch.extend_dictionary {
                let reason = "extend_dictionary: a batch in a queue brings all of its series, for nobody knows what was read \
                              before it";
                return Err(reason.to_owned());
            }
            contract::columns(batch).map_err(reason)
        }
    }
}

/// Reads a payload that is one reading.
pub(super) fn read_one(payload: &[u8]) -> Result<SentReading, String> {
    decode(payload).map(contract::reading)
}

fn decode<T: Weighed>(payload: &[u8]) -> Result<T, String> {
    let weight = match T::weigh(payload) {
        Err(Unreadable) => return Err(format!("the payload {UNREADABLE}")),
        Ok(weight) => weight.map_err(reason)?,
    };
    let mut decoded = T::with_room(&weight);
    match decoded.merge(payload) {
        Ok(()) => Ok(decoded),
        Err(error) => Err(format!(
            "the payload is no message of the contract: {error}"
        )),
    }
}

fn reason(error: IngestError) -> String {
    match error {
        IngestError::Malformed { field, reason } => format!("{field}: {reason}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_batch_that_leans_on_others_is_refused() {
        let batch = ColumnBatch {
            extend_dictionary: true,
            ..ColumnBatch::default()
        };
        let reason = read(Protobuf::ColumnBatch, &batch.encode_to_vec()).unwrap_err();
        assert!(reason.starts_with("extend_dictionary"), "{reason}");
        let batch = ColumnBatch {
            series_index: vec![0, 0],
            sensor_value: vec![1.0],
            ..ColumnBatch::default()
        };
        let reason = read(Protobuf::ColumnBatch, &batch.encode_to_vec()).unwrap_err();
        assert!(reason.starts_with("columns.sensor_value"), "{reason}");
        assert!(weigh(Protobuf::SensorBatch, b"\x0a\xff").is_err());
    }

    #[test]
    fn a_reading_is_read_alone() {
        let reading = SensorReading {
            sensor_value: Some(81.5),
            id1: 4,
            ..SensorReading::default()
        };
        let payload = reading.encode_to_vec();
        assert!(weigh(Protobuf::SensorReading, &payload).unwrap() > payload.len());
        assert_eq!(read_one(&payload).unwrap().series.id1, 4);
        assert!(read_one(b"\xff\xff").is_err());
    }
}
