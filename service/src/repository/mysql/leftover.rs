//! What is left of another layout, while its readings are moved: until they are, questions and changes reach it too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mysql_async::{Conn, Pool, prelude::Queryable as _};

use super::{
    error::explain_to,
    indexes::Indexes,
    ledger::quote,
    names::Names,
    table::{Held, TableLayout, is_view},
};
use crate::{model::Limits, repository::RepositoryError};

/// What begins the name of the row beside the counters of ids that says so, whatever the account may see of the table itself.
const MARK: &str = "moving from ";

/// A table whose readings are being moved.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    pub(super) layout: TableLayout,
    pub(super) limits: Limits,
    pub(super) touches_ts: bool,
    pub(super) indexes: Indexes,
    /// All are moved, and the table is not there any more.
    pub(super) gone: Arc<AtomicBool>,
}

impl Leftover {
    /// Reads it; None where nothing is left beside readings of this layout.
    ///
    /// # Errors
    /// When the database does not answer, and when the account may not see it.
    pub(super) async fn read(
        conn: &mut Conn,
        current: TableLayout,
    ) -> Result<Option<Self>, RepositoryError> {
        let Some(layout) = mark(conn, current).await? else {
            return Ok(None);
        };
        let table = layout.moving_table();
        let asked = conn.query_drop(format!("SELECT 1 FROM {table} LIMIT 0"));
        match asked.await.map_err(|error| {
            explain_to("see the readings that are moved from another layout", error)
        }) {
            Err(error) if is_gone(&error) => return Ok(None),
            asked => asked?,
        }
        let Held { limits, touches_ts } =
            Held::read(conn, layout, table, &Names::default()).await?;
        Ok(Some(Self {
            layout,
            limits,
            touches_ts,
            indexes: Indexes::read(conn, table, &Names::default()).await?,
            gone: Arc::default(),
        }))
    }
}

/// Whether a table is not there.
pub(super) fn is_gone(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Table(reason) if reason.ends_with("(1146)"))
}

/// From which layout readings are moved into this one. The mark of a move that has not yet begun is of no account.
pub(super) async fn mark(
    conn: &mut Conn,
    current: TableLayout,
) -> Result<Option<TableLayout>, RepositoryError> {
    let sql = format!(
        "SELECT name FROM id_blocks WHERE name LIKE {}",
        quote(&format!("{MARK}%"))
    );
    let marks: Vec<String> = conn
        .query(sql)
        .await
        .map_err(|error| explain_to("see whether readings are being moved", error))?;
    let from = marks
        .iter()
        .filter_map(|mark| TableLayout::named(mark.strip_prefix(MARK)?));
    let mut others = from.filter(|from| from.is_numbered() != current.is_numbered());
    Ok(others.next())
}

/// Says that readings of this layout are about to be moved.
pub(super) fn make_mark(from: TableLayout) -> String {
    let name = quote(&format!("{MARK}{from}"));
    format!("INSERT IGNORE INTO id_blocks (name, next_id) VALUES ({name}, 0)")
}

/// Takes that back.
pub(super) fn remove_mark(from: TableLayout) -> String {
    let name = quote(&format!("{MARK}{from}"));
    format!("DELETE FROM id_blocks WHERE name = {name}")
}

/// Between two looks at which layout there is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Resolves when the readings are in tables of another kind, where that can be. Nothing can be stored or asked then before all is read anew.
///
/// Notes meanwhile that nothing is left to be moved.
pub(super) async fn changed(
    pool: Pool,
    layout: Option<TableLayout>,
    gone: Option<Arc<AtomicBool>>,
) {
    let Some(layout) = layout else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(mut conn) = pool.get_conn().await else {
            continue;
        };
        if let Ok(Some(is_view)) = is_view(&mut conn).await
            && is_view != layout.is_numbered()
        {
            return;
        }
        if let Some(gone) = &gone
            && !gone.load(Ordering::Relaxed)
            && let Ok(None) = mark(&mut conn, layout).await
        {
            gone.store(true, Ordering::Relaxed);
        }
    }
}
