//! Certificates for a test: an authority, and what it signs.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// How long a short-lived certificate is good.
pub(crate) const SHORT_LIFE: Duration = Duration::from_secs(2);

/// An authority of a test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate is like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Names and addresses; none for one that only has a common name.
    pub(crate) names: &'a [&'a str],
    pub(crate) is_short_lived: bool,
    pub(crate) is_of_client: bool,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate, in a file.
    pub(crate) fn write(&self, path: &Path) -> PathBuf {
        std::fs::write(path, &self.pem).expect("written");
        path.to_owned()
    }

    /// Signs a certificate into the files of a pair.
    pub(crate) fn sign(&self, wanted: Wanted<'_>, into: &Pair) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(wanted).signed_by(&key, &self.issuer);
        write(into, &certificate.expect("signed").pem(), &key);
    }
}

impl Pair {
    pub(crate) fn at(dir: &Path, name: &str) -> Self {
        Self {
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        }
    }

    /// One that nobody but itself vouches for.
    pub(crate) fn sign_itself(&self, wanted: Wanted<'_>) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(wanted).self_signed(&key).expect("signed");
        write(self, &certificate.pem(), &key);
    }
}

fn params(wanted: Wanted<'_>) -> CertificateParams {
    let names: Vec<String> = wanted.names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params
        .distinguished_name
        .push(DnType::CommonName, "sluicegate test");
    params.extended_key_usages = vec![match wanted.is_of_client {
        true => ExtendedKeyUsagePurpose::ClientAuth,
        false => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    if wanted.is_short_lived {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        params.not_after = date_time_ymd(1970, 1, 1) + now + SHORT_LIFE;
    }
    params
}

fn write(pair: &Pair, certificate: &str, key: &KeyPair) {
    std::fs::write(&pair.certificate, certificate).expect("written");
    std::fs::write(&pair.key, key.serialize_pem()).expect("written");
}
