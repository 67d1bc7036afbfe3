//! What ingestion measures as it goes.

use std::time::Duration;

use super::entry_door::EntryDoor;
use crate::{
    repository::Refusal,
    telemetry::metrics::{
        Counter, EncodeLabelSet, Family, Histogram, Metrics, SecondsCounter, Word, counts,
        durations,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDoor {
    door: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    lane: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRefusal {
    refusal: Word,
}

/// The histograms and counters of ingestion.
#[derive(Debug)]
pub(super) struct IngestMetrics {
    /// By door, in the order of `EntryDoor::ALL`.
    acknowledgement: [Histogram; EntryDoor::ALL.len()],
    batch_readings: Histogram,
    batch_age: Histogram,
    seal: Histogram,
    settle: Histogram,
    loading: Family<OfLane, SecondsCounter>,
    refused: Family<OfRefusal, Counter>,
    room_wait: Histogram,
    opened: Counter,
    resumed: Counter,
    fenced: Counter,
    tags_dropped: Family<OfReason, Counter>,
}

impl IngestMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let by_door: Family<OfDoor, Histogram> = metrics.register_seconds(
            "acknowledgement",
            "From the arrival of a call's oldest reading in a batch to its acknowledgement, by door",
            Family::new_with_constructor(durations),
        );
        let of_door = |door: EntryDoor| {
            let door = Word(door.name());
            by_door.get_or_create_owned(&OfDoor { door })
        };
        let made = Self {
            acknowledgement: EntryDoor::ALL.map(of_door),
            batch_readings: metrics.register(
                "batch_readings",
                "Readings of a batch as its load begins",
                counts(),
            ),
            batch_age: metrics.register_seconds(
                "batch_age",
                "From a batch's first reading to the beginning of its load",
                durations(),
            ),
            seal: metrics.register_seconds(
                "seal",
                "How long it takes to put a batch into the order of the primary key",
                durations(),
            ),
            settle: metrics.register_seconds(
                "settle",
                "From the first attempt to load a batch to its end, all attempts included",
                durations(),
            ),
            loading: metrics.register_seconds(
                "lane_loading",
                "Time that a lane's loader has spent with batches: the rate is its busy share",
                Family::default(),
            ),
            refused: metrics.register(
                "loads_refused",
                "Loads that the database refused, by what that means",
                Family::default(),
            ),
            room_wait: metrics.register_seconds(
                "room_wait",
                "How long a message waits for its place in the budget",
                durations(),
            ),
            opened: metrics.register("streams_opened", "Streams taken over", Counter::default()),
            resumed: metrics.register(
                "streams_resumed",
                "Streams that their writer went on with",
                Counter::default(),
            ),
            fenced: metrics.register(
                "streams_fenced",
                "Calls turned away because another writer has the stream",
                Counter::default(),
            ),
            tags_dropped: metrics.register(
                "told_tags_dropped",
                "Series whose tags a producer told, and which did not get them, by why",
                Family::default(),
            ),
        };
        // A rate needs a zero to begin with.
        for refusal in [
            Refusal::Passing,
            Refusal::TooBig,
            Refusal::OfTheTable,
            Refusal::OfAReading,
        ] {
            made.refused.get_or_create(&of_refusal(refusal)).inc_by(0);
        }
        for reason in TagsDropped::ALL {
            made.told_tags().dropped(reason, 0);
        }
        made
    }

    pub(super) fn told_tags(&self) -> ToldTagsMetrics {
        ToldTagsMetrics(self.tags_dropped.clone())
    }

    pub(super) fn acknowledged(&self, door: EntryDoor, waited: Duration) {
        self.acknowledgement[door as usize].observe(waited.as_secs_f64());
    }

    /// A batch is about to be loaded.
    pub(super) fn flushed(&self, readings: usize, age: Duration) {
        self.batch_readings.observe(readings as f64);
        self.batch_age.observe(age.as_secs_f64());
    }

    pub(super) fn sealed(&self, took: Duration) {
        self.seal.observe(took.as_secs_f64());
    }

    /// A batch has its end, or goes on in parts.
    pub(super) fn settled(&self, took: Duration) {
        self.settle.observe(took.as_secs_f64());
    }

    /// The seconds that the loader of a lane spends with batches.
    pub(super) fn busy(&self, lane: String) -> SecondsCounter {
        self.loading.get_or_create_owned(&OfLane { lane })
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.refused.get_or_create(&of_refusal(refusal)).inc();
    }

    /// Of the waits for rooms.
    pub(super) fn room_wait(&self) -> &Histogram {
        &self.room_wait
    }

    pub(super) fn opened(&self) {
        self.opened.inc();
    }

    pub(super) fn resumed(&self) {
        self.resumed.inc();
    }

    pub(super) fn fenced(&self) {
        self.fenced.inc();
    }
}

/// Why a series did not get the tags that were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagsDropped {
    /// Too many wait to be written.
    NoRoom,
    /// No reading of it was stored.
    NoSeries,
    /// A payload has names, values or numbers of tags that no series may have.
    Unfit,
}

impl TagsDropped {
    const ALL: [Self; 3] = [Self::NoRoom, Self::NoSeries, Self::Unfit];

    fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::NoSeries => "no_series",
            Self::Unfit => "unfit",
        }
    }
}

/// Counts what was told in vain.
#[derive(Clone, Debug)]
pub(super) struct ToldTagsMetrics(Family<OfReason, Counter>);

impl ToldTagsMetrics {
    pub(super) fn dropped(&self, reason: TagsDropped, series: u64) {
        let of = OfReason {
            reason: Word(reason.name()),
        };
        self.0.get_or_create(&of).inc_by(series);
    }
}

fn of_refusal(refusal: Refusal) -> OfRefusal {
    OfRefusal {
        refusal: Word(match refusal {
            Refusal::Passing => "passing",
            Refusal::TooBig => "too_big",
            Refusal::OfTheTable => "of_the_table",
            Refusal::OfAReading => "of_a_reading",
        }),
    }
}
