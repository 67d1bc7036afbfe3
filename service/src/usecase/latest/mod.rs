//! Copies of the newest readings, for those who ask for them every second: kept in a cache beside the database, and never believed
//! longer than `cache.max_staleness`.
//!
//! The table is what counts; a copy is answered only while it cannot be older than that, whatever has happened to whom.
//!
//! - **Who writes.** Each instance has a keeper. It watches the pairs that somebody asked for, and several times within the staleness
//!   pushes what its lanes have committed of them, together with each lane's place (epoch and batch) and its word: until when what
//!   is kept counts as complete. That is reckoned by the cache's own clock, from an answer that came before the readings were taken, so a
//!   push that is late, or meets a cache that stood still, says what is over already. A COMMIT that was sent and is not told yet ends what a
//!   word covers.
//! - **Who reads** asks the database every quarter of the staleness where all lanes of all instances stand. A lane counts as complete if
//!   its word does, for the epoch that the ledger has; or if it stands where it has told, as one at rest does. Otherwise MySQL
//!   answers. Lanes that nobody speaks for any more, and that do not move, are made good by forgetting everything.
//! - **What is asked for** is written down under a rising version; a word says which version its lane has heard of. A pair is filled from
//!   the table only once every lane has: what is committed from then on is pushed, and what was before, the table shows. A nonce ties the
//!   filling to the entry that was there when the table was asked.
//! - **Changes** (deletes, updates, retention) are counted in the database before they begin and when they have ended, and their pairs are
//!   held in the cache meanwhile. Afterwards they are forgotten, and wanted under a new version, because lanes may still be about to push
//!   what has just been deleted. A count that the cache does not have is made good like a lane.
//! - **A cache that was emptied or set back** does not have the mark that the writer left last: it joins anew, and all is forgotten.

mod breaker;
mod keeper;
mod metrics;
#[cfg(test)]
mod model_test;
mod reader;

pub use self::{
    keeper::{Keeper, keep},
    metrics::CacheMetrics,
    reader::{Asked, Bypass, LatestReader},
};
