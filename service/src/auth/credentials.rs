//! What stands in `authorization`: a token, in one of the three ways in which clients send one. Those of InfluxDB send
//! `Token`, or Basic with the token as the password, whatever the user's name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString};

use super::{need::Refusal, token::Token};

/// Longer ones are none.
const MAX_BYTES: usize = 1024;

/// The token of a request, if it has one.
pub(super) fn token(headers: &HeaderMap) -> Result<Option<Token>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), second) = (values.next(), values.next()) else {
        return Ok(None);
    };
    // Of two, none is meant.
    let text = value.to_str().ok().filter(|text| text.len() <= MAX_BYTES);
    let (Some(text), None) = (text, second) else {
        return Err(Refusal::Unreadable);
    };
    let (scheme, rest) = text.trim().split_once(' ').ok_or(Refusal::Unreadable)?;
    let rest = rest.trim_start();
    let token = if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        Token::parse(rest)
    } else if scheme.eq_ignore_ascii_case("basic") {
        let password = password(rest).ok_or(Refusal::Unreadable)?;
        Token::parse(password.expose_secret())
    } else {
        return Err(Refusal::Unreadable);
    };
    token.map(Some).map_err(|_| Refusal::Unreadable)
}

fn password(encoded: &str) -> Option<SecretString> {
    let decoded = STANDARD.decode(encoded).ok()?;
    let decoded: SecretString = String::from_utf8(decoded).ok()?.into();
    let (_user, password) = decoded.expose_secret().split_once(':')?;
    Some(password.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        token(&headers).map(|token| token.map(|token| token.id().to_string()))
    }

    #[test]
    fn a_token_is_found_in_each_of_the_three_ways() {
        let token = Token::generate().unwrap();
        let (shown, id) = (token.reveal(), token.id().to_string());
        let shown = shown.expose_secret();
        let basic = STANDARD.encode(format!("anybody:{shown}"));
        for value in [
            format!("Bearer {shown}"),
            format!("bearer  {shown}"),
            format!("Token {shown}"),
            format!("Basic {basic}"),
        ] {
            assert_eq!(of(&[&value]), Ok(Some(id.clone())), "{value}");
        }
        assert_eq!(of(&[]), Ok(None));
    }

    #[test]
    fn what_holds_no_token_is_refused() {
        let token = Token::generate().unwrap().reveal();
        let token = token.expose_secret();
        let bearer = format!("Bearer {token}");
        let without_user = STANDARD.encode(token);
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer abc",
            token,
            &format!("Digest {token}"),
            &format!("Basic {without_user}"),
            "Basic ???",
            &format!("Bearer {token}{}", "x".repeat(MAX_BYTES)),
        ] {
            assert_eq!(of(&[value]), Err(Refusal::Unreadable), "{value}");
        }
        assert_eq!(of(&[&bearer, &bearer]), Err(Refusal::Unreadable));
    }
}
