//! Payloads to readings, by a mapping.

use std::{
    cell::{Cell, OnceCell},
    mem,
    sync::Arc,
};

use memchr::memchr;
use serde_json::value::RawValue;

use crate::{
    assembly::{Assembly, Given, Rooms},
    csv,
    fault::{Fault, Field, Flaw, Position},
    fields::{FIELDS, MappedField},
    influx, json,
    lines::{Line, Lines},
    mapping::{Clock, Mapping, Origin, Reader},
    name::Limits,
    reading::{Counts, Reading},
    record::{Kind, Record, Scalar},
    settings::Format,
    time::Precision,
};

/// What is known of a message besides its payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    pub topic: Option<&'a str>,
    /// Those that [`Mapping::headers`] names are enough. Of two of a name the first one counts.
    pub headers: &'a [(&'a str, &'a str)],
    /// Microseconds since the Unix epoch, UTC.
    pub arrival_us: i64,
    /// Of times in line protocol, instead of the mapping's.
    pub precision: Option<Precision>,
}

/// A part of a payload, with which its readings and faults can be had once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'p> {
    pub bytes: &'p [u8],
    /// Where in these bytes: a line stands alone, and keeps its number, for a first line may be left out.
    pub position: Position,
    /// Whether this says all: not for a line that was cut off, and not where other readings come out of these bytes.
    pub is_whole: bool,
}

/// Decodes messages, one after the other. It keeps what it needs for that, so that a message allocates next to nothing.
#[derive(Debug)]
pub struct Decoder {
    mapping: Arc<Mapping>,
    limits: Limits,
    rooms: Rooms,
    record: Record<'static>,
}

impl Decoder {
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, limits: Limits) -> Self {
        Self {
            mapping,
            limits,
            rooms: Rooms::default(),
            record: Record::default(),
        }
    }

    /// What it takes payloads to be written in.
    #[must_use]
    pub fn format(&self) -> Format {
        self.mapping.settings().format
    }

    /// Begins a message.
    ///
    /// # Errors
    /// When its topic is not made up as the mapping says: then nothing in it can be read.
    pub fn message(&mut self, context: &Context<'_>) -> Result<Message<'_>, Fault> {
        let mut fields: [Option<String>; FIELDS.len()] = Default::default();
        for field in FIELDS {
            fields[field.index()] = match &self.mapping.field(field).origin {
                Origin::Header(name) => {
                    let mut headers = context.headers.iter();
                    let header = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
                    header.map(|(_, text)| (*text).to_owned())
                }
                _ => None,
            };
        }
        if let Some(template) = &self.mapping.topic {
            let topic = context.topic.unwrap_or_default();
            let is_match = template.matches(topic, |field, text| {
                fields[field.index()] = Some(text.to_owned());
            });
            if !is_match {
                let expected = format!("a topic as in mapping.topic: {}", template.text());
                let flaw = match context.topic {
                    Some(topic) => Flaw::found(Field::Topic, topic, expected),
                    None => Flaw::missing(Field::Topic, expected),
                };
                return Err(flaw.into_fault(Position::Message));
            }
        }
        let given = Given {
            fields,
            arrival_us: context.arrival_us,
            clock: context.precision.map(Clock::Line),
        };
        Ok(Message {
            decoder: self,
            given,
        })
    }
}

/// A message that is being decoded: all at once ([`whole`](Self::whole)), or line by line ([`line`](Self::line)).
///
/// What is handed out are readings and faults, in the order in which they lie in the payload. A payload of `n` bytes has
/// at most `n / 2 + 1` of them. Meanwhile one record (a line, an object) is held taken apart, in up to forty times its size where
/// it is nothing but fields of one letter; a message of JSON with `NaN` in it is copied.
#[derive(Debug)]
pub struct Message<'d> {
    decoder: &'d mut Decoder,
    given: Given,
}

impl Message<'_> {
    /// Says when the lines came that follow.
    pub fn arrived(&mut self, arrival_us: i64) {
        self.given.arrival_us = arrival_us;
    }

    /// Decodes a payload.
    pub fn whole(&mut self, payload: &[u8], out: impl FnMut(Result<Reading<'_>, Fault>)) -> Counts {
        self.whole_with(without_mark(payload), &Cell::new(payload), out)
    }

    /// A line as the part that its faults are of.
    #[must_use]
    pub fn piece<'p>(&self, line: Line<'p>) -> Piece<'p> {
        Piece {
            bytes: line.bytes,
            position: Position::Line(line.number),
            is_whole: line.max_bytes.is_none() && is_one_record(&self.decoder.mapping, line.bytes),
        }
    }

    /// Decodes a payload, and hands out with each fault the part that it is of.
    pub fn whole_in_pieces(
        &mut self,
        payload: &[u8],
        mut out: impl FnMut(Result<Reading<'_>, (Fault, Piece<'_>)>),
    ) -> Counts {
        let payload = without_mark(payload);
        let mapping = self.decoder.mapping.clone();
        let is_array = mapping.settings().records.is_none();
        let line = Cell::new(payload);
        let records = OnceCell::new();
        self.whole_with(payload, &line, |outcome| {
            out(outcome.map_err(|fault| {
                let piece = match fault.position {
                    Position::Line(_) => Piece {
                        bytes: line.get(),
                        position: fault.position,
                        is_whole: is_one_record(&mapping, line.get()),
                    },
                    Position::Message => Piece {
                        bytes: payload,
                        position: fault.position,
                        is_whole: true,
                    },
                    Position::Record(number) => {
                        let records = records.get_or_init(|| match is_array {
                            true => serde_json::from_slice::<Vec<&RawValue>>(payload),
                            false => Ok(Vec::new()),
                        });
                        record(records.as_deref().unwrap_or_default(), number).unwrap_or(Piece {
                            bytes: payload,
                            position: fault.position,
                            is_whole: true,
                        })
                    }
                };
                (fault, piece)
            }));
        })
    }

    /// Says in `piece` which line is being decoded, where lines are.
    fn whole_with<'p>(
        &mut self,
        payload: &'p [u8],
        piece: &Cell<&'p [u8]>,
        out: impl FnMut(Result<Reading<'_>, Fault>),
    ) -> Counts {
        self.with_record(out, |mapping, assembly, record| match &mapping.reader {
            Reader::Json(plan) if !is_in_lines(payload) => {
                if payload.trim_ascii().is_empty() {
                    let flaw = Flaw::missing(Field::Payload, "an object, or an array of objects");
                    return assembly.fault(Position::Message, flaw);
                }
                match std::str::from_utf8(payload) {
                    Ok(text) => json::read(text, None, plan, assembly, record),
                    Err(_) => assembly.fault(Position::Message, Flaw::no_text(payload)),
                }
            }
            Reader::Plain => read_plain(payload, assembly, record),
            _ => {
                for line in Lines::of(payload, mapping) {
                    piece.set(line.bytes);
                    read_line(line, mapping, assembly, record);
                }
            }
        })
    }

    /// Decodes a line of line protocol, CSV, or JSON, without its end. [`LineBuffer`](crate::LineBuffer) makes lines.
    pub fn line(&mut self, line: Line<'_>, out: impl FnMut(Result<Reading<'_>, Fault>)) -> Counts {
        let line = match line.number {
            1 => Line {
                bytes: without_mark(line.bytes),
                ..line
            },
            _ => line,
        };
        self.with_record(out, |mapping, assembly, record| {
            read_line(line, mapping, assembly, record);
        })
    }

    fn with_record<'p, F: FnMut(Result<Reading<'_>, Fault>)>(
        &mut self,
        out: F,
        read: impl FnOnce(&Mapping, &mut Assembly<'_, F>, &mut Record<'p>),
    ) -> Counts {
        let Decoder {
            mapping,
            limits,
            rooms,
            record,
        } = &mut *self.decoder;
        let mut assembly = Assembly {
            mapping,
            limits: *limits,
            given: &self.given,
            rooms,
            counts: Counts::default(),
            out,
        };
        let mut of_payload: Record<'p> = mem::take(record);
        read(mapping, &mut assembly, &mut of_payload);
        let counts = assembly.counts;
        *record = of_payload.recycled();
        rooms.tidy();
        counts
    }
}

/// An element of an array, which is a message of its own.
fn record<'p>(records: &[&'p RawValue], number: u64) -> Option<Piece<'p>> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    records.get(at).map(|record| Piece {
        bytes: record.get().as_bytes(),
        position: Position::Message,
        is_whole: true,
    })
}

/// Whether a line holds one record. Of several, nobody says which one a fault is of.
fn is_one_record(mapping: &Mapping, line: &[u8]) -> bool {
    match &mapping.reader {
        Reader::Json(_) => {
            mapping.settings().records.is_none() && !line.trim_ascii_start().starts_with(b"[")
        }
        Reader::Csv(_) | Reader::Influx | Reader::Plain => true,
    }
}

#[inline]
fn read_line<'a, F: FnMut(Result<Reading<'_>, Fault>)>(
    line: Line<'a>,
    mapping: &Mapping,
    assembly: &mut Assembly<'_, F>,
    record: &mut Record<'a>,
) {
    let position = Position::Line(line.number);
    if let Some(max_bytes) = line.max_bytes {
        let text = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(256)]);
        let expected = format!("a line of at most {max_bytes} bytes");
        return assembly.fault(position, Flaw::found(Field::Payload, &text, expected));
    }
    let Ok(text) = std::str::from_utf8(line.bytes) else {
        return assembly.fault(position, Flaw::no_text(line.bytes));
    };
    let text = match &mapping.reader {
        // A tab may stand between columns.
        Reader::Csv(_) => text,
        _ => text.trim_matches([' ', '\t', '\r']),
    };
    if text.is_empty() {
        return;
    }
    let read = match &mapping.reader {
        Reader::Json(plan) => return json::read(text, Some(line.number), plan, assembly, record),
        Reader::Plain => return read_plain(line.bytes, assembly, record),
        Reader::Influx if text.starts_with('#') => return,
        Reader::Influx => {
            record.clear();
            influx::read(text, record).map(|()| true)
        }
        Reader::Csv(plan) => {
            record.clear();
            csv::read(text, plan, record)
        }
    };
    match read {
        Ok(true) => assembly.emit(position, record),
        Ok(false) => {}
        Err(flaw) => assembly.fault(position, flaw),
    }
}

fn read_plain<'a, F: FnMut(Result<Reading<'_>, Fault>)>(
    payload: &'a [u8],
    assembly: &mut Assembly<'_, F>,
    record: &mut Record<'a>,
) {
    let Ok(text) = std::str::from_utf8(payload) else {
        return assembly.fault(Position::Message, Flaw::no_text(payload));
    };
    record.clear();
    let mut scalar = Scalar::text(text.trim_ascii());
    if matches!(&*scalar.text, "true" | "false") {
        scalar.kind = Kind::Bool;
    }
    record.set(MappedField::Value, scalar);
    assembly.emit(Position::Message, record);
}

/// Some editors begin a text in UTF-8 with this.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Whether a payload of JSON has a value in each line: its first line is one, or an object or array begins a line where the
/// line before asks for none, which nothing that is laid out over several lines does.
fn is_in_lines(payload: &[u8]) -> bool {
    let mut before: Option<&[u8]> = None;
    for line in Lines::unquoted(payload) {
        let line = line.bytes.trim_ascii();
        let Some(begin) = line.first() else {
            continue;
        };
        if let Some(before) = before {
            let is_asked_for = matches!(before.last(), Some(b'[' | b'{' | b',' | b':'));
            if matches!(begin, b'{' | b'[') && !is_asked_for {
                return true;
            }
        }
        before = Some(line);
    }
    let payload = payload.trim_ascii();
    let first = memchr(b'\n', payload).map(|end| &payload[..end]);
    first.is_some_and(|first| serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok())
}
