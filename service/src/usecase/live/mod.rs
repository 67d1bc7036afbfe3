//! New readings of some series, as they are committed by this instance: told to whoever watches, through whichever door.

mod feed;
mod rooms;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

pub use self::{
    feed::Told,
    rooms::{Full, WatcherRooms},
};
use self::{
    feed::{Feed, watched},
    rooms::WatcherRoom,
};
use super::{
    ingest::Ingest,
    manage::{Manage, QueryError},
};
use crate::{model::Selection, repository::RepositoryError};

/// Between two times that a watcher is told, milliseconds.
pub const INTERVAL_MS: RangeInclusive<u64> = 20..=60_000;
/// Where it does not say.
pub const INTERVAL_MS_DEFAULT: u64 = 1_000;

/// What a watcher wants to be told.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub selection: Selection,
    /// Between two times at least.
    pub interval: Duration,
    /// Times after which it has heard enough; None: it never has.
    pub limit: Option<u64>,
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("{0}")]
    Query(#[from] QueryError),
    #[error("{0}")]
    Full(#[from] Full),
}

/// Somebody who watches: its room, and what it has not been told yet.
pub struct Live {
    manage: Arc<Manage>,
    feed: Feed,
    first: Option<Vec<Told>>,
    /// Times that it may still be told.
    left: u64,
    _room: WatcherRoom,
}

impl Live {
    /// Finds what is to be watched, and room for it, and looks at what is in the table.
    ///
    /// # Errors
    /// When there is no room, or the selection cannot be watched; and when the database does not answer.
    pub async fn begin(
        ingest: &Ingest,
        manage: &Arc<Manage>,
        rooms: &WatcherRooms,
        wanted: Wanted,
    ) -> Result<Self, LiveError> {
        let watched = watched(manage, wanted.selection).await?;
        let room = rooms.take(watched.series_max()).await?;
        let mut feed = Feed::new(ingest, watched, wanted.interval);
        let first = feed.next(manage).await.map_err(QueryError::from)?;
        Ok(Self {
            manage: manage.clone(),
            feed,
            first: Some(first),
            left: wanted.limit.unwrap_or(u64::MAX),
            _room: room,
        })
    }

    /// What is in the table at first, which may be nothing, then what has come, as soon as it may be told. Waits longer where the
    /// database does not answer: new readings are told once it does. Whoever stops waiting loses nothing.
    pub async fn next(&mut self) -> Vec<Told> {
        let told = match self.first.take() {
            Some(first) => first,
            None => self.come().await,
        };
        self.left -= 1;
        told
    }

    /// Whether it has been told as often as it wanted.
    #[must_use]
    pub fn has_heard_enough(&self) -> bool {
        self.left == 0
    }

    async fn come(&mut self) -> Vec<Told> {
        loop {
            match self.feed.next(&self.manage).await {
                Ok(told) if told.is_empty() => {}
                Ok(told) => return told,
                Err(error @ RepositoryError::Other(_)) => {
                    tracing::warn!(%error, "what a watcher missed cannot be read: trying again");
                }
                Err(error) => tracing::debug!(%error, "what a watcher missed is read later"),
            }
        }
    }
}
