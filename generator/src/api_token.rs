//! The token of the generators' own API, which `serve` asks for and `fleet` sends: one for all.

use std::{fmt, path::PathBuf};

use clap::Args;
use reqwest::RequestBuilder;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{access::secret_in, error::Error};

const FLAG: &str = "--api-token-file";
/// Nobody counts those who guess.
const LEAST_CHARS: usize = 16;

/// Where the token is.
#[derive(Debug, Clone, Default, Args)]
pub struct ApiTokenFlag {
    /// A file with the token of the generators' own API: whoever asks has to send it, but for the health and the pages.
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICEGEN_API_TOKEN_FILE",
        global = true
    )]
    pub api_token_file: Option<PathBuf>,
}

/// The token.
#[derive(Clone)]
pub(crate) struct ApiToken(String);

impl fmt::Debug for ApiToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiToken")
    }
}

impl ApiTokenFlag {
    /// None when there is no token.
    pub(crate) fn read(&self) -> Result<Option<ApiToken>, Error> {
        let Some(path) = &self.api_token_file else {
            return Ok(None);
        };
        let secret = secret_in(FLAG, path)?;
        if secret.len() < LEAST_CHARS {
            return Err(Error::Usage(format!(
                "{FLAG} {}: a token of less than {LEAST_CHARS} characters is guessed: `openssl rand -hex 32` makes one",
                path.display()
            )));
        }
        Ok(Some(ApiToken(secret)))
    }

    /// The flags of a generator that is to have the same token, unless they name one.
    pub(crate) fn with(&self, flags: &[String]) -> Vec<String> {
        let mut flags = flags.to_vec();
        if let Some(path) = &self.api_token_file
            && !flags.iter().any(|flag| flag.starts_with(FLAG))
        {
            flags.extend([FLAG.to_owned(), path.display().to_string()]);
        }
        flags
    }
}

impl ApiToken {
    pub(crate) fn on(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.0)
    }

    /// Whether this is what stands in `authorization`. It takes the same time whatever differs.
    pub(crate) fn is_in(&self, authorization: Option<&str>) -> bool {
        let (scheme, given) = authorization
            .and_then(|value| value.trim().split_once(' '))
            .unwrap_or_default();
        let digest = |text: &str| <[u8; 32]>::from(Sha256::digest(text));
        let is_same = digest(given.trim_start()).ct_eq(&digest(&self.0));
        scheme.eq_ignore_ascii_case("bearer") && is_same.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_behind_bearer_is_it() {
        let token = ApiToken("secret".to_owned());
        assert!(token.is_in(Some("Bearer secret")) && token.is_in(Some("bearer  secret")));
        for wrong in [
            None,
            Some(""),
            Some("secret"),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer Secret"),
            Some("Bearer secret1"),
            Some("Basic secret"),
        ] {
            assert!(!token.is_in(wrong), "{wrong:?}");
        }
        assert!(!format!("{token:?}").contains("secret"));
    }
}
