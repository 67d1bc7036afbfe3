//! What a certificate says.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry::asn1_rs::FromDer as _,
    x509::X509Name,
};

/// The certificate that a client proved itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// As in `CN=press-4, O=Plant`: its parts in the order of the certificate.
    pub subject: String,
    /// Its other names: DNS names, mail addresses, URIs and IP addresses.
    pub names: Vec<String>,
}

impl PeerCertificate {
    /// None of what cannot be read.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map_or_else(Vec::new, |names| {
            names.value.general_names.iter().filter_map(text).collect()
        });
        Some(Self {
            subject: subject(certificate.subject()),
            names,
        })
    }
}

fn subject(name: &X509Name<'_>) -> String {
    name.to_string()
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Until when the certificate in a file is good; None where there is none that can be read.
#[must_use]
pub fn certificate_end(path: &Path) -> Option<SystemTime> {
    end(&CertificateDer::from_pem_file(path).ok()?)
}

/// Until when a certificate is good; None of what cannot be read.
pub(crate) fn end(der: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(at(certificate.validity().not_after.timestamp()))
}

fn at(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => SystemTime::UNIX_EPOCH - distance,
        false => SystemTime::UNIX_EPOCH + distance,
    }
}
