//! How a service is reached, and what it answers.

use std::{
    error::Error as _,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Certificate, Client, Identity, Method, RequestBuilder, Response, header::CONTENT_TYPE,
};
use serde::{Deserialize, de::DeserializeOwned};
use sluicegate_transport::authorities;

use crate::columnar::Fault;

/// Where the service is, whom to trust, and how to prove oneself.
#[derive(Clone, Debug, Args)]
pub struct Access {
    /// Where REST of the service is
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    pub url: String,

    /// A file with a token for the service, with the scope read, or write for what changes something
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,

    /// Trust the authorities in this file, PEM, instead of those of the system
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_ca: Option<PathBuf>,

    /// Certificate to prove oneself with, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", global = true)]
    pub tls_key: Option<PathBuf>,
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("{flag} {}: {reason}", path.display())]
    File {
        flag: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("no service answers at {url}: {reason}")]
    NoAnswer { url: String, reason: String },
    #[error("{detail}")]
    Refused { detail: String },
    #[error("{}: {fault}", path.display())]
    Data { path: PathBuf, fault: Fault },
    #[error("{0}")]
    Usage(String),
    #[error("{}: {reason}", path.display())]
    BrokeOff { path: PathBuf, reason: String },
    #[error(
        "{count} readings were rejected and are in quarantine: sluicegate quarantine list shows them"
    )]
    Rejected { count: u64 },
    #[error("{0}")]
    Output(#[from] io::Error),
}

impl RemoteError {
    /// Whether another try ends the same way until somebody has mended a flag or a file.
    #[must_use]
    pub fn has_to_be_mended(&self) -> bool {
        matches!(self, Self::Data { .. } | Self::Usage(_))
    }
}

/// What an answer says that is no success.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Asks one service.
pub(super) struct Remote {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Access {
    pub(super) fn open(&self) -> Result<Remote, RemoteError> {
        sluicegate_transport::crypto::provider();
        let mut builder = Client::builder();
        if let Some(path) = &self.tls_ca {
            let trusted = Certificate::from_pem_bundle(&read("--tls-ca", path)?)
                .map_err(|error| refused("--tls-ca", path, &describe(&error)))?;
            builder = builder.tls_certs_only(trusted);
        } else if !authorities::are_there() {
            builder = builder.tls_certs_only([]);
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let (of_cert, of_key) = (read("--tls-cert", cert)?, read("--tls-key", key)?);
            let identity = Identity::from_pem(&[of_cert, b"\n".to_vec(), of_key].concat())
                .map_err(|error| refused("--tls-cert", cert, &describe(&error)))?;
            builder = builder.identity(identity);
        }
        let token = self.token_file.as_deref().map(token).transpose()?;
        Ok(Remote {
            client: builder.build().map_err(|error| self.no_answer(&error))?,
            url: self.url.trim_end_matches('/').to_owned(),
            token,
        })
    }

    fn no_answer(&self, error: &reqwest::Error) -> RemoteError {
        RemoteError::NoAnswer {
            url: self.url.clone(),
            reason: describe(error),
        }
    }
}

pub(super) fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, RemoteError> {
    fs::read(path).map_err(|error| refused(flag, path, &error.to_string()))
}

fn token(path: &Path) -> Result<String, RemoteError> {
    let flag = "--token-file";
    let bytes = read(flag, path)?;
    let text = String::from_utf8(bytes).map_err(|_| refused(flag, path, "it is no text"))?;
    match text.trim() {
        "" => Err(refused(flag, path, "it is empty")),
        token => Ok(token.to_owned()),
    }
}

fn refused(flag: &'static str, path: &Path, reason: &str) -> RemoteError {
    RemoteError::File {
        flag,
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

impl Remote {
    /// The answer, if it is a success.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response, RemoteError> {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let url = format!("{}/api/v1{path}?{}", self.url, query.join("&"));
        self.settle(self.client.request(method, url)).await
    }

    async fn settle(&self, mut request: RequestBuilder) -> Result<Response, RemoteError> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let detail = match answer.json::<Problem>().await {
            Ok(problem) => problem.detail,
            Err(_) => format!(
                "{} answers {status}: is it Sluicegate that listens there?",
                self.url
            ),
        };
        Err(RemoteError::Refused { detail })
    }

    /// Brings a body, and reads the answer as JSON.
    pub(super) async fn bring<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<T, RemoteError> {
        let url = format!("{}/api/v1{path}", self.url);
        let request = self.client.request(method, url).body(body);
        let answer = self
            .settle(request.header(CONTENT_TYPE, media_type))
            .await?;
        answer.json().await.map_err(|error| self.broken(&error))
    }

    /// The same as `send`, read as JSON.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, RemoteError> {
        let answer = self.send(method, path, query).await?;
        answer.json().await.map_err(|error| self.broken(&error))
    }

    pub(super) fn broken(&self, error: &reqwest::Error) -> RemoteError {
        RemoteError::NoAnswer {
            url: self.url.clone(),
            reason: describe(error),
        }
    }
}

/// The cause that a person can do something about is the last one.
fn describe(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(source) = cause {
        text = source.to_string();
        cause = source.source();
    }
    text
}
