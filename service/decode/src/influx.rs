//! Lines of InfluxDB's line protocol.
//!
//! Ours, for the crate `influxdb-line-protocol` has not been kept up since its project moved (nom 7, snafu 0.7), makes lists of
//! every line, and reads less than InfluxDB and its clients write: no `1.`, no `.5`, and two backslashes as one. Here it is as in
//! InfluxDB's own reader for Go, `line-protocol/v2`:
//!
//! - A backslash makes the comma, equals sign or space after it part of a name (in a measurement, the comma or space); before
//!   anything else it is a backslash. In a string a backslash stands before quotes and backslashes.
//! - Empty names, tags without a value and unescaped equals signs in tags are faults.
//!
//! And what that leaves to others:
//!
//! - A tag that is there twice is a fault, as it is to InfluxDB.
//! - A field that is there twice gives two readings: nothing says which one was meant.
//! - Control characters in names are taken, for `id2` has them escaped, and so is a `+` before a number.

use std::borrow::Cow;

use memchr::memchr2;

use crate::{
    fault::{Field, Flaw},
    fields::MappedField,
    number::{self, NoNumber},
    record::{Kind, NamedValue, Record, Scalar},
};

type Read<T> = Result<T, Box<Flaw>>;

/// Reads a line that is not empty and no comment, without blanks around it.
pub(crate) fn read<'a>(line: &'a str, record: &mut Record<'a>) -> Read<()> {
    let mut rest = Rest { line, at: 0 };
    let measurement = rest.name::<MEASUREMENT>();
    if measurement.is_empty() {
        return Err(rest.expected("the name of a measurement"));
    }
    record.set(
        MappedField::SensorType,
        Scalar {
            kind: Kind::Text,
            text: measurement,
        },
    );
    while rest.take(b',') {
        let tag = rest.tag()?;
        record.tags.push(tag);
    }
    if !rest.take_spaces() {
        return Err(rest.expected("a space and fields"));
    }
    record.has_values = true;
    loop {
        rest.field(record)?;
        if !rest.take(b',') {
            break;
        }
    }
    if rest.take_spaces() {
        let time = rest.token();
        let time = Scalar {
            kind: Kind::Number,
            text: Cow::Borrowed(time),
        };
        record.set(MappedField::Time, time);
        rest.take_spaces();
    }
    match rest.is_at_end() {
        true => Ok(()),
        false => Err(rest.expected("the end of the line")),
    }
}

/// Which name is read: they end differently.
const MEASUREMENT: u8 = 0;
const TAG_OR_FIELD: u8 = 1;

/// What is yet to be read of a line.
struct Rest<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn is_at_end(&self) -> bool {
        self.at == self.line.len()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    fn take_spaces(&mut self) -> bool {
        let from = self.at;
        while self.take(b' ') {}
        self.at > from
    }

    #[cold]
    fn expected(&self, what: &'static str) -> Box<Flaw> {
        match &self.line[self.at..] {
            "" => Flaw::missing(Field::Payload, what).at("after the end of the line"),
            rest => Flaw::found(Field::Payload, rest, what),
        }
    }

    /// What stands before the next comma, space or, but for measurements, equals sign.
    #[inline]
    fn name<const OF: u8>(&mut self) -> Cow<'a, str> {
        let from = self.at;
        let bytes = self.line.as_bytes();
        let mut is_escaped = false;
        let mut rest = &bytes[from..];
        loop {
            let end = rest.iter().position(|&byte| ends::<OF>(byte));
            let end = end.unwrap_or(rest.len());
            // What a name may not hold is part of it behind a backslash.
            let is_over = end == rest.len() || end == 0 || rest[end - 1] != b'\\';
            self.at += end;
            if is_over {
                break;
            }
            is_escaped = true;
            self.at += 1;
            rest = &rest[end + 1..];
        }
        let name = &self.line[from..self.at];
        match is_escaped {
            false => Cow::Borrowed(name),
            true => Cow::Owned(unescaped::<OF>(name)),
        }
    }

    /// What stands before the next comma or space.
    #[inline]
    fn token(&mut self) -> &'a str {
        let from = self.at;
        let rest = &self.line.as_bytes()[from..];
        let length = rest.iter().position(|byte| matches!(byte, b',' | b' '));
        self.at += length.unwrap_or(rest.len());
        &self.line[from..self.at]
    }

    #[inline]
    fn tag(&mut self) -> Read<(Cow<'a, str>, Cow<'a, str>)> {
        let key = self.name::<TAG_OR_FIELD>();
        if key.is_empty() {
            return Err(self.expected("the name of a tag after the comma"));
        }
        if !self.take(b'=') {
            return Err(self
                .expected("`=` and a value after the name of a tag")
                .at(&key));
        }
        let value = self.name::<TAG_OR_FIELD>();
        if value.is_empty() {
            return Err(Flaw::missing(Field::Tags, "a value, or no such tag").at(&key));
        }
        if self.peek() == Some(b'=') {
            return Err(self
                .expected(r"`\=` for an equals sign that belongs to a tag")
                .at(&key));
        }
        Ok((key, value))
    }

    #[inline]
    fn field(&mut self, record: &mut Record<'a>) -> Read<()> {
        let name = self.name::<TAG_OR_FIELD>();
        if name.is_empty() {
            return Err(self.expected("the name of a field"));
        }
        if !self.take(b'=') {
            return Err(self
                .expected("`=` and a value after the name of a field")
                .at(&name));
        }
        if self.peek() == Some(b'"') {
            match end_of_string(self.line.as_bytes(), self.at) {
                Some(end) => self.at = end,
                None => return Err(self.expected("a quote at the end of the text").at(&name)),
            }
            record.left_out += 1;
        } else {
            let text = self.token();
            let value = match value(text) {
                Ok(value) => Ok(value),
                Err(NoNumber::Malformed | NoNumber::DecimalComma) => {
                    let expected = "a number, true, false, or a text in quotes";
                    return Err(Flaw::found(Field::SensorValue, text, expected).at(&name));
                }
                Err(reason) => Err((reason, text)),
            };
            record.values.push(NamedValue { name, value });
        }
        match self.peek() {
            None | Some(b',' | b' ') => Ok(()),
            Some(_) => Err(self.expected("a comma, a space or the end of the line after a text")),
        }
    }
}

/// Whether a byte ends a name, unless a backslash stands before it.
#[inline]
fn ends<const OF: u8>(byte: u8) -> bool {
    ENDS[usize::from(OF)][usize::from(byte)]
}

const ENDS: [[bool; 256]; 2] = [table(b", "), table(b", =")];

const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
}

#[cold]
fn unescaped<const OF: u8>(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('\\') {
        let is_escape = rest
            .as_bytes()
            .get(at + 1)
            .is_some_and(|&next| ends::<OF>(next));
        text.push_str(&rest[..at + usize::from(!is_escape)]);
        rest = &rest[at + 1..];
        // It is one of those that end names, which must not be taken for another backslash's.
        if is_escape {
            text.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

#[inline]
fn value(text: &str) -> Result<f64, NoNumber> {
    let integer = |digits: &str, parsed: Option<f64>| match parsed {
        Some(value) => Ok(value),
        None if is_integer(digits) => Err(NoNumber::Not64Bits),
        None => Err(NoNumber::Malformed),
    };
    match text.as_bytes() {
        [b't' | b'T' | b'f' | b'F', ..] => boolean(text),
        [digits @ .., b'i'] => {
            let digits = &text[..digits.len()];
            integer(digits, number::signed(digits))
        }
        [digits @ .., b'u'] => {
            let digits = &text[..digits.len()];
            integer(digits, number::unsigned(digits))
        }
        _ => number::value(text),
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.trim_start_matches('-');
    !digits.is_empty()
        && text.len() - digits.len() < 2
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn boolean(text: &str) -> Result<f64, NoNumber> {
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => Ok(1.0),
        "f" | "F" | "false" | "False" | "FALSE" => Ok(0.0),
        _ => Err(NoNumber::Malformed),
    }
}

/// Where a string ends that begins at `from`, behind its quote.
#[inline]
fn end_of_string(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    match skip_string(bytes, &mut at) {
        true => Some(at),
        false => None,
    }
}

/// Goes on in a string, from `at` to behind its closing quote. Whether there is one; else it stops where more bytes could tell.
#[inline]
fn skip_string(bytes: &[u8], at: &mut usize) -> bool {
    while let Some(found) = memchr2(b'"', b'\\', &bytes[(*at).min(bytes.len())..]) {
        *at += found;
        match (bytes[*at], bytes.get(*at + 1)) {
            (b'"', _) => {
                *at += 1;
                return true;
            }
            (_, None) => return false,
            (_, Some(b'"' | b'\\')) => *at += 2,
            _ => *at += 1,
        }
    }
    *at = bytes.len();
    false
}

/// Looks for the newline that ends a line, which is none inside of a string. It can go on when more bytes have come, so that
/// lines in many small pieces are looked at once.
#[derive(Debug, Default)]
pub(crate) struct LineEnd {
    at: usize,
    part: Part,
}

/// What is looked through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Start,
    Comment,
    /// Measurement and tags, in which a quote is a character like others.
    Names,
    Fields,
    String,
}

impl LineEnd {
    /// Whether it was asked before, and so has seen a quote.
    pub(crate) fn has_begun(&self) -> bool {
        self.at > 0
    }

    /// Where the line ends that begins `bytes`. `None` if it does not.
    ///
    /// Only for lines with a quote, for it looks at every byte.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(&byte) = bytes.get(self.at) {
            let next = bytes.get(self.at + 1);
            match (self.part, byte) {
                (Part::String, _) => {
                    if !skip_string(bytes, &mut self.at) {
                        return None;
                    }
                    self.part = Part::Fields;
                    continue;
                }
                (_, b'\n') => return Some(self.at),
                (Part::Start, b' ' | b'\t') | (Part::Comment, _) => {}
                (Part::Start, _) => {
                    self.part = if byte == b'#' {
                        Part::Comment
                    } else {
                        Part::Names
                    };
                    continue;
                }
                (_, b'\\' | b'=') if next.is_none() => return None,
                (_, b'\\') => {
                    let is_escape = next.is_some_and(|&next| ends::<TAG_OR_FIELD>(next));
                    self.at += usize::from(is_escape);
                }
                (Part::Fields, b'=') if next == Some(&b'"') => {
                    self.part = Part::String;
                    self.at += 1;
                }
                (_, b' ') => self.part = Part::Fields,
                _ => {}
            }
            self.at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped_as_in_the_reference() {
        let name = |line: &str| Rest { line, at: 0 }.name::<TAG_OR_FIELD>().into_owned();
        for (written, meant) in [
            (r"a\ b\,c\=d ", "a b,c=d"),
            (r"a\b ", r"a\b"),
            (r"a\\b ", r"a\\b"),
            (r"a\\ b ", r"a\ b"),
            (r"a\\\ b ", r"a\\ b"),
            (r"a\ \,\=b=", "a ,=b"),
            (r"a\", r"a\"),
            (r"é\ 🌡,", "é 🌡"),
        ] {
            assert_eq!(name(written), meant, "{written}");
        }
        let measurement = Rest {
            line: r"a\=b\,c=d,",
            at: 0,
        }
        .name::<MEASUREMENT>();
        assert_eq!(measurement, r"a\=b,c=d");
    }

    #[test]
    fn a_newline_in_a_string_does_not_end_the_line() {
        for (text, after) in [
            ("m v=\"a\nb\" 1\nx", Some("\nx")),
            ("m v=\"a\\\"\n\" 1\nx", Some("\nx")),
            ("m v=\"a\\\\\" 1\nx", Some("\nx")),
            ("m,t=\"a v=1\nx", Some("\nx")),
            ("m v=1,w\\ =\"a\nb\"\n", Some("\n")),
            ("m v=1,w\\=\"a\nb\"\n", Some("\nb\"\n")),
            ("# v=\"a\n", Some("\n")),
            ("m v=\"a\nb", None),
            ("\"m\" v=1", None),
        ] {
            let end = LineEnd::default().find(text.as_bytes());
            let mut in_pieces = LineEnd::default();
            let piecewise =
                (0..=text.len()).find_map(|length| in_pieces.find(&text.as_bytes()[..length]));
            assert_eq!(piecewise, end, "{text:?}");
            assert_eq!(end.map(|end| &text[end..]), after, "{text:?}");
        }
    }

    #[test]
    fn values_are_of_the_types_of_the_protocol() {
        assert_eq!(value("1i"), Ok(1.0));
        assert_eq!(
            value("-9223372036854775808i"),
            Ok(-9_223_372_036_854_775_808.0)
        );
        assert_eq!(
            value("18446744073709551615u"),
            Ok(18_446_744_073_709_551_615.0)
        );
        assert_eq!(value("9223372036854775808i"), Err(NoNumber::Not64Bits));
        assert_eq!(value("-1u"), Err(NoNumber::Not64Bits));
        assert_eq!(value("T"), Ok(1.0));
        assert_eq!(value("False"), Ok(0.0));
        assert_eq!(value("NaN"), Err(NoNumber::NotFinite));
        for text in ["", "i", "-i", "1.5i", "--1i", "tRUE", "abc", "1e5i", "+"] {
            assert_eq!(value(text), Err(NoNumber::Malformed), "{text}");
        }
    }
}
