//! Taking a partition over: its stream is opened, and its log held against the position that is kept there.

use std::{sync::Arc, time::Duration};

use rdkafka::consumer::Consumer as _;

use super::{
    ANSWER_DEADLINE, Shared,
    client::{Consumer, Partition},
    native,
    position::{Beginning, KafkaPosition, Log, begin},
};
use crate::{
    config::SourceStart,
    model::{StreamHeader, StreamId},
    source::{ledger, trouble::Trouble},
};

/// A leader that has just begun may know less of the end of its log than the one before had shown.
const END_LOOKS: u32 = 5;
const END_PAUSE: Duration = Duration::from_secs(1);

/// A partition that is ready to be read.
pub(super) struct Opened {
    pub(super) partition: Partition,
    pub(super) header: StreamHeader,
    pub(super) beginning: Beginning,
    pub(super) topic_id: String,
}

/// Takes a partition over. As long as the ledger does not answer it waits: the partition is ours, and nobody else would do
/// better.
pub(super) async fn open(
    shared: &Shared,
    consumer: &Arc<Consumer>,
    cluster: &str,
    partition: Partition,
) -> Result<Opened, Trouble> {
    let stream_id = StreamId::of_source(&format!("kafka:{cluster}/{partition}"))
        .map_err(|error| Trouble::to_mend(format!("{partition}: {error}")))?;
    let opened = ledger::open(&shared.hub, &stream_id).await?;
    let position = ledger::position(&opened, &stream_id, KafkaPosition::parse)?;
    let log = log(shared, consumer, &partition, position.as_ref()).await?;
    let (beginning, loss) = begin(position.as_ref(), &log, shared.settings.start);
    let are_others = match (&loss, shared.settings.start) {
        (Some(_), _) => true,
        (None, SourceStart::Latest) => position.is_none(),
        (None, SourceStart::Earliest) => false,
    };
    if let Some(loss) = loss {
        let setting = ("kafka.on_data_loss", shared.settings.on_data_loss);
        ledger::judge(&shared.hub, &partition.to_string(), &loss, setting)?;
    }
    Ok(Opened {
        header: ledger::header(&opened, stream_id, are_others),
        beginning,
        topic_id: log.topic_id,
        partition,
    })
}

async fn log(
    shared: &Shared,
    consumer: &Arc<Consumer>,
    partition: &Partition,
    position: Option<&KafkaPosition>,
) -> Result<Log, Trouble> {
    let has_diverged = shared.diverged().contains(partition);
    for look in 1.. {
        let (asked, of) = (consumer.clone(), partition.clone());
        let asking = tokio::task::spawn_blocking(move || ask(&asked, &of));
        let asked = asking
            .await
            .unwrap_or_else(|error| Err(Trouble::passing(error.to_string())));
        let log = Log {
            has_diverged,
            ..asked?
        };
        let is_beyond =
            position.is_some_and(|it| it.topic_id == log.topic_id && it.offset > log.high);
        if !is_beyond || look == END_LOOKS {
            return Ok(log);
        }
        tokio::time::sleep(END_PAUSE).await;
    }
    Err(Trouble::passing("the brokers do not answer"))
}

/// Waits for the brokers.
fn ask(consumer: &Consumer, partition: &Partition) -> Result<Log, Trouble> {
    let failed = |what: &str, why: String| {
        Trouble::passing(format!("{partition}: the brokers do not say {what}: {why}"))
    };
    let topic = &partition.topic;
    let topic_id = native::topic_id(consumer.client(), topic)
        .map_err(|why| failed("which topic it is", why))?;
    let (low, high) = consumer
        .fetch_watermarks(topic, partition.number, ANSWER_DEADLINE)
        .map_err(|error| failed("where its log begins and ends", error.to_string()))?;
    Ok(Log {
        topic_id,
        low,
        high,
        has_diverged: false,
    })
}
