//! Readings that come in over HTTP: as JSON, CSV and line protocol at `/readings`, and where clients of InfluxDB send them.

mod asked;
mod body;
pub(super) mod influx;
mod mappings;
mod payloads;
mod places;
pub(super) mod readings;
mod refusal;
mod store;

use std::{sync::Arc, time::Duration};

use sluicegate_decode::{Limits, MappingError};
use sluicegate_transport::Complaint;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::{mappings::Mappings, payloads::PartLimits};
use crate::{
    config::RestConfig,
    router::rest::problem::{Kind, Problem},
    telemetry::metrics::{Counter, Metrics},
    usecase::ingest::{Ingest, conversation::Bounds},
};

/// A document may take so much of the memory for readings while it comes in: one part in so many.
const DOCUMENT_SHARE: u32 = 4;

/// What requests with readings share.
pub(super) struct Intake {
    places: Arc<Semaphore>,
    max_writes: usize,
    max_write_bytes: u64,
    max_line_bytes: usize,
    max_document_bytes: usize,
    mappings: Mappings,
    bounds: Bounds,
    left_out: Counter,
    left_out_told: Complaint,
}

impl Intake {
    /// # Errors
    /// When a mapping does not fit together.
    pub(super) fn new(
        config: &RestConfig,
        draining: CancellationToken,
        metrics: &Metrics,
    ) -> Result<Self, MappingError> {
        let idle_limit = Duration::from_secs(config.write_idle_limit_s);
        Ok(Self {
            places: Arc::new(Semaphore::new(config.max_writes)),
            max_writes: config.max_writes,
            max_write_bytes: config.max_write_bytes,
            max_line_bytes: config.max_line_bytes,
            max_document_bytes: config.max_document_bytes,
            mappings: Mappings::new(&config.mappings)?,
            bounds: Bounds {
                idle_limit,
                message_deadline: idle_limit,
                draining,
            },
            left_out: metrics.register(
                "decode_left_out",
                "Values in payloads that are no numbers, beside others that are: text fields of line protocol",
                Counter::default(),
            ),
            left_out_told: Complaint::default(),
        })
    }

    /// A place for one request.
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{} requests bring readings, which are as many as may at once (rest.max_writes): try again in a moment.",
                self.max_writes
            );
            Problem::new(Kind::Busy, detail)
        })
    }

    /// How large the parts of a body may be.
    fn limits(&self, ingest: &Ingest) -> PartLimits {
        let share = ingest.admission().budget_bytes() / DOCUMENT_SHARE;
        let limits = ingest.facts().limits;
        PartLimits {
            line_bytes: self.max_line_bytes,
            document_bytes: self.max_document_bytes.min(share as usize),
            names: Limits {
                sensor_type_chars: limits.sensor_type_max_chars,
                id2_chars: limits.id2_max_chars,
            },
        }
    }

    /// Some values were no numbers.
    fn leave_out(&self, values: u64) {
        self.left_out.inc_by(values);
        if values > 0 && self.left_out_told.is_due() {
            tracing::info!(values, "values that are no numbers are left out");
        }
    }
}
