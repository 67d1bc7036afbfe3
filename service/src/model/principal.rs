//! Who calls, by name.

use std::{fmt, sync::Arc};

use super::StreamId;

/// The name of somebody who may do something: a device, a person, a program. It stays when its tokens change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalName(Arc<str>);

impl PrincipalName {
    /// Longest name, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Checks a name.
    ///
    /// # Errors
    /// When it is not 1 to 64 visible characters of ASCII.
    pub fn parse(name: &str) -> Result<Self, String> {
        let fits = (1..=Self::MAX_CHARS).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic());
        match fits {
            true => Ok(Self(name.into())),
            false => Err(format!(
                "{name:?} is no name of a principal: it takes 1 to {} visible characters of ASCII, without blanks",
                Self::MAX_CHARS
            )),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which streams somebody may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All, and readings without a stream's name.
    Everything,
    /// Those whose names begin with one of these; nothing without a name.
    Prefixes(Arc<[String]>),
}

impl Reach {
    /// Whether the stream may be written; None stands for readings without a name.
    #[must_use]
    pub fn covers(&self, stream: Option<&StreamId>) -> bool {
        match (self, stream) {
            (Self::Everything, _) => true,
            (Self::Prefixes(_), None) => false,
            (Self::Prefixes(prefixes), Some(stream)) => prefixes
                .iter()
                .any(|prefix| stream.as_str().starts_with(prefix.as_str())),
        }
    }

    /// The prefixes in words, for whoever was refused.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Everything => "every name".to_owned(),
            Self::Prefixes(prefixes) => {
                let quoted: Vec<_> = prefixes
                    .iter()
                    .map(|prefix| format!("{prefix:?}"))
                    .collect();
                quoted.join(" or ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_visible_ascii() {
        for name in ["press-4", "a", "o=plant,cn=x", &"x".repeat(64)] {
            assert!(PrincipalName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "ü", "a\n", &"x".repeat(65)] {
            assert!(PrincipalName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_prefix_reaches_the_names_that_begin_with_it_and_nothing_without_a_name() {
        let reach = Reach::Prefixes(["plant/".to_owned(), "lab/a".to_owned()].into());
        let covers = |name: &str| reach.covers(Some(&StreamId::parse(name).unwrap()));
        assert!(covers("plant/press-4") && covers("lab/a7") && covers("plant/"));
        assert!(!covers("plant") && !covers("Plant/x") && !covers("lab/b"));
        assert!(!reach.covers(None));
        assert!(Reach::Everything.covers(None));
    }
}
