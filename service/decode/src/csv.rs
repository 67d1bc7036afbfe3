//! Lines of CSV.
//!
//! The `csv` crate takes what is wrongly quoted, too: `"21"5` is 215 to it, and what follows a quote that never closes is one
//! field. So quotes are held to RFC 4180 here, but for one that stands inside of an unquoted field, which is just a quote. A
//! reading is one line: a quoted newline is none.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::{
    fault::{Field, Flaw},
    mapping::CsvPlan,
    record::{Kind, Record, Scalar},
};

/// Reads a line that is not empty. Whether there is a reading in it: it may be the header.
pub(crate) fn read<'a>(
    line: &'a str,
    plan: &CsvPlan,
    record: &mut Record<'a>,
) -> Result<bool, Box<Flaw>> {
    let mut wanted = plan.columns.iter().peekable();
    let mut number = 0;
    // Whether every column so far is as in the header.
    let mut is_header = plan.header.is_some();
    let mut column = |text: Cow<'a, str>| {
        if is_header {
            let name = plan.header.as_ref().and_then(|names| names.get(number));
            is_header = name.is_some_and(|name| *name == text);
        }
        while let Some((_, field)) = wanted.next_if(|(at, _)| *at == number) {
            let text = text.clone();
            let kind = Kind::Text;
            record.set(*field, Scalar { kind, text });
        }
        number += 1;
    };
    match memchr(b'"', line.as_bytes()) {
        None => {
            let mut from = 0;
            for end in memchr_iter(plan.delimiter, line.as_bytes()) {
                column(Cow::Borrowed(&line[from..end]));
                from = end + 1;
            }
            column(Cow::Borrowed(&line[from..]));
        }
        Some(_) => quoted_columns(line, char::from(plan.delimiter), column)?,
    }
    match &plan.header {
        // A decimal comma makes another column, and all that follow would be those of their neighbours.
        Some(names) if names.len() != number => {
            let expected = format!(
                "{} columns, as mapping.columns names them, not {number}",
                names.len()
            );
            Err(Flaw::found(Field::Payload, line, expected))
        }
        _ => Ok(!is_header),
    }
}

fn quoted_columns<'a>(
    line: &'a str,
    delimiter: char,
    mut column: impl FnMut(Cow<'a, str>),
) -> Result<(), Box<Flaw>> {
    let mut rest = line;
    loop {
        let text;
        (text, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (text, rest) = rest.split_at(rest.find(delimiter).unwrap_or(rest.len()));
                (Cow::Borrowed(text), rest)
            }
        };
        column(text);
        match rest.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(()),
            None => {
                let expected =
                    format!("`{delimiter}` or the end of the line after a quoted column");
                return Err(Flaw::found(Field::Payload, rest, expected));
            }
        }
    }
}

/// What stands before the closing quote, and what behind it.
fn unquoted(quoted: &str) -> Result<(Cow<'_, str>, &str), Box<Flaw>> {
    let mut from = 0;
    while let Some(length) = quoted[from..].find('"') {
        let end = from + length;
        if !quoted[end + 1..].starts_with('"') {
            let text = match from {
                0 => Cow::Borrowed(&quoted[..end]),
                _ => Cow::Owned(quoted[..end].replace("\"\"", "\"")),
            };
            return Ok((text, &quoted[end + 1..]));
        }
        from = end + 2;
    }
    Err(Flaw::found(
        Field::Payload,
        quoted,
        "a quote that closes what one has opened",
    ))
}
