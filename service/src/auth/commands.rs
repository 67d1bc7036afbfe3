//! `sluicegate token`: makes, lists and revokes tokens.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use chrono::{SecondsFormat, Utc};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    scope::{Scope, Scopes},
    token::{Token, TokenId},
    token_file::{Content, Instant, TokenEntry, TokenFile, TokenFileError},
};
use crate::model::{PrincipalName, TimeSpan};

const NEW_EXAMPLES: &str = "\
Examples:
  sluicegate token new --name press-4 --scopes ingest:plant/ --expires 90d --file tokens.yaml
  sluicegate token new --name desk --scopes read,write --file tokens.yaml

The file is YAML or JSON. Client certificates are written into it by hand, each known by its subject or by one of its other names:

  certificates:
  - {subject: 'CN=press-4', principal: press-4, scopes: ['ingest:plant/']}
  - {name: desk.example, principal: desk, scopes: [read]}";

#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token, prints it once, and keeps its SHA-256 in the file. A principal may have several: for a new one, make it,
    /// hand it over, and revoke the old one
    #[command(after_help = NEW_EXAMPLES)]
    New(NewToken),
    /// Prints the tokens of the file, without their secrets
    List(InFile),
    /// Revokes a token: what is open under it ends within seconds
    Revoke {
        /// Its id, which stands between the underscores of the token, or the token
        #[arg(value_name = "ID")]
        id: String,

        #[command(flatten)]
        file: InFile,
    },
}

#[derive(Clone, Debug, Args)]
pub struct InFile {
    /// The token file, which the service reads as auth.tokens
    #[arg(long, env = "SLUICEGATE_AUTH_TOKENS", value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub struct NewToken {
    /// Whose it is: 1 to 64 visible characters of ASCII. Streams belong to this name, whatever token opened them
    #[arg(long, value_name = "PRINCIPAL", value_parser = PrincipalName::parse)]
    pub name: PrincipalName,

    /// What it may do, separated by commas: ingest, ingest:PREFIX (streams whose names begin so), read, write (update and
    /// delete), admin (all)
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
    pub scopes: Vec<Scope>,

    /// When it expires, such as 90d from now [default: never]
    #[arg(long, value_name = "TIME")]
    pub expires: Option<TimeSpan>,

    /// Writes the token into this file, which nobody else may read, instead of showing it; where it is there already, nothing
    /// is made
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,

    #[command(flatten)]
    pub file: InFile,
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{0}")]
    File(#[from] TokenFileError),
    #[error("{0}")]
    Chance(String),
    /// What was given instead is not shown: it may have been a token.
    #[error("{0} (ID)")]
    Id(String),
    #[error("{} (--into): {reason}", .path.display())]
    Into { path: PathBuf, reason: io::Error },
}

/// What a command says.
pub enum Said {
    /// The token, to be shown once.
    Token(SecretString),
    Lines(String),
}

impl TokenCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the file cannot be read or written, or has no such token.
    pub fn run(self) -> Result<Said, TokenError> {
        match self {
            Self::New(wanted) => match wanted.into.clone() {
                None => wanted.make().map(|token| Said::Token(token.reveal())),
                Some(path) if path.exists() => Ok(Said::Lines(format!(
                    "{} is there already\n",
                    path.display()
                ))),
                Some(path) => {
                    let token = wanted.make()?.reveal();
                    write(&path, &token).map_err(|reason| TokenError::Into {
                        path: path.clone(),
                        reason,
                    })?;
                    Ok(Said::Lines(format!("{}\n", path.display())))
                }
            },
            Self::List(InFile { file }) => Ok(Said::Lines(list(&TokenFile::new(file).read()?))),
            Self::Revoke { id, file } => {
                let id = id_of(&id).map_err(TokenError::Id)?;
                revoke(&TokenFile::new(file.file), &id)?;
                Ok(Said::Lines(format!("revoked {id}\n")))
            }
        }
    }
}

fn id_of(text: &str) -> Result<TokenId, String> {
    match Token::parse(text) {
        Ok(token) => Ok(token.id().clone()),
        Err(_) => text.parse(),
    }
}

impl NewToken {
    fn make(self) -> Result<Token, TokenError> {
        let token = Token::generate().map_err(TokenError::Chance)?;
        let now = Utc::now();
        let expires = self
            .expires
            .map(|span| now + chrono::Duration::microseconds(span.us()));
        let entry = TokenEntry {
            id: token.id().to_string(),
            principal: self.name.to_string(),
            scopes: Scopes::new(self.scopes),
            sha256: token.digest().to_hex(),
            created: Some(Instant(now)),
            expires: expires.map(Instant),
            revoked: None,
        };
        TokenFile::new(self.file.file).change(|content| {
            content.tokens.push(entry);
            Ok(())
        })?;
        Ok(token)
    }
}

/// Nobody else reads it, and nobody reads half of it.
fn write(path: &Path, token: &SecretString) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // With mode 600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{}", token.expose_secret())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn revoke(file: &TokenFile, id: &TokenId) -> Result<(), TokenFileError> {
    file.change(|content| {
        let token = content
            .tokens
            .iter_mut()
            .find(|token| token.id == id.as_str())
            .ok_or_else(|| format!("it has no token {id}"))?;
        token.revoked.get_or_insert(Instant(Utc::now()));
        Ok(())
    })
}

fn list(content: &Content) -> String {
    let now = Utc::now();
    let at = |instant: Instant| instant.0.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut lines = String::new();
    for token in &content.tokens {
        let state = match (token.revoked, token.expires) {
            (Some(revoked), _) => format!("revoked {}", at(revoked)),
            (None, Some(expires)) if expires.0 <= now => format!("expired {}", at(expires)),
            (None, Some(expires)) => format!("expires {}", at(expires)),
            (None, None) => "good".to_owned(),
        };
        let (id, principal, scopes) = (&token.id, &token.principal, &token.scopes);
        lines.push_str(&format!("{id}\t{principal}\t{scopes}\t{state}\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_that_is_written_somewhere_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let (file, into) = (
            folder.path().join("tokens.yaml"),
            folder.path().join("own.token"),
        );
        let new = || {
            let new = NewToken {
                name: PrincipalName::parse("press-4").unwrap(),
                scopes: vec![Scope::Read],
                expires: None,
                into: Some(into.clone()),
                file: InFile { file: file.clone() },
            };
            assert!(matches!(TokenCommand::New(new).run(), Ok(Said::Lines(_))));
            std::fs::read_to_string(&into).unwrap()
        };
        let token = new();
        assert!(token.starts_with("sg_") && token.ends_with('\n'), "{token}");
        assert_eq!(new(), token);
        assert_eq!(TokenFile::new(file.clone()).read().unwrap().tokens.len(), 1);
        let mode = std::fs::metadata(&into).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_token_is_shown_once_and_its_secret_is_not_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let new = NewToken {
            name: PrincipalName::parse("press-4").unwrap(),
            scopes: vec!["ingest:plant/".parse().unwrap(), Scope::Read],
            expires: Some("90d".parse().unwrap()),
            into: None,
            file: InFile { file: path.clone() },
        };
        let Ok(Said::Token(token)) = TokenCommand::New(new).run() else {
            panic!("a token");
        };
        let secret = token.expose_secret().splitn(3, '_').last().unwrap();
        assert!(!std::fs::read_to_string(&path).unwrap().contains(secret));
        let file = InFile { file: path };
        let Ok(Said::Lines(list)) = TokenCommand::List(file.clone()).run() else {
            panic!("a list");
        };
        assert!(
            list.contains("\tpress-4\tingest:plant/,read\texpires "),
            "{list}"
        );
        let id = &list[..12];
        let revoke = |id: &str| {
            TokenCommand::Revoke {
                id: id.to_owned(),
                file: file.clone(),
            }
            .run()
        };
        assert!(revoke(id).is_ok());
        let whole = format!("sg_{id}_{}", "A".repeat(43));
        assert!(revoke(&whole).is_ok(), "the id of a token is enough");
        let wrong = revoke(&whole[1..]).err().unwrap().to_string();
        assert!(
            !wrong.contains("AAAA") && wrong.ends_with("(ID)"),
            "{wrong}"
        );
        let unknown = revoke("0123456789ab").err().unwrap();
        assert!(
            unknown
                .to_string()
                .ends_with("it has no token 0123456789ab")
        );
        let Ok(Said::Lines(list)) = TokenCommand::List(file).run() else {
            panic!("a list");
        };
        assert!(list.contains("\trevoked "), "{list}");
    }
}
