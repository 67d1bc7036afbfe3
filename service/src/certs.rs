//! Certificates for a first try: an authority of one's own, a certificate for the service and one for a client.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use sluicegate_transport::tls::certificate_end;

/// Clocks differ.
const EARLIER: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A certificate that is kept is good for so long at the least.
const KEPT: Duration = Duration::from_secs(30 * DAY.as_secs());
/// The authority outlives what it signs.
const AUTHORITY_DAYS: u32 = 3_650;

/// Where certificates go, and for whom they are.
#[derive(Clone, Debug, Args)]
pub struct Certs {
    /// The folder that they go into. An authority that is there already signs again, so that a certificate is renewed by the
    /// same command
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Names and addresses that the service is reached by, separated by commas
    #[arg(
        long = "names",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,::1"
    )]
    pub names: Vec<String>,

    /// Makes a certificate for a client of this name instead, and leaves the service's as it is
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,

    /// Leaves a certificate that is there and good for a month more as it is
    #[arg(long)]
    pub keep: bool,

    /// How long a certificate is good, days
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: io::Error },
    #[error(
        "{} is there without {}: an authority needs both",
        .there.display(),
        .missing.display()
    )]
    Half { there: PathBuf, missing: PathBuf },
    #[error("{} and its key are no authority that can sign: {reason}", .path.display())]
    Authority { path: PathBuf, reason: rcgen::Error },
    #[error("{0:?} is no name that the service can be reached by")]
    Name(String),
    #[error(
        "{0:?} is no name for a client: 1 to 64 letters, digits, and - _ . between them, and neither ca nor server"
    )]
    Client(String),
    #[error("no certificate can be made: {0}")]
    Crypto(#[from] rcgen::Error),
}

/// Makes what was asked for, and says which files it has written.
///
/// # Errors
/// When a file cannot be written or read, or a name does not fit.
pub fn make(certs: &Certs) -> Result<Vec<PathBuf>, CertsError> {
    fs::create_dir_all(&certs.dir).map_err(|reason| CertsError::File {
        path: certs.dir.clone(),
        reason,
    })?;
    let name = certs.client.as_deref().unwrap_or("server");
    if certs.keep && is_good_for(&certs.dir.join(format!("{name}.pem")), KEPT) {
        return Ok(Vec::new());
    }
    let mut written = Vec::new();
    let authority = authority(&certs.dir, &mut written)?;
    let params = match &certs.client {
        Some(client) => of_client(client)?,
        None => of_service(&certs.names)?,
    };
    let key = KeyPair::generate()?;
    let certificate = good_for(params, certs.days).signed_by(&key, &authority)?;
    // The key first: a service that runs takes them as a pair, and either order has a moment in which they are none.
    write_pair(
        &certs.dir,
        name,
        &certificate.pem(),
        &key.serialize_pem(),
        &mut written,
    )?;
    Ok(written)
}

/// Whether the certificate in the file is good for so long.
fn is_good_for(path: &Path, time: Duration) -> bool {
    let end = certificate_end(path);
    end.is_some_and(|end| end > SystemTime::now() + time)
}

fn of_service(names: &[String]) -> Result<CertificateParams, CertsError> {
    for name in names {
        let fits = !name.is_empty() && CertificateParams::new([name.clone()]).is_ok();
        if !fits {
            return Err(CertsError::Name(name.clone()));
        }
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("Sluicegate");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn of_client(name: &str) -> Result<CertificateParams, CertsError> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "-_.".contains(sign))
        && !name.starts_with('.')
        && !["ca", "server"].contains(&name);
    if !fits {
        return Err(CertsError::Client(name.to_owned()));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn good_for(mut params: CertificateParams, days: u32) -> CertificateParams {
    let now = SystemTime::now();
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + DAY * days).into();
    params
}

/// The authority in the folder, made first where there is none.
fn authority(
    dir: &Path,
    written: &mut Vec<PathBuf>,
) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let (cert, key) = (dir.join("ca.pem"), dir.join("ca.key"));
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|reason| CertsError::File {
            path: path.to_owned(),
            reason,
        })
    };
    match (cert.exists(), key.exists()) {
        (true, true) => {
            let refused = |reason| CertsError::Authority {
                path: cert.clone(),
                reason,
            };
            let key = KeyPair::from_pem(&read(&key)?).map_err(refused)?;
            Issuer::from_ca_cert_pem(&read(&cert)?, key).map_err(refused)
        }
        (false, false) => {
            let mut params = CertificateParams::default();
            params.distinguished_name = named("Sluicegate test authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let params = good_for(params, AUTHORITY_DAYS);
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?;
            write_pair(dir, "ca", &certificate.pem(), &key.serialize_pem(), written)?;
            Ok(Issuer::new(params, key))
        }
        (true, false) => Err(CertsError::Half {
            there: cert,
            missing: key,
        }),
        (false, true) => Err(CertsError::Half {
            there: key,
            missing: cert,
        }),
    }
}

fn write_pair(
    dir: &Path,
    name: &str,
    cert: &str,
    key: &str,
    written: &mut Vec<PathBuf>,
) -> Result<(), CertsError> {
    for (end, text, mode) in [("key", key, 0o600), ("pem", cert, 0o644)] {
        let path = dir.join(format!("{name}.{end}"));
        replace(&path, text, mode).map_err(|reason| CertsError::File {
            path: path.clone(),
            reason,
        })?;
        written.push(path);
    }
    Ok(())
}

/// Nobody sees half of a file, or a key that others may read.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}
