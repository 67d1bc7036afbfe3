//! What a format finds in one record, before it is a reading: the same for all formats.

use std::borrow::Cow;

use crate::{
    fault::Flaw,
    fields::{FIELDS, MappedField},
    number::NoNumber,
    tags::Tag,
};

/// A value of a payload, as it is written there.
#[derive(Clone, Debug)]
pub(crate) struct Scalar<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Bool,
    /// An object or an array, where there should be none.
    Nested,
}

impl<'a> Scalar<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self {
            kind: Kind::Text,
            text: Cow::Borrowed(text),
        }
    }
}

/// One of several values of a record.
#[derive(Clone, Debug)]
pub(crate) struct NamedValue<'a> {
    pub(crate) name: Cow<'a, str>,
    /// What is no value keeps its text for the fault.
    pub(crate) value: Result<f64, (NoNumber, &'a str)>,
}

/// So many tags, and values, keep their places from one message to the next.
const MAX_KEPT: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    pub(crate) fields: [Option<Scalar<'a>>; FIELDS.len()],
    pub(crate) tags: Vec<Tag<'a>>,
    /// In a record of several values.
    pub(crate) values: Vec<NamedValue<'a>>,
    /// Whether there is a place for several values, even if it is empty.
    pub(crate) has_values: bool,
    pub(crate) left_out: u64,
    /// Which fields were met, a bit each: `null` is no value, but a member all the same.
    pub(crate) met: u8,
    /// Why there are no readings in it: the first reason that was found.
    pub(crate) flaw: Option<Box<Flaw>>,
}

impl<'a> Record<'a> {
    pub(crate) fn clear(&mut self) {
        self.fields = Default::default();
        self.tags.clear();
        self.values.clear();
        self.has_values = false;
        self.left_out = 0;
        self.met = 0;
        self.flaw = None;
    }

    pub(crate) fn field(&self, field: MappedField) -> Option<&Scalar<'a>> {
        self.fields[field.index()].as_ref()
    }

    pub(crate) fn set(&mut self, field: MappedField, scalar: Scalar<'a>) {
        self.fields[field.index()] = Some(scalar);
    }

    pub(crate) fn fail(&mut self, flaw: Box<Flaw>) {
        self.flaw.get_or_insert(flaw);
    }

    /// Empty, for another payload, with the memory that it has, unless that is much.
    pub(crate) fn recycled<'b>(mut self) -> Record<'b> {
        self.clear();
        self.tags.shrink_to(MAX_KEPT);
        self.values.shrink_to(MAX_KEPT);
        Record {
            // Nothing is left to be converted, and the standard library collects in place.
            tags: self
                .tags
                .into_iter()
                .map(|_| (Cow::Borrowed(""), Cow::Borrowed("")))
                .collect(),
            values: self
                .values
                .into_iter()
                .map(|_| NamedValue {
                    name: Cow::Borrowed(""),
                    value: Ok(0.0),
                })
                .collect(),
            ..Record::default()
        }
    }
}
