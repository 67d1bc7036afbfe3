//! Tags that producers tell of their series. They are written beside the loads, which wait for nothing of it: a series has its number
//! when its first reading is stored, and is looked for until then.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::metrics::{TagsDropped, ToldTagsMetrics};
use crate::{
    model::{Series, TAGS_MAX, TaggedSeries, Tags, fault_of_tag_name, fault_of_tag_value},
    repository::mysql::MySqlSeriesUpkeep,
};

/// Series of which this process knows what was told last. Beyond, it begins anew: what is written again stays as it is.
const MAX_KNOWN: usize = 1 << 18;
/// Memory for what waits to be written, bytes.
const ROOM_BYTES: usize = 16 << 20;
/// Series that one transaction tags.
const AT_ONCE: usize = 250;
/// What a text takes beside its bytes.
const TEXT_BYTES: usize = 48;
/// Between two looks for series that have no number yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// So long a series is looked for.
const PATIENCE: Duration = Duration::from_secs(60);
const BACKOFF: Duration = Duration::from_secs(1);

/// What a producer told of a series.
#[derive(Debug)]
struct Told {
    series: Series,
    tags: Tags,
    since: Instant,
}

impl Told {
    fn size_bytes(&self) -> usize {
        let texts = self.tags.iter().flat_map(|(name, value)| [name, value]);
        let texts = texts.chain([&self.series.id2, &self.series.sensor_type]);
        size_of::<Self>() + texts.map(|text| text.len() + TEXT_BYTES).sum::<usize>()
    }
}

/// What was told last, by hashes of series and tags, which nobody outside can foresee.
#[derive(Debug, Default)]
struct Known {
    hasher: RandomState,
    told: Mutex<HashMap<u64, u64>>,
}

impl Known {
    fn series(&self, series: &Series) -> u64 {
        let names = (series.id1, &series.id2, &series.sensor_type);
        self.hasher.hash_one(names)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where messages hand over what they tell.
#[derive(Clone, Debug)]
pub(super) struct ToldTags {
    known: Arc<Known>,
    waiting_bytes: Arc<AtomicUsize>,
    /// None where tables know no series.
    waiting: Option<mpsc::UnboundedSender<Told>>,
    metrics: ToldTagsMetrics,
}

impl ToldTags {
    /// With what writes them, until `draining`.
    pub(super) fn start(
        store: Option<MySqlSeriesUpkeep>,
        metrics: ToldTagsMetrics,
        draining: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = mpsc::unbounded_channel();
        let known = Arc::<Known>::default();
        let told = Self {
            known: known.clone(),
            waiting_bytes: waiting_bytes.clone(),
            waiting: store.is_some().then_some(sender),
            metrics: metrics.clone(),
        };
        let writing = async move {
            match store {
                Some(store) => {
                    let writer = Writer {
                        store,
                        receiver,
                        known,
                        waiting_bytes,
                        metrics,
                        fails: false,
                    };
                    tokio::select! {
                        () = writer.write() => {}
                        () = draining.cancelled() => {}
                    }
                }
                None => draining.cancelled().await,
            }
        };
        (told, writing)
    }

    /// Has these written, but for those that were told before. Does not wait: what has no room is left out, and counted.
    pub(super) fn keep(&self, series: &[Series], tags: Vec<TaggedSeries>) {
        let Some(waiting) = &self.waiting else {
            return;
        };
        if tags.is_empty() {
            return;
        }
        let mut known = self.known.told();
        for TaggedSeries { index, mut tags } in tags {
            let Some(series) = series.get(index as usize) else {
                continue;
            };
            let of_series = self.known.series(series);
            let of_tags = self.known.hasher.hash_one(&tags);
            if known.get(&of_series) == Some(&of_tags) {
                continue;
            }
            // One that does not fit, as lines may bring it, costs no other.
            let told = tags.len();
            tags.retain(|name, value| {
                fault_of_tag_name(name).is_none() && fault_of_tag_value(value).is_none()
            });
            let is_too_many = tags.len() > TAGS_MAX;
            if is_too_many || tags.len() < told {
                self.metrics.dropped(TagsDropped::Unfit, 1);
            }
            if is_too_many || (tags.is_empty() && told > 0) {
                continue;
            }
            let told = Told {
                series: series.clone(),
                tags,
                since: Instant::now(),
            };
            let bytes = told.size_bytes();
            let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
            if before + bytes > ROOM_BYTES || waiting.send(told).is_err() {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.metrics.dropped(TagsDropped::NoRoom, 1);
                continue;
            }
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(of_series, of_tags);
        }
    }
}

struct Writer {
    store: MySqlSeriesUpkeep,
    receiver: mpsc::UnboundedReceiver<Told>,
    known: Arc<Known>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: ToldTagsMetrics,
    fails: bool,
}

impl Writer {
    async fn write(mut self) {
        let mut unnumbered: HashMap<Series, Told> = HashMap::new();
        let mut looked_at = Instant::now();
        while let Some(mut some) = self.next(unnumbered.is_empty()).await {
            // What was told before of the same series is not true any more.
            for told in &some {
                if let Some(old) = unnumbered.remove(&told.series) {
                    self.leave(&old);
                }
            }
            if looked_at.elapsed() >= LOOK_AGAIN {
                some.extend(unnumbered.drain().map(|(_, told)| told));
                looked_at = Instant::now();
            }
            let mut rest = some.into_iter();
            loop {
                let some: Vec<Told> = rest.by_ref().take(AT_ONCE).collect();
                if some.is_empty() {
                    break;
                }
                for told in self.tag(some).await {
                    if let Some(old) = unnumbered.insert(told.series.clone(), told) {
                        self.leave(&old);
                    }
                }
            }
        }
    }

    /// Some that are to be written; none after a while where others are looked for, and None when nobody tells any more.
    async fn next(&mut self, may_wait: bool) -> Option<Vec<Told>> {
        let mut some = Vec::with_capacity(AT_ONCE);
        let receiving = self.receiver.recv_many(&mut some, AT_ONCE);
        let received = match may_wait {
            true => receiving.await,
            false => match tokio::time::timeout(LOOK_AGAIN, receiving).await {
                Ok(received) => received,
                Err(_) => return Some(Vec::new()),
            },
        };
        (received > 0).then_some(some)
    }

    /// Tags those that have a number, and returns the others that are still looked for.
    async fn tag(&mut self, some: Vec<Told>) -> Vec<Told> {
        let named: Vec<(&Series, &Tags)> =
            some.iter().map(|told| (&told.series, &told.tags)).collect();
        let found = loop {
            match self.store.tag_told(&named).await {
                Ok(found) => break found,
                Err(reason) => {
                    if !std::mem::replace(&mut self.fails, true) {
                        tracing::warn!(%reason, "tags that were told cannot be written: trying again");
                    }
                    tokio::time::sleep(BACKOFF).await;
                }
            }
        };
        self.fails = false;
        let mut left = Vec::new();
        for (told, found) in some.into_iter().zip(found) {
            if !found && told.since.elapsed() < PATIENCE {
                left.push(told);
                continue;
            }
            if !found {
                self.metrics.dropped(TagsDropped::NoSeries, 1);
                // Who tells it again may do so when there are readings.
                let of_series = self.known.series(&told.series);
                self.known.told().remove(&of_series);
            }
            self.leave(&told);
        }
        left
    }

    /// It waits no longer.
    fn leave(&self, told: &Told) {
        self.waiting_bytes
            .fetch_sub(told.size_bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Exposition, Metrics};

    #[test]
    fn what_has_no_room_is_left_out_and_counted() {
        let metrics = Metrics::default();
        let (sender, mut waiting) = mpsc::unbounded_channel();
        let told = ToldTags {
            known: Arc::default(),
            waiting_bytes: Arc::default(),
            waiting: Some(sender),
            metrics: super::super::metrics::IngestMetrics::new(&metrics).told_tags(),
        };
        // Nobody writes: the largest that a message may tell of a series.
        let tags: Tags = (0..32)
            .map(|number| (format!("tag{number}"), "v".repeat(255)))
            .collect();
        for id1 in 0..4_000 {
            let series = Series {
                id1,
                id2: "a".to_owned(),
                sensor_type: "t".to_owned(),
            };
            let of_it = TaggedSeries {
                index: 0,
                tags: tags.clone(),
            };
            told.keep(&[series], vec![of_it]);
        }
        let mut kept_bytes = 0;
        let mut kept = 0;
        while let Ok(one) = waiting.try_recv() {
            kept_bytes += one.size_bytes();
            kept += 1;
        }
        assert_eq!(kept_bytes, told.waiting_bytes.load(Ordering::Relaxed));
        assert!(kept_bytes <= ROOM_BYTES && kept_bytes > ROOM_BYTES - 16_384);
        let said = format!(
            "told_tags_dropped_total{{reason=\"no_room\"}} {}",
            4_000 - kept
        );
        let figures = metrics.render(Exposition::Text);
        assert!(figures.contains(&said), "{said}: {figures}");
        // Who was left out may tell it again.
        assert_eq!(told.known.told().len(), kept);
    }
}
