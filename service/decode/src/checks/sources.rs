//! Where a field comes from, as its source says.

use super::{Checked, Draft, refused};
use crate::{
    fields::MappedField,
    mapping::Origin,
    pointer::Role,
    settings::{Column, Format, Source},
};

impl Draft<'_> {
    pub(super) fn origin(
        &mut self,
        field: MappedField,
        source: &Source,
    ) -> Checked<(Origin, String)> {
        let key = field.as_str();
        let format = self.settings.format;
        if field == MappedField::Value && matches!(format, Format::Influx | Format::Plain) {
            return refused(
                key,
                format!(
                    "is what a payload of the format {} says itself",
                    format.as_str()
                ),
            );
        }
        if let Some(name) = &source.tag {
            let tag = format!("{key}.tag");
            return match name.as_str() {
                "" => refused(&tag, "is empty: it is the name of a tag"),
                _ if format == Format::Influx || self.settings.tags.is_some() => {
                    Ok((Origin::Tag(name.clone()), format!("tag {name}")))
                }
                _ => refused(
                    &tag,
                    "is for mappings that have tags: influx, or json with tags",
                ),
            };
        }
        if let Some(name) = &source.header {
            return match name.as_str() {
                "" => refused(
                    &format!("{key}.header"),
                    "is empty: it is the name of a header",
                ),
                _ => Ok((Origin::Header(name.clone()), format!("header {name}"))),
            };
        }
        if let Some(constant) = &source.constant {
            let text = self.valid(field, "constant", &constant.to_string())?;
            return Ok((Origin::Constant(text), "constant".to_owned()));
        }
        if let Some(column) = &source.column {
            return self.column(field, column);
        }
        self.pointer(field, source)
    }

    fn column(&mut self, field: MappedField, column: &Column) -> Checked<(Origin, String)> {
        let key = format!("{}.column", field.as_str());
        if self.settings.format != Format::Csv {
            return refused(&key, "is for the format csv");
        }
        let names = self.settings.columns.as_deref();
        let (index, place) = match (column, names) {
            (Column::Number(0), _) => return refused(&key, "is 0: columns are counted from 1"),
            (Column::Number(number), Some(names)) if *number > names.len() => {
                return refused(
                    &key,
                    format!("is {number}, and mapping.columns names {}", names.len()),
                );
            }
            (Column::Number(number), _) => (number - 1, format!("column {number}")),
            (Column::Name(name), None) => {
                return refused(
                    &key,
                    format!(
                        "is the name `{name}`: mapping.columns has to say which column that is"
                    ),
                );
            }
            (Column::Name(name), Some(names)) => match names.iter().position(|known| known == name)
            {
                Some(index) => (index, format!("column {name}")),
                None => {
                    return refused(
                        &key,
                        format!("is `{name}`, which is none of {}", names.join(", ")),
                    );
                }
            },
        };
        self.columns.push((index, field));
        Ok((Origin::Payload, place))
    }

    fn pointer(&mut self, field: MappedField, source: &Source) -> Checked<(Origin, String)> {
        let has_records = self.settings.records.is_some();
        let (kind, pointer, node) = match source {
            Source {
                pointer: Some(pointer),
                ..
            } => ("pointer", pointer, &mut self.record),
            Source {
                each: Some(pointer),
                ..
            } => ("each", pointer, &mut self.record),
            // The message is the record.
            Source {
                root: Some(pointer),
                ..
            } if !has_records => ("root", pointer, &mut self.record),
            Source {
                root: Some(pointer),
                ..
            } => ("root", pointer, &mut self.root),
            _ => return refused(field.as_str(), "names no source"),
        };
        let key = format!("{}.{kind}", field.as_str());
        if self.settings.format != Format::Json {
            return refused(&key, "is for the format json");
        }
        let node = node.at(pointer).or_else(|reason| refused(&key, reason))?;
        match kind {
            "each" if node.role == Role::Tags => {
                return refused(&key, "is where mapping.tags points to");
            }
            "each" => node.role = Role::Values,
            _ => node.fields.push(field),
        }
        Ok((Origin::Payload, pointer.clone()))
    }
}

/// What a source names.
pub(super) fn kinds(source: &Source) -> impl Iterator<Item = &'static str> {
    [
        ("pointer", source.pointer.is_some()),
        ("root", source.root.is_some()),
        ("each", source.each.is_some()),
        ("column", source.column.is_some()),
        ("tag", source.tag.is_some()),
        ("header", source.header.is_some()),
        ("constant", source.constant.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, is_there)| is_there.then_some(kind))
}

pub(super) fn expect_one_kind(key: &str, source: &Source) -> Checked<()> {
    let kinds: Vec<_> = kinds(source).collect();
    match kinds.as_slice() {
        [first, second, ..] => refused(
            key,
            format!("is given twice: by `{first}` and by `{second}`"),
        ),
        [] if source.default.is_some() && source.unit.is_none() => refused(
            key,
            "has a default, and names no source: `pointer`, `root`, `each`, `column`, `tag`, `header` or `constant`",
        ),
        _ => Ok(()),
    }
}
