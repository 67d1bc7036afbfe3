//! Keeps copies of what this instance commits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::metrics::CacheMetrics;
use crate::{
    model::Series,
    repository::{
        CommitMarks, MarkNow,
        cache::{CacheError, Copy, LaneWord, LatestCache, Pushed, Wanted, token},
    },
    usecase::ingest::{Fresh, Ingest, Watch, WatchedPair, Watches},
};

/// So many times within the staleness copies are kept.
const ROUNDS: u32 = 5;
/// What an answer may take on its way, from the end of what a word covers.
const ON_ITS_WAY: Duration = Duration::from_millis(50);
/// Types of a pair of which news are kept between two rounds, on an average.
const TYPES: usize = 4;
/// Versions that are remembered with the moment in which they were heard of.
const VERSIONS: usize = 8;

/// Writes what lanes commit of pairs that are wanted.
pub struct Keeper {
    cache: Arc<LatestCache>,
    watches: Arc<Watches>,
    max_staleness: Duration,
    metrics: CacheMetrics,
    /// Its name: none that was before has it.
    writer: String,
    joined: Option<Joined>,
}

/// What it knows since it has joined.
struct Joined {
    watch: Watch,
    /// Pairs that it watches.
    pairs: usize,
    /// What it left in the cache last.
    mark: String,
    lanes: Vec<String>,
    /// The cache's time, milliseconds, in an answer that came at that moment: it was not later then.
    synced: (Instant, u64),
    /// Versions of what is wanted, and when each was heard of, ascending.
    versions: VecDeque<(Instant, u64)>,
    /// News that were taken and not pushed.
    left: HashMap<Series, Fresh>,
}

impl Joined {
    fn version(&self) -> u64 {
        self.versions.back().map_or(0, |(_, version)| *version)
    }

    fn heard(&mut self, at: Instant, version: u64) {
        if version != self.version() {
            self.versions.push_back((at, version));
        }
        if self.versions.len() > VERSIONS {
            self.versions.pop_front();
        }
    }

    /// What is said of a lane.
    fn word(&self, mark: &MarkNow, now: Instant, max_staleness: Duration) -> LaneWord {
        let complete_at = mark.since.map_or(now, |since| since.min(now));
        let (synced_at, synced_ms) = self.synced;
        let signed_ms =
            |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let later_ms = signed_ms(complete_at.saturating_duration_since(synced_at))
            - signed_ms(synced_at.saturating_duration_since(complete_at));
        let covers_ms = signed_ms(max_staleness) - signed_ms(ON_ITS_WAY);
        // Readings of before a version was heard of may still be untold.
        let heard = self
            .versions
            .iter()
            .rev()
            .find(|(at, _)| *at <= complete_at);
        LaneWord {
            name: mark.lane.as_str().to_owned(),
            place: place(mark),
            until_ms: i64::try_from(synced_ms).unwrap_or(0) + later_ms + covers_ms,
            version: heard.map_or(0, |(_, version)| *version),
        }
    }
}

fn place(mark: &MarkNow) -> String {
    format!("{}:{}", mark.epoch, mark.told)
}

fn names(marks: &[MarkNow]) -> Vec<String> {
    let name = |mark: &MarkNow| mark.lane.as_str().to_owned();
    marks.iter().map(name).collect()
}

fn watched(wanted: Wanted) -> Vec<WatchedPair> {
    let all_types = |pair| WatchedPair {
        pair,
        sensor_types: None,
    };
    wanted.pairs.into_iter().map(all_types).collect()
}

impl Keeper {
    #[must_use]
    pub fn new(
        cache: Arc<LatestCache>,
        watches: Arc<Watches>,
        max_staleness: Duration,
        metrics: CacheMetrics,
    ) -> Self {
        Self {
            cache,
            watches,
            max_staleness,
            metrics,
            writer: token(),
            joined: None,
        }
    }

    #[cfg(test)]
    pub(super) fn cache(&self) -> &LatestCache {
        &self.cache
    }

    /// As a round that does not reach the cache.
    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        self.joined = None;
    }

    /// Between two rounds.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.max_staleness / ROUNDS
    }

    /// Writes what is new. `marks` were looked at before, and all of what they say was told is among what the watches have been told.
    ///
    /// # Errors
    /// When the cache does not answer in time. The next round begins anew.
    pub async fn round(&mut self, marks: &[MarkNow], now: Instant) -> Result<(), CacheError> {
        match self.joined.take() {
            Some(joined) if joined.lanes == names(marks) => {
                self.joined = self.push(joined, marks, now).await?;
            }
            _ => {}
        }
        if self.joined.is_none() {
            self.joined = Some(self.join(marks, now).await?);
        }
        let pairs = self.joined.as_ref().map_or(0, |joined| joined.pairs);
        self.metrics.wants(pairs);
        Ok(())
    }

    /// None where it has to join again.
    async fn push(
        &self,
        mut joined: Joined,
        marks: &[MarkNow],
        now: Instant,
    ) -> Result<Option<Joined>, CacheError> {
        let news = joined.watch.take();
        if news.missed {
            debug!("it is not known what was committed of pairs that are in the cache");
            return Ok(None);
        }
        let of_each_type = self.cache.of_each_type();
        let fresh = joined.left.drain().chain(news.fresh);
        let copy = |(series, fresh): (Series, Fresh)| {
            let key = (fresh.timestamp_us, fresh.id);
            Copy::new(&series, key, fresh.sensor_value, of_each_type)
        };
        let copies: Vec<Copy> = fresh.map(copy).collect();
        let word = |mark| joined.word(mark, now, self.max_staleness);
        let words: Vec<LaneWord> = marks.iter().map(word).collect();
        let mark = token();
        let marks = (&*joined.mark, &*mark);
        let pushed = self
            .cache
            .push(&self.writer, marks, joined.version(), &words, &copies)
            .await?;
        let heard_at = Instant::now().max(now);
        let Pushed::At(at_ms, wanted) = pushed else {
            info!("the cache is not as it was left: it is filled anew");
            return Ok(None);
        };
        joined.mark = mark;
        joined.synced = (heard_at, at_ms);
        let version = wanted.version;
        match wanted.is_all {
            true => {
                let before = joined.watch;
                joined.watch = self.watch(&wanted, &mut joined.pairs);
                // What came until now; the new one has the rest.
                let news = before.take();
                if news.missed {
                    return Ok(None);
                }
                joined.left = news.fresh;
            }
            false => {
                joined.pairs += wanted.pairs.len();
                joined.watch.add(watched(wanted));
                joined.watch.allow(joined.pairs * TYPES);
            }
        }
        joined.heard(Instant::now().max(heard_at), version);
        Ok(Some(joined))
    }

    fn watch(&self, wanted: &Wanted, pairs: &mut usize) -> Watch {
        *pairs = wanted.pairs.len();
        self.watches.watch(watched(wanted.clone()), *pairs * TYPES)
    }

    async fn join(&self, marks: &[MarkNow], now: Instant) -> Result<Joined, CacheError> {
        let lanes: Vec<_> = marks
            .iter()
            .map(|mark| (mark.lane.as_str().to_owned(), place(mark)))
            .collect();
        let mark = token();
        self.metrics.forgotten();
        let (at_ms, wanted) = self.cache.join(&self.writer, &mark, &lanes).await?;
        let synced = (Instant::now().max(now), at_ms);
        let mut pairs = 0;
        let watch = self.watch(&wanted, &mut pairs);
        Ok(Joined {
            watch,
            pairs,
            mark,
            lanes: names(marks),
            synced,
            versions: VecDeque::from([(Instant::now().max(now), wanted.version)]),
            left: HashMap::new(),
        })
    }
}

/// Keeps copies until the service has drained.
pub async fn keep(
    mut keeper: Keeper,
    marks: CommitMarks,
    ingest: Arc<Ingest>,
    draining: CancellationToken,
) {
    let mut is_away = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(keeper.interval()) => {}
            () = draining.cancelled(), if !draining.is_cancelled() => {}
        }
        // Before the last round: what is settled is told.
        let is_last = draining.is_cancelled() && ingest.figures().in_flight == 0;
        let now = Instant::now();
        match keeper.round(&marks.now(), now).await {
            Ok(()) => {
                if std::mem::take(&mut is_away) {
                    info!("the cache answers again");
                }
            }
            Err(error) => {
                keeper.metrics.failed();
                if !std::mem::replace(&mut is_away, true) {
                    warn!(%error, "the cache does not take what is committed (cache.url): the database answers");
                }
            }
        }
        if is_last {
            return;
        }
    }
}
