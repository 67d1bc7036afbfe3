//! Where a spool stands, as the service keeps it with the stream: whose record was stored last.

use std::fmt;

/// Which spool it is; drawn when its folder is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(pub(super) [u8; 16]);

impl Identity {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 32;
        let number = u128::from_str_radix(text, 16).ok().filter(|_| valid)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A place in a spool: behind this record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Which opening of the spool wrote it. In a folder that came back from a backup the same number may stand for
    /// another record; its session is another one.
    pub(super) session: u64,
    /// From 1; 0 is the beginning.
    pub(super) record: u64,
    /// How many readings were ever taken up to there.
    pub(super) reading: u64,
}

/// What the service is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolPosition {
    pub(super) identity: Identity,
    pub(super) place: Place,
}

const PREFIX: &str = "spool";

impl SpoolPosition {
    /// None for what no spool has written.
    pub(super) fn parse(source_position: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(source_position).ok()?;
        let mut parts = text.split(':');
        let position = match (parts.next()?, parts.next()?, parts.next()?) {
            (PREFIX, identity, session) => Self {
                identity: Identity::parse(identity)?,
                place: Place {
                    session: u64::from_str_radix(session, 16).ok()?,
                    record: parts.next()?.parse().ok()?,
                    reading: parts.next()?.parse().ok()?,
                },
            },
            _ => return None,
        };
        parts.next().is_none().then_some(position)
    }
}

impl fmt::Display for SpoolPosition {
    /// For people, too: it is shown by `/streams`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, place } = self;
        let Place {
            session,
            record,
            reading,
        } = place;
        write!(f, "{PREFIX}:{identity}:{session:016x}:{record}:{reading}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_nothing_else_is_one() {
        let position = SpoolPosition {
            identity: Identity::random(),
            place: Place {
                session: 0xfeed,
                record: 7,
                reading: 12_345,
            },
        };
        let text = position.to_string();
        assert_eq!(SpoolPosition::parse(text.as_bytes()), Some(position));
        for other in [
            "",
            "spool",
            "spool:1:2:3:4",
            &text[1..],
            &format!("{text}:"),
        ] {
            assert_eq!(SpoolPosition::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(SpoolPosition::parse(b"\xff"), None);
    }
}
