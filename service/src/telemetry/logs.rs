//! Logs, to standard error.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

use super::repeats::{Counting, Once};

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Writes what the filter lets pass, and what comes again once. A filter that cannot be read is an error of its own.
pub(super) fn layer<S>(
    filter: &str,
    format: LogFormat,
    counting: Counting,
) -> Result<Box<dyn Layer<S> + Send + Sync>, String>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("log is {filter:?} (--log), but {error}"))?;
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(takes_colours())
        .with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => layer
            .map_event_format(|format| Once { format, counting })
            .boxed(),
        LogFormat::Json => layer
            .json()
            .with_thread_names(true)
            .map_event_format(|format| Once { format, counting })
            .boxed(),
    };
    Ok(layer.with_filter(filter).boxed())
}

/// Colours are for people at a terminal; in a file or a pipe they are noise. NO_COLOR, set to anything, turns them off.
fn takes_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}
