//! The files of certificates and keys, looked at before the first connection needs them.

use std::path::Path;

use mysql_async::{ClientIdentity, SslOpts};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::TlsFiles;

/// What an address names, or else what stands beside it.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) ca: Option<std::path::PathBuf>,
    identity: (Option<std::path::PathBuf>, Option<std::path::PathBuf>),
}

impl Files {
    pub(crate) fn of(own: TlsFiles, beside: &TlsFiles) -> Self {
        // A certificate of the one and a key of the other would not fit.
        let identity = match (own.client_cert, own.client_key) {
            (None, None) => (beside.client_cert.clone(), beside.client_key.clone()),
            given => given,
        };
        Self {
            ca: own.ca.or_else(|| beside.ca.clone()),
            identity,
        }
    }

    /// For the driver, which reads the files itself, by their paths: what it prints of itself then shows no key.
    pub(crate) fn options(&self) -> Result<SslOpts, String> {
        let mut options = SslOpts::default();
        if let Some(ca) = &self.ca {
            expect_certificate(ca, "the authority's file (database.ca, ssl-ca)")?;
            options = options
                .with_root_certs(vec![ca.clone().into()])
                .with_disable_built_in_roots(true);
        }
        match &self.identity {
            (None, None) => Ok(options),
            (Some(certificate), Some(key)) => {
                expect_certificate(
                    certificate,
                    "the client's certificate (database.client_cert, ssl-cert)",
                )?;
                expect_key(key)?;
                let identity =
                    ClientIdentity::new(certificate.clone().into(), key.clone().into());
                Ok(options.with_client_identity(Some(identity)))
            }
            _ => Err(
                "a client's certificate (database.client_cert, ssl-cert) and its key (database.client_key, ssl-key) go \
                 together: give both or neither"
                    .to_owned(),
            ),
        }
    }
}

fn expect_certificate(path: &Path, what: &str) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, what, &error))?;
    match certificates.as_slice() {
        [] => Err(format!(
            "{what} {} holds no certificate in PEM",
            path.display()
        )),
        _ => Ok(()),
    }
}

fn expect_key(path: &Path) -> Result<(), String> {
    let what = "the client's key (database.client_key, ssl-key)";
    PrivateKeyDer::from_pem_file(path)
        .map(drop)
        .map_err(|error| unusable(path, what, &error))
}

fn unusable(path: &Path, what: &str, error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    let path = path.display();
    match error {
        Error::Io(error) => format!("{what} {path} cannot be read: {error}"),
        Error::NoItemsFound => format!("{what} {path} holds none in PEM"),
        _ => format!("{what} {path} is not PEM as it should be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, absent) = (dir.path().join("empty.pem"), dir.path().join("absent.pem"));
        std::fs::write(&empty, "nothing").unwrap();
        let files = |ca: Option<&Path>, cert: Option<&Path>, key: Option<&Path>| {
            let owned = |path: Option<&Path>| path.map(Path::to_owned);
            let own = TlsFiles {
                ca: owned(ca),
                client_cert: owned(cert),
                client_key: owned(key),
            };
            Files::of(own, &TlsFiles::default()).options()
        };
        let error = files(Some(&absent), None, None).unwrap_err();
        assert!(
            error.contains("absent.pem") && error.contains("database.ca"),
            "{error}"
        );
        let error = files(Some(&empty), None, None).unwrap_err();
        assert!(error.contains("holds no certificate"), "{error}");
        let error = files(None, Some(&empty), None).unwrap_err();
        assert!(error.contains("both or neither"), "{error}");
        assert!(files(None, None, None).is_ok());
    }
}
