//! `sluicegen serve`: a generator that is told what to do over REST.

mod api;
mod document;
mod generator;
mod problem;
mod running;
mod settings;
mod stats;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures::future::BoxFuture;
use serde_json::Value;
use sluicegate_transport::{
    http,
    pages::Pages,
    tls::{NamedFile, Tls, TlsFiles},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{document::document, generator::Generator};
pub use self::{
    generator::{Frequency, Spam},
    problem::Problem,
    settings::Settings,
    stats::{RateStats, State, Stats, TargetStats},
};
use crate::{
    access::Access,
    api_token::ApiTokenFlag,
    door::{door, exposure},
    error::Error,
    flags::{self, Rate},
    patterns::PatternFlags,
    run::{EncodingFlag, Mode},
};

/// Where a generator listens unless told otherwise.
pub(crate) const DEFAULT_ADDR: &str = "127.0.0.1:9000";

/// Open requests may take so long after the end was asked for.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Asks all generators of a fleet for their figures, or says why it cannot.
pub type FleetFigures = Arc<dyn Fn() -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// Where to listen, and the configuration to begin with.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Where REST listens; port 0 takes a free one.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = DEFAULT_ADDR,
        env = "SLUICEGEN_ADDR"
    )]
    pub addr: SocketAddr,
    /// Written as JSON with the address in use once the generator is ready.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Keep a journal of every start in this directory, for sluicegen verify.
    #[arg(long, value_name = "DIR")]
    pub journal_dir: Option<PathBuf>,
    /// Address of the service.
    #[arg(
        long,
        default_value = "http://127.0.0.1:50051",
        env = "SLUICEGEN_TARGET",
        value_parser = flags::target
    )]
    pub target: String,
    #[command(flatten)]
    pub access: Access,
    /// Names that this generator's API answers to besides addresses, localhost and the name of this host, as in gen.example or
    /// *.example, or * for all; separated by commas. No page gets in under a name that its own server points here.
    #[arg(
        long,
        value_name = "NAME",
        env = "SLUICEGEN_ALLOWED_HOSTS",
        value_delimiter = ','
    )]
    pub allowed_hosts: Vec<String>,
    /// Generators whose figures the page of this one shows all together, as `sluicegen fleet --endpoints` takes them. They are
    /// asked with the token of --api-token-file, and trusted as the target is.
    #[arg(
        long,
        value_name = "LIST",
        env = "SLUICEGEN_FLEET",
        value_delimiter = ','
    )]
    pub fleet: Vec<String>,
    /// Certificate of this generator's own API in PEM, which then speaks TLS; read anew when it changes.
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICEGEN_API_TLS_CERT",
        requires = "api_tls_key"
    )]
    pub api_tls_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICEGEN_API_TLS_KEY",
        requires = "api_tls_cert"
    )]
    pub api_tls_key: Option<PathBuf>,
    #[command(flatten)]
    pub api_token: ApiTokenFlag,
    /// Listen where others than this host can reach the API also without --api-tls-cert and --api-token-file: whoever does gets
    /// in, and can have the readings and the token for the service sent anywhere.
    #[arg(long, env = "SLUICEGEN_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,
    #[arg(long, value_enum, default_value_t = Mode::StreamAcked)]
    pub mode: Mode,
    /// Of the streaming modes.
    #[arg(long, value_enum, default_value_t = EncodingFlag::Columns)]
    pub encoding: EncodingFlag,
    /// Readings per second over all connections, or max.
    #[arg(long, value_name = "N|max", default_value = "1000")]
    pub rate: Rate,
    /// Connections, each with its own stream.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Start to send at once.
    #[arg(long)]
    pub start: bool,
    // Last: what follows stands below their heading in the help.
    #[command(flatten)]
    pub patterns: PatternFlags,
}

impl ServeOptions {
    fn tls(&self) -> Result<Option<Arc<Tls>>, Error> {
        let named = |setting, path: &PathBuf| NamedFile {
            setting,
            path: path.clone(),
        };
        let Some((cert, key)) = self.api_tls_cert.as_ref().zip(self.api_tls_key.as_ref()) else {
            return Ok(None);
        };
        let files = TlsFiles {
            cert: named("--api-tls-cert", cert),
            key: named("--api-tls-key", key),
            client_ca: None,
        };
        let tls = Tls::load(files).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Some(Arc::new(tls)))
    }
}

/// A generator that is served.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the address and serves.
    ///
    /// # Errors
    /// When the address is taken, or an option does not fit.
    pub async fn bind(options: &ServeOptions, fleet: Option<FleetFigures>) -> Result<Self, Error> {
        let settings = Settings {
            target: options.target.clone(),
            mode: options.mode,
            encoding: options.encoding,
            rate: options.rate,
            connections: options.connections,
            patterns: options.patterns.resolve()?,
            ..Settings::default()
        };
        let failed = |error: std::io::Error| Error::Listen {
            addr: options.addr,
            reason: error.to_string(),
        };
        if let Some(directory) = &options.journal_dir {
            std::fs::create_dir_all(directory)
                .map_err(|error| Error::Usage(format!("{}: {error}", directory.display())))?;
        }
        let tls = options.tls()?;
        let exposure = exposure(
            options.addr,
            tls.is_some(),
            options.api_token.api_token_file.is_some(),
        );
        match exposure {
            Some(missing) if !options.insecure => {
                return Err(Error::Usage(format!(
                    "{missing}: give what is missing, listen on 127.0.0.1, or let everybody in with --insecure"
                )));
            }
            Some(missing) => eprintln!("sluicegen: {missing} (--insecure)"),
            None => {}
        }
        let pages = Pages::new(&options.allowed_hosts, &[]);
        let token = options.api_token.read()?;
        let listener = TcpListener::bind(options.addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let generator = Generator::new(
            settings,
            options.access.clone(),
            options.journal_dir.clone(),
        );
        if options.start {
            // It is fresh: it does not run already.
            let _ = generator.start().await;
        }
        let stop = CancellationToken::new();
        if let Some(tls) = &tls {
            tokio::spawn(tls.clone().watch(stop.clone()));
        }
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let service = warp::service(api::routes(
                    generator.clone(),
                    fleet,
                    pages,
                    token,
                    document(),
                ));
                let server = http::serve(listener, service, door(tls), stop.clone());
                let deadline = async {
                    stop.cancelled().await;
                    generator.close().await;
                    tokio::time::sleep(CLOSE_DEADLINE).await;
                };
                tokio::select! {
                    () = server => generator.close().await,
                    () = deadline => {}
                }
            }
        });
        Ok(Self { addr, stop, task })
    }

    /// The address in use.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops the generator, answers what is asked already and ends.
    pub async fn close(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Serves until the process is told to end.
///
/// # Errors
/// As [`Server::bind`], and when the ready file cannot be written.
pub async fn serve(options: &ServeOptions, fleet: Option<FleetFigures>) -> Result<(), Error> {
    let server = Server::bind(options, fleet).await?;
    let addr = server.addr();
    let scheme = if options.api_tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    eprintln!("sluicegen: {scheme}://{addr}/");
    if let Some(path) = &options.ready_file {
        write_ready(path, addr)
            .map_err(|error| Error::Report(format!("--ready-file {}: {error}", path.display())))?;
    }
    asked_to_end().await;
    server.close().await;
    Ok(())
}

fn write_ready(path: &Path, addr: SocketAddr) -> std::io::Result<()> {
    let ready = serde_json::json!({"rest_addr": addr, "pid": std::process::id()});
    crate::files::replace(path, &format!("{ready}\n"))
}

async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
