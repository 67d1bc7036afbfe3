//! Tokens: `sg_<id>_<secret>`. The id is no secret, and names the token in the file, in logs and in audit lines. Of the
//! secret only the SHA-256 is kept: it has 256 bits of chance, so nothing slower is needed to keep it from being guessed.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore as _, rngs::OsRng};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroize as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "sg";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
/// Of 32 bytes in base64url, without padding.
const SECRET_CHARS: usize = 43;

/// Which token: 12 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Arc<str>);

impl TokenId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == 2 * ID_BYTES && text.bytes().all(is_digit) {
            true => Ok(Self(text.into())),
            false => Err("the id of a token has 12 hexadecimal digits in lower case".to_owned()),
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A token in the clear. Its `Debug` shows the id alone.
pub struct Token {
    id: TokenId,
    secret: SecretString,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

/// It is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoToken;

impl Token {
    /// A new one, by the system's own source of chance.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, String> {
        let mut id = [0; ID_BYTES];
        let mut secret = [0; SECRET_BYTES];
        OsRng
            .try_fill_bytes(&mut id)
            .and_then(|()| OsRng.try_fill_bytes(&mut secret))
            .map_err(|error| format!("the system has no random numbers: {error}"))?;
        let token = Self {
            id: TokenId(hex(&id).into()),
            secret: URL_SAFE_NO_PAD.encode(secret).into(),
        };
        secret.zeroize();
        Ok(token)
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// When it does not look like a token; what it looks like instead is not told.
    pub fn parse(text: &str) -> Result<Self, NoToken> {
        let mut parts = text.splitn(3, '_');
        let (Some(PREFIX), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken);
        };
        let id = id.parse().map_err(|_| NoToken)?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if secret.len() != SECRET_CHARS || !secret.bytes().all(is_letter) {
            return Err(NoToken);
        }
        Ok(Self {
            id,
            secret: secret.into(),
        })
    }

    #[must_use]
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.secret.expose_secret()).into())
    }

    /// The whole of it, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        format!("{PREFIX}_{}_{}", self.id, self.secret.expose_secret()).into()
    }
}

/// The SHA-256 of a token's secret. Compared in the same time whatever differs.
#[derive(Clone, Debug)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of no token: what unknown ids are compared with.
    pub(super) const NONE: Self = Self([0; 32]);

    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// As the file has it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

impl FromStr for TokenDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        let is_whole = text.len() == 2 * bytes.len() && text.is_ascii();
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).filter(|_| is_whole);
            let read = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            *byte = read.ok_or("sha256 takes 64 hexadecimal digits")?;
        }
        Ok(Self(bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_read_back_and_no_two_are_alike() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.id(), other.id());
        let shown = one.reveal();
        let read = Token::parse(shown.expose_secret()).unwrap();
        assert_eq!(read.id(), one.id());
        assert!(read.digest().is(&one.digest()));
        assert!(!read.digest().is(&other.digest()));
        let kept: TokenDigest = one.digest().to_hex().parse().unwrap();
        assert!(kept.is(&one.digest()));
    }

    #[test]
    fn nothing_that_is_printed_holds_the_secret() {
        let token = Token::generate().unwrap();
        let secret = token.secret.expose_secret();
        for printed in [
            format!("{token:?}"),
            format!("{:?}", token.reveal()),
            format!("{:?}", token.digest()),
        ] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let whole = Token::generate().unwrap().reveal();
        let whole = whole.expose_secret();
        for wrong in [
            "",
            "sg",
            "sg__",
            "sg_0123456789ab_",
            &whole[1..],
            &whole[..whole.len() - 1],
            &format!("{whole}x"),
            &format!(" {whole}"),
            &whole.to_uppercase(),
            &whole.replacen("sg_", "sk_", 1),
        ] {
            assert!(Token::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_read_without_harm(text in ".{0,80}") {
            let _ = Token::parse(&text);
            let _ = text.parse::<TokenDigest>();
        }
    }
}
