//! Doors that fetch: what stands in brokers goes into the same conversation as what producers send. A source with positions of
//! its own, such as a partition of Kafka, is a named stream, so that each of its readings is stored once.

mod deliveries;
mod kafka;
mod metrics;
mod payload;
mod pouring;
mod protobuf;
mod reader;
mod runner;
mod trouble;

use std::{convert::Infallible, sync::Arc};

use tokio_util::sync::CancellationToken;

use self::{kafka::Kafka, metrics::SourceMetrics, reader::ReaderPlan, trouble::Trouble};
use crate::{
    config::SourceSettings,
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

/// Starts the sources of the settings.
pub fn start(
    settings: &[SourceSettings],
    ingest: &Arc<Ingest>,
    tasks: &Supervisor,
    draining: &CancellationToken,
    metrics: &Metrics,
) -> Sources {
    let mut all = Vec::new();
    let figures = metrics::Figures::new(metrics);
    for one in settings {
        // Settings without a kind, or with a mapping that does not fit, are refused before.
        let (Some(kafka), Some(plan)) = (&one.kafka, ReaderPlan::of(one)) else {
            continue;
        };
        let source = Arc::new(Source::new(
            one.name.clone(),
            "kafka",
            one.optional,
            one.paused,
        ));
        let hub = Hub {
            ingest: ingest.clone(),
            source: source.clone(),
            plan,
            metrics: figures.of(&source),
        };
        let running = runner::run(
            hub.clone(),
            Kafka::new(kafka.clone(), hub),
            draining.clone(),
        );
        tasks.start(format!("source {}", one.name), async move {
            running.await;
            Ok::<(), Infallible>(())
        });
        all.push(source);
    }
    let all = Sources::new(all);
    figures.ask(metrics, all.clone());
    all
}
