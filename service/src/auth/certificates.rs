//! Which client certificate stands for whom.

use serde::{Deserialize, Serialize};

use super::scope::Scopes;

/// A line of the file: certificates of this subject, or with this name among their other names, are the principal's. An
/// authority that the service trusts has signed them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateEntry {
    /// As in `CN=press-4, O=Plant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// A DNS name, mail address, URI or IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) principal: String,
    pub(super) scopes: Scopes,
}

/// What a certificate is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KnownBy {
    Subject(String),
    Name(String),
}

impl CertificateEntry {
    pub(super) fn known_by(&self) -> Result<KnownBy, String> {
        match (&self.subject, &self.name) {
            (Some(subject), None) => Ok(KnownBy::Subject(subject.clone())),
            (None, Some(name)) => Ok(KnownBy::Name(name.clone())),
            _ => Err(format!(
                "the certificate of {} needs either subject or name",
                self.principal
            )),
        }
    }
}
