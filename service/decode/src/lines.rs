//! Lines of a text, as they come: whole, or in pieces of any size.

use memchr::memchr;

use crate::{influx, mapping::Mapping, settings::Format};

/// A line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1. A text of line protocol may hold newlines: those count, too.
    pub number: u64,
    pub bytes: &'a [u8],
    /// Where it was longer than this, `bytes` is its beginning.
    pub max_bytes: Option<usize>,
}

/// Where the first line ends, and whether there is a newline in a text where nothing but quotes could say so.
fn end_of_line(bytes: &[u8], quotes: bool) -> Option<usize> {
    let newline = memchr(b'\n', bytes)?;
    match quotes && memchr(b'"', &bytes[..newline]).is_some() {
        true => influx::LineEnd::default().find(bytes),
        false => Some(newline),
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether newlines can be part of a line of this format.
fn has_quoted_newlines(mapping: &Mapping) -> bool {
    mapping.settings().format == Format::Influx
}

/// The lines of a whole text.
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    quotes: bool,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a [u8], mapping: &Mapping) -> Self {
        Self {
            quotes: has_quoted_newlines(mapping),
            ..Self::unquoted(text)
        }
    }

    /// Where every newline ends a line.
    pub(crate) fn unquoted(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            quotes: false,
            number: 1,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        // A quote that is never closed must not take the lines behind it along: then a newline is a newline.
        let end = end_of_line(self.rest, self.quotes).or_else(|| memchr(b'\n', self.rest));
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        let number = self.number;
        self.number += 1 + newlines(line, self.quotes);
        self.rest = rest;
        Some(Line {
            number,
            bytes: without_return(line),
            max_bytes: None,
        })
    }
}

fn newlines(line: &[u8], quotes: bool) -> u64 {
    match quotes {
        true => memchr::memchr_iter(b'\n', line).count() as u64,
        false => 0,
    }
}

/// Lines of a text that comes in pieces. It holds one line and one piece at the most.
///
/// ```
/// # use sluicegate_decode::{LineBuffer, Mapping};
/// let mut lines = LineBuffer::new(&Mapping::line_protocol(), 65_536);
/// lines.push(b"boiler temperature=8");
/// assert_eq!(lines.take(), None);
/// lines.push(b"1.5\nboiler n=3i");
/// assert_eq!(lines.take().map(|line| line.bytes), Some(&b"boiler temperature=81.5"[..]));
/// assert_eq!(lines.take(), None);
/// lines.finish();
/// assert_eq!(lines.take().map(|line| line.number), Some(2));
/// ```
#[derive(Debug)]
pub struct LineBuffer {
    buffer: Vec<u8>,
    /// What was taken of the buffer.
    taken: usize,
    /// What was taken before the buffer begins.
    taken_before: u64,
    /// How far no newline was found, from `taken`.
    looked_at: usize,
    /// The same, where quotes count.
    line_end: influx::LineEnd,
    max_bytes: usize,
    quotes: bool,
    number: u64,
    /// Whether what comes belongs to a line that was too long.
    is_skipping: bool,
    is_finished: bool,
}

impl LineBuffer {
    /// For a text that `mapping` reads, with lines of at most `max_bytes`.
    #[must_use]
    pub fn new(mapping: &Mapping, max_bytes: usize) -> Self {
        Self {
            quotes: has_quoted_newlines(mapping),
            ..Self::unquoted(max_bytes)
        }
    }

    /// For a text in which every newline ends a line.
    #[must_use]
    pub fn unquoted(max_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            taken_before: 0,
            looked_at: 0,
            line_end: influx::LineEnd::default(),
            max_bytes,
            quotes: false,
            number: 1,
            is_skipping: false,
            is_finished: false,
        }
    }

    /// For the rest of a text, which begins with the line of this number.
    #[must_use]
    pub fn from_line(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// How many bytes and lines were taken: the next line begins there, unless the last one was cut short.
    #[must_use]
    pub fn place(&self) -> (u64, u64) {
        (self.taken_before + self.taken as u64, self.number - 1)
    }

    /// Adds a piece, once all lines before it were taken.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken_before += self.taken as u64;
        self.taken = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Says that nothing comes after what was pushed: the last line may have no end.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next line, if all of it is there.
    pub fn take(&mut self) -> Option<Line<'_>> {
        loop {
            let rest = &self.buffer[self.taken..];
            if rest.is_empty() {
                return None;
            }
            if self.is_skipping {
                let newline = memchr(b'\n', rest);
                self.taken += newline.map_or(rest.len(), |at| at + 1);
                self.number += u64::from(newline.is_some());
                self.is_skipping = newline.is_none();
                continue;
            }
            let from = self.taken;
            let (length, is_whole) = self.length()?;
            let number = self.number;
            self.looked_at = 0;
            self.line_end = influx::LineEnd::default();
            self.is_skipping = !is_whole;
            self.taken += length + usize::from(is_whole && from + length < self.buffer.len());
            let line = &self.buffer[from..from + length];
            self.number += newlines(line, self.quotes) + u64::from(is_whole);
            return Some(Line {
                number,
                bytes: without_return(line),
                max_bytes: (!is_whole).then_some(self.max_bytes),
            });
        }
    }

    /// How long the next line is, and whether that is all of it; nothing if more has to come.
    fn length(&mut self) -> Option<(usize, bool)> {
        let rest = &self.buffer[self.taken..];
        let first = memchr(b'\n', &rest[self.looked_at..]).map(|at| self.looked_at + at);
        let has_quote = self.line_end.has_begun()
            || (self.quotes && memchr(b'"', &rest[..first.unwrap_or(0)]).is_some());
        let end = match first {
            // What is open ends with the buffer, at the latest.
            Some(newline) if has_quote => {
                let shown = &rest[..rest.len().min(self.max_bytes + 1)];
                match self.line_end.find(shown) {
                    Some(end) => Some(end),
                    None if shown.len() > self.max_bytes || self.is_finished => Some(newline),
                    None => None,
                }
            }
            first => first,
        };
        match end {
            Some(end) if end <= self.max_bytes => Some((end, true)),
            Some(_) => Some((self.max_bytes, false)),
            None if first.is_some() => None,
            None if rest.len() > self.max_bytes => Some((self.max_bytes, false)),
            None if self.is_finished => Some((rest.len(), true)),
            None => {
                self.looked_at = rest.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
        Lines::of(text, &Mapping::line_protocol())
            .map(|line| (line.number, line.bytes.to_vec()))
            .collect()
    }

    fn in_pieces(text: &[u8], sizes: &[usize], max_bytes: usize) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = LineBuffer::new(&Mapping::line_protocol(), max_bytes);
        let mut found = Vec::new();
        let mut rest = text;
        let mut sizes = sizes.iter().cycle();
        loop {
            let (piece, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            lines.push(piece);
            rest = more;
            if rest.is_empty() {
                lines.finish();
            }
            while let Some(line) = lines.take() {
                found.push((line.number, line.bytes.to_vec(), line.max_bytes.is_some()));
            }
            if rest.is_empty() {
                return found;
            }
            assert!(lines.held_bytes() <= 2 * (max_bytes + 66));
        }
    }

    #[test]
    fn lines_end_with_newlines_but_for_those_in_strings() {
        let text = b"a v=1\r\n\nb s=\"x\ny\",v=1\nc v=1";
        let expected = [
            (1, b"a v=1".to_vec()),
            (2, Vec::new()),
            (3, b"b s=\"x\ny\",v=1".to_vec()),
            (5, b"c v=1".to_vec()),
        ];
        assert_eq!(whole(text), expected);
    }

    #[test]
    fn a_buffer_tells_where_the_next_line_begins() {
        let text = b"a v=1\r\nb s=\"x\ny\",v=1\nc v=1";
        let mapping = Mapping::line_protocol();
        let mut lines = LineBuffer::new(&mapping, 100);
        let mut places = Vec::new();
        for piece in text.chunks(3) {
            lines.push(piece);
            while lines.take().is_some() {
                places.push(lines.place());
            }
        }
        assert_eq!(places, [(7, 1), (21, 3)]);
        let (bytes, number) = places[1];
        let mut rest = LineBuffer::new(&mapping, 100).from_line(number + 1);
        rest.push(&text[bytes as usize..]);
        rest.finish();
        let line = rest.take().map(|line| (line.number, line.bytes.to_vec()));
        assert_eq!(line, Some((4, b"c v=1".to_vec())));
        assert_eq!(rest.place().0, 5);
    }

    #[test]
    fn a_quote_that_is_never_closed_takes_its_own_line_alone() {
        let text = b"a s=\"x\nb v=1\nc v=2\n";
        let numbers: Vec<_> = whole(text).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        let found = in_pieces(text, &[4], 9);
        let numbers: Vec<_> = found
            .iter()
            .map(|(number, _, is_cut)| (*number, *is_cut))
            .collect();
        assert_eq!(numbers, [(1, false), (2, false), (3, false)]);
    }

    #[test]
    fn a_line_that_is_too_long_takes_no_other_along() {
        let text = [b"a v=1\n".as_slice(), &[b'x'; 100], b"\nb v=2\n"].concat();
        let found = in_pieces(&text, &[7], 20);
        assert_eq!(
            found,
            [
                (1, b"a v=1".to_vec(), false),
                (2, vec![b'x'; 20], true),
                (3, b"b v=2".to_vec(), false),
            ]
        );
    }

    proptest! {
        #[test]
        fn pieces_give_the_lines_of_the_whole(
            text in r#"([a-c =,"\\#\n\r]|v="|\n){0,60}"#,
            sizes in prop::collection::vec(1..30_usize, 1..5),
        ) {
            let expected: Vec<_> = whole(text.as_bytes())
                .into_iter()
                .map(|(number, bytes)| (number, bytes, false))
                .collect();
            prop_assert_eq!(in_pieces(text.as_bytes(), &sizes, 1_000), expected);
        }
    }
}
