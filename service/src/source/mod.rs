//! Doors that fetch: what stands in brokers goes into the same conversation as what producers send. A source with positions of
//! its own, such as a partition of Kafka, is a named stream, so that each of its readings is stored once.

mod deliveries;
mod kafka;
mod ledger;
mod metrics;
mod mqtt;
mod payload;
mod pouring;
mod protobuf;
mod rabbitmq;
mod reader;
mod runner;
mod trouble;

use std::{convert::Infallible, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::{
    kafka::Kafka, metrics::SourceMetrics, mqtt::Mqtt, rabbitmq::RabbitMq, reader::ReaderPlan,
    trouble::Trouble,
};
use crate::{
    config::{BrokerSettings, SourceSettings},
    supervisor::Supervisor,
    telemetry::metrics::Metrics,
    usecase::{
        ingest::Ingest,
        sources::{Source, Sources},
    },
};

/// What all sources work with.
#[derive(Clone)]
struct Hub {
    ingest: Arc<Ingest>,
    /// Of this source.
    source: Arc<Source>,
    plan: ReaderPlan,
    metrics: SourceMetrics,
}

/// What a source does until `stop`. It ends early only in trouble.
trait Pull: Send + Sync + 'static {
    fn pull(&self, stop: CancellationToken) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Sources at work.
pub struct Fetching(Vec<JoinHandle<()>>);

impl Fetching {
    /// Waits until each has told its broker what is settled, and has said goodbye.
    pub async fn ended(self) {
        for source in self.0 {
            // One that failed was heard of.
            let _ = source.await;
        }
    }
}

/// Starts the sources of the settings; they end with `draining`.
pub fn start(
    settings: &[SourceSettings],
    ingest: &Arc<Ingest>,
    tasks: &Supervisor,
    draining: &CancellationToken,
    metrics: &Metrics,
) -> (Sources, Fetching) {
    let mut all = Vec::new();
    let mut fetching = Vec::new();
    let figures = metrics::Figures::new(metrics);
    for one in settings {
        // Settings without a kind, or with a mapping that does not fit, are refused before.
        let (Some(broker), Some(plan)) = (one.broker(), ReaderPlan::of(one)) else {
            continue;
        };
        let source = Arc::new(Source::new(
            one.name.clone(),
            broker.kind(),
            one.optional,
            one.paused,
        ));
        let hub = Hub {
            ingest: ingest.clone(),
            source: source.clone(),
            plan,
            metrics: figures.of(&source),
        };
        let start = Start {
            name: format!("source {}", one.name),
            hub: hub.clone(),
            tasks,
            draining: draining.clone(),
        };
        fetching.push(match broker {
            BrokerSettings::Kafka(kafka) => start.run(Kafka::new(kafka.clone(), hub)),
            BrokerSettings::RabbitMq(rabbitmq) => start.run(RabbitMq::new(rabbitmq.clone(), hub)),
            BrokerSettings::Mqtt(mqtt) => start.run(Mqtt::new(mqtt.clone(), hub)),
        });
        all.push(source);
    }
    let all = Sources::new(all);
    figures.ask(metrics, all.clone());
    (all, Fetching(fetching))
}

/// One that is ready to run.
struct Start<'a> {
    name: String,
    hub: Hub,
    tasks: &'a Supervisor,
    draining: CancellationToken,
}

impl Start<'_> {
    fn run(self, pull: impl Pull) -> JoinHandle<()> {
        let running = runner::run(self.hub, pull, self.draining);
        self.tasks.start(self.name, async move {
            running.await;
            Ok::<(), Infallible>(())
        })
    }
}
