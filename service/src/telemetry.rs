//! Logs, to standard error.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Begins to log. A filter that cannot be read is an error of its own.
///
/// # Errors
/// When the filter is malformed.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("log is {filter:?}: {error}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call, as tests make, keeps the first.
    let _ = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().with_thread_names(true).try_init(),
    };
    Ok(())
}
