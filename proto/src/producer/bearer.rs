//! The token that goes with every call.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use super::error::{ProducerError, wrong};

/// How long what was read of a file is used. Short calls come by the thousand in a second, and a file that is read for each of
/// them costs as much as the call.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Where the token comes from.
#[derive(Debug, Clone, Default)]
pub(super) enum Bearer {
    #[default]
    None,
    Fixed(MetadataValue<Ascii>),
    File(Arc<TokenFile>),
}

/// A token in a file, which may be replaced.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<(Instant, MetadataValue<Ascii>)>>,
}

impl TokenFile {
    /// What stands in it, or stood there a moment ago.
    fn token(&self) -> Result<MetadataValue<Ascii>, Status> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, token)) = &*read
            && at.elapsed() < READ_AGAIN_AFTER
        {
            return Ok(token.clone());
        }
        let refused = |reason: &str| {
            let path = self.path.display();
            Status::unauthenticated(format!("bearer_token_file {path}: {reason}"))
        };
        let text = fs::read_to_string(&self.path).map_err(|error| refused(&error.to_string()))?;
        let token =
            value(text.trim()).ok_or_else(|| refused("must be visible ASCII characters"))?;
        *read = Some((Instant::now(), token.clone()));
        Ok(token)
    }
}

impl Bearer {
    pub(super) fn fixed(token: &str) -> Result<Self, ProducerError> {
        let refused = || wrong("bearer_token", "must be visible ASCII characters");
        value(token).map(Self::Fixed).ok_or_else(refused)
    }

    pub(super) fn file(path: PathBuf) -> Self {
        Self::File(Arc::new(TokenFile {
            path,
            read: Mutex::default(),
        }))
    }

    /// Whether another attempt may have another token.
    pub(super) fn may_mend(&self, status: &Status) -> bool {
        matches!(self, Self::File(_)) && status.code() == Code::Unauthenticated
    }
}

fn value(token: &str) -> Option<MetadataValue<Ascii>> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = match self {
            Self::None => return Ok(request),
            Self::Fixed(token) => token.clone(),
            Self::File(file) => file.token()?,
        };
        request.metadata_mut().insert("authorization", token);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_after_a_moment() {
        let path = std::env::temp_dir().join(format!("sluicegate-bearer-{}", std::process::id()));
        let mut bearer = Bearer::file(path.clone());
        let Bearer::File(file) = bearer.clone() else {
            panic!("a file");
        };
        // As if the moment were over.
        let let_pass = || {
            if let Some((at, _)) = &mut *file.read.lock().unwrap() {
                *at -= READ_AGAIN_AFTER;
            }
        };
        let mut sent = || {
            let request = bearer.call(Request::new(()))?;
            let value = request.metadata().get("authorization").cloned();
            Ok::<_, Status>(value.unwrap().to_str().unwrap().to_owned())
        };
        let missing = sent().unwrap_err();
        assert_eq!(missing.code(), Code::Unauthenticated);
        for (token, found) in [("one", "one"), ("two", "one")] {
            fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(sent().unwrap(), format!("Bearer {found}"));
        }
        let_pass();
        assert_eq!(sent().unwrap(), "Bearer two");
        let_pass();
        fs::write(&path, "a\u{7}b").unwrap();
        assert!(!sent().unwrap_err().message().contains("a\u{7}b"));
        fs::remove_file(&path).unwrap();
    }
}
