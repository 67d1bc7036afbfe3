//! Messages and records of JSON, walked once along the pointers of a mapping.
//!
//! Values are taken as they are written and read by us, for `serde_json` gives a whole message up at a number that is no
//! double, such as `1e400`. It holds nesting to 128 levels where pointers lead, and skips what lies elsewhere without recursion.
//!
//! A number in quotes is a number where a pointer leads to it; below `each`, it is a text like others and left out. `true` is 1,
//! `null` is nothing, and `NaN` as if it stood in quotes. A member that is there twice is a fault where a pointer leads to it.

mod not_finite;
mod walk;

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Deserializer, value::RawValue};

use self::{
    not_finite::quoted,
    walk::{Key, KeyOf, Walk},
};
use crate::{
    assembly::Assembly,
    fault::{Fault, Field, Flaw, Position},
    mapping::JsonPlan,
    pointer::{Node, Role},
    reading::Reading,
    record::Record,
};

/// Nothing is looked for in a value that is neither object nor array: what is missing is said by who needs it.
macro_rules! scalars_are_nothing {
    () => {
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }

        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }

        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }

        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    };
}
use scalars_are_nothing;

/// Hands out what a text holds: a message, or an array of messages. In one of several lines, `line` is its number.
pub(crate) fn read<'a, F: FnMut(Result<Reading<'_>, Fault>)>(
    text: &'a str,
    line: Option<u64>,
    plan: &JsonPlan,
    assembly: &mut Assembly<'_, F>,
    record: &mut Record<'a>,
) {
    // In an array, what broke off would take all that follows along.
    if let Some(quoted) = may_have_several(text, plan).then(|| quoted(text)).flatten() {
        return read_strictly(&quoted, line, plan, assembly, &mut Record::default());
    }
    read_strictly(text, line, plan, assembly, record);
}

fn may_have_several(text: &str, plan: &JsonPlan) -> bool {
    !plan.records.is_empty() || text.trim_ascii_start().starts_with('[')
}

fn read_strictly<'a, F: FnMut(Result<Reading<'_>, Fault>)>(
    text: &'a str,
    line: Option<u64>,
    plan: &JsonPlan,
    assembly: &mut Assembly<'_, F>,
    record: &mut Record<'a>,
) {
    let mut messages = Messages {
        plan,
        assembly,
        record,
        line,
        number: 0,
    };
    let Err(error) = messages.read(text) else {
        return;
    };
    // Of one record, nothing was handed out before its end.
    let quoted = (!may_have_several(text, plan))
        .then(|| quoted(text))
        .flatten();
    if let Some(quoted) = quoted {
        return read_strictly(&quoted, line, plan, assembly, &mut Record::default());
    }
    let position = Position::Line(line.unwrap_or(error.line() as u64));
    assembly.fault(position, malformed(text, &error));
}

fn malformed(text: &str, error: &serde_json::Error) -> Box<Flaw> {
    let line = text
        .split('\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or(text);
    // Counted in bytes, and it may be in the middle of a character.
    let mut from = error.column().saturating_sub(16).min(line.len());
    while !line.is_char_boundary(from) {
        from -= 1;
    }
    let said = error.to_string();
    let reason = said.split(" at line ").next().unwrap_or_default();
    Flaw::found(Field::Payload, &line[from..], format!("JSON ({reason})"))
}

/// Messages on their way to readings.
struct Messages<'m, 'a, 'f, F> {
    plan: &'m JsonPlan,
    assembly: &'m mut Assembly<'f, F>,
    record: &'m mut Record<'a>,
    line: Option<u64>,
    /// Of the last record.
    number: u64,
}

impl<'a, F: FnMut(Result<Reading<'_>, Fault>)> Messages<'_, 'a, '_, F> {
    fn read(&mut self, text: &'a str) -> Result<(), serde_json::Error> {
        let mut deserializer = Deserializer::from_str(text);
        if text.trim_ascii_start().starts_with('[') {
            deserializer.deserialize_seq(&mut *self)?;
            return deserializer.end();
        }
        if !self.plan.records.is_empty() {
            return self.message(text);
        }
        self.record.clear();
        self.walk(&mut deserializer)?;
        deserializer.end()?;
        self.emit();
        Ok(())
    }

    #[inline]
    fn walk<D: serde::Deserializer<'a>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        let walk = Walk {
            node: &self.plan.record,
            record: self.record,
        };
        walk.deserialize(deserializer)
    }

    #[inline]
    fn emit(&mut self) {
        self.number += 1;
        let position = match self.line {
            Some(line) => Position::Line(line),
            None => Position::Record(self.number),
        };
        self.assembly.emit(position, self.record);
    }

    /// A message with records in it. What stands beside them is read first, wherever it is.
    fn message(&mut self, text: &'a str) -> Result<(), serde_json::Error> {
        let mut root = Record::default();
        if !self.plan.root.is_empty() {
            let walk = Walk {
                node: &self.plan.root,
                record: &mut root,
            };
            walk.deserialize(&mut Deserializer::from_str(text))?;
        }
        let mut deserializer = Deserializer::from_str(text);
        let mut is_found = false;
        let walk = ToRecords {
            node: &self.plan.records,
            root: &root,
            is_found: &mut is_found,
            messages: self,
        };
        walk.deserialize(&mut deserializer)?;
        deserializer.end()?;
        if !is_found {
            let flaw = Flaw::missing(Field::Payload, "an array of records");
            let place = self
                .assembly
                .mapping
                .settings
                .records
                .clone()
                .unwrap_or_default();
            let position = self.line.map_or(Position::Message, Position::Line);
            self.assembly.fault(position, flaw.at(&place));
        }
        Ok(())
    }
}

/// An array of messages.
impl<'a, F: FnMut(Result<Reading<'_>, Fault>)> Visitor<'a> for &mut Messages<'_, 'a, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.plan.records.is_empty() {
            while elements.next_element_seed(OneRecord(self))?.is_some() {}
            return Ok(());
        }
        while let Some(message) = elements.next_element::<&RawValue>()? {
            // It has been read once and is JSON.
            self.message(message.get()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// An element of an array of records without a root.
struct OneRecord<'w, W>(&'w mut W);

impl<'a, F: FnMut(Result<Reading<'_>, Fault>)> DeserializeSeed<'a>
    for OneRecord<'_, Messages<'_, 'a, '_, F>>
{
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.record.clear();
        self.0.walk(deserializer)?;
        self.0.emit();
        Ok(())
    }
}

/// The way from the root of a message to its array of records.
struct ToRecords<'w, 'a, W> {
    node: &'w Node,
    root: &'w Record<'a>,
    is_found: &'w mut bool,
    messages: &'w mut W,
}

impl<'a, F: FnMut(Result<Reading<'_>, Fault>)> DeserializeSeed<'a>
    for ToRecords<'_, 'a, Messages<'_, 'a, '_, F>>
{
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, F: FnMut(Result<Reading<'_>, Fault>)> Visitor<'a>
    for ToRecords<'_, 'a, Messages<'_, 'a, '_, F>>
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key_seed(KeyOf(self.node))? {
            match key {
                Key::Member(at) => members.next_value_seed(ToRecords {
                    node: &self.node.members[at].1,
                    root: self.root,
                    is_found: self.is_found,
                    messages: self.messages,
                })?,
                Key::Other(_) => members.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.node.role != Role::Records {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        *self.is_found = true;
        while elements
            .next_element_seed(RecordBelow {
                root: self.root,
                messages: self.messages,
            })?
            .is_some()
        {}
        Ok(())
    }

    scalars_are_nothing!();
}

/// An element of an array of records that has a root.
struct RecordBelow<'w, 'a, W> {
    root: &'w Record<'a>,
    messages: &'w mut W,
}

impl<'a, F: FnMut(Result<Reading<'_>, Fault>)> DeserializeSeed<'a>
    for RecordBelow<'_, 'a, Messages<'_, 'a, '_, F>>
{
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let record = &mut *self.messages.record;
        record.clear();
        record.fields.clone_from(&self.root.fields);
        record.flaw = self.root.flaw.clone();
        self.messages.walk(deserializer)?;
        self.messages.emit();
        Ok(())
    }
}
