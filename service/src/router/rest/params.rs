//! Query strings, strictly: a parameter that is unknown or given twice is an error and never silently left out.

use percent_encoding::percent_decode_str;

use super::problem::{Kind, Problem};

/// The parameters of a request; values are decoded when they are asked for.
#[derive(Debug)]
pub(super) struct Params<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Params<'a> {
    /// Splits a query string.
    pub(super) fn parse(query: &'a str, known: &[&'a str]) -> Result<Self, Problem> {
        let mut params = Vec::<(&str, &str)>::new();
        for piece in query.split('&').filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let name = decode(name).unwrap_or_else(|| name.to_owned());
            let Some(&name) = known.iter().find(|&&each| each == name) else {
                return Err(unknown(&name, known));
            };
            if params.iter().any(|&(each, _)| each == name) {
                return Err(Problem::of(
                    name,
                    Kind::RepeatedParameter,
                    format!(
                        "Give {name} once; several values are separated by commas where a list is taken."
                    ),
                ));
            }
            params.push((name, value));
        }
        Ok(Self(params))
    }

    /// These parameters alone, where others are of no meaning, and one without a value counts as not given.
    pub(super) fn parse_some(query: &'a str, wanted: &[&'a str]) -> Self {
        let is_wanted = |piece: &&str| {
            let given = piece.split_once('=').filter(|(_, value)| !value.is_empty());
            given.is_some_and(|(name, _)| wanted.contains(&name))
        };
        let params = query.split('&').filter(is_wanted);
        let params = params.filter_map(|piece| piece.split_once('='));
        Self(params.collect())
    }

    /// The parameter `q`, decoded, among others that nobody looks at.
    pub(super) fn query_of_influx(query: &str) -> Option<String> {
        let mut pieces = query.split('&').filter_map(|piece| piece.split_once('='));
        pieces.find_map(|(name, value)| (name == "q").then(|| decode(value)).flatten())
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|&&(each, _)| each == name);
        found.map(|&(_, value)| value)
    }

    /// A value, decoded; an empty one is an error.
    pub(super) fn get(&self, name: &str) -> Result<Option<String>, Problem> {
        self.raw(name).map(|raw| value(name, raw)).transpose()
    }

    /// A list, divided by commas whether they are percent-encoded or not: clients encode them without being asked. A
    /// comma inside of a value is written `\,` and a backslash in front of one or of another `\\`.
    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let Some(text) = self.get(name)? else {
            return Ok(None);
        };
        let (mut values, mut value) = (Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let escaped = chars.next_if(|&next| char == '\\' && matches!(next, ',' | '\\'));
            match (char, escaped) {
                (_, Some(escaped)) => value.push(escaped),
                (',', None) => values.push(std::mem::take(&mut value)),
                (char, None) => value.push(char),
            }
        }
        values.push(value);
        if values.iter().any(String::is_empty) {
            let detail = format!("{name} has an empty value in its list.");
            return Err(Problem::of(name, Kind::InvalidParameter, detail));
        }
        Ok(Some(values))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(invalid(name, other, "true or false")),
        }
    }
}

fn decode(raw: &str) -> Option<String> {
    let spaced = raw.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn value(name: &str, raw: &str) -> Result<String, Problem> {
    if raw.is_empty() {
        let detail = format!("{name} has no value: give one or leave the parameter out.");
        return Err(Problem::of(name, Kind::InvalidParameter, detail));
    }
    decode(raw).ok_or_else(|| {
        let detail = format!("{name} is not UTF-8 behind its percent signs.");
        Problem::of(name, Kind::InvalidParameter, detail)
    })
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let known = match known {
        [] => "this path takes none".to_owned(),
        known => format!("this path takes {}", known.join(", ")),
    };
    let shown = shorten(name);
    Problem::of(
        &shown,
        Kind::UnknownParameter,
        format!("{shown} is not a parameter here: {known}."),
    )
}

pub(super) fn invalid(name: &str, value: &str, must: &str) -> Problem {
    let value = shorten(value);
    Problem::of(
        name,
        Kind::InvalidParameter,
        format!("{name} is {value:?}, but must be {must}."),
    )
}

pub(super) fn missing(name: &str, why: &str) -> Problem {
    Problem::of(
        name,
        Kind::MissingParameter,
        format!("{name} is missing: {why}."),
    )
}

/// What a client sent, short enough to be quoted.
fn shorten(text: &str) -> String {
    const QUOTED_CHARS: usize = 60;
    let mut short: String = text.chars().take(QUOTED_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
