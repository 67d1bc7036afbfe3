//! What sources tell of themselves in figures.

use std::fmt;

use super::Source;
use crate::{
    telemetry::metrics::{
        Answer, Collector, Counter, DescriptorEncoder, EncodeLabelSet, Family, Gauge, Metrics, Word,
    },
    usecase::sources::{SourceState, Sources},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
}

/// The figures of all sources.
pub(super) struct Figures {
    payloads: Family<OfSource, Counter>,
    bytes: Family<OfSource, Counter>,
    undecoded: Family<OfSource, Counter>,
    left_out: Family<OfSource, Counter>,
    redelivered: Family<OfSource, Counter>,
    restarts: Family<OfSource, Counter>,
    lag: Family<OfSource, Gauge>,
}

/// Those of one source.
#[derive(Clone, Debug)]
pub(super) struct SourceMetrics {
    payloads: Counter,
    bytes: Counter,
    undecoded: Counter,
    left_out: Counter,
    pub(super) redelivered: Counter,
    pub(super) restarts: Counter,
    pub(super) lag: Gauge,
}

impl Figures {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counted = |name: &str, help: &str| {
            metrics.register(name, help, Family::<OfSource, Counter>::default())
        };
        Self {
            payloads: counted("source_payloads", "Messages of brokers that were read"),
            bytes: counted(
                "source_payload_bytes",
                "Bytes of the messages of brokers that were read",
            ),
            undecoded: counted(
                "source_undecoded",
                "What could not be decoded of messages of brokers, and is in quarantine",
            ),
            left_out: counted(
                "source_left_out",
                "Values in messages of brokers that are no numbers, beside others that are",
            ),
            redelivered: counted(
                "source_redelivered",
                "Messages of queues and MQTT that the broker has sent before: their readings may be stored twice",
            ),
            restarts: counted(
                "source_restarts",
                "Times that the source could not go on, and began anew",
            ),
            lag: metrics.register(
                "source_lag",
                "Messages in the broker that the source has still to read, as far as it knows",
                Family::default(),
            ),
        }
    }

    pub(super) fn of(&self, source: &Source) -> SourceMetrics {
        let of = OfSource {
            source: source.name().to_owned(),
        };
        SourceMetrics {
            payloads: self.payloads.get_or_create_owned(&of),
            bytes: self.bytes.get_or_create_owned(&of),
            undecoded: self.undecoded.get_or_create_owned(&of),
            left_out: self.left_out.get_or_create_owned(&of),
            redelivered: self.redelivered.get_or_create_owned(&of),
            restarts: self.restarts.get_or_create_owned(&of),
            lag: self.lag.get_or_create_owned(&of),
        }
    }

    /// Has the states told when they are asked for.
    pub(super) fn ask(&self, metrics: &Metrics, sources: Sources) {
        metrics.ask(States(sources));
    }
}

impl SourceMetrics {
    /// So much was read.
    pub(super) fn read(&self, payloads: usize, bytes: usize, undecoded: u64, left_out: u64) {
        self.payloads.inc_by(payloads as u64);
        self.bytes.inc_by(bytes as u64);
        self.undecoded.inc_by(undecoded);
        self.left_out.inc_by(left_out);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    source: String,
    state: Word,
}

/// The state of each source: 1 for the one that it is in.
#[derive(Debug)]
struct States(Sources);

impl Collector for States {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut values = Vec::new();
        for standing in self.0.standings() {
            for state in SourceState::ALL {
                let of = OfState {
                    source: standing.name.clone(),
                    state: Word(state.as_str()),
                };
                let is_in = f64::from(u8::from(state == standing.state));
                values.push((of, is_in));
            }
        }
        let help = "1 for the state that the source is in, 0 for the others";
        Answer(encoder).gauges("source_state", help, &values)
    }
}
