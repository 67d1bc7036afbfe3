//! Whether the database answers, asked on a connection of its own: nothing else can stand in front of the question.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable as _};
use tokio::{sync::Mutex, time::Instant};

use super::{connection::Connector, error::explain};
use crate::repository::RepositoryError;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// Asks, and keeps its connection from one question to the next.
pub(super) struct Probe {
    connector: Connector,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    conn: Option<Conn>,
    /// When the last question was asked, and why there was no answer.
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
        let came = Instant::now();
        let mut state = self.state.lock().await;
        // Those who came before a question was asked share its answer.
        let shared = state.last.as_ref().filter(|(asked, _)| *asked >= came);
        let silence = match shared {
            Some((_, silence)) => silence.clone(),
            None => {
                let asked = Instant::now();
                let silence = self.silence(&mut state).await;
                state.last = Some((asked, silence.clone()));
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
        let kept = state.conn.take();
        let asking = async {
            if let Some(mut conn) = kept
                && conn.ping().await.is_ok()
            {
                return Ok(conn);
            }
            // The database may have been started anew since.
            let mut conn = self.connector.connect().await?;
            conn.ping().await.map_err(explain)?;
            Ok::<Conn, RepositoryError>(conn)
        };
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(Ok(conn)) => {
                state.conn = Some(conn);
                None
            }
            Ok(Err(reason)) => Some(reason.to_string()),
            Err(_) => Some(format!("no answer within {} s", DEADLINE.as_secs())),
        }
    }
}
