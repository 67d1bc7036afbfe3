//! A token file, and those who are in it.

use std::{path::PathBuf, time::Duration};

use secrecy::ExposeSecret as _;
use sluicegate::{
    auth::{InFile, NewToken, Said, TokenCommand},
    config::Settings,
    model::PrincipalName,
};
use tempfile::TempDir;
use tonic::Request;

/// A token file in a folder of its own.
pub(crate) struct Tokens {
    folder: TempDir,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.yaml")
    }

    fn file(&self) -> InFile {
        InFile { file: self.path() }
    }

    /// Lets those in the file in, and nobody else.
    pub(crate) fn asked_for(&self, settings: &mut Settings) {
        settings.auth.tokens = Some(self.path());
    }

    pub(crate) fn make(&self, name: &str, scopes: &str) -> String {
        self.make_for(name, scopes, None)
    }

    /// One that expires after so many seconds.
    pub(crate) fn make_for(&self, name: &str, scopes: &str, seconds: Option<u64>) -> String {
        let scopes = scopes
            .split(',')
            .map(|scope| scope.parse().expect("a scope"));
        let new = TokenCommand::New(NewToken {
            into: None,
            name: PrincipalName::parse(name).expect("a name"),
            scopes: scopes.collect(),
            expires: seconds.map(|seconds| format!("{seconds}s").parse().expect("a time")),
            file: self.file(),
        });
        match new.run() {
            Ok(Said::Token(token)) => token.expose_secret().to_owned(),
            Ok(Said::Lines(_)) => panic!("no token"),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn revoke(&self, token: &str) {
        let id = token.split('_').nth(1).expect("an id");
        let revoke = TokenCommand::Revoke {
            id: id.parse().expect("an id"),
            file: self.file(),
        };
        if let Err(error) = revoke.run() {
            panic!("{error}");
        }
    }

    /// One that has expired.
    pub(crate) async fn make_expired(&self, name: &str, scopes: &str) -> String {
        let token = self.make_for(name, scopes, Some(1));
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        token
    }
}

/// A message with a token.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("visible");
    request.metadata_mut().insert("authorization", value);
    request
}
