//! Waits for a database that is starting.

use std::time::Duration;

use tracing::warn;

use super::{DatabaseSettings, connection::Connector};
use crate::repository::{Awaited, RepositoryError};

pub(super) async fn wait_for_database(
    connector: &Connector,
    DatabaseSettings {
        connect_deadline: deadline,
        awaits,
        ..
    }: &DatabaseSettings,
) -> Result<mysql_async::Conn, RepositoryError> {
    awaits.tell(Awaited::Own(format!(
        "the database at {} is asked",
        connector.place()
    )));
    let give_up_at = tokio::time::Instant::now() + *deadline;
    let mut pause = Duration::from_millis(50);
    loop {
        let reason = match connector.connect().await {
            Ok(conn) => return Ok(conn),
            Err(reason) if reason.is_retriable() => reason,
            Err(reason) => return Err(reason),
        };
        if tokio::time::Instant::now() + pause > give_up_at {
            return Err(RepositoryError::GaveUp(format!(
                "gave up after {} s (--connect-deadline-s) on {} (--database-url): {reason}",
                deadline.as_secs(),
                connector.place()
            )));
        }
        warn!(%reason, place = connector.place(), "waiting for the database");
        awaits.tell(Awaited::Others(reason.to_string()));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
