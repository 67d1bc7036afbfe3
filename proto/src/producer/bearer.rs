//! The token that goes with every call.

use std::{fs, path::PathBuf, sync::Arc};

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use super::error::{ProducerError, wrong};

/// Where the token comes from.
#[derive(Debug, Clone, Default)]
pub(super) enum Bearer {
    #[default]
    None,
    Fixed(MetadataValue<Ascii>),
    /// Read anew for each call: calls are long.
    File(Arc<PathBuf>),
}

impl Bearer {
    pub(super) fn fixed(token: &str) -> Result<Self, ProducerError> {
        let refused = || wrong("bearer_token", "must be visible ASCII characters");
        value(token).map(Self::Fixed).ok_or_else(refused)
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
            Self::File(path) => {
                let refused = |reason: &str| {
                    let path = path.display();
                    Status::unauthenticated(format!("bearer_token_file {path}: {reason}"))
                };
                let text = fs::read_to_string(path.as_ref())
                    .map_err(|error| refused(&error.to_string()))?;
                value(text.trim()).ok_or_else(|| refused("must be visible ASCII characters"))?
            }
        };
        request.metadata_mut().insert("authorization", token);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_for_each_call() {
        let path = std::env::temp_dir().join(format!("sluicegate-bearer-{}", std::process::id()));
        let mut bearer = Bearer::File(Arc::new(path.clone()));
        let mut sent = || {
            let request = bearer.call(Request::new(()))?;
            let value = request.metadata().get("authorization").cloned();
            Ok::<_, Status>(value.unwrap().to_str().unwrap().to_owned())
        };
        let missing = sent().unwrap_err();
        assert_eq!(missing.code(), Code::Unauthenticated);
        for token in ["one", "two"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(sent().unwrap(), format!("Bearer {token}"));
        }
        fs::write(&path, "a\u{7}b").unwrap();
        assert!(!sent().unwrap_err().message().contains("a\u{7}b"));
        fs::remove_file(&path).unwrap();
    }
}
