//! Asks a running service how it is, for container engines that cannot send a request themselves.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use sluicegate_transport::tls::unverified;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// No answer of the service comes near it.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Whom to ask, what, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Probe {
    /// YAML file of the service, for the address in it
    #[arg(long, env = "SLUICEGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where REST listens [default: as in the file, or else 127.0.0.1:8080]
    #[arg(long, env = "SLUICEGATE_REST_ADDR", value_name = "HOST:PORT")]
    pub rest_addr: Option<SocketAddr>,

    /// Speak TLS, as the service does with --tls-cert, and trust whoever answers
    #[arg(long)]
    pub tls: bool,

    /// Certificate of the service: where it is set, TLS is spoken
    #[arg(long, env = "SLUICEGATE_TLS_CERT", value_name = "FILE", hide = true)]
    pub tls_cert: Option<PathBuf>,

    /// Ask whether the process is alive (/healthz), not whether readings flow (/readyz): for what ends a service that
    /// fails, since a database that is away is no reason for that
    #[arg(long)]
    pub live: bool,

    /// How long to wait for an answer, seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub deadline_s: u64,
}

/// Why the service does not count as well.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("no service answers at {addr}: {reason}")]
    NoAnswer { addr: SocketAddr, reason: String },
    #[error("the service at {addr} is not ready: {reasons}")]
    NotReady { addr: SocketAddr, reasons: String },
    #[error("http://{addr}{path} answers {status}: is it Sluicegate that listens there?")]
    Refused {
        addr: SocketAddr,
        path: &'static str,
        status: StatusCode,
    },
}

/// What `/readyz` says when the answer is no.
#[derive(Deserialize)]
struct Readiness {
    reasons: Vec<String>,
}

/// Succeeds when the service that listens at `addr` is ready, or alive, whichever was asked for.
///
/// # Errors
/// When nobody answers in time, or with anything but 200.
pub async fn ask(addr: SocketAddr, tls: bool, probe: &Probe) -> Result<(), Unhealthy> {
    let addr = reachable(addr);
    let path = if probe.live { "/healthz" } else { "/readyz" };
    let deadline = Duration::from_secs(probe.deadline_s);
    let no_answer = |reason: String| Unhealthy::NoAnswer { addr, reason };
    let (status, body) = tokio::time::timeout(deadline, answer(addr, tls, path))
        .await
        .map_err(|_| no_answer(format!("waited {} s", probe.deadline_s)))?
        .map_err(|error| no_answer(error.to_string()))?;
    if status == StatusCode::OK {
        return Ok(());
    }
    Err(match serde_json::from_slice::<Readiness>(&body) {
        Ok(readiness) => Unhealthy::NotReady {
            addr,
            reasons: readiness.reasons.join("; "),
        },
        Err(_) => Unhealthy::Refused { addr, path, status },
    })
}

async fn answer(addr: SocketAddr, tls: bool, path: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(addr).await?;
    if !tls {
        return exchange(stream, addr, path).await;
    }
    let config = unverified::client().map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(addr.ip().into(), stream).await?;
    exchange(stream, addr, path).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    addr: SocketAddr,
    path: &str,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, addr.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = sender.send_request(request).await;
    let (head, body) = answer.map_err(io::Error::other)?.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    Ok((head.status, body))
}

/// A service that listens on every address is asked on this host's own.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_every_address_is_asked_on_this_host() {
        for (given, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reachable(given.parse().unwrap()).to_string(), asked);
        }
    }
}
