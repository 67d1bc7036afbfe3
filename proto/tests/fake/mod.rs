//! A model of the service's side of the contract: positions, epochs, dictionaries and acks, without a database. It
//! breaks calls on purpose.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use rand::{Rng as _, rngs::SmallRng};
use sluicegate_proto::v1::{
    BatchResponse, OpenStreamRequest, RejectedReading, SensorBatch, SensorReading, SensorResponse,
    Series, StreamAck, StreamHeader, StreamPosition, StreamReadingsRequest, StreamReadingsResponse,
    WatchReadingsRequest, WatchReadingsResponse,
    sensor_service_server::{SensorService, SensorServiceServer},
    stream_readings_request::Message,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// The code of a break that ends the call as if all were well.
pub(crate) const SILENT: Code = Code::Cancelled;

/// What happens when the next message of a call arrives. The call ends with the code.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "shared with tests that need less of it")]
pub(crate) enum Incident {
    /// Another writer opens the stream and commits so many readings of its own; the message is refused.
    OtherWriter { commits: u64, code: Code },
    /// The message is committed, and no acknowledgement of it arrives.
    CommittedUnseen { code: Code },
}

/// What becomes of an `OpenStream` that its sender hears nothing of.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "shared with tests that need less of it")]
pub(crate) enum Unanswered {
    /// It takes effect, and the answer is lost.
    AtOnce,
    /// It takes effect when the next call begins.
    Late,
}

/// What the model has stored, and how it is to misbehave.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) streams: HashMap<String, StreamPosition>,
    pub(crate) stored: Vec<SensorReading>,
    pub(crate) calls: u64,
    pub(crate) messages: u64,
    /// Every so many messages: commit a part of the message, then break the call.
    pub(crate) break_every: Option<u64>,
    /// Every so many messages: say that the service drains.
    pub(crate) drain_every: Option<u64>,
    /// Break and drain at random.
    pub(crate) chaos: Option<SmallRng>,
    /// Ack only every so many messages, and when nothing comes.
    pub(crate) ack_every: Option<u64>,
    /// Take no messages at all, and answer no unary calls.
    pub(crate) stalled: bool,
    /// Refuse a dictionary of more series per call.
    pub(crate) max_dictionary: Option<usize>,
    /// Refuse every call with this code.
    pub(crate) refuse: Option<Code>,
    pub(crate) incident: Option<Incident>,
    /// Of the next ones to arrive.
    pub(crate) unanswered_opens: VecDeque<Unanswered>,
    late_opens: Vec<OpenStreamRequest>,
    /// How long every message takes to be committed.
    pub(crate) message_takes: Duration,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    model: Arc<Mutex<Model>>,
}

/// The state of one call.
#[derive(Default)]
struct Call {
    header: Option<StreamHeader>,
    next_seq: u64,
    dictionary: Vec<Series>,
    ack: StreamAck,
    rejected: Vec<RejectedReading>,
}

impl Fake {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Serves on a free port until the test ends.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.serve_on(listener);
        address
    }

    /// Serves until the task is aborted.
    pub(crate) fn serve_on(&self, listener: TcpListener) -> JoinHandle<()> {
        let server = tonic::transport::Server::builder()
            .add_service(SensorServiceServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
        tokio::spawn(async move {
            server.await.unwrap();
        })
    }

    /// `OpenStream` as the service does it.
    pub(crate) fn open(&self, request: &OpenStreamRequest) -> Result<StreamPosition, Status> {
        open(&mut self.model().streams, request)
    }

    async fn start_unary_call(&self) -> Result<(), Status> {
        while self.model().stalled {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.start_call()
    }

    fn start_call(&self) -> Result<(), Status> {
        let mut model = self.model();
        model.calls += 1;
        match model.refuse {
            Some(code) => Err(Status::new(code, "refused on purpose")),
            None => Ok(()),
        }
    }

    /// True when the call is to end because the service drains.
    async fn take(&self, call: &mut Call, message: StreamReadingsRequest) -> Result<bool, Status> {
        while self.model().stalled {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let source_position = message.source_position;
        let readings = match message.message {
            None if source_position.is_empty() => return Err(Status::invalid_argument("empty")),
            None => Vec::new(),
            Some(Message::Header(header)) => {
                let mut model = self.model();
                for late in std::mem::take(&mut model.late_opens) {
                    // Whoever asked has gone: nobody hears the answer.
                    let _ = open(&mut model.streams, &late);
                }
                if !model.streams.contains_key(&header.stream_id) {
                    return Err(Status::failed_precondition("never opened"));
                }
                call.next_seq = header.first_seq;
                call.header = Some(header);
                return Ok(false);
            }
            Some(Message::Rows(batch)) => batch.readings,
            Some(Message::Columns(batch)) => {
                if !batch.extend_dictionary {
                    call.dictionary.clear();
                }
                call.dictionary.extend(batch.series);
                if let Some(limit) = self.model().max_dictionary
                    && call.dictionary.len() > limit
                {
                    return Err(Status::resource_exhausted("the dictionary is full"));
                }
                (0..batch.sensor_value.len())
                    .map(|i| {
                        let series = &call.dictionary[batch.series_index[i] as usize];
                        SensorReading {
                            sensor_value: Some(batch.sensor_value[i]),
                            sensor_type: series.sensor_type.clone(),
                            id1: series.id1,
                            id2: series.id2.clone(),
                            timestamp_us: Some(
                                batch.base_timestamp_us + batch.timestamp_delta_us[i],
                            ),
                        }
                    })
                    .collect()
            }
        };
        let message_takes = self.model().message_takes;
        tokio::time::sleep(message_takes).await;
        let mut model = self.model();
        model.messages += 1;
        let incident = model.incident.take();
        if let (Some(Incident::OtherWriter { commits, code }), Some(header)) =
            (incident, &call.header)
        {
            let stream = model.streams.get_mut(&header.stream_id);
            let stream = stream.ok_or(Status::failed_precondition("never opened"))?;
            stream.epoch += 1;
            stream.committed_seq += commits;
            return Err(Status::new(code, "another writer came"));
        }
        let due =
            |every: Option<u64>| every.is_some_and(|every| model.messages.is_multiple_of(every));
        let (mut breaks, mut drains) = (due(model.break_every), due(model.drain_every));
        let mut keep = match breaks {
            true => readings.len() / 2,
            false => readings.len(),
        };
        let mut status = Status::unavailable("broken on purpose");
        if let Some(random) = &mut model.chaos {
            breaks = random.random_bool(0.2);
            drains = !breaks && random.random_bool(0.1);
            if breaks {
                keep = random.random_range(0..=readings.len());
                let codes = [Code::Unavailable, Code::Internal, Code::Unknown, SILENT];
                let code = codes[random.random_range(0..codes.len())];
                status = Status::new(code, "broken at random");
            }
        }
        let is_whole = keep == readings.len();
        for reading in readings.into_iter().take(keep) {
            store(&mut model, call, reading)?;
        }
        if is_whole && !source_position.is_empty() {
            mark(&mut model, call, source_position);
        }
        if let Some(Incident::CommittedUnseen { code }) = incident {
            return Err(Status::new(code, "broken on purpose"));
        }
        match breaks {
            true => Err(status),
            false => Ok(drains),
        }
    }
}

fn open(
    streams: &mut HashMap<String, StreamPosition>,
    request: &OpenStreamRequest,
) -> Result<StreamPosition, Status> {
    let Some(resume) = request.resume else {
        let stream = streams.entry(request.stream_id.clone()).or_default();
        stream.epoch += 1;
        return Ok(stream.clone());
    };
    let forgotten = Status::failed_precondition("never opened");
    let stream = streams.get_mut(&request.stream_id);
    let stream = stream.ok_or(forgotten.clone())?;
    if stream.epoch == resume.held_epoch {
        stream.epoch = resume.next_epoch;
    }
    match stream.epoch {
        epoch if epoch == resume.next_epoch => Ok(stream.clone()),
        epoch if epoch < resume.held_epoch => Err(forgotten),
        _ => Err(Status::aborted("fenced")),
    }
}

/// All of a message is stored, and where its producer stood behind it, unless it was sent again.
fn mark(model: &mut Model, call: &mut Call, source_position: Vec<u8>) {
    let header = call.header.as_ref();
    let stream = header.and_then(|header| model.streams.get_mut(&header.stream_id));
    let seq = call.next_seq - 1;
    if let Some(stream) = stream.filter(|stream| seq >= stream.committed_seq) {
        stream.source_position.clone_from(&source_position);
        stream.source_seq = seq;
        call.ack.source_position = source_position;
    }
}

fn store(model: &mut Model, call: &mut Call, reading: SensorReading) -> Result<(), Status> {
    if let Some(header) = &call.header {
        let stream = model.streams.get_mut(&header.stream_id);
        let stream = stream.ok_or(Status::failed_precondition("never opened"))?;
        if header.epoch != stream.epoch {
            return Err(Status::aborted("fenced"));
        }
        let seq = call.next_seq;
        call.next_seq += 1;
        if seq > stream.committed_seq + 1 {
            return Err(Status::out_of_range("a gap"));
        }
        call.ack.committed_seq = stream.committed_seq.max(seq);
        if seq <= stream.committed_seq {
            call.ack.duplicate += 1;
            return Ok(());
        }
        stream.committed_seq = seq;
        stream.rejected += u64::from(reading.sensor_value().is_nan());
    } else {
        call.ack.committed_seq += 1;
    }
    if reading.sensor_value().is_nan() {
        call.ack.rejected += 1;
        call.rejected.push(RejectedReading {
            seq: call.ack.committed_seq,
            field: "sensor_value".to_owned(),
            reason: "not a number".to_owned(),
        });
    } else {
        call.ack.committed += 1;
        model.stored.push(reading);
    }
    Ok(())
}

#[tonic::async_trait]
impl SensorService for Fake {
    type StreamReadingsAckedStream = BoxStream<'static, Result<StreamAck, Status>>;
    type WatchReadingsStream = BoxStream<'static, Result<WatchReadingsResponse, Status>>;

    async fn watch_readings(
        &self,
        _: Request<WatchReadingsRequest>,
    ) -> Result<Response<Self::WatchReadingsStream>, Status> {
        Err(Status::unimplemented("no producer watches"))
    }

    async fn send_sensor_reading(
        &self,
        request: Request<SensorReading>,
    ) -> Result<Response<SensorResponse>, Status> {
        self.start_unary_call().await?;
        let reading = request.into_inner();
        if reading.sensor_value().is_nan() {
            return Err(Status::invalid_argument("not a number"));
        }
        self.model().stored.push(reading);
        Ok(Response::new(SensorResponse { committed: 1 }))
    }

    async fn send_sensor_batch(
        &self,
        request: Request<SensorBatch>,
    ) -> Result<Response<BatchResponse>, Status> {
        self.start_unary_call().await?;
        let mut call = Call::default();
        for reading in request.into_inner().readings {
            store(&mut self.model(), &mut call, reading)?;
        }
        Ok(Response::new(BatchResponse {
            received: call.ack.committed + call.ack.rejected,
            committed: call.ack.committed,
            rejected: call.ack.rejected,
            rejected_readings: call.rejected,
            ..BatchResponse::default()
        }))
    }

    async fn stream_readings(
        &self,
        request: Request<Streaming<StreamReadingsRequest>>,
    ) -> Result<Response<StreamReadingsResponse>, Status> {
        self.start_call()?;
        let mut messages = request.into_inner();
        let mut call = Call::default();
        while let Some(message) = messages.message().await? {
            self.take(&mut call, message).await?;
        }
        Ok(Response::new(StreamReadingsResponse {
            received: call.ack.committed + call.ack.rejected + call.ack.duplicate,
            committed: call.ack.committed,
            rejected: call.ack.rejected,
            duplicate: call.ack.duplicate,
            committed_seq: call.header.map_or(0, |_| call.ack.committed_seq),
            rejected_readings: call.rejected,
            source_position: call.ack.source_position,
        }))
    }

    async fn stream_readings_acked(
        &self,
        request: Request<Streaming<StreamReadingsRequest>>,
    ) -> Result<Response<Self::StreamReadingsAckedStream>, Status> {
        self.start_call()?;
        let mut messages = request.into_inner();
        // Room for one ack: a producer that does not read acks while it sends would stand still.
        let (acks, replies) = mpsc::channel(1);
        let fake = self.clone();
        tokio::spawn(async move {
            let mut call = Call::default();
            loop {
                let quiet = Duration::from_millis(5);
                let message = match tokio::time::timeout(quiet, messages.message()).await {
                    Err(_) => {
                        let _ = acks.send(Ok(call.ack.clone())).await;
                        continue;
                    }
                    Ok(Ok(Some(message))) => message,
                    Ok(Ok(None)) => {
                        let _ = acks.send(Ok(call.ack)).await;
                        return;
                    }
                    Ok(Err(_)) => return,
                };
                let taken = fake.take(&mut call, message).await;
                let draining = match taken {
                    Ok(draining) => draining,
                    Err(status) => {
                        if status.code() != SILENT {
                            let _ = acks.send(Err(status)).await;
                        }
                        return;
                    }
                };
                let unacknowledged = {
                    let model = fake.model();
                    model
                        .ack_every
                        .is_some_and(|every| !model.messages.is_multiple_of(every))
                };
                if unacknowledged && !draining {
                    continue;
                }
                let ack = StreamAck {
                    draining,
                    rejected_readings: std::mem::take(&mut call.rejected),
                    ..call.ack.clone()
                };
                if acks.send(Ok(ack)).await.is_err() || draining {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(replies).boxed()))
    }

    async fn open_stream(
        &self,
        request: Request<OpenStreamRequest>,
    ) -> Result<Response<StreamPosition>, Status> {
        let request = request.into_inner();
        let unanswered = self.model().unanswered_opens.pop_front();
        match unanswered {
            None => return self.open(&request).map(Response::new),
            Some(Unanswered::AtOnce) => {
                self.open(&request)?;
            }
            Some(Unanswered::Late) => self.model().late_opens.push(request),
        }
        std::future::pending().await
    }
}
