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

    /// Why it persists, if it does.
    pub(super) fn reason(&self) -> Option<&str> {
        self.last_failure.as_deref().filter(|_| self.persists)
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

/// The last failure, with the one before it where that says something else: the last attempt may have had no time to meet it
/// again.
pub(super) fn after_another(last: String, before: Option<&str>) -> String {
    match before {
        Some(before) if before != last => format!("{last}; before that: {before}"),
        _ => last,
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
    fn what_was_met_before_is_not_lost_to_an_attempt_that_had_no_time() {
        let last = || "did not open the stream within 0.0 s".to_owned();
        assert_eq!(after_another(last(), None), last());
        assert_eq!(after_another(last(), Some(&last())), last());
        assert_eq!(
            after_another(last(), Some("refused")),
            "did not open the stream within 0.0 s; before that: refused"
        );
    }

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
