//! Connects, opens the stream and starts calls.

use std::{future::Future, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _, TryFutureExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{
    ProducerError,
    backoff::Backoff,
    bearer::Bearer,
    error::{Verdict, judge},
    hold::{Claim, Hold},
    progress::SourceMark,
    settings::Settings,
    trouble::{after_another, describe, root_cause},
};
use crate::v1::{
    OpenStreamRequest, StreamAck, StreamHeader, StreamPosition, StreamReadingsRequest,
    StreamReadingsResponse, sensor_service_client::SensorServiceClient,
    stream_readings_request::Message,
};

/// Messages that wait between the window and the connection: one in the socket, one behind it.
const MESSAGES_AHEAD: usize = 2;

pub(super) type Client = SensorServiceClient<InterceptedService<Channel, Bearer>>;
/// Acknowledgements of one call.
pub(super) type Replies = BoxStream<'static, Result<StreamAck, Status>>;

/// A connection, and where the stream stands; `None` for an anonymous one.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) position: Option<StreamPosition>,
}

impl Opened {
    pub(super) fn committed_seq(&self) -> u64 {
        let position = self.position.as_ref();
        position.map_or(0, |position| position.committed_seq)
    }

    /// Where the stream stands in its source.
    pub(super) fn source(&self) -> Option<SourceMark> {
        let position = self.position.as_ref()?;
        SourceMark::new(&position.source_position, position.source_seq)
    }

    /// Readings of the stream that were ever rejected.
    pub(super) fn rejected(&self) -> u64 {
        let position = self.position.as_ref();
        position.map_or(0, |position| position.rejected)
    }
}

/// Why the stream was not opened.
#[derive(Debug)]
pub(super) struct OpenFailure {
    pub(super) status: Status,
    /// The request went out, so that it may yet take effect.
    pub(super) sent: bool,
}

#[derive(Debug)]
pub(super) struct Connector {
    endpoint: Endpoint,
    bearer: Bearer,
    stream_id: Option<String>,
    acked: bool,
    open_timeout: Duration,
}

impl Connector {
    pub(super) fn new(settings: &Settings) -> Result<Self, ProducerError> {
        let endpoint = Endpoint::from_shared(settings.target.clone()).map_err(|_| {
            ProducerError::InvalidSetting {
                setting: "target",
                reason: format!(
                    "{:?} is no address such as http://127.0.0.1:50051",
                    settings.target
                ),
            }
        })?;
        let endpoint = settings.tls.on(endpoint)?;
        let endpoint = endpoint
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(settings.keepalive)
            .keep_alive_timeout(settings.keepalive)
            .keep_alive_while_idle(true);
        Ok(Self {
            endpoint,
            bearer: settings.bearer.clone(),
            stream_id: settings.stream_id.clone(),
            acked: settings.acked,
            open_timeout: settings.connect_timeout,
        })
    }

    /// What to do about a status that ended a call, or kept one from beginning.
    pub(super) fn judge(&self, status: &Status) -> Verdict {
        match self.bearer.may_mend(status) {
            true => Verdict::Retry,
            false => judge(status),
        }
    }

    /// Opens the stream, on the connection of `client` or else on a new one, and by `latest` at the latest.
    pub(super) async fn open(
        &self,
        client: Option<Client>,
        claim: Claim,
        latest: Option<Instant>,
    ) -> Result<Opened, OpenFailure> {
        let deadline = Instant::now() + self.open_timeout;
        let deadline = latest.map_or(deadline, |latest| latest.min(deadline));
        let failure = |sent| move |status| OpenFailure { status, sent };
        let mut client = match client {
            Some(client) => client,
            None => self
                .by(deadline, self.connect())
                .await
                .map_err(failure(false))?,
        };
        let position = match &self.stream_id {
            None => None,
            Some(stream_id) => {
                let request = OpenStreamRequest {
                    stream_id: stream_id.clone(),
                    resume: claim.resume(),
                };
                let opening = self.by(deadline, client.open_stream(request));
                Some(opening.await.map_err(failure(true))?.into_inner())
            }
        };
        Ok(Opened { client, position })
    }

    async fn by<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let started = Instant::now();
        timeout_at(deadline, work).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!(
                "{} did not open the stream within {:.1} s",
                self.endpoint.uri(),
                started.elapsed().as_secs_f64()
            )))
        })
    }

    async fn connect(&self) -> Result<Client, Status> {
        let channel = self.endpoint.connect().await.map_err(|error| {
            // tonic says only "transport error"; the cause below it is what a person needs.
            let cause = root_cause(&error).unwrap_or_else(|| error.to_string());
            Status::unavailable(format!(
                "cannot connect to {}: {cause}",
                self.endpoint.uri()
            ))
        })?;
        Ok(SensorServiceClient::with_interceptor(
            channel,
            self.bearer.clone(),
        ))
    }

    /// Opens the stream for the first time, with another attempt for what may pass.
    pub(super) async fn open_first(
        &self,
        settings: &Settings,
    ) -> Result<(Opened, Hold), ProducerError> {
        let mut hold = Hold::new();
        let patience = settings.connect_patience.or(settings.give_up_after);
        let patience = patience.unwrap_or(settings.connect_timeout);
        let mut backoff = Backoff::new(settings.backoff_min, settings.backoff_max);
        let started = Instant::now();
        let mut before: Option<String> = None;
        loop {
            let latest = started.checked_add(patience);
            let status = match self.open(None, hold.claim(), latest).await {
                Ok(opened) => {
                    if let Some(position) = &opened.position {
                        hold.gained(position.epoch);
                    }
                    return Ok((opened, hold));
                }
                Err(OpenFailure { status, sent }) => {
                    if sent {
                        hold.unanswered();
                    }
                    status
                }
            };
            if judge(&status) == Verdict::Final {
                return Err(status.into());
            }
            let delay = backoff.next_delay();
            if started.elapsed() + delay >= patience {
                return Err(ProducerError::GaveUp {
                    after: started.elapsed(),
                    last: after_another(describe(&status), before.as_deref()),
                });
            }
            before = Some(describe(&status));
            tokio::time::sleep(delay).await;
        }
    }

    /// Starts a call with its header. The call runs while its replies are polled, so the caller sends and receives at
    /// the same time and flow control in one direction cannot block the other.
    pub(super) fn start_call(
        &self,
        opened: &Opened,
        first_seq: u64,
    ) -> (mpsc::Sender<StreamReadingsRequest>, Replies) {
        let (requests, receiver) = mpsc::channel(MESSAGES_AHEAD);
        let header = opened
            .position
            .as_ref()
            .map(|position| StreamReadingsRequest {
                message: Some(Message::Header(StreamHeader {
                    stream_id: self.stream_id.clone().unwrap_or_default(),
                    epoch: position.epoch,
                    first_seq,
                })),
                source_position: Vec::new(),
            });
        let named = header.is_some();
        let messages = stream::iter(header).chain(ReceiverStream::new(receiver));
        let mut client = opened.client.clone();
        let replies = if self.acked {
            async move { client.stream_readings_acked(messages).await }
                .map_ok(tonic::Response::into_inner)
                .try_flatten_stream()
                .boxed()
        } else {
            async move { client.stream_readings(messages).await }
                .map_ok(move |response| summary_as_ack(response.into_inner(), named))
                .into_stream()
                .boxed()
        };
        (requests, replies)
    }
}

/// The summary of a plain client-streaming call is the one ack of that call.
fn summary_as_ack(summary: StreamReadingsResponse, named: bool) -> StreamAck {
    StreamAck {
        committed_seq: match named {
            true => summary.committed_seq,
            false => summary.received,
        },
        committed: summary.committed,
        rejected: summary.rejected,
        duplicate: summary.duplicate,
        draining: false,
        rejected_readings: summary.rejected_readings,
        source_position: summary.source_position,
    }
}
