//! Copies of the newest readings, in Redis or Valkey. What they mean, and when they may be believed, stands in `usecase/latest`.
//!
//! Everything is done by scripts, each of which the server runs as a whole. They make up the names of their keys, so a cluster that
//! spreads keys over servers cannot run them.

mod answers;
mod copies;
mod link;
mod scripts;

use std::time::Duration;

use sha2::{Digest as _, Sha256};

pub use self::{
    answers::{Looked, PairCopy, Pushed, Wanted},
    copies::{Copy, pair_of},
    link::CacheAddress,
};
use self::{
    link::Link,
    scripts::{Call, Scripts},
};
use crate::{
    model::{IdPair, StoredReading},
    repository::Standing,
};

/// How long nobody may ask for a pair until it is no longer kept.
const WANTED: Duration = Duration::from_secs(600);
/// How long what was read from the table counts: a bound for changes that were made past the service.
const GOOD: Duration = Duration::from_secs(60);
/// Sensor types of a pair that are kept at the most; pairs with more are not.
const TYPES_MAX: usize = 64;

/// Why a copy cannot be had. The table has everything.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("{0}")]
    Failed(#[from] redis::RedisError),
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("it answers what this version does not understand")]
    Unexpected,
}

/// How a cache is used.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    pub address: CacheAddress,
    /// How old an answer may be.
    pub max_staleness: Duration,
    /// Pairs that are kept at the most.
    pub max_pairs: usize,
}

/// A lane of a writer, as it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneWord {
    pub name: String,
    /// "epoch:number".
    pub place: String,
    /// Until when what is kept of it counts as complete, milliseconds of the cache's clock.
    pub until_ms: i64,
    /// As of which version of what is wanted.
    pub version: u64,
}

/// The copies of one database's readings.
#[derive(Debug)]
pub struct LatestCache {
    link: Link,
    scripts: Scripts,
    /// What all keys begin with.
    prefix: String,
    max_pairs: usize,
    /// Whether each type of a pair is kept, or the newest reading of any.
    of_each_type: bool,
    /// Milliseconds since the Unix epoch in the place of the server's own time.
    #[cfg(test)]
    pub(crate) clock_ms: std::sync::atomic::AtomicU64,
}

impl LatestCache {
    /// Of the readings at that place. `deadline` bounds each call, connecting included.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(
        settings: &CacheSettings,
        place: &str,
        of_each_type: bool,
        deadline: Duration,
    ) -> Result<Self, CacheError> {
        let digest = Sha256::digest(place.as_bytes());
        let digest: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            link: Link::new(&settings.address, deadline)?,
            scripts: Scripts::default(),
            // All keys in one slot, for servers that are a cluster of one.
            prefix: format!("sluicegate:{{{digest}}}:"),
            max_pairs: settings.max_pairs,
            of_each_type,
            #[cfg(test)]
            clock_ms: std::sync::atomic::AtomicU64::new(0),
        })
    }

    fn call<'s>(&self, script: &'s redis::Script) -> Call<'s> {
        let mut call = Call::new(script, &self.prefix);
        #[cfg(test)]
        match self.clock_ms.load(std::sync::atomic::Ordering::Relaxed) {
            0 => call.arg(""),
            ms => call.arg(ms),
        };
        #[cfg(not(test))]
        call.arg("");
        call
    }

    /// What is kept of these pairs, if it can be believed while lanes and changes stand there.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn look(
        &self,
        standings: &[Standing],
        pairs: &[IdPair],
    ) -> Result<Looked, CacheError> {
        let mut call = self.call(&self.scripts.look);
        call.arg(token()).arg(self.max_pairs).arg(ms(WANTED));
        call.arg(standings.len());
        for standing in standings {
            let is_open = if standing.is_open { "1" } else { "0" };
            call.arg(&*standing.name).arg(&*standing.place).arg(is_open);
        }
        for pair in pairs {
            call.arg(pair_of(pair));
        }
        let answer = self.link.ask(&call).await?;
        answers::looked(answer, pairs).ok_or(CacheError::Unexpected)
    }

    /// Keeps what the table holds of pairs, each read since it got its nonce.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn fill(
        &self,
        found: &[(&IdPair, &str, &[StoredReading])],
    ) -> Result<(), CacheError> {
        let mut call = self.call(&self.scripts.fill);
        call.arg(ms(GOOD));
        for (pair, nonce, readings) in found {
            call.arg(pair_of(pair)).arg(*nonce).arg(readings.len());
            for stored in *readings {
                let copy = Copy::of_stored(stored, self.of_each_type);
                call.arg(copy.field).arg(copy.reading);
            }
        }
        self.link.ask(&call).await?;
        Ok(())
    }

    /// A writer begins, or begins anew: all that is kept is forgotten.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn join(
        &self,
        writer: &str,
        mark: &str,
        lanes: &[(String, String)],
    ) -> Result<(u64, Wanted), CacheError> {
        let mut call = self.call(&self.scripts.join);
        call.arg(writer).arg(mark).arg(token());
        call.arg(lanes.len());
        for (name, place) in lanes {
            call.arg(&**name).arg(&**place);
        }
        let answer = self.link.ask(&call).await?;
        answers::joined(answer).ok_or(CacheError::Unexpected)
    }

    /// Keeps what lanes have committed, and their words. `marks` are what the writer left last, and what it leaves now.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn push(
        &self,
        writer: &str,
        (left, mark): (&str, &str),
        version: u64,
        lanes: &[LaneWord],
        copies: &[Copy],
    ) -> Result<Pushed, CacheError> {
        let mut call = self.call(&self.scripts.push);
        call.arg(writer).arg(left).arg(mark);
        call.arg(version).arg(ms(WANTED)).arg(TYPES_MAX + 4);
        call.arg(lanes.len());
        for lane in lanes {
            call.arg(&*lane.name).arg(&*lane.place);
            call.arg(lane.until_ms.max(0)).arg(lane.version);
        }
        for copy in copies {
            call.arg(&*copy.pair).arg(&*copy.field).arg(&*copy.reading);
        }
        let answer = self.link.ask(&call).await?;
        answers::pushed(answer).ok_or(CacheError::Unexpected)
    }

    /// Forgets everything, because nobody says any more what these have done.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn repair(&self, of: &[&Standing]) -> Result<(), CacheError> {
        let mut call = self.call(&self.scripts.repair);
        call.arg(token());
        for standing in of {
            call.arg(&*standing.name).arg(&*standing.place);
        }
        self.link.ask(&call).await?;
        Ok(())
    }

    /// A change of these pairs, or of any, is about to begin.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn begin_change(
        &self,
        of: (&str, u64),
        pairs: Option<&[IdPair]>,
    ) -> Result<(), CacheError> {
        self.changing(&self.scripts.begin, of, pairs).await
    }

    /// It has ended.
    ///
    /// # Errors
    /// When the cache does not answer in time.
    pub async fn end_change(
        &self,
        of: (&str, u64),
        pairs: Option<&[IdPair]>,
    ) -> Result<(), CacheError> {
        self.changing(&self.scripts.end, of, pairs).await
    }

    async fn changing(
        &self,
        script: &redis::Script,
        (name, number): (&str, u64),
        pairs: Option<&[IdPair]>,
    ) -> Result<(), CacheError> {
        let mut call = self.call(script);
        call.arg(name).arg(number).arg(token());
        match pairs {
            None => {
                call.arg("*");
            }
            Some(pairs) => {
                for pair in pairs {
                    call.arg(pair_of(pair));
                }
            }
        }
        self.link.ask(&call).await?;
        Ok(())
    }

    /// Whether each type of a pair is kept, or the newest reading of any.
    #[must_use]
    pub fn of_each_type(&self) -> bool {
        self.of_each_type
    }
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// One that there has never been.
#[must_use]
pub fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}
