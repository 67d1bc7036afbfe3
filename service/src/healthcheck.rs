//! Asks a running service whether it is ready, for container engines that cannot send a request themselves.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const PATH: &str = "/readyz";

/// Whom to ask, and for how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Probe {
    /// Where REST listens
    #[arg(
        long,
        env = "SLUICEGATE_REST_ADDR",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub rest_addr: SocketAddr,

    /// How long to wait for an answer, seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub deadline_s: u64,
}

/// Why the service does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    #[error("no service answers at {addr}: {reason}")]
    NoAnswer { addr: SocketAddr, reason: String },
    #[error("the service at {addr} is not ready: see http://{addr}{PATH}")]
    Refused { addr: SocketAddr },
}

/// Succeeds when the service is ready.
///
/// # Errors
/// When nobody answers in time, or with anything but 200.
pub async fn ask(probe: &Probe) -> Result<(), NotReady> {
    let addr = reachable(probe.rest_addr);
    let deadline = Duration::from_secs(probe.deadline_s);
    let no_answer = |reason: String| NotReady::NoAnswer { addr, reason };
    let status = tokio::time::timeout(deadline, status(addr))
        .await
        .map_err(|_| no_answer(format!("waited {} s", probe.deadline_s)))?
        .map_err(|error| no_answer(error.to_string()))?;
    match status {
        StatusCode::OK => Ok(()),
        _ => Err(NotReady::Refused { addr }),
    }
}

async fn status(addr: SocketAddr) -> io::Result<StatusCode> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::get(PATH)
        .header(header::HOST, addr.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = sender.send_request(request).await;
    Ok(answer.map_err(io::Error::other)?.status())
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
