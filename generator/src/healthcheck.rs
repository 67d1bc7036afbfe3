//! `sluicegen healthcheck`: whether a generator that is served answers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use crate::{
    error::Error,
    flags,
    serve::DEFAULT_ADDR,
    web::{self, describe},
};

/// Which generator, and how long it may take.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckOptions {
    /// Where the generator listens.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ADDR, env = "SLUICEGEN_ADDR")]
    pub addr: SocketAddr,
    /// Speak TLS, as the generator does with --api-tls-cert.
    #[arg(long)]
    pub tls: bool,
    /// Certificate of the generator's API: where it is set, TLS is spoken.
    #[arg(long, value_name = "FILE", env = "SLUICEGEN_API_TLS_CERT", hide = true)]
    pub api_tls_cert: Option<PathBuf>,
    /// How long the generator may take to answer.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = flags::duration)]
    pub patience: Duration,
}

/// Succeeds when the generator answers.
///
/// # Errors
/// When it does not in time, or something else listens there.
pub async fn ask(options: &HealthcheckOptions) -> Result<(), Error> {
    let addr = reachable(options.addr);
    let no_generator = |reason: String| Error::NoGenerator { addr, reason };
    let scheme = match options.tls || options.api_tls_cert.is_some() {
        true => "https",
        false => "http",
    };
    let request = web::client_for_health()?
        .get(format!("{scheme}://{addr}/healthz"))
        .timeout(options.patience);
    let reply = request.send().await;
    let reply = reply.map_err(|error| no_generator(describe(&error)))?;
    match reply.status() {
        status if status.is_success() => Ok(()),
        status => Err(no_generator(format!("/healthz answers {status}"))),
    }
}

/// A generator that listens on every address is asked on this host's own.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
