//! What the service tells of itself: logs, metrics and traces.

mod logs;
pub mod metrics;
mod repeats;
pub mod spans;
mod traces;

use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use self::{
    logs::LogFormat,
    traces::{TraceSettings, register},
};
use self::{repeats::Repeats, traces::Traces};

/// Logs and traces, for as long as this is kept. Dropping it writes what was only counted, and sends the last spans.
#[must_use]
pub struct Telemetry {
    _repeats: Repeats,
    _traces: Option<Traces>,
}

/// Begins to log, and to trace if that is asked for.
///
/// # Errors
/// When the filter of the log cannot be read, or traces cannot be sent from here.
pub fn init(
    filter: &str,
    format: LogFormat,
    traces: Option<TraceSettings>,
) -> Result<Telemetry, String> {
    let repeats = Repeats::start();
    let log = logs::layer(filter, format, repeats.counting())?;
    let traces = traces.map(Traces::start).transpose()?;
    let spans = traces.as_ref().map(Traces::layer);
    // A second call, as tests make, keeps the first.
    let _ = tracing_subscriber::registry()
        .with(log)
        .with(spans)
        .try_init();
    Ok(Telemetry {
        _repeats: repeats,
        _traces: traces,
    })
}
