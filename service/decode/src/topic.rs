//! Topics by a template: `plant/{id1}/{id2}/{sensor_type}`, or `plant.{id1}.*.#` for brokers that use points.

use crate::fields::{FIELDS, MappedField};

/// A template that was read.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// None where there is one level, which is all of the topic.
    separator: Option<char>,
    levels: Vec<Level>,
    /// Whether more levels may follow.
    is_open: bool,
    text: String,
}

#[derive(Clone, Debug)]
enum Level {
    Any,
    Exactly(String),
    Field {
        before: String,
        field: MappedField,
        after: String,
    },
}

impl Template {
    /// # Errors
    /// A sentence that says what cannot be.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let separator = ['/', '.'].into_iter().find(|at| text.contains(*at));
        let mut levels = Vec::new();
        let mut is_open = false;
        for level in split(text, separator) {
            if is_open {
                return Err("goes on after `#`, which stands for all that follows".to_owned());
            }
            match level {
                "#" => is_open = true,
                _ => levels.push(Level::parse(level)?),
            }
        }
        let template = Self {
            separator,
            levels,
            is_open,
            text: text.to_owned(),
        };
        let mut fields: Vec<_> = template.fields().collect();
        if fields.is_empty() {
            return Err(format!("holds no field: it may hold {}", names()));
        }
        fields.sort_unstable();
        match fields.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("holds {{{}}} twice", pair[0].as_str())),
            None => Ok(template),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = MappedField> {
        self.levels.iter().filter_map(|level| match level {
            Level::Field { field, .. } => Some(*field),
            _ => None,
        })
    }

    /// Hands out the fields of a topic. Whether it is made up as this template says.
    pub(crate) fn matches<'t>(
        &self,
        topic: &'t str,
        mut found: impl FnMut(MappedField, &'t str),
    ) -> bool {
        let mut parts = split(topic, self.separator);
        for level in &self.levels {
            let Some(part) = parts.next() else {
                return false;
            };
            match level {
                Level::Any => {}
                Level::Exactly(text) if text == part => {}
                Level::Exactly(_) => return false,
                Level::Field {
                    before,
                    field,
                    after,
                } => {
                    let inner = part
                        .strip_prefix(before.as_str())
                        .and_then(|part| part.strip_suffix(after.as_str()));
                    match inner {
                        Some(text) if !text.is_empty() => found(*field, text),
                        _ => return false,
                    }
                }
            }
        }
        self.is_open || parts.next().is_none()
    }
}

fn split(text: &str, separator: Option<char>) -> impl Iterator<Item = &str> {
    text.split(move |letter| Some(letter) == separator)
}

impl Level {
    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "+" | "*") {
            return Ok(Self::Any);
        }
        if text.contains(['+', '*', '#']) {
            return Err(format!(
                "has the level `{text}`: `+`, `*` and `#` stand for whole levels"
            ));
        }
        let Some((before, rest)) = text.split_once('{') else {
            return match text {
                _ if text.contains('}') => Err(format!("has a `}}` without a `{{` in `{text}`")),
                "" => Err("has an empty level".to_owned()),
                _ => Ok(Self::Exactly(text.to_owned())),
            };
        };
        let Some((name, after)) = rest.split_once('}') else {
            return Err(format!("has a `{{` that is not closed in `{text}`"));
        };
        if before.contains('}') || after.contains(['{', '}']) {
            return Err(format!(
                "has the level `{text}`: one field in a level, for nothing would say where the next one begins"
            ));
        }
        let Some(field) = FIELDS.into_iter().find(|field| field.as_str() == name) else {
            return Err(format!("holds {{{name}}}: it may hold {}", names()));
        };
        Ok(Self::Field {
            before: before.to_owned(),
            field,
            after: after.to_owned(),
        })
    }
}

fn names() -> String {
    let names: Vec<_> = FIELDS
        .iter()
        .map(|field| format!("{{{}}}", field.as_str()))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(template: &str, topic: &str) -> Option<Vec<(&'static str, String)>> {
        let mut found = Vec::new();
        let template = Template::parse(template).unwrap();
        template
            .matches(topic, |field, text| {
                found.push((field.as_str(), text.to_owned()))
            })
            .then_some(found)
    }

    #[test]
    fn a_topic_gives_its_fields() {
        let found = |fields: &[(&'static str, &str)]| {
            Some(fields.iter().map(|&(f, t)| (f, t.to_owned())).collect())
        };
        assert_eq!(
            fields_of(
                "plant/{id1}/{id2}/{sensor_type}",
                "plant/4/BOILER/temperature"
            ),
            found(&[
                ("id1", "4"),
                ("id2", "BOILER"),
                ("sensor_type", "temperature")
            ])
        );
        assert_eq!(
            fields_of("+/device-{id1}.x/#", "any/device-4.x/a/b"),
            found(&[("id1", "4")])
        );
        assert_eq!(fields_of("{id2}/#", "a"), found(&[("id2", "a")]));
        assert_eq!(
            fields_of("plant.{id1}.*", "plant.4.x"),
            found(&[("id1", "4")])
        );
        assert_eq!(fields_of("{id2}", "a/b"), found(&[("id2", "a/b")]));
        assert_eq!(fields_of("{id2}", "a.b"), found(&[("id2", "a.b")]));
    }

    #[test]
    fn another_topic_gives_nothing() {
        for topic in ["plant", "plant/", "plant/4/x", "plants/4", "plant//x", ""] {
            assert_eq!(fields_of("plant/{id1}", topic), None, "{topic}");
        }
        assert_eq!(fields_of("a/x{id1}x", "a/x"), None);
        assert_eq!(fields_of("a/x{id1}x", "a/xx"), None);
    }

    #[test]
    fn an_impossible_template_says_why() {
        for (template, reason) in [
            ("", "has an empty level"),
            ("plant/x", "holds no field"),
            ("plant//{id1}", "has an empty level"),
            (
                "plant/{id3}",
                "holds {id3}: it may hold {value}, {sensor_type}",
            ),
            ("{id1}/{id1}", "holds {id1} twice"),
            ("{id1}{id2}", "one field in a level"),
            ("{id1", "not closed"),
            ("id1}", "without a `{`"),
            ("#/{id1}", "goes on after `#`"),
            ("a+/{id1}", "stand for whole levels"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }
}
