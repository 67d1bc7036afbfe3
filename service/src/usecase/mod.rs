//! What Sluicegate does, without a word of HTTP, gRPC or SQL.

pub mod changes;
pub mod clock;
pub mod ingest;
pub mod latest;
pub mod live;
pub mod manage;
pub mod readiness;
pub mod rollups;
pub mod sources;

use std::sync::Arc;

use self::{
    ingest::Ingest,
    live::WatcherRooms,
    manage::{Manage, SeriesKeeper, partitions::PartitionManager},
    sources::Sources,
};

/// What the doors work with, once the service has started. They are open before: whoever waits for a start that does not
/// come has to learn why (P7).
pub struct UseCases {
    pub ingest: Arc<Ingest>,
    pub manage: Arc<Manage>,
    /// None where nobody manages partitions.
    pub partitions: Option<Arc<PartitionManager>>,
    /// None where readings bring their names along.
    pub series: Option<Arc<SeriesKeeper>>,
    pub sources: Sources,
    /// Of those who watch through any door.
    pub watcher_rooms: WatcherRooms,
}
