//! Steps of the start, each with an end.

use std::time::Duration;

use super::{
    DatabaseSettings, TableLayout, checks, connection::Connector, names::Names,
    waiting::wait_for_database,
};
use crate::repository::RepositoryError;

/// Longer than the locks that a start may wait for.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// A part of the start whose questions take no time. One that falls silent in their middle is given up like one that
/// does not answer at all.
pub(super) async fn answered<T>(
    settings: &DatabaseSettings,
    connector: &Connector,
    questions: impl Future<Output = Result<T, RepositoryError>>,
) -> Result<T, RepositoryError> {
    let deadline = settings.connect_deadline + ANSWER_DEADLINE;
    tokio::time::timeout(deadline, questions)
        .await
        .unwrap_or_else(|_| {
            Err(RepositoryError::GaveUp(format!(
                "gave up on {}, which has taken a connection and does not answer what is asked on it, after {} s \
                 (--connect-deadline-s, and {} s for locks)",
                connector.place(),
                deadline.as_secs(),
                ANSWER_DEADLINE.as_secs()
            )))
        })
}

/// What management connects by, tried out.
pub(super) async fn management(
    settings: &DatabaseSettings,
    connector: &Connector,
    (layout, leftover): (TableLayout, Option<TableLayout>),
    names: &Names,
) -> Result<Connector, RepositoryError> {
    let manage = match &settings.manage {
        Some(access) => Connector::new(access, &settings.metrics)?,
        None => connector.clone(),
    };
    let mut conn = wait_for_database(&manage, settings).await?;
    if settings.manage.is_some() {
        manage.report();
    }
    answered(
        settings,
        &manage,
        Box::pin(checks::can_manage(&mut conn, layout, leftover, names)),
    )
    .await?;
    let _ = conn.disconnect().await;
    Ok(manage)
}
