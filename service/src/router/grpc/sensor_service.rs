//! The five calls of `sluicegate.v1.SensorService`. Each parses, calls one use case and maps the answer.

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use sluicegate_proto::v1::{
    self, BatchResponse, OpenStreamRequest, SensorBatch, SensorReading, SensorResponse, StreamAck,
    StreamPosition, StreamReadingsRequest, StreamReadingsResponse,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert,
    status::{of_error, of_rejection},
    streaming::{self, Requests},
};
use crate::usecase::ingest::{
    Ingest, IngestError, Readings,
    conversation::{Bounds, Conversation},
};

pub(super) struct SensorServiceImpl {
    ingest: Arc<Ingest>,
    bounds: Bounds,
    /// One token for each call that is open.
    calls: TaskTracker,
}

impl SensorServiceImpl {
    pub(super) fn new(
        ingest: Arc<Ingest>,
        idle_limit: Duration,
        draining: CancellationToken,
        calls: TaskTracker,
    ) -> Self {
        Self {
            ingest,
            bounds: Bounds {
                idle_limit,
                draining,
            },
            calls,
        }
    }
}

#[tonic::async_trait]
impl v1::sensor_service_server::SensorService for SensorServiceImpl {
    async fn send_sensor_reading(
        &self,
        request: Request<SensorReading>,
    ) -> Result<Response<SensorResponse>, Status> {
        let _open = self.calls.token();
        let readings = Readings::Rows(vec![convert::reading(request.into_inner())]);
        let summary = self
            .ingest
            .submit(None, readings)
            .await
            .map_err(|e| of_error(&e))?;
        match summary.rejections.first() {
            Some(note) => Err(of_rejection(note)),
            None => Ok(Response::new(SensorResponse {
                committed: summary.committed,
            })),
        }
    }

    async fn send_sensor_batch(
        &self,
        request: Request<SensorBatch>,
    ) -> Result<Response<BatchResponse>, Status> {
        let _open = self.calls.token();
        let batch = request.into_inner();
        let header = batch.position.as_ref().map(convert::header).transpose();
        let header = header.map_err(|e| of_error(&e))?;
        let readings = convert::rows("readings", batch.readings).map_err(|e| of_error(&e))?;
        let summary = self
            .ingest
            .submit(header, readings)
            .await
            .map_err(|e| of_error(&e))?;
        Ok(Response::new(BatchResponse {
            received: summary.received,
            committed: summary.committed,
            rejected: summary.rejected,
            duplicate: summary.duplicate,
            committed_seq: summary.committed_seq.0,
            rejected_readings: convert::rejected(summary.rejections),
        }))
    }

    async fn stream_readings(
        &self,
        request: Request<Streaming<StreamReadingsRequest>>,
    ) -> Result<Response<StreamReadingsResponse>, Status> {
        let _open = self.calls.token();
        let requests = Requests(request.into_inner());
        let conversation = Conversation::new(&self.ingest, requests, self.bounds.clone());
        let summary = conversation.store().await?;
        Ok(Response::new(StreamReadingsResponse {
            received: summary.received,
            committed: summary.committed,
            rejected: summary.rejected,
            duplicate: summary.duplicate,
            committed_seq: summary.committed_seq.0,
            rejected_readings: convert::rejected(summary.rejections),
        }))
    }

    type StreamReadingsAckedStream = BoxStream<'static, Result<StreamAck, Status>>;

    async fn stream_readings_acked(
        &self,
        request: Request<Streaming<StreamReadingsRequest>>,
    ) -> Result<Response<Self::StreamReadingsAckedStream>, Status> {
        Ok(Response::new(streaming::store_acked(
            self.ingest.clone(),
            Requests(request.into_inner()),
            self.bounds.clone(),
            &self.calls,
        )))
    }

    async fn open_stream(
        &self,
        request: Request<OpenStreamRequest>,
    ) -> Result<Response<StreamPosition>, Status> {
        let _open = self.calls.token();
        let OpenStreamRequest { stream_id, resume } = request.into_inner();
        let stream = convert::stream_id(&stream_id).map_err(|e| of_error(&e))?;
        let resumption = resume.map(convert::resumption).transpose();
        let resumption = resumption.map_err(|e| of_error(&e))?;
        let opening = async {
            match resumption {
                None => self.ingest.open_stream(&stream).await,
                Some(resumption) => self.ingest.resume_stream(&stream, resumption).await,
            }
        };
        let opened = tokio::select! {
            opened = opening => opened,
            () = self.bounds.draining.cancelled() => Err(IngestError::Draining),
        };
        let opened = opened.map_err(|e| of_error(&e))?;
        Ok(Response::new(StreamPosition {
            epoch: opened.position.epoch.0,
            committed_seq: opened.position.committed_seq.0,
            rejected: opened.rejected,
        }))
    }
}
