//! A connection of the unary modes, and how often it was made again.

use std::{
    error::Error as StdError,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use sluicegate_proto::v1::sensor_service_client::SensorServiceClient;
use tokio::{net::TcpStream, time::Instant};
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};

use super::RunOptions;
use crate::error::Error;

/// Between one attempt to connect at the start and the next.
const RETRY_AFTER: Duration = Duration::from_millis(100);

pub(super) type Client = SensorServiceClient<Channel>;

/// A connection, and the value of the `authorization` header.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) client: Client,
    pub(super) token: Option<MetadataValue<Ascii>>,
    /// Attempts to connect since the first one that succeeded.
    pub(super) reconnects: Arc<AtomicU64>,
}

/// Connects, and tries again as long as the options allow.
pub(super) async fn connect(options: &RunOptions) -> Result<Connection, Error> {
    let token =
        match options.access.token()? {
            None => None,
            Some(token) => Some(format!("Bearer {token}").parse().map_err(|_| {
                Error::Usage("the token must be visible ASCII characters".to_owned())
            })?),
        };
    let endpoint = Endpoint::from_shared(options.target.clone()).map_err(|_| {
        Error::Usage(format!(
            "--target {:?} is no address such as http://127.0.0.1:50051",
            options.target
        ))
    })?;
    let endpoint = options.access.on_endpoint(endpoint)?;
    let endpoint = endpoint.connect_timeout(options.connect_timeout);
    let attempts = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let channel = loop {
        let error = match attempt(&endpoint, &attempts).await {
            Ok(channel) => break channel,
            Err(error) => error,
        };
        if started.elapsed() + RETRY_AFTER >= options.connect_timeout {
            return Err(Error::Connect {
                target: options.target.clone(),
                reason: root_cause(&error).unwrap_or_else(|| error.to_string()),
            });
        }
        tokio::time::sleep(RETRY_AFTER).await;
    };
    attempts.store(0, Relaxed);
    Ok(Connection {
        client: SensorServiceClient::new(channel),
        token,
        reconnects: attempts,
    })
}

/// The channel connects by itself whenever it has to, and counts how often it tries.
async fn attempt(
    endpoint: &Endpoint,
    attempts: &Arc<AtomicU64>,
) -> Result<Channel, tonic::transport::Error> {
    let attempts = Arc::clone(attempts);
    let connector = tower::service_fn(move |uri: Uri| {
        attempts.fetch_add(1, Relaxed);
        async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let usual = if uri.scheme_str() == Some("https") {
                443
            } else {
                80
            };
            let socket = TcpStream::connect((host, uri.port_u16().unwrap_or(usual))).await?;
            socket.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(socket))
        }
    });
    endpoint.connect_with_connector(connector).await
}

/// A status with its code and, where tonic's message hides it, the cause.
pub(super) fn describe(status: &Status) -> String {
    let message = status.message();
    let code = status.code();
    match root_cause(status) {
        Some(cause) if !message.contains(&cause) => format!("{code:?}: {message}: {cause}"),
        _ => format!("{code:?}: {message}"),
    }
}

fn root_cause(error: &dyn StdError) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Some(cause.to_string())
}
