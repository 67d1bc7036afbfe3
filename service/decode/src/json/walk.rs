//! The way along pointers, and what lies at their ends.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::scalars_are_nothing;
use crate::{
    fault::{Field, Flaw},
    fields::FIELDS,
    number,
    pointer::{Node, Role},
    record::{Kind, NamedValue, Record, Scalar},
};

/// The way along pointers, collecting what lies at their ends.
pub(super) struct Walk<'w, 'a> {
    pub(super) node: &'w Node,
    pub(super) record: &'w mut Record<'a>,
}

impl<'a> DeserializeSeed<'a> for Walk<'_, 'a> {
    type Value = ();

    #[inline]
    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.node.is_inner() {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        self.record.collect(self.node, raw.get());
        Ok(())
    }
}

impl<'a> Visitor<'a> for Walk<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { node, record } = self;
        record.has_values |= node.role == Role::Values;
        while let Some(key) = members.next_key_seed(KeyOf(node))? {
            match key {
                Key::Member(at) if node.role != Role::Tags || node.members[at].1.is_inner() => {
                    let node = &node.members[at].1;
                    members.next_value_seed(Walk { node, record })?;
                }
                Key::Member(at) => {
                    let (name, node) = &node.members[at];
                    let raw = members.next_value::<&RawValue>()?.get();
                    record.collect(node, raw);
                    record.tag(Cow::Owned(name.clone()), raw);
                }
                Key::Other(name) => match node.role {
                    Role::Values => record.value(name, members.next_value::<&RawValue>()?.get()),
                    Role::Tags => record.tag(name, members.next_value::<&RawValue>()?.get()),
                    Role::None | Role::Records => members.next_value::<IgnoredAny>().map(drop)?,
                },
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { node, record } = self;
        record.has_values |= node.role == Role::Values;
        for index in 0_u64.. {
            let member = node.members.iter().find(|(name, _)| is_index(name, index));
            let more = match member {
                Some((_, node)) => elements.next_element_seed(Walk { node, record })?.is_some(),
                None if node.role == Role::Values => {
                    let raw = elements.next_element::<&RawValue>()?;
                    if let Some(raw) = raw {
                        record.value(Cow::Owned(index.to_string()), raw.get());
                    }
                    raw.is_some()
                }
                None => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    scalars_are_nothing!();
}

fn is_index(name: &str, index: u64) -> bool {
    name.parse() == Ok(index) && (name == "0" || !name.starts_with(['0', '+']))
}

/// The name of a member: one that a pointer goes on with, or another.
pub(super) enum Key<'a> {
    Member(usize),
    /// Empty where nobody asks for names.
    Other(Cow<'a, str>),
}

pub(super) struct KeyOf<'w>(pub(super) &'w Node);

impl KeyOf<'_> {
    #[inline]
    fn member(&self, name: &str) -> Option<usize> {
        self.0.members.iter().position(|(known, _)| known == name)
    }
}

impl<'a> DeserializeSeed<'a> for KeyOf<'_> {
    type Value = Key<'a>;

    #[inline]
    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Key<'a>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for KeyOf<'_> {
    type Value = Key<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    #[inline]
    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Key<'a>, E> {
        Ok(match self.member(name) {
            Some(at) => Key::Member(at),
            None => Key::Other(Cow::Borrowed(name)),
        })
    }

    fn visit_str<E>(self, name: &str) -> Result<Key<'a>, E> {
        Ok(match (self.member(name), self.0.role) {
            (Some(at), _) => Key::Member(at),
            (None, Role::Values | Role::Tags) => Key::Other(Cow::Owned(name.to_owned())),
            (None, _) => Key::Other(Cow::Borrowed("")),
        })
    }
}

impl<'a> Record<'a> {
    /// What lies at the end of a pointer.
    fn collect(&mut self, node: &Node, raw: &'a str) {
        for &field in &node.fields {
            let bit = 1 << field.index();
            if self.met & bit != 0 {
                let flaw = Flaw::found(field.of_fault(), raw, "one member of this name");
                self.fail(flaw.at(&node.pointer));
            }
            self.met |= bit;
            match scalar(raw) {
                Ok(Some(scalar)) => self.set(field, scalar),
                Ok(None) => self.fields[field.index()] = None,
                Err(expected) => {
                    let flaw = Flaw::found(field.of_fault(), raw, expected);
                    self.fail(flaw.at(&node.pointer));
                }
            }
        }
    }

    /// One of several values.
    fn value(&mut self, name: Cow<'a, str>, raw: &'a str) {
        let value = match raw.as_bytes().first() {
            Some(b't') => Ok(1.0),
            Some(b'f') => Ok(0.0),
            Some(b'-' | b'0'..=b'9') => number::value(raw).map_err(|reason| (reason, raw)),
            _ => {
                self.left_out += 1;
                return;
            }
        };
        self.values.push(NamedValue { name, value });
    }

    /// A member of the object of tags. One without a value is none.
    fn tag(&mut self, name: Cow<'a, str>, raw: &'a str) {
        let expected = match scalar(raw) {
            Ok(None) => return,
            Ok(Some(Scalar {
                kind: Kind::Nested, ..
            })) => "a text",
            Ok(Some(Scalar { text, .. })) if text.is_empty() => return,
            Ok(Some(Scalar { text, .. })) => return self.tags.push((name, text)),
            Err(expected) => expected,
        };
        self.fail(Flaw::found(Field::Tags, raw, expected).at(&name));
    }
}

/// A value as it is written; nothing for `null`.
fn scalar(raw: &str) -> Result<Option<Scalar<'_>>, &'static str> {
    let (kind, text) = match raw.as_bytes() {
        [b'"', inner @ .., b'"'] => {
            let text = match memchr::memchr(b'\\', inner) {
                None => Cow::Borrowed(&raw[1..raw.len() - 1]),
                // Half of a surrogate pair is no text, although it is JSON.
                Some(_) => Cow::Owned(
                    serde_json::from_str(raw).map_err(|_| "a text of Unicode characters")?,
                ),
            };
            (Kind::Text, text)
        }
        [b'n', ..] => return Ok(None),
        [b't' | b'f', ..] => (Kind::Bool, Cow::Borrowed(raw)),
        [b'{' | b'[', ..] => (Kind::Nested, Cow::Borrowed(raw)),
        _ => (Kind::Number, Cow::Borrowed(raw)),
    };
    Ok(Some(Scalar { kind, text }))
}

const _: () = assert!(FIELDS.len() <= 8, "each has a bit of Record::met");
