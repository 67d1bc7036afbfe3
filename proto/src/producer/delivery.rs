//! The task that delivers: one call after another, until the producer is closed or cannot go on.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tonic::Status;

use super::{
    Encoding, ProducerError, Progress, Summary,
    backoff::Backoff,
    connector::{Client, Connector, OpenFailure, Opened},
    encoder::Dictionary,
    error::Verdict,
    hold::Hold,
    progress::Books,
    settings::Settings,
    shared::Shared,
    trouble::{Trouble, after_another, describe},
    window::Window,
};

/// So often in a row the service may say that a position is wrong, or refuse a message as too large.
const MAX_REPOSITIONS: u32 = 3;

pub(super) struct Delivery {
    pub(super) settings: Arc<Settings>,
    pub(super) connector: Connector,
    pub(super) shared: Arc<Shared>,
    pub(super) window: Window,
    pub(super) books: Books,
    pub(super) dictionary: Dictionary,
    /// The highest position that any call was given.
    pub(super) sent_seq: u64,
    progress: watch::Sender<Progress>,
    trouble: watch::Sender<Trouble>,
    backoff: Backoff,
    /// Since when readings wait without progress; in a plain call, when the first failure after the last progress was.
    pub(super) trouble_since: Option<Instant>,
    /// Wrong positions since the last progress.
    repositions: u32,
    hold: Hold,
}

/// How a call ended well.
pub(super) enum CallEnd {
    /// Everything is durable and the producer is closed.
    Closed,
    /// Everything that was sent is durable; the connection is good for the next call.
    Finished(Box<Client>),
    /// The service is about to stop.
    Drained,
}

/// How a call, or the attempt to open one, failed.
pub(super) enum Failure {
    Open(Status),
    Call(Status),
    Final(ProducerError),
}

impl From<ProducerError> for Failure {
    fn from(error: ProducerError) -> Self {
        Self::Final(error)
    }
}

impl Delivery {
    pub(super) fn new(
        settings: Arc<Settings>,
        connector: Connector,
        shared: Arc<Shared>,
        books: Books,
        hold: Hold,
    ) -> (Self, watch::Receiver<Progress>, watch::Receiver<Trouble>) {
        let committed_seq = books.total().committed_seq;
        let (progress, progress_seen) = watch::channel(books.total());
        let (trouble, trouble_seen) = watch::channel(Trouble::default());
        let delivery = Self {
            backoff: Backoff::new(settings.backoff_min, settings.backoff_max),
            dictionary: match settings.encoding {
                Encoding::Columns => Dictionary::PerCall,
                Encoding::Rows => Dictionary::Rows,
            },
            settings,
            connector,
            shared,
            window: Window::new(committed_seq),
            books,
            sent_seq: committed_seq,
            progress,
            trouble,
            trouble_since: None,
            repositions: 0,
            hold,
        };
        (delivery, progress_seen, trouble_seen)
    }

    /// Delivers until the producer is closed. After an error every later call of the producer gets that error.
    pub(super) async fn run(mut self, first: Opened) -> Result<Summary, ProducerError> {
        let result = self.deliver(first).await;
        if let Err(error) = &result {
            self.shared.fail(error.clone());
        }
        result
    }

    async fn deliver(&mut self, first: Opened) -> Result<Summary, ProducerError> {
        let mut opened = Some(first);
        let mut client = None;
        loop {
            // An idle producer opens no call, so that a limit on idle calls does not make it come and go.
            if self.wait_for_work().await == Work::Closed {
                return Ok(self.books.total().into());
            }
            match self.one_call(opened.take(), client.take()).await {
                Ok(CallEnd::Closed) => return Ok(self.books.total().into()),
                Ok(CallEnd::Finished(connected)) => client = Some(*connected),
                Ok(CallEnd::Drained) => tokio::time::sleep(self.backoff.next_delay()).await,
                Err(failure) => {
                    let delay = self.after_failure(failure)?;
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn one_call(
        &mut self,
        opened: Option<Opened>,
        client: Option<Client>,
    ) -> Result<CallEnd, Failure> {
        let opened = match opened {
            Some(opened) => opened,
            None => self.reopen(client).await?,
        };
        let end = self.call(opened).await;
        self.books.end_call();
        self.publish();
        end
    }

    /// Opens the stream again and drops what turned out to be durable.
    async fn reopen(&mut self, client: Option<Client>) -> Result<Opened, Failure> {
        let claim = self.hold.claim();
        let latest = self.gives_up_at(self.trouble_since.unwrap_or_else(Instant::now));
        let opening = self.connector.open(client, claim, latest).await;
        let opened = opening.map_err(|OpenFailure { status, sent }| {
            if sent {
                self.hold.unanswered();
            }
            Failure::Open(status)
        })?;
        if let Some(position) = &opened.position {
            let committed_seq = position.committed_seq;
            if committed_seq < self.window.committed_seq() {
                return Err(Failure::Final(ProducerError::PositionLost {
                    acknowledged: self.window.committed_seq(),
                    found: committed_seq,
                }));
            }
            // What was committed unseen counts as ours only if nobody else can have written it.
            let ours = match claim.is_proved_by(position.epoch) {
                true => self.sent_seq,
                false => self.window.committed_seq(),
            };
            if committed_seq > ours {
                return Err(Failure::Final(self.fenced()));
            }
            self.hold.gained(position.epoch);
            self.books.recover(committed_seq, opened.rejected());
            self.shared.stands_at(opened.source());
            self.settle(committed_seq);
        }
        Ok(opened)
    }

    /// Takes note that everything up to and with `seq` is durable.
    pub(super) fn settle(&mut self, seq: u64) {
        if seq > self.window.committed_seq() {
            self.goes_well();
            self.trouble_since = None;
            self.repositions = 0;
            self.hold.confirmed();
            self.backoff.reset();
            let freed_bytes = self.window.acknowledge(seq);
            self.shared.release(freed_bytes);
        }
        self.publish();
    }

    fn publish(&self) {
        self.progress.send_replace(self.books.total());
    }

    /// Readings move again.
    pub(super) fn goes_well(&self) {
        self.trouble.send_if_modified(Trouble::over);
    }

    /// Decides whether to go on after a failure, and how long to wait before.
    fn after_failure(&mut self, failure: Failure) -> Result<Duration, ProducerError> {
        let (status, in_call) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Open(status) => (status, false),
            Failure::Call(status) => (status, true),
        };
        tracing::debug!(%status, in_call, "a call of the producer failed");
        match self.connector.judge(&status) {
            Verdict::Retry => {}
            Verdict::Fenced => {
                if !self.hold.fenced() {
                    return Err(self.fenced());
                }
            }
            Verdict::Reposition => {
                if !in_call {
                    self.hold.forgotten();
                }
                self.repositions += 1;
                if self.repositions > MAX_REPOSITIONS {
                    return Err(status.into());
                }
            }
            Verdict::ShrinkDictionary => {
                if in_call && self.dictionary == Dictionary::PerCall {
                    self.dictionary = Dictionary::PerMessage;
                }
            }
            Verdict::Final => return Err(status.into()),
        }
        let delay = self.backoff.next_delay();
        let since = *self.trouble_since.get_or_insert_with(Instant::now);
        match self.settings.give_up_after {
            Some(patience) if since.elapsed() + delay >= patience => Err(ProducerError::GaveUp {
                after: since.elapsed(),
                last: after_another(describe(&status), self.trouble.borrow().reason()),
            }),
            _ => {
                self.trouble
                    .send_modify(|trouble| trouble.failed(&describe(&status)));
                self.books.reconnect();
                self.publish();
                Ok(delay)
            }
        }
    }

    fn fenced(&self) -> ProducerError {
        ProducerError::Fenced {
            stream_id: self.settings.stream_id.clone().unwrap_or_default(),
        }
    }

    /// Waits until there is something to send.
    async fn wait_for_work(&mut self) -> Work {
        loop {
            let intake = self.shared.take_sealed(&mut self.window);
            if !self.window.is_empty() {
                return Work::Readings;
            }
            // Nothing is in doubt while nothing is unacknowledged.
            self.trouble_since = None;
            if intake.wishes.close {
                return Work::Closed;
            }
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = sleep_until(self.linger_end(intake.opened_at)) => self.shared.seal_open(),
            }
        }
    }

    /// When a call that stands still is given up; `since` says since when it does, and is kept up to date here.
    pub(super) fn patience_end(
        &self,
        stands_still: bool,
        since: &mut Option<Instant>,
    ) -> Option<Instant> {
        match stands_still {
            true => self.gives_up_at(*since.get_or_insert_with(Instant::now)),
            false => {
                *since = None;
                None
            }
        }
    }

    fn gives_up_at(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.settings.give_up_after?)
    }

    pub(super) fn linger_end(&self, opened_at: Option<Instant>) -> Option<Instant> {
        opened_at.map(|opened_at| opened_at + self.settings.linger)
    }
}

#[derive(PartialEq, Eq)]
enum Work {
    Readings,
    Closed,
}

/// Never returns without a time.
pub(super) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
