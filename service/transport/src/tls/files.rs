//! Certificate, key and authorities, as they lie in files.

use std::{fmt, io, path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};

use super::{certificate, protocol::Protocol};
use crate::{crypto, files};

/// Far more than any chain of certificates has.
const MAX_BYTES: u64 = 1 << 20;

/// A file, and the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    pub setting: &'static str,
    pub path: PathBuf,
}

impl fmt::Display for NamedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.path.display(), self.setting)
    }
}

/// What a server of TLS goes by, PEM each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate first, then those between it and its authority.
    pub cert: NamedFile,
    pub key: NamedFile,
    /// Whose certificates are taken from clients.
    pub client_ca: Option<NamedFile>,
}

/// Why files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} cannot be read: {reason}")]
    Unreadable { file: NamedFile, reason: io::Error },
    #[error("{file} has no {what} in PEM")]
    Empty { file: NamedFile, what: &'static str },
    #[error("{file} is no {what} in PEM: {reason}")]
    Malformed {
        file: NamedFile,
        what: &'static str,
        reason: String,
    },
    #[error("the key {key} does not belong to the certificate {cert}")]
    Mismatch { cert: NamedFile, key: NamedFile },
    #[error("the certificate {cert} cannot be served: {reason}")]
    Unusable { cert: NamedFile, reason: String },
    #[error("the certificate {cert} has expired")]
    Expired { cert: NamedFile },
}

/// The bytes of the files. Not to be shown: one is a secret.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let read = |file: &NamedFile| {
            files::read(&file.path, MAX_BYTES).map_err(|reason| TlsError::Unreadable {
                file: file.clone(),
                reason,
            })
        };
        Ok(Contents {
            cert: read(&self.cert)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_ref().map(read).transpose()?,
        })
    }
}

/// What new connections begin with.
pub(super) struct Loaded {
    pub(super) contents: Contents,
    /// When the certificate expires.
    pub(super) end: SystemTime,
    rpc: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
}

impl Loaded {
    pub(super) fn new(files: &TlsFiles, contents: Contents) -> Result<Self, TlsError> {
        let chain = certificates(&files.cert, &contents.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
            use rustls::pki_types::pem::Error;
            let (file, what) = (files.key.clone(), "private key");
            match error {
                Error::NoItemsFound => TlsError::Empty { file, what },
                other => TlsError::Malformed {
                    file,
                    what,
                    // Where it stands, and nothing of what stands there.
                    reason: kind_of(&other).to_owned(),
                },
            }
        })?;
        let unusable = |reason: String| TlsError::Unusable {
            cert: files.cert.clone(),
            reason,
        };
        let end = certificate::end(&chain[0])
            .ok_or_else(|| unusable("it is no certificate of X.509".to_owned()))?;
        let provider = crypto::provider();
        let pair = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider);
        if let Err(error) = pair {
            return Err(match error {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                    cert: files.cert.clone(),
                    key: files.key.clone(),
                },
                other => unusable(other.to_string()),
            });
        }
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?;
        let builder = match (&files.client_ca, &contents.client_ca) {
            (Some(file), Some(pem)) => {
                let malformed = |reason: String| TlsError::Malformed {
                    file: file.clone(),
                    what: "certificate of an authority",
                    reason,
                };
                let mut roots = RootCertStore::empty();
                for authority in certificates(file, pem)? {
                    roots
                        .add(authority)
                        .map_err(|error| malformed(error.to_string()))?;
                }
                // Who has none may have a token, and health is for all.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| malformed(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| unusable(error.to_string()))?;
        let of = |protocol: Protocol| {
            let mut config = config.clone();
            config.alpn_protocols = protocol.names();
            Arc::new(config)
        };
        Ok(Self {
            contents,
            end,
            rpc: of(Protocol::Rpc),
            web: of(Protocol::Web),
        })
    }

    pub(super) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        match protocol {
            Protocol::Rpc => self.rpc.clone(),
            Protocol::Web => self.web.clone(),
        }
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.end < now
    }
}

fn certificates(file: &NamedFile, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Malformed {
        file: file.clone(),
        what,
        reason: kind_of(&error).to_owned(),
    })?;
    match found.is_empty() {
        true => Err(TlsError::Empty {
            file: file.clone(),
            what,
        }),
        false => Ok(found),
    }
}

/// What is wrong with a file, without a byte of it.
fn kind_of(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "a section has no end",
        Error::IllegalSectionStart { .. } => "a section has no right beginning",
        Error::Base64Decode(_) => "a section is not in base64",
        Error::NoItemsFound => "nothing of it is there",
        _ => "it cannot be read",
    }
}
