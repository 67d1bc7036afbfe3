//! Where a stream stands: its name, who may write it, and how far it is durable.

use std::{fmt, sync::Arc};

/// Counts every reading of a stream from 1, rejected ones included. 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The position of the reading after `readings` more.
    #[must_use]
    pub fn plus(self, readings: u64) -> Self {
        Self(self.0.saturating_add(readings))
    }

    /// The position just before this one.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Raised each time a stream is opened; only the newest may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A writer's wish to go on with a stream under another epoch, if nobody else has opened it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    pub held: Epoch,
    pub next: Epoch,
}

/// Why nobody can go on with a stream like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumptionError {
    #[error("held_epoch is 0, which nobody holds: OpenStream without resume takes a stream over")]
    NeverHeld,
    #[error(
        "next_epoch must be above held_epoch by {} to {}, and drawn at random: another writer could come upon it",
        Resumption::MIN_STEP,
        Resumption::MAX_STEP
    )]
    Step,
}

impl Resumption {
    /// How far the next epoch has to be above the one that is held: each OpenStream raises it by one, and must not come
    /// upon an epoch that somebody else resumes.
    pub const MIN_STEP: u64 = 1 << 16;
    /// How far it may be above it: epochs must not run out.
    pub const MAX_STEP: u64 = 1 << 32;

    /// Checks what a writer wishes.
    ///
    /// # Errors
    /// When nobody can hold the epoch, and when the next one is too near or too far.
    pub fn new(held: Epoch, next: Epoch) -> Result<Self, ResumptionError> {
        if held == Epoch(0) {
            return Err(ResumptionError::NeverHeld);
        }
        match next.0.checked_sub(held.0) {
            Some(Self::MIN_STEP..=Self::MAX_STEP) => Ok(Self { held, next }),
            _ => Err(ResumptionError::Step),
        }
    }
}

/// The name of a stream: 1 to 128 characters, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Arc<str>);

/// Why a name cannot name a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamIdError {
    #[error("stream_id is empty")]
    Empty,
    #[error("stream_id has more than 128 characters")]
    TooLong,
    #[error("stream_id begins or ends with a blank or holds a control character")]
    Unprintable,
    #[error("stream_id begins with {0:?}, which the service keeps for itself")]
    Reserved(&'static str),
    #[error(
        "the name of a source's stream has more than 512 characters, or others than visible ones of ASCII"
    )]
    OfSource,
}

impl StreamId {
    /// Longest name, in characters.
    pub const MAX_CHARS: usize = 128;
    /// Longest name of a stream that a source has, in characters, of one byte each: a thousand of them with their positions
    /// fit one packet.
    pub const SOURCE_MAX_CHARS: usize = 512;
    /// What the names of lanes begin with.
    pub(crate) const LANE_PREFIX: &'static str = "lane:";
    /// What the names of streams of sources begin with.
    pub(crate) const SOURCE_PREFIXES: [&'static str; 2] = ["kafka:", "rabbitmq:"];

    /// Checks a name that a producer chose.
    ///
    /// # Errors
    /// When the name is empty, too long, not printable or reserved.
    pub fn parse(name: &str) -> Result<Self, StreamIdError> {
        if name.is_empty() {
            return Err(StreamIdError::Empty);
        }
        if name.chars().count() > Self::MAX_CHARS {
            return Err(StreamIdError::TooLong);
        }
        if name.trim() != name || name.chars().any(char::is_control) {
            return Err(StreamIdError::Unprintable);
        }
        let mut reserved = Self::SOURCE_PREFIXES.into_iter().chain([Self::LANE_PREFIX]);
        if let Some(prefix) = reserved.find(|prefix| name.starts_with(prefix)) {
            return Err(StreamIdError::Reserved(prefix));
        }
        Ok(Self(name.into()))
    }

    /// The stream of a source, such as `kafka:CLUSTER/TOPIC/PARTITION`. No producer can have it.
    ///
    /// # Errors
    /// When the name is too long, or not made of visible characters of ASCII.
    pub fn of_source(name: &str) -> Result<Self, StreamIdError> {
        let is_of_source = Self::SOURCE_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let is_visible = name.bytes().all(|byte| byte.is_ascii_graphic());
        match is_of_source && is_visible && name.len() <= Self::SOURCE_MAX_CHARS {
            true => Ok(Self(name.into())),
            false => Err(StreamIdError::OfSource),
        }
    }

    /// The ledger row of a lane. It answers "did my COMMIT happen?" after a lost connection.
    #[must_use]
    pub fn of_lane(instance: &str, lane: usize) -> Self {
        Self(format!("{}{instance}/{lane}", Self::LANE_PREFIX).into())
    }

    /// A name that the ledger has.
    pub(crate) fn stored(name: &str) -> Self {
        Self(name.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a producer stands in its own source. Only the producer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition(Arc<[u8]>);

/// Why bytes are no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source_position has {0} bytes, {max} are the most", max = SourcePosition::MAX_BYTES)]
pub struct SourcePositionTooLong(usize);

impl SourcePosition {
    pub const MAX_BYTES: usize = 1_024;

    /// None for no bytes, which are no position.
    ///
    /// # Errors
    /// When there are too many of them.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, SourcePositionTooLong> {
        match bytes.len() {
            0 => Ok(None),
            1..=Self::MAX_BYTES => Ok(Some(Self(bytes.into()))),
            length => Err(SourcePositionTooLong(length)),
        }
    }

    /// One that the ledger has.
    pub(crate) fn stored(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A source's position, and the last reading before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMark {
    pub seq: Seq,
    pub position: SourcePosition,
}

/// Where a stream stands in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    pub epoch: Epoch,
    pub committed_seq: Seq,
}

/// A producer's claim: which stream it writes, under which epoch, and where its next reading stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    pub stream_id: StreamId,
    pub epoch: Epoch,
    pub first_seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_is_printable_and_not_the_services_own() {
        assert!(StreamId::parse("gateway-7").is_ok());
        assert!(StreamId::parse(&"ü".repeat(128)).is_ok());
        assert_eq!(StreamId::parse(""), Err(StreamIdError::Empty));
        assert_eq!(
            StreamId::parse(&"x".repeat(129)),
            Err(StreamIdError::TooLong)
        );
        assert_eq!(StreamId::parse(" a"), Err(StreamIdError::Unprintable));
        assert_eq!(StreamId::parse("a\nb"), Err(StreamIdError::Unprintable));
        assert_eq!(
            StreamId::parse("lane:x/0"),
            Err(StreamIdError::Reserved("lane:"))
        );
        assert!(StreamId::parse("kafka:a/b/0").is_err());
        let topic = "t".repeat(249);
        assert!(StreamId::of_source(&format!("kafka:c/{topic}/3")).is_ok());
        assert!(StreamId::of_source("gateway-7").is_err());
    }
}
