//! What is wrong with a line or a reading: which field, where, what was found, and what is expected.

use std::{borrow::Cow, fmt};

/// The longest piece of a payload that a fault shows, in characters. A hostile payload must not fill logs and replies.
const MAX_PIECE_CHARS: usize = 64;

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    SensorValue,
    SensorType,
    Id1,
    Id2,
    TimestampUs,
    /// A tag of line protocol, or of the object that `mapping.tags` points to.
    Tags,
    /// The topic of a message, which is not made up as `mapping.topic` says.
    Topic,
    /// The line or the message as a whole: it cannot be read.
    Payload,
}

impl Field {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SensorValue => "sensor_value",
            Self::SensorType => "sensor_type",
            Self::Id1 => "id1",
            Self::Id2 => "id2",
            Self::TimestampUs => "timestamp_us",
            Self::Tags => "tags",
            Self::Topic => "topic",
            Self::Payload => "payload",
        }
    }
}

/// Where in a message, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Of text: ended by a newline, whether anything is in it or not.
    Line(u64),
    /// Of an array of JSON.
    Record(u64),
    /// The message as a whole.
    Message,
}

impl Position {
    /// Reads what it is displayed as.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok();
        match text.split_once(' ') {
            Some(("line", line)) => number(line).map(Self::Line),
            Some(("record", record)) => number(record).map(Self::Record),
            _ => (text == WHOLE).then_some(Self::Message),
        }
    }
}

/// The message as a whole, in words.
const WHOLE: &str = "the message";

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Record(record) => write!(f, "record {record}"),
            Self::Message => f.write_str(WHOLE),
        }
    }
}

/// Why a reading, or all readings of a line, did not come out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    pub position: Position,
    pub field: Field,
    /// Where the field was looked for: a pointer, a column, a tag, a field of the line.
    pub place: Option<String>,
    /// What was there, cut off, with control characters escaped; nothing where it is missing.
    pub found: Option<String>,
    pub expected: Cow<'static, str>,
    /// Which of several values of its record it is of; nothing where none of the record's readings came out.
    pub value: Option<Box<str>>,
}

impl Fault {
    /// What is wrong, without where.
    #[must_use]
    pub fn reason(&self) -> impl fmt::Display + '_ {
        Reason(self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.reason())
    }
}

struct Reason<'a>(&'a Fault);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            field,
            place,
            found,
            expected,
            ..
        } = self.0;
        f.write_str(field.as_str())?;
        if let Some(place) = place {
            write!(f, " ({place})")?;
        }
        match found {
            Some(found) => write!(f, " is `{found}`, expected {expected}"),
            None => write!(f, " is missing, expected {expected}"),
        }
    }
}

impl std::error::Error for Fault {}

/// A fault whose position is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct Flaw {
    pub(crate) field: Field,
    pub(crate) place: Option<String>,
    pub(crate) found: Option<String>,
    pub(crate) expected: Cow<'static, str>,
    pub(crate) value: Option<Box<str>>,
}

impl Flaw {
    pub(crate) fn found(
        field: Field,
        found: &str,
        expected: impl Into<Cow<'static, str>>,
    ) -> Box<Self> {
        Box::new(Self {
            field,
            place: None,
            found: Some(piece(found)),
            expected: expected.into(),
            value: None,
        })
    }

    pub(crate) fn missing(field: Field, expected: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self {
            field,
            place: None,
            found: None,
            expected: expected.into(),
            value: None,
        })
    }

    /// The payload itself, of which these bytes are no text.
    pub(crate) fn no_text(bytes: &[u8]) -> Box<Self> {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        // What stands around the fault says more than the beginning of the line.
        let shown = &bytes[valid.saturating_sub(16)..bytes.len().min(valid + MAX_PIECE_CHARS)];
        let shown = String::from_utf8_lossy(shown);
        Self::found(Field::Payload, &shown, "text in UTF-8")
    }

    pub(crate) fn at(mut self: Box<Self>, place: &str) -> Box<Self> {
        self.place = Some(piece(place));
        self
    }

    /// Of one of several values of a record alone.
    pub(crate) fn of_value(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.value = Some(name.into());
        self.at(name)
    }

    pub(crate) fn into_fault(self, position: Position) -> Fault {
        Fault {
            position,
            field: self.field,
            place: self.place,
            found: self.found,
            expected: self.expected,
            value: self.value,
        }
    }
}

/// A piece of what others wrote, of at most 64 characters, fit for a log and a terminal.
pub(crate) fn piece(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_PIECE_CHARS));
    let mut chars = 0;
    for letter in text.chars() {
        // Escapes and what changes the direction of writing could make a log say something else.
        let is_plain = !letter.is_control()
            && !matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let (length, escape) = match is_plain {
            true => (1, None),
            false => {
                let escape = letter.escape_default();
                (escape.len(), Some(escape))
            }
        };
        if chars + length > MAX_PIECE_CHARS - 1 {
            shown.push('…');
            break;
        }
        chars += length;
        match escape {
            None => shown.push(letter),
            Some(escape) => shown.extend(escape),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_short_and_shows_no_control_character() {
        assert_eq!(piece("21,5"), "21,5");
        assert_eq!(piece("a\tb\0\u{1b}[31m"), "a\\tb\\u{0}\\u{1b}[31m");
        assert_eq!(piece("\u{202e}evil"), "\\u{202e}evil");
        for text in ["é".repeat(100), "\0".repeat(100), "a".repeat(64)] {
            let shown = piece(&text);
            assert!(shown.chars().count() <= MAX_PIECE_CHARS, "{shown}");
            assert!(shown.ends_with('…'), "{shown}");
        }
        assert_eq!(piece(&"a".repeat(63)).len(), 63);
    }

    #[test]
    fn a_position_is_read_as_it_is_displayed() {
        for position in [Position::Line(3), Position::Record(18), Position::Message] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        for text in ["", "line", "line x", "row 3", "line 3 4"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_fault_is_one_sentence() {
        let flaw = Flaw::found(Field::Id1, "abc", "a whole number").at("/tags/id1");
        assert_eq!(
            flaw.into_fault(Position::Line(3)).to_string(),
            "line 3: id1 (/tags/id1) is `abc`, expected a whole number"
        );
        let flaw = Flaw::missing(Field::SensorValue, "a number");
        assert_eq!(
            flaw.into_fault(Position::Record(1)).to_string(),
            "record 1: sensor_value is missing, expected a number"
        );
    }
}
