//! The connection to a cache: made when it is needed, and given up with the first call that fails.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, Value, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::{CacheError, scripts::Call};

/// Where a cache is; shown without its password.
#[derive(Clone)]
pub struct CacheAddress(Arc<redis::ConnectionInfo>);

impl CacheAddress {
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        match url.into_connection_info() {
            Ok(info) => Ok(Self(Arc::new(info))),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether a password would go over a network that others may listen to.
    #[must_use]
    pub fn tells_password(&self) -> bool {
        let redis::ConnectionAddr::Tcp(host, _) = self.0.addr() else {
            return false;
        };
        let is_own = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        !is_own && self.0.redis_settings().password().is_some()
    }
}

impl std::fmt::Debug for CacheAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self.0.addr(), formatter)
    }
}

/// A connection, if there is one. A call that is late takes it along: what lies in it would be answered before the next one, or, where
/// nobody is at the other end any more, never.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    deadline: Duration,
    open: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    pub(super) fn new(address: &CacheAddress, deadline: Duration) -> Result<Self, CacheError> {
        Ok(Self {
            client: Client::open((*address.0).clone())?,
            deadline,
            open: Mutex::new(None),
        })
    }

    pub(super) async fn ask(&self, call: &Call<'_>) -> Result<Value, CacheError> {
        let asked = tokio::time::timeout(self.deadline, async {
            let mut connection = self.connection().await?;
            call.run(&mut connection).await
        });
        let answer = match asked.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(CacheError::Slow(self.deadline)),
        };
        *self.open.lock().await = None;
        answer
    }

    async fn connection(&self) -> Result<MultiplexedConnection, redis::RedisError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        // Bounded by the deadline of the call.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(open.insert(connection).clone())
    }
}
