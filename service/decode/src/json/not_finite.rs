//! `NaN` and `Infinity`, which Python and others write, and which are no JSON: the readings beside one must not be lost.

use memchr::memmem;

const WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// A text in which these words are texts, if they stand anywhere in place of a number.
pub(super) fn quoted(text: &str) -> Option<String> {
    let is_there = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    if !is_there("NaN") && !is_there("Infinity") {
        return None;
    }
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut is_found = false;
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        quoted.push_str(&rest[..at]);
        rest = &rest[at..];
        let word = WORDS.into_iter().find(|word| rest.starts_with(word));
        let length = match word {
            Some(word) => {
                quoted.push('"');
                quoted.push_str(word);
                quoted.push('"');
                is_found = true;
                word.len()
            }
            None if rest.starts_with('"') => {
                let length = end_of_string(rest);
                quoted.push_str(&rest[..length]);
                length
            }
            None => {
                quoted.push_str(&rest[..1]);
                1
            }
        };
        rest = &rest[length..];
    }
    quoted.push_str(rest);
    is_found.then_some(quoted)
}

fn end_of_string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        // The end of a character, whichever follows the backslash.
        at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8);
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_place_of_numbers_are_quoted_and_others_stay() {
        assert_eq!(
            quoted(r#"[NaN,{"NaN \" NaN":-Infinity,"I":-1,"é":Infinity}]"#).as_deref(),
            Some(r#"["NaN",{"NaN \" NaN":"-Infinity","I":-1,"é":"Infinity"}]"#)
        );
        for text in [
            r#"{"v":"NaN"}"#,
            r#"{"NaN":1}"#,
            "",
            r#"{"v":1}"#,
            "\"NaN\\é",
            "\"NaN\\",
        ] {
            assert_eq!(quoted(text), None, "{text}");
        }
    }
}
