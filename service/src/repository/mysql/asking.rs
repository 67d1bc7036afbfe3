//! Statements of management: each on a connection of a pool, and ended when nobody waits for its answer any more.

use std::{pin::pin, time::Duration};

use futures::future::BoxFuture;
use mysql_async::{Conn, Error, Pool, Row, prelude::Queryable as _};
use tokio_util::sync::CancellationToken;

use super::{answers, connection::Connector, error::explain, statement::Statement};
use crate::repository::RepositoryError;

/// Longest wait for a connection.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between attempts to end a statement: the first may come before the server has begun with it.
const END_AGAIN: Duration = Duration::from_millis(500);
/// ER_NEED_REPREPARE
const NEED_REPREPARE: u16 = 1615;
/// So often a statement is tried whose tables are being altered.
const PREPARED_MAX: u32 = 10;
const PREPARE_AGAIN: Duration = Duration::from_millis(20);
/// So much of a statement tells it from what another connection of that number may be doing.
const BEGINNING_CHARS: usize = 24;

/// Asks the database for whoever manages what is stored. A pool of its own for each kind of work keeps one kind from
/// taking the connections of another.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pool: Pool,
    /// For the short connections that end statements.
    connector: Connector,
}

/// What a statement brought.
struct Answered {
    rows: Vec<Row>,
    /// Those that were found, not those that became different.
    affected: u64,
}

impl Asking {
    /// At most `connections` statements run at once.
    pub(super) fn new(
        connector: &Connector,
        name: &'static str,
        connections: usize,
        statement_limit: Duration,
    ) -> Self {
        Self {
            pool: connector.management_pool(name, connections, statement_limit),
            connector: connector.clone(),
        }
    }

    /// Does several statements in one transaction, which the work begins and ends. It goes on when nobody waits for it any more; one
    /// that fails takes its connection with it, and so is rolled back.
    pub(super) async fn in_transaction<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, RepositoryError>>
        + Send
        + 'static,
    ) -> Result<T, RepositoryError> {
        let mut conn = connection(&self.pool).await?;
        let working = tokio::spawn(async move {
            let done = work(&mut conn).await;
            if done.is_err() {
                answers::cut(conn);
            }
            done
        });
        match working.await {
            Ok(done) => done,
            Err(lost) => Err(RepositoryError::Other(lost.to_string())),
        }
    }

    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, RepositoryError> {
        Ok(self.ask(statement).await?.rows)
    }

    /// Runs a change and returns how many rows it found.
    pub(super) async fn affected(&self, statement: Statement) -> Result<u64, RepositoryError> {
        Ok(self.ask(statement).await?.affected)
    }

    /// The server goes on with a statement when its client is gone. So this goes on, too, in a task: the connection
    /// stays taken, and the statement is ended from another one.
    async fn ask(&self, statement: Statement) -> Result<Answered, RepositoryError> {
        let conn = connection(&self.pool).await?;
        let gone = CancellationToken::new();
        let _dropped_with_this = gone.clone().drop_guard();
        let connector = self.connector.clone();
        let running = async { to_its_end(conn, statement, gone, connector).await.0 };
        match tokio::spawn(running).await {
            Ok(answer) => answer.map_err(explain),
            Err(lost) => Err(RepositoryError::Other(lost.to_string())),
        }
    }

    /// The same of a statement that rests on what others told in the same snapshot: `plan` asks for that, and makes it.
    pub(super) async fn rows_of_a_moment<T: Send + 'static>(
        &self,
        plan: impl for<'c> FnOnce(
            &'c mut Conn,
        ) -> BoxFuture<'c, Result<(Statement, T), RepositoryError>>
        + Send
        + 'static,
    ) -> Result<(Vec<Row>, T), RepositoryError> {
        let mut conn = connection(&self.pool).await?;
        let gone = CancellationToken::new();
        let _dropped_with_this = gone.clone().drop_guard();
        let connector = self.connector.clone();
        let running = async move {
            let planned = async {
                conn.query_drop(SNAPSHOT).await.map_err(explain)?;
                plan(&mut conn).await
            };
            let (statement, planned) = match planned.await {
                Ok(planned) => planned,
                Err(error) => {
                    answers::cut(conn);
                    return Err(error);
                }
            };
            let (answer, conn) = to_its_end(conn, statement, gone, connector).await;
            if let Some(mut conn) = conn {
                match &answer {
                    Ok(_) => conn.query_drop("COMMIT").await.map_err(explain)?,
                    Err(_) => answers::cut(conn),
                }
            }
            Ok((answer.map_err(explain)?.rows, planned))
        };
        match tokio::spawn(running).await {
            Ok(answer) => answer,
            Err(lost) => Err(RepositoryError::Other(lost.to_string())),
        }
    }
}

const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                        START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A connection from the pool, or the news that there is none.
async fn connection(pool: &Pool) -> Result<Conn, RepositoryError> {
    tokio::time::timeout(CONNECTION_DEADLINE, pool.get_conn())
        .await
        .map_err(|_| RepositoryError::Unreachable("no connection became free".to_owned()))?
        .map_err(explain)
}

/// With the connection, if others may use it.
async fn to_its_end(
    mut conn: Conn,
    statement: Statement,
    gone: CancellationToken,
    connector: Connector,
) -> (Result<Answered, Error>, Option<Conn>) {
    let id = conn.id();
    let beginning: String = statement.sql.chars().take(BEGINNING_CHARS).collect();
    let (answer, is_wanted) = {
        let mut answer = pin!(answer(&mut conn, statement));
        tokio::select! {
            answer = &mut answer => (answer, true),
            () = gone.cancelled() => tokio::select! {
                answer = &mut answer => (answer, false),
                never = end(&connector, id, &beginning) => match never {},
            },
        }
    };
    if answer.as_ref().is_err_and(answers::is_too_long) {
        answers::cut(conn);
        return (answer, None);
    }
    if is_wanted {
        return (answer, Some(conn));
    }
    // What was sent to end this statement may still be under way, and must not meet the next one.
    let _ = conn.disconnect().await;
    (answer, None)
}

/// Runs a statement. One that the server has prepared, and could not prepare again although its tables were altered, has done
/// nothing: partitions that are made and dropped meet it now and then.
async fn answer(conn: &mut Conn, statement: Statement) -> Result<Answered, Error> {
    let mut attempt = 1;
    loop {
        match answer_once(conn, &statement).await {
            Err(Error::Server(error)) if error.code == NEED_REPREPARE && attempt < PREPARED_MAX => {
                attempt += 1;
                tokio::time::sleep(PREPARE_AGAIN).await;
            }
            answered => return answered,
        }
    }
}

async fn answer_once(conn: &mut Conn, statement: &Statement) -> Result<Answered, Error> {
    let Statement { sql, params } = statement;
    let mut result = conn.exec_iter(sql.as_str(), params.clone()).await?;
    let rows = answers::rows(&mut result, answers::PAGE_BYTES).await?;
    result.drop_result().await?;
    Ok(Answered {
        rows,
        affected: conn.affected_rows(),
    })
}

/// Ends a statement, again and again until the caller has seen its end.
async fn end(connector: &Connector, id: u32, beginning: &str) -> std::convert::Infallible {
    loop {
        if let Err(reason) = try_end(connector, id, beginning).await {
            tracing::debug!(%reason, "cannot end the statement of a client that is gone");
        }
        tokio::time::sleep(END_AGAIN).await;
    }
}

/// Behind a balancer the number may be another connection's, on another server: so it has to be at work on this.
async fn try_end(connector: &Connector, id: u32, beginning: &str) -> Result<(), RepositoryError> {
    let mut conn = connector.connect().await?;
    let sql =
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND LEFT(INFO, ?) = ?";
    let found: Option<u64> = conn
        .exec_first(sql, (id, beginning.chars().count(), beginning))
        .await
        .map_err(explain)?;
    if found == Some(1) {
        // It may have ended by itself, and an account may end its own statements.
        let _ = conn.query_drop(format!("KILL QUERY {id}")).await;
    }
    let _ = conn.disconnect().await;
    Ok(())
}
