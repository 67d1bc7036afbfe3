//! Credentials and the file of tokens, as they come.

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderValue},
};
use secrecy::ExposeSecret as _;

use super::{Scope, Token, TokenFile, credentials};

/// Reads a token, an `authorization` header with it, and a scope.
///
/// # Panics
/// When what was read is not what was written, or when somebody is let in whose header holds no token.
pub fn token(text: &str) {
    if let Ok(token) = Token::parse(text) {
        assert_eq!(token.reveal().expose_secret(), text);
    }
    if let Ok(scope) = text.parse::<Scope>() {
        assert_eq!(scope.to_string(), text);
    }
    let Ok(value) = HeaderValue::from_str(text) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, value.clone());
    let one = credentials::token(&headers);
    assert!(!matches!(one, Ok(None)), "a header is not overlooked");
    headers.append(AUTHORIZATION, value);
    assert!(
        credentials::token(&headers).is_err(),
        "of two, none is meant"
    );
}

/// Reads a file of tokens.
pub fn token_file(bytes: &[u8]) {
    if let Err(error) = TokenFile::new("tokens.yaml".into()).parse(bytes) {
        let shown = error.to_string();
        let shown: String = shown.chars().filter(|it| !it.is_ascii_digit()).collect();
        let is_told = [" at line ", ""].map(|at| {
            format!("tokens.yaml: it cannot be read{at}: see `sluicegate token new --help` for what stands in it")
        });
        assert!(
            is_told.contains(&shown),
            "it shows nothing of the file: {shown}"
        );
    }
}
