//! Whether the database answers, asked on a connection of its own: nothing else can stand in front of the question.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable as _};
use tokio::{sync::Mutex, time::Instant};

use super::{connection::Connector, error::explain};
use crate::repository::RepositoryError;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// Those who ask at the same time share an answer that is no older.
const FRESH: Duration = Duration::from_millis(200);

/// Asks, and keeps its connection from one question to the next.
pub(super) struct Probe {
    connector: Connector,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    conn: Option<Conn>,
    /// When the last answer came, and why there was none.
    last: Option<(Instant, Option<String>)>,
}

impl Probe {
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            connector,
            state: Mutex::default(),
        }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When none comes within a second.
    pub(super) async fn ask(&self) -> Result<(), RepositoryError> {
        let mut state = self.state.lock().await;
        let fresh = state.last.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        let silence = match fresh {
            Some((_, silence)) => silence.clone(),
            None => {
                let silence = self.silence(&mut state).await;
                state.last = Some((Instant::now(), silence.clone()));
                silence
            }
        };
        match silence {
            None => Ok(()),
            Some(reason) => Err(RepositoryError::Unreachable(reason)),
        }
    }

    /// Why the database does not answer; None when it does.
    async fn silence(&self, state: &mut State) -> Option<String> {
        // A connection that fails, or is given up in the middle of a question, is not used again.
        let mut conn = state.conn.take();
        let asking = async {
            let conn = match &mut conn {
                Some(conn) => conn,
                none => none.insert(self.connector.connect().await?),
            };
            conn.ping().await.map_err(explain)
        };
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(Ok(())) => {
                state.conn = conn;
                None
            }
            Ok(Err(reason)) => Some(reason.to_string()),
            Err(_) => Some(format!("no answer within {} s", DEADLINE.as_secs())),
        }
    }
}
