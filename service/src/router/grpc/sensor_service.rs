//! The calls of `sluicegate.v1.SensorService`. Each parses, calls one use case and maps the answer.

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use sluicegate_proto::v1::{
    BatchResponse, OpenStreamRequest, SensorBatch, SensorReading, SensorResponse, StreamAck,
    StreamPosition, StreamReadingsRequest, StreamReadingsResponse, WatchReadingsRequest,
    WatchReadingsResponse,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::{
    convert,
    places::Places,
    requests::Requests,
    status::{self, of_live, of_rejection},
    streaming::{self, StreamRequests},
    unread::Unread,
    watching::{self, Watching},
};
use crate::{
    contract::{self, Weighed},
    usecase::{
        UseCases,
        ingest::{
            Caller, EntryDoor, Ingest, IngestError, Readings,
            admission::{Patience, Room},
            arrivals::{Arrivals as _, receive},
            conversation::{Bounds, Conversation, Manner},
        },
        live::Live,
    },
};

pub(super) struct SensorService {
    ingest: Arc<Ingest>,
    caller: Caller,
    bounds: Bounds,
}

impl SensorService {
    pub(super) fn new(ingest: Arc<Ingest>, caller: Caller, bounds: Bounds) -> Self {
        Self {
            ingest,
            caller,
            bounds,
        }
    }

    /// The message of a unary call. It has to be there in time, its beginning as well.
    async fn only<T: Weighed>(
        &self,
        mut requests: Requests<T>,
        patience: Patience,
    ) -> Result<(T, Room), Status> {
        let deadline = self.bounds.message_deadline;
        let admission = self.ingest.admission();
        let message = async {
            let missing_bytes = requests.announced().await?.ok_or_else(status::missing)?;
            receive(&mut requests, missing_bytes, admission, patience, deadline).await
        };
        tokio::time::timeout(deadline, message)
            .await
            .unwrap_or_else(|_| Err(IngestError::MessageDeadline { deadline }.into()))
    }

    pub(super) async fn send_sensor_reading(
        &self,
        requests: Requests<SensorReading>,
    ) -> Result<SensorResponse, Status> {
        let (reading, room) = self.only(requests, Patience::ComesBack).await?;
        let readings = Readings::Rows(vec![contract::reading(reading)]);
        let summary = self
            .ingest
            .submit(None, &self.caller, (readings, room), EntryDoor::Unary)
            .await?;
        match summary.rejections.first() {
            Some(note) => Err(of_rejection(note)),
            None => Ok(SensorResponse {
                committed: summary.committed,
            }),
        }
    }

    pub(super) async fn send_sensor_batch(
        &self,
        requests: Requests<SensorBatch>,
    ) -> Result<BatchResponse, Status> {
        let (batch, room) = self.only(requests, Patience::ComesBack).await?;
        let header = batch.position.as_ref().map(contract::header).transpose()?;
        let readings = contract::rows(batch.readings);
        let summary = self
            .ingest
            .submit(header, &self.caller, (readings, room), EntryDoor::Batch)
            .await?;
        Ok(BatchResponse {
            received: summary.received,
            committed: summary.committed,
            rejected: summary.rejected,
            duplicate: summary.duplicate,
            committed_seq: summary.committed_seq.0,
            rejected_readings: convert::rejected(summary.rejections),
        })
    }

    pub(super) async fn stream_readings(
        &self,
        requests: Requests<StreamReadingsRequest>,
    ) -> Result<StreamReadingsResponse, Status> {
        let requests = StreamRequests(requests);
        let conversation = Conversation::new(
            &self.ingest,
            self.caller.clone(),
            requests,
            self.bounds.clone(),
            Manner::streaming(EntryDoor::Stream),
        );
        let summary = conversation.store().await?;
        Ok(StreamReadingsResponse {
            received: summary.received,
            committed: summary.committed,
            rejected: summary.rejected,
            duplicate: summary.duplicate,
            committed_seq: summary.committed_seq.0,
            rejected_readings: convert::rejected(summary.rejections),
            source_position: convert::source_position(summary.mark.as_ref()),
        })
    }

    pub(super) fn stream_readings_acked(
        &self,
        requests: Requests<StreamReadingsRequest>,
        deadline: Option<Duration>,
        calls: &TaskTracker,
    ) -> BoxStream<'static, Result<StreamAck, Status>> {
        streaming::store_acked(
            (self.ingest.clone(), self.caller.clone()),
            StreamRequests(requests),
            self.bounds.clone(),
            deadline,
            calls,
        )
    }

    pub(super) async fn open_stream(
        &self,
        requests: Requests<OpenStreamRequest>,
    ) -> Result<StreamPosition, Status> {
        // Who goes on with a stream gives room back rather than takes it.
        let (request, _room) = self.only(requests, Patience::Waits).await?;
        let OpenStreamRequest { stream_id, resume } = request;
        let stream = contract::stream_id(&stream_id)?;
        let resumption = resume.map(convert::resumption).transpose()?;
        let opening = async {
            match resumption {
                None => self.ingest.open_stream(&stream, &self.caller).await,
                Some(resumption) => {
                    let resuming = self.ingest.resume_stream(&stream, resumption, &self.caller);
                    resuming.await
                }
            }
        };
        let opened = tokio::select! {
            opened = opening => opened?,
            () = self.bounds.draining.cancelled() => return Err(IngestError::Draining.into()),
        };
        Ok(StreamPosition {
            epoch: opened.position.epoch.0,
            committed_seq: opened.position.committed_seq.0,
            rejected: opened.rejected,
            source_position: convert::source_position(opened.mark.as_ref()),
            source_seq: opened.mark.map_or(0, |mark| mark.seq.0),
        })
    }
    pub(super) async fn watch_readings(
        &self,
        requests: Requests<WatchReadingsRequest>,
        use_cases: &UseCases,
        (places, unread): (&Places, &Unread),
        deadline: Option<Duration>,
    ) -> Result<BoxStream<'static, Result<WatchReadingsResponse, Status>>, Status> {
        let deadline = deadline.map(|deadline| (deadline, Instant::now() + deadline));
        let (request, _room) = self.only(requests, Patience::ComesBack).await?;
        let wanted = watching::wanted(request)?;
        let place = places.watch()?;
        let UseCases {
            ingest,
            manage,
            watcher_rooms,
            ..
        } = use_cases;
        let beginning = Live::begin(ingest, manage, watcher_rooms, wanted);
        let live = tokio::select! {
            live = beginning => live.map_err(|error| of_live(&error))?,
            () = self.bounds.draining.cancelled() => return Err(IngestError::Draining.into()),
        };
        let watching = Watching {
            live,
            caller: self.caller.clone(),
            draining: self.bounds.draining.clone(),
            deadline,
            unread: unread.clone(),
            _place: place,
        };
        Ok(watching.replies())
    }
}
