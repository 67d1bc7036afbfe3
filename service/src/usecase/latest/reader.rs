//! Asks for copies.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::{
    breaker::Breaker,
    metrics::{CACHE, CacheMetrics, DATABASE},
};
use crate::{
    model::{IdPair, StoredReading},
    repository::{
        RepositoryError, Standing,
        cache::{CacheError, LatestCache, Looked, PairCopy},
        mysql::MySqlChangeCounts,
    },
};

/// So many times within the staleness it is asked where everybody stands.
const LOOKS: u32 = 4;
/// Longest wait for that.
const STANDINGS_DEADLINE: Duration = Duration::from_secs(2);
/// Pairs of one call.
const PAIRS: usize = 1_000;
/// Calls at once that fill what was found missing.
const FILLS: usize = 4;

/// What is kept of some pairs.
#[derive(Debug)]
pub struct Asked(Vec<PairCopy>);

impl Asked {
    /// Of each pair, in order; None where the table has to be asked.
    pub fn kept(&mut self) -> impl Iterator<Item = Option<Vec<StoredReading>>> {
        self.0.iter_mut().map(|copy| match copy {
            PairCopy::Kept(readings) => Some(std::mem::take(readings)),
            PairCopy::Fill(_) | PairCopy::Missing => None,
        })
    }
}

/// Where everybody stood.
#[derive(Clone, Debug)]
struct Seen {
    /// When that was asked.
    at: Instant,
    standings: Arc<Vec<Standing>>,
    /// What was said the time before.
    before: Arc<Vec<Standing>>,
}

/// Asks the cache, and believes it as far as the database allows.
pub struct LatestReader {
    cache: Arc<LatestCache>,
    counts: MySqlChangeCounts,
    max_staleness: Duration,
    seen: tokio::sync::Mutex<Option<Seen>>,
    breaker: Mutex<Breaker>,
    fills: Arc<Semaphore>,
    metrics: CacheMetrics,
}

/// Why the cache has no part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// It does not keep what was asked for.
    NotKept,
    /// It does not answer, or did not before.
    Away,
    /// It is not known where the lanes stand.
    Unknown,
    /// A lane has committed what it has not told there.
    Behind,
    /// An instance changes readings, and has not said there which.
    Changing,
}

/// Why nothing is answered.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{0}")]
    Cache(#[from] CacheError),
    #[error("it is not known where the lanes stand: {0}")]
    Standings(#[from] RepositoryError),
}

/// Of whom nobody says what they have told, after it was asked anew where they stand.
pub(super) fn silent<'a>(
    looked: Looked,
    standings: &'a [Standing],
    before: &[Standing],
) -> Vec<&'a Standing> {
    let names = match looked {
        Looked::Copies(_) | Looked::Open => Vec::new(),
        // The database was set back.
        Looked::Newer(names) => names,
        Looked::Behind(names) => {
            // Those that move may speak for themselves in a moment.
            let is_still = |name: &String| {
                let stood = |all: &[Standing]| all.iter().find(|one| one.name == *name).cloned();
                name.starts_with(Standing::CHANGES_PREFIX) || stood(standings) == stood(before)
            };
            names.into_iter().filter(is_still).collect()
        }
    };
    let of = standings.iter().filter(|one| names.contains(&one.name));
    of.collect()
}

impl LatestReader {
    #[must_use]
    pub fn new(
        cache: Arc<LatestCache>,
        counts: MySqlChangeCounts,
        max_staleness: Duration,
        metrics: CacheMetrics,
    ) -> Self {
        Self {
            cache,
            counts,
            max_staleness,
            seen: tokio::sync::Mutex::default(),
            breaker: Mutex::default(),
            fills: Arc::new(Semaphore::new(FILLS)),
            metrics,
        }
    }

    /// Whether each type of a pair is kept, or the newest reading of any.
    #[must_use]
    pub fn of_each_type(&self) -> bool {
        self.cache.of_each_type()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of these pairs, or why nothing can be believed now.
    pub async fn ask(&self, pairs: &[IdPair]) -> Result<Asked, Bypass> {
        if !self.breaker().is_closed(Instant::now()) {
            return Err(Bypass::Away);
        }
        match self.try_ask(pairs).await {
            Ok(copies) => {
                if self.breaker().succeeded() {
                    info!("the cache answers again");
                }
                copies.map(Asked)
            }
            Err(Unanswered::Cache(error)) => {
                self.metrics.failed();
                if self.breaker().failed(Instant::now()) {
                    warn!(%error, "the cache does not answer (cache.url): the database does, and it is left alone for a while");
                }
                Err(Bypass::Away)
            }
            Err(error @ Unanswered::Standings(_)) => {
                debug!(%error, "the cache is not asked");
                Err(Bypass::Unknown)
            }
        }
    }

    async fn try_ask(&self, pairs: &[IdPair]) -> Result<Result<Vec<PairCopy>, Bypass>, Unanswered> {
        let mut copies = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(PAIRS) {
            match self.look(pairs).await? {
                Ok(some) => copies.extend(some),
                Err(bypass) => return Ok(Err(bypass)),
            }
        }
        Ok(Ok(copies))
    }

    async fn look(&self, pairs: &[IdPair]) -> Result<Result<Vec<PairCopy>, Bypass>, Unanswered> {
        let mut seen = self.standings(self.max_staleness / LOOKS).await?;
        let mut looked = self.cache.look(&seen.standings, pairs).await?;
        if let Looked::Newer(_) = looked {
            seen = self.standings(Duration::ZERO).await?;
            looked = self.cache.look(&seen.standings, pairs).await?;
        }
        let bypass = match &looked {
            Looked::Open => Bypass::Changing,
            _ => Bypass::Behind,
        };
        let of = match looked {
            Looked::Copies(copies) => return Ok(Ok(copies)),
            other => silent(other, &seen.standings, &seen.before),
        };
        if !of.is_empty() {
            debug!(
                ?of,
                "nobody says what these have told: the cache forgets everything"
            );
            self.metrics.forgotten();
            self.cache.repair(&of).await?;
        }
        Ok(Err(bypass))
    }

    /// Where everybody stands, not longer ago than that.
    async fn standings(&self, age: Duration) -> Result<Seen, RepositoryError> {
        let asked_at = Instant::now();
        let mut seen = self.seen.lock().await;
        // Others may have asked while this one waited for its turn.
        if let Some(seen) = &*seen
            && (seen.at >= asked_at || seen.at.elapsed() < age)
        {
            return Ok(seen.clone());
        }
        let at = Instant::now();
        let asking = tokio::time::timeout(STANDINGS_DEADLINE, self.counts.standings());
        let standings = asking
            .await
            .unwrap_or_else(|_| Err(RepositoryError::Contention("no answer in time".to_owned())))?;
        let before = match seen.take() {
            Some(seen) => seen.standings,
            None => Arc::default(),
        };
        let now = Seen {
            at,
            standings: Arc::new(standings),
            before,
        };
        *seen = Some(now.clone());
        Ok(now)
    }

    /// Has what the table holds of those that were missing kept. Nobody waits for it.
    pub fn fill(&self, asked: &Asked, pairs: &[IdPair], found: &[Vec<StoredReading>]) {
        let missing = asked
            .0
            .iter()
            .zip(pairs)
            .filter(|(copy, _)| !matches!(copy, PairCopy::Kept(_)));
        let fills = missing
            .zip(found)
            .filter_map(|((copy, pair), found)| match copy {
                PairCopy::Fill(nonce) => Some((pair.clone(), nonce.clone(), found.clone())),
                PairCopy::Kept(_) | PairCopy::Missing => None,
            });
        let fills: Vec<_> = fills.collect();
        let place = self.fills.clone().try_acquire_owned();
        let (Ok(place), false) = (place, fills.is_empty()) else {
            return;
        };
        let (cache, metrics) = (self.cache.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let _place = place;
            for fills in fills.chunks(PAIRS) {
                let fills: Vec<_> = fills
                    .iter()
                    .map(|(pair, nonce, found)| (pair, &**nonce, &**found))
                    .collect();
                if let Err(error) = cache.fill(&fills).await {
                    debug!(%error, "what the table holds is not kept");
                    metrics.failed();
                    return;
                }
            }
        });
    }

    /// Counts who has answered.
    pub fn answered(&self, from_cache: usize, from_database: usize) {
        self.metrics.answered(CACHE, from_cache);
        self.metrics.answered(DATABASE, from_database);
    }
}
