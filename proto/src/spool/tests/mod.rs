//! The log of a spool, by itself: against a model, and claim by claim.

mod claims;
mod model;

use std::path::Path;

use super::{
    error::SpoolError,
    log::Log,
    options::SpoolOptions,
    position::{Identity, Place, SpoolPosition},
    reader::{Next, Reader},
    record::Batch,
    recovery,
    resume::Standing,
};
use crate::v1::{ColumnBatch, Series};

pub(super) fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions::new(folder).max_bytes(1 << 20)
}

pub(super) fn open(folder: &Path) -> Log {
    recovery::open(&options(folder), "gateway").unwrap()
}

/// Readings whose values are their numbers.
pub(super) fn batch(values: std::ops::Range<u64>, has_position: bool) -> Batch {
    let readings = (values.end - values.start) as usize;
    let position = values.end.to_string().into_bytes();
    Batch {
        columns: ColumnBatch {
            series: vec![Series {
                id1: 1,
                id2: "x".repeat(40),
                sensor_type: "t".to_owned(),
            }],
            series_index: vec![0; readings],
            sensor_value: values.map(|value| value as f64).collect(),
            base_timestamp_us: 5,
            timestamp_delta_us: vec![1; readings],
            ..ColumnBatch::default()
        },
        source_position: if has_position { position } else { Vec::new() },
        marked: if has_position { readings as u32 } else { 0 },
    }
}

/// All that a reader gets from here on.
pub(super) fn read_all(
    log: &mut Log,
    reader: &mut Reader,
) -> Result<Vec<(Vec<u64>, Place)>, SpoolError> {
    let mut all = Vec::new();
    while let Next::Record(stored) = reader.next(log)? {
        let values = &stored.columns.sensor_value[stored.skip..];
        all.push((
            values.iter().map(|value| *value as u64).collect(),
            stored.place,
        ));
    }
    Ok(all)
}

/// The service: what is stored of the stream, and where it stands.
#[derive(Default)]
pub(super) struct Service {
    pub(super) stored: Vec<u64>,
    pub(super) position: Option<(SpoolPosition, u64)>,
}

impl Service {
    pub(super) fn standing(&self) -> Standing {
        Standing {
            committed_seq: self.stored.len() as u64,
            source_seq: self.position.map(|(_, seq)| seq),
            source_position: self
                .position
                .map(|(position, _)| position.to_string().into_bytes()),
        }
    }

    /// Stores a record, or the beginning of it, which brings no position.
    pub(super) fn store(&mut self, identity: Identity, values: &[u64], place: Place, whole: bool) {
        let kept = if whole {
            values.len()
        } else {
            values.len() / 2
        };
        self.stored.extend(&values[..kept]);
        if whole {
            let position = SpoolPosition { identity, place };
            self.position = Some((position, self.stored.len() as u64));
        }
    }
}
