//! What a producer has to get over: its failures that another attempt may mend.

use std::{error::Error, sync::Arc};

use tonic::Status;

/// The failures of a producer that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// The last failure of a call, or of an attempt to connect; `None` before the first.
    pub last_failure: Option<Arc<str>>,
    /// True from a failure to the next progress.
    pub persists: bool,
}

impl Trouble {
    pub(super) fn failed(&mut self, reason: &str) {
        self.last_failure = Some(Arc::from(reason));
        self.persists = true;
    }

    /// Ends the trouble, and says whether there was any.
    pub(super) fn over(&mut self) -> bool {
        std::mem::take(&mut self.persists)
    }
}

/// A status in the words that say most: tonic's own are often only "transport error", and the cause is below.
pub(super) fn describe(status: &Status) -> String {
    let message = match status.message() {
        "" => status.code().description(),
        message => message,
    };
    match root_cause(status) {
        Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
        _ => message.to_owned(),
    }
}

/// The innermost cause of an error; `None` when it has none.
pub(super) fn root_cause(error: &dyn Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Some(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_its_message_or_else_its_code_and_the_cause() {
        assert_eq!(describe(&Status::unavailable("full")), "full");
        let silent = describe(&Status::unavailable(""));
        assert_eq!(silent, tonic::Code::Unavailable.description());
        let mut status = Status::unknown("transport error");
        status.set_source(Arc::new(std::io::Error::other("the wire is cut")));
        assert_eq!(describe(&status), "transport error: the wire is cut");
    }
}
