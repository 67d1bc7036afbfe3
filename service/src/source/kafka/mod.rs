//! A source that is Kafka. The group divides the partitions; each is a named stream, and the ledger says where it goes on. So
//! a rebalance, a crash and a second instance resume exactly once, whatever the group's own commits say: those are written for
//! lag tools.

mod client;
mod feed;
mod membership;
mod native;
mod opening;
mod position;
mod truncation;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use self::{
    client::{Consumer, Partition},
    membership::Membership,
};
use super::{Hub, Pull, trouble::Trouble};
use crate::config::KafkaSettings;

/// How long brokers may take to answer a question.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

const CLUSTER_QUESTIONS: u32 = 20;
const CLUSTER_DEADLINE: Duration = Duration::from_millis(500);
/// What the client has to say is there, and so much of it is enough.
const SAYING_LIMIT: Duration = Duration::from_millis(50);
const MOST_SAID: u32 = 100;
/// How long leaving the group may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Kafka {
    shared: Arc<Shared>,
}

/// What all parts of the source have.
struct Shared {
    settings: KafkaSettings,
    hub: Hub,
    /// Partitions of which the brokers say that what was read was replaced, until they have been begun anew.
    diverged: Mutex<BTreeSet<Partition>>,
}

impl Shared {
    fn diverged(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.diverged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kafka {
    pub(super) fn new(settings: KafkaSettings, hub: Hub) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                hub,
                diverged: Mutex::default(),
            }),
        }
    }
}

impl Pull for Kafka {
    async fn pull(&self, stop: CancellationToken) -> Result<(), Trouble> {
        let (decisions, decided) = tokio::sync::mpsc::unbounded_channel();
        let consumer = Arc::new(client::connect(&self.shared.settings, decisions)?);
        let ended = self.follow(consumer.clone(), decided, stop).await;
        leave(consumer).await;
        ended
    }
}

impl Kafka {
    async fn follow(
        &self,
        consumer: Arc<Consumer>,
        decided: tokio::sync::mpsc::UnboundedReceiver<client::Decision>,
        stop: CancellationToken,
    ) -> Result<(), Trouble> {
        let cluster = tokio::select! {
            cluster = cluster(&self.shared.settings, &consumer) => cluster?,
            () = stop.cancelled() => return Ok(()),
        };
        let topics: Vec<_> = self.shared.settings.topics.iter().map(|it| &**it).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| Trouble::to_mend(format!("kafka.topics: {error}")))?;
        Membership::new(self.shared.clone(), consumer, cluster, decided)
            .last(stop)
            .await
    }
}

/// Says goodbye to the group, whose other members then need not wait until they miss us. Brokers that are gone are not waited for:
/// the thread that does, which nobody waits for, ends when they are back, or with the process.
async fn leave(consumer: Arc<Consumer>) {
    let (gone, left) = tokio::sync::oneshot::channel();
    let leaving = std::thread::Builder::new()
        .name("kafka goodbye".to_owned())
        .spawn(move || {
            drop(consumer);
            let _ = gone.send(());
        });
    if leaving.is_ok() {
        let _ = tokio::time::timeout(GOODBYE_LIMIT, left).await;
    }
}

/// Has the client say what it has to. It does so to who waits for records, and there are none before it is in its group.
async fn hear_out(consumer: &Consumer) {
    for _ in 0..MOST_SAID {
        if tokio::time::timeout(SAYING_LIMIT, consumer.recv())
            .await
            .is_err()
        {
            break;
        }
    }
}

/// What stands for the cluster in the names of streams.
async fn cluster(settings: &KafkaSettings, consumer: &Arc<Consumer>) -> Result<String, Trouble> {
    let mut found = None;
    // In short questions: who waits for the end of the process waits for the one that is asked.
    for _ in 0..CLUSTER_QUESTIONS {
        let asked = consumer.clone();
        let asking =
            tokio::task::spawn_blocking(move || asked.client().fetch_cluster_id(CLUSTER_DEADLINE));
        found = asking.await.ok().flatten();
        if found.is_some() {
            break;
        }
    }
    // It also shows whether anybody is there, so it is asked where the name is known.
    match (found, &settings.cluster) {
        (Some(_), Some(name)) => Ok(name.clone()),
        (Some(id), None) => Ok(id),
        (None, _) => {
            let brokers = settings.brokers.join(", ");
            hear_out(consumer).await;
            let why = consumer.context().take_error();
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            Err(Trouble::passing(format!(
                "none of the brokers {brokers} answers{why}"
            )))
        }
    }
}
