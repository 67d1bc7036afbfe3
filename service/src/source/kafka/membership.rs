//! A member of the group, from joining to leaving: it takes partitions over and gives them away as the group decides.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, RebalanceProtocol},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    client::{Consumer, Decision, Partition},
    feed::{PartitionFeed, Record},
    native,
    opening::{Opened, open},
    truncation::hold_against_logs,
};
use crate::{
    source::{pouring::pour, trouble::Trouble},
    usecase::sources::SourceState,
};

/// Between looks at topics, and offsets for lag tools.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const METADATA_DEADLINE: Duration = Duration::from_secs(2);
/// A partition that another instance has taken over is taken from us, too, as soon as the group hears of it.
const TAKEN_GRACE: Duration = Duration::from_secs(10);

type OpenedAll = Vec<(Partition, Result<Opened, Trouble>)>;

pub(super) struct Membership {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    cluster: String,
    decided: mpsc::UnboundedReceiver<Decision>,
    /// Partitions that were given and are being taken over, with the round that they belong to.
    openings: JoinSet<(u64, OpenedAll)>,
    /// A decision ends what the ones before have begun.
    round: u64,
    running: HashMap<Partition, Running>,
    conversations: JoinSet<(Partition, Result<(), Trouble>)>,
    /// Those that cannot go on before somebody has mended them, and why.
    stopped: BTreeMap<Partition, String>,
    /// What the group or the brokers last had to say.
    complaint: Option<Complaint>,
}

/// Why nothing comes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Complaint {
    /// A topic is not there.
    Topic(String),
    Brokers(String),
}

impl Complaint {
    fn reason(&self) -> &String {
        let (Self::Topic(reason) | Self::Brokers(reason)) = self;
        reason
    }
}

/// A partition that is read.
struct Running {
    stop: CancellationToken,
    topic_id: String,
    settled: watch::Receiver<Option<Record>>,
    /// Up to where lag tools were told.
    told: Option<Record>,
}

impl Membership {
    pub(super) fn new(
        shared: Arc<Shared>,
        consumer: Arc<Consumer>,
        cluster: String,
        decided: mpsc::UnboundedReceiver<Decision>,
    ) -> Self {
        Self {
            shared,
            consumer,
            cluster,
            decided,
            openings: JoinSet::new(),
            round: 0,
            running: HashMap::new(),
            conversations: JoinSet::new(),
            stopped: BTreeMap::new(),
            complaint: None,
        }
    }

    /// Is a member until `stop`, or until it is in trouble; then what came is settled.
    pub(super) async fn last(mut self, stop: CancellationToken) -> Result<(), Trouble> {
        self.tell();
        let ended = self.serve(&stop).await;
        self.openings.abort_all();
        for running in self.running.values() {
            running.stop.cancel();
        }
        while self.conversations.join_next().await.is_some() {}
        self.commit();
        ended
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), Trouble> {
        let consumer = self.consumer.clone();
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // Nothing but events comes here: each partition has a queue of its own.
                event = consumer.recv() => match event {
                    Ok(_) => return Err(Trouble::passing("a record came before its partition was opened")),
                    Err(error) => self.hear(&error)?,
                },
                Some(decision) = self.decided.recv() => self.follow(decision),
                Some(opened) = self.openings.join_next() => {
                    let (round, opened) = opened.map_err(|error| Trouble::passing(error.to_string()))?;
                    if round == self.round {
                        self.assign(opened).await?;
                    }
                }
                Some(ended) = self.conversations.join_next() => {
                    let (partition, ended) = ended.map_err(|error| Trouble::passing(error.to_string()))?;
                    self.ended(partition, ended).await?;
                }
                _ = looks.tick() => self.look().await?,
            }
            self.tell();
        }
    }

    /// What the client says besides records.
    fn hear(&mut self, error: &KafkaError) -> Result<(), Trouble> {
        let code = error.rdkafka_error_code();
        let detail = self.consumer.context().take_error();
        let said = detail.unwrap_or_else(|| error.to_string());
        match code {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                let topics = self.shared.settings.topics.join(", ");
                let reason = format!("a topic of {topics} is not there yet, and is waited for");
                self.complain(Complaint::Topic(reason));
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::Authentication,
            ) => {
                return Err(Trouble::to_mend(format!(
                    "the brokers do not let this account in: {said}"
                )));
            }
            Some(RDKafkaErrorCode::Fatal) => return Err(Trouble::passing(said)),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                return Err(Trouble::passing(said));
            }
            _ => self.complain(Complaint::Brokers(said)),
        }
        Ok(())
    }

    /// Said once.
    fn complain(&mut self, complaint: Complaint) {
        if self.complaint.as_ref() != Some(&complaint) {
            let source = self.shared.hub.source.name();
            tracing::warn!(source, reason = complaint.reason(), "Kafka");
            self.complaint = Some(complaint);
        }
    }

    fn follow(&mut self, decision: Decision) {
        match decision {
            Decision::Given(partitions) => {
                self.round += 1;
                tracing::info!(
                    source = self.shared.hub.source.name(),
                    partitions = %names(&partitions),
                    "partitions were given"
                );
                let (shared, consumer) = (self.shared.clone(), self.consumer.clone());
                let (cluster, round) = (self.cluster.clone(), self.round);
                self.openings.spawn(async move {
                    let open_one = |partition: Partition| {
                        let (shared, consumer, cluster) = (&shared, &consumer, &cluster);
                        async move {
                            let opened = open(shared, consumer, cluster, partition.clone()).await;
                            (partition, opened)
                        }
                    };
                    let opening = partitions.into_iter().map(open_one);
                    (round, futures::future::join_all(opening).await)
                });
            }
            Decision::Taken(partitions) => {
                self.round += 1;
                tracing::info!(
                    source = self.shared.hub.source.name(),
                    partitions = %names(&partitions),
                    "partitions were taken"
                );
                for partition in &partitions {
                    self.stopped.remove(partition);
                    if let Some(running) = self.running.remove(partition) {
                        running.stop.cancel();
                    }
                }
            }
        }
    }

    /// Begins to read what was taken over.
    async fn assign(&mut self, all: OpenedAll) -> Result<(), Trouble> {
        let (mut given, mut paused) = (TopicPartitionList::new(), TopicPartitionList::new());
        let mut begun = Vec::new();
        for (partition, opened) in all {
            let Partition { topic, number } = &partition;
            let offset = match &opened {
                Ok(opened) => Offset::Offset(opened.beginning.offset),
                // It stays ours, and is not read.
                Err(Trouble::ToMend(_)) => Offset::End,
                Err(passing) => return Err(passing.clone()),
            };
            let added = given.add_partition_offset(topic, *number, offset);
            added.map_err(|error| Trouble::passing(error.to_string()))?;
            match opened {
                Ok(opened) => {
                    // Before it is assigned: nothing of it must come to the queue of the others.
                    let queue = self.consumer.split_partition_queue(topic, *number);
                    let queue = queue.ok_or_else(|| {
                        Trouble::passing(format!("{partition}: the client has no queue for it"))
                    })?;
                    begun.push((opened, queue));
                }
                Err(trouble) => {
                    let (source, reason) = (self.shared.hub.source.name(), trouble.to_string());
                    tracing::error!(source, %reason, "a partition has stopped");
                    paused.add_partition(topic, *number);
                    self.stopped.insert(partition, reason);
                }
            }
        }
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&given),
            _ => self.consumer.assign(&given),
        };
        assigned.map_err(|error| {
            Trouble::passing(format!("the group does not let us begin: {error}"))
        })?;
        if paused.count() > 0
            && let Err(error) = self.consumer.pause(&paused)
        {
            tracing::debug!(%error, "partitions that stopped cannot be paused");
        }
        self.complaint = None;
        let positions = begun
            .iter()
            .map(|(opened, _)| (opened.partition.clone(), opened.beginning));
        hold_against_logs(&self.consumer, positions.collect()).await?;
        for (opened, queue) in begun {
            let Opened {
                partition,
                header,
                topic_id,
                ..
            } = opened;
            self.shared.diverged().remove(&partition);
            let (sender, settled) = watch::channel(None);
            let stop = CancellationToken::new();
            let running = Running {
                stop: stop.clone(),
                topic_id: topic_id.clone(),
                settled,
                told: None,
            };
            self.running.insert(partition.clone(), running);
            let feed = PartitionFeed {
                shared: self.shared.clone(),
                queue,
                partition: partition.clone(),
                topic_id,
                headers: self.shared.hub.plan.headers(),
            };
            let shared = self.shared.clone();
            self.conversations.spawn(async move {
                let poured = pour(&shared.hub, feed, Some(header), sender, stop).await;
                (partition, poured)
            });
        }
        Ok(())
    }

    /// A conversation has ended.
    async fn ended(
        &mut self,
        partition: Partition,
        ended: Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let Err(trouble) = ended else {
            return Ok(());
        };
        if !self.running.contains_key(&partition) {
            // It was taken away, and another instance goes on with it.
            tracing::debug!(%partition, %trouble, "a partition that was taken ended");
            return Ok(());
        }
        let consumer = self.consumer.clone();
        // It may have been taken away, and only the ledger has heard of it so far.
        let taken = tokio::time::timeout(TAKEN_GRACE, async {
            while let Some(decision) = self.decided.recv().await {
                let is_it = matches!(&decision, Decision::Taken(all) if all.contains(&partition));
                self.follow(decision);
                if is_it {
                    return;
                }
            }
        });
        let events = async {
            loop {
                // The group is heard through it.
                let _ = consumer.recv().await;
            }
        };
        let was_taken = match is_fence(&trouble) {
            true => tokio::select! {
                taken = taken => taken.is_ok(),
                () = events => false,
            },
            false => false,
        };
        match was_taken {
            true => Ok(()),
            false => Err(trouble),
        }
    }

    /// Whether topics still are what they were, and where lag tools see us.
    async fn look(&mut self) -> Result<(), Trouble> {
        self.commit();
        let mut lag = 0;
        for (partition, running) in &self.running {
            let high =
                native::known_high(self.consumer.client(), &partition.topic, partition.number);
            let next = running.told.map(|record| record.offset + 1);
            if let (Some(high), Some(next)) = (high, next) {
                lag += (high - next).max(0);
            }
        }
        self.shared.hub.metrics.lag.set(lag);
        let topics: BTreeMap<_, _> = self
            .running
            .iter()
            .map(|(partition, running)| (partition.topic.clone(), running.topic_id.clone()))
            .collect();
        let consumer = self.consumer.clone();
        let is_asked = matches!(self.complaint, Some(Complaint::Brokers(_)));
        let looking = tokio::task::spawn_blocking(move || {
            let client = consumer.client();
            let changed = |(topic, known): &(String, String)| {
                native::topic_id(client, topic).is_ok_and(|id| id != *known)
            };
            let changed = topics.into_iter().find(changed);
            let answers = is_asked && consumer.fetch_metadata(None, METADATA_DEADLINE).is_ok();
            (changed, answers)
        });
        let (changed, answers) = looking.await.unwrap_or_default();
        if answers {
            self.complaint = None;
        }
        match changed {
            Some((topic, _)) => Err(Trouble::passing(format!(
                "the topic {topic} was deleted and made again"
            ))),
            None => Ok(()),
        }
    }

    /// Tells lag tools up to where all is committed here.
    fn commit(&mut self) {
        let mut offsets = TopicPartitionList::new();
        for (partition, running) in &mut self.running {
            let settled = *running.settled.borrow();
            if settled == running.told {
                continue;
            }
            running.told = settled;
            if let Some(record) = settled {
                let next = Offset::Offset(record.offset + 1);
                let Partition { topic, number } = partition;
                let _ = offsets.add_partition_offset(topic, *number, next);
            }
        }
        if offsets.count() == 0 {
            return;
        }
        // Nobody waits for it: brokers that are gone would be waited for without end.
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "offsets for lag tools were not taken");
        }
    }

    /// How the source stands now.
    fn tell(&self) {
        let source = &self.shared.hub.source;
        if let Some(reason) = self.stopped.values().next() {
            source.stands(SourceState::Stopped, Some(reason.clone()));
            return;
        }
        if let Some(complaint) = &self.complaint {
            source.stands(SourceState::Waiting, Some(complaint.reason().clone()));
            return;
        }
        if self.openings.is_empty() {
            source.stands(SourceState::Running, None);
        }
    }
}

/// Whether somebody else has opened the stream.
fn is_fence(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Fenced(_))
}

fn names(partitions: &[Partition]) -> String {
    let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    names.join(", ")
}
