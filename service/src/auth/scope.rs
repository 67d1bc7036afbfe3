//! What somebody may do. `admin` is all of it: who may say whose a stream is may as well have what the others have.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::model::Reach;

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// To bring readings, for streams of any name or without one.
    Ingest,
    /// To bring readings for streams whose names begin like this.
    IngestPrefix(String),
    /// To query and export.
    Read,
    /// To update and delete.
    Write,
    /// All of the above, and to manage the service.
    Admin,
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ingest" => Ok(Self::Ingest),
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            "ingest:" => Err(
                "the scope ingest: has no prefix behind it: write ingest for all streams"
                    .to_owned(),
            ),
            other => match other.strip_prefix("ingest:") {
                Some(prefix) => Ok(Self::IngestPrefix(prefix.to_owned())),
                None => Err(format!(
                    "{other:?} is no scope: there are ingest, ingest:PREFIX, read, write and admin"
                )),
            },
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingest => f.write_str("ingest"),
            Self::IngestPrefix(prefix) => write!(f, "ingest:{prefix}"),
            Self::Read => f.write_str("read"),
            Self::Write => f.write_str("write"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// All that somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    #[must_use]
    pub fn new(scopes: Vec<Scope>) -> Self {
        Self(scopes)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, scope: &Scope) -> bool {
        self.0.contains(scope) || self.0.contains(&Scope::Admin)
    }

    #[must_use]
    pub fn may_read(&self) -> bool {
        self.has(&Scope::Read)
    }

    #[must_use]
    pub fn may_write(&self) -> bool {
        self.has(&Scope::Write)
    }

    #[must_use]
    pub fn may_manage(&self) -> bool {
        self.has(&Scope::Admin)
    }

    /// Which streams may be written; None when none may.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        if self.has(&Scope::Ingest) {
            return Some(Reach::Everything);
        }
        let prefixes: Vec<String> = self
            .0
            .iter()
            .filter_map(|scope| match scope {
                Scope::IngestPrefix(prefix) => Some(prefix.clone()),
                _ => None,
            })
            .collect();
        (!prefixes.is_empty()).then(|| Reach::Prefixes(prefixes.into()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&scopes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes(
            text.split(',')
                .map(|scope| scope.parse().unwrap())
                .collect(),
        )
    }

    #[test]
    fn admin_is_all() {
        let admin = scopes("admin");
        assert!(admin.may_read() && admin.may_write() && admin.may_manage());
        assert_eq!(admin.reach(), Some(Reach::Everything));
    }

    #[test]
    fn each_scope_is_its_own() {
        let (read, write) = (scopes("read"), scopes("write"));
        assert!(read.may_read() && !read.may_write() && !read.may_manage());
        assert!(write.may_write() && !write.may_read() && !write.may_manage());
        assert_eq!((read.reach(), write.reach()), (None, None));
        let prefixed = scopes("ingest:a/,ingest:b/");
        let expected = ["a/".to_owned(), "b/".to_owned()];
        assert_eq!(prefixed.reach(), Some(Reach::Prefixes(expected.into())));
        assert_eq!(scopes("ingest:a/,ingest").reach(), Some(Reach::Everything));
    }

    #[test]
    fn what_is_no_scope_is_named() {
        for wrong in ["", "ingest:", "Ingest", "readwrite", "all"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
