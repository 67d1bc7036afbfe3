//! Queues that are streams: the ledger says where they go on.

use std::time::Duration;

use futures::StreamExt as _;
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicAckOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    GOODBYE_LIMIT, REPLY_SUCCESS, RabbitMq,
    client::{is_locked, is_unfit, no_stream, trouble},
    feed::{Kind, QueueFeed, offset_of},
    position::{Delivered, Loss, Print, StreamPosition},
    queue::{consume, length},
};
use crate::{
    config::SourceStart,
    model::{StreamHeader, StreamId},
    source::{
        ledger,
        pouring::{NEVER, pour},
        trouble::Trouble,
    },
    usecase::sources::SourceState,
};

/// How long a broker may take to show the message that was read last.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// How long a stream may be silent until it is read anew: a consumer at a replica may not be told of what has come until more
/// comes (https://github.com/rabbitmq/osiris/issues/172).
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How often an instance that stands by looks whether the other one is gone.
const STANDBY_PERIOD: Duration = Duration::from_secs(2);

/// A stream that is ready to be read.
struct Begun {
    channel: Channel,
    consumer: Consumer,
    header: StreamHeader,
    /// Of the message that was known.
    taken_tag: Option<u64>,
}

impl RabbitMq {
    pub(super) async fn follow_stream(
        &self,
        connection: &Connection,
        stream: &str,
        stop: CancellationToken,
    ) -> Result<(), Trouble> {
        let standing_by = self.stand_by(connection, stream);
        tokio::select! {
            stood = standing_by => stood?,
            () = stop.cancelled() => return Ok(()),
        }
        loop {
            match self.read(connection, stream, stop.clone()).await {
                Err(Trouble::Silence) => {}
                ended => return ended,
            }
        }
    }

    /// Reads from where the ledger stands.
    async fn read(
        &self,
        connection: &Connection,
        stream: &str,
        stop: CancellationToken,
    ) -> Result<(), Trouble> {
        let begun = tokio::select! {
            begun = self.begin(connection, stream) => begun?,
            () = stop.cancelled() => return Ok(()),
        };
        self.hub.source.stands(SourceState::Running, None);
        let (sender, taken) = watch::channel(begun.taken_tag);
        let feed = QueueFeed {
            hub: self.hub.clone(),
            consumer: begun.consumer,
            name: stream.to_owned(),
            kind: Kind::Stream {
                taken: sender,
                // Without a message that is known it would not be found again where it stood.
                silence_limit: match begun.taken_tag {
                    Some(_) => SILENCE_LIMIT,
                    None => NEVER,
                },
            },
            headers: self.hub.plan.headers(),
        };
        // Nobody has to hear what is settled: the ledger has it.
        let (settled, _) = watch::channel(None);
        let pouring = pour(&self.hub, feed, Some(begun.header), settled, stop);
        let (poured, ()) = tokio::join!(pouring, make_place(&begun.channel, taken));
        // The next one has a channel of its own. Without an answer the connection is lost soon.
        let closing = begun.channel.close(REPLY_SUCCESS, "".into());
        let _ = tokio::time::timeout(GOODBYE_LIMIT, closing).await;
        poured
    }

    /// Waits until no other instance reads the stream. The broker keeps a queue that only its connection may use: it is gone with
    /// that. Where it may not be made the ledger alone keeps two instances from storing the same.
    async fn stand_by(&self, connection: &Connection, stream: &str) -> Result<(), Trouble> {
        let name = format!("sluicegate.reads.{}", self.stream_name(stream));
        let alone = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        loop {
            let channel = connection.create_channel().await;
            let channel = channel.map_err(|error| trouble(&error))?;
            let taken = channel
                .queue_declare(name.as_str().into(), alone, FieldTable::default())
                .await;
            match taken {
                Err(error) if is_locked(&error) => {}
                Err(error) => match trouble(&error) {
                    Trouble::ToMend(reason) => {
                        tracing::debug!(reason, "no queue that shows who reads");
                        return Ok(());
                    }
                    trouble => return Err(trouble),
                },
                Ok(_) => return Ok(()),
            }
            let reason = format!("another instance reads the stream {stream}");
            self.hub.source.stands(SourceState::Running, Some(reason));
            tokio::time::sleep(STANDBY_PERIOD).await;
        }
    }

    /// Names the stream among those of the ledger, behind the kind of source.
    fn stream_name(&self, stream: &str) -> String {
        let cluster = self.settings.cluster.as_deref();
        let cluster = cluster.unwrap_or(self.hub.source.name());
        // Names of queues may have any character, those of streams only some.
        const ESCAPED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
            .remove(b'.')
            .remove(b'-')
            .remove(b'_')
            .remove(b'/')
            .remove(b':');
        format!("{cluster}/{}", utf8_percent_encode(stream, ESCAPED))
    }

    /// Opens the stream in the ledger, and holds the log against what is kept there.
    async fn begin(&self, connection: &Connection, stream: &str) -> Result<Begun, Trouble> {
        let stream_id = StreamId::of_source(&format!("rabbitmq:{}", self.stream_name(stream)))
            .map_err(|error| Trouble::to_mend(format!("{stream}: {error}")))?;
        let probe = self.channel(connection).await?;
        length(&probe, stream).await?;
        let opened = ledger::open(&self.hub, &stream_id).await?;
        let position = ledger::position(&opened, &stream_id, StreamPosition::parse)?;
        let (channel, from) = (probe, self.settings.start);
        let Some(position) = position else {
            let from = match from {
                SourceStart::Earliest => "first",
                SourceStart::Latest => "next",
            };
            let first = AMQPValue::LongString(from.into());
            let are_others = from == "next";
            return Ok(Begun {
                consumer: read_from(&channel, stream, first).await?,
                channel,
                header: ledger::header(&opened, stream_id, are_others),
                taken_tag: None,
            });
        };
        let known = at(position.known_offset())?;
        let mut consumer = read_from(&channel, stream, known).await?;
        let found = first_message(&mut consumer, stream, &position).await?;
        let Err(loss) = position.held_against(&found) else {
            return Ok(Begun {
                channel,
                consumer,
                header: ledger::header(&opened, stream_id, false),
                taken_tag: Some(found.tag),
            });
        };
        let (Loss::Expired(reason) | Loss::Replaced(reason)) = &loss;
        let setting = ("rabbitmq.on_data_loss", self.settings.on_data_loss);
        ledger::judge(&self.hub, stream, reason, setting)?;
        let from = match loss {
            Loss::Expired(_) => at(position.offset)?,
            Loss::Replaced(_) => AMQPValue::LongString("first".into()),
        };
        // On another channel: this one has messages that are not wanted.
        let channel = self.channel(connection).await?;
        Ok(Begun {
            consumer: read_from(&channel, stream, from).await?,
            channel,
            header: ledger::header(&opened, stream_id, true),
            taken_tag: None,
        })
    }
}

fn at(offset: u64) -> Result<AMQPValue, Trouble> {
    let offset = i64::try_from(offset);
    offset
        .map(AMQPValue::LongLongInt)
        .map_err(|error| Trouble::to_mend(error.to_string()))
}

async fn read_from(
    channel: &Channel,
    stream: &str,
    offset: AMQPValue,
) -> Result<Consumer, Trouble> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), offset);
    let consumer = consume(channel, stream, arguments).await;
    consumer.map_err(|error| match is_unfit(&error) {
        true => no_stream(stream),
        false => trouble(&error),
    })
}

/// The message that was read last, or what the stream has instead.
async fn first_message(
    consumer: &mut Consumer,
    stream: &str,
    position: &StreamPosition,
) -> Result<Delivered, Trouble> {
    let known = position.known_offset();
    let delivery = match tokio::time::timeout(FIRST_LIMIT, consumer.next()).await {
        Ok(Some(delivery)) => delivery.map_err(|error| trouble(&error))?,
        Ok(None) => {
            return Err(Trouble::passing(format!(
                "the broker sends nothing of {stream}"
            )));
        }
        Err(_) => {
            return Err(Trouble::passing(format!(
                "the stream {stream} does not show message {known}, which was read before: it was deleted and made again, its end \
                 was cut off, or the broker is slow"
            )));
        }
    };
    let offset = offset_of(&delivery);
    let offset = offset.ok_or_else(|| no_stream(stream))?;
    Ok(Delivered {
        tag: delivery.delivery_tag,
        offset,
        print: Print::of(&delivery.data),
    })
}

/// Has the broker send more for what was taken.
async fn make_place(channel: &Channel, mut taken: watch::Receiver<Option<u64>>) {
    taken.mark_changed();
    while taken.changed().await.is_ok() {
        let tag = *taken.borrow_and_update();
        let Some(tag) = tag else {
            continue;
        };
        let up_to_it = BasicAckOptions { multiple: true };
        if let Err(error) = channel.basic_ack(tag, up_to_it).await {
            tracing::debug!(%error, "the broker was not told what was taken");
            return;
        }
    }
}
