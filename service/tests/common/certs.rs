//! Certificates, as `sluicegate certs` makes them.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sluicegate::certs::{Certs, make};
use tempfile::TempDir;

/// A folder with an authority of its own.
pub(crate) struct Authority(TempDir);

impl Authority {
    /// With a certificate for the service.
    pub(crate) fn new() -> Self {
        let authority = Self(TempDir::new().expect("a directory"));
        authority.renew();
        authority
    }

    /// Another certificate and key in the place of the old ones.
    pub(crate) fn renew(&self) {
        self.make(None, 1);
    }

    pub(crate) fn client(&self, name: &str) {
        self.make(Some(name), 1);
    }

    fn make(&self, client: Option<&str>, days: u32) {
        let certs = Certs {
            dir: self.0.path().to_owned(),
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            client: client.map(str::to_owned),
            days,
            keep: false,
        };
        make(&certs).expect("certificates");
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.dir().join(file).display().to_string()
    }

    pub(crate) fn pem(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.dir().join(file)).expect("readable")
    }

    /// The flags of a service that shows the certificate.
    pub(crate) fn flags(&self) -> [String; 2] {
        ["cert", "key"].map(|what| {
            let end = if what == "cert" { "pem" } else { what };
            format!("--tls-{what}={}", self.path(&format!("server.{end}")))
        })
    }

    /// What clients trust that trust this authority, and what they prove themselves with.
    pub(crate) fn client_config(&self, identity: Option<(&Self, &str)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(&self.pem("ca.pem")).expect("a certificate");
        roots.add(ca).expect("an authority");
        let builder = ClientConfig::builder_with_provider(sluicegate_transport::crypto::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(Arc::new(roots));
        match identity {
            None => builder.with_no_client_auth(),
            Some((of, name)) => {
                let cert = CertificateDer::from_pem_slice(&of.pem(&format!("{name}.pem")));
                let key = PrivateKeyDer::from_pem_slice(&of.pem(&format!("{name}.key")));
                builder
                    .with_client_auth_cert(vec![cert.expect("a certificate")], key.expect("a key"))
                    .expect("a pair")
            }
        }
    }
}
