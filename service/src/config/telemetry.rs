//! Settings under `telemetry:`.

use clap::Args;
use serde::{Deserialize, Serialize};
use warp::http::Uri;

use super::ConfigError;
use crate::{build_info::VERSION, telemetry::TraceSettings};

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryOverrides {
    /// Sends traces of batches, calls and requests to this collector, which speaks OTLP over gRPC;
    /// http://HOST:PORT: TLS is not there yet [default: none are sent]
    #[arg(
        long = "telemetry-otlp-endpoint",
        env = "SLUICEGATE_TELEMETRY_OTLP_ENDPOINT",
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<String>,

    /// Of all traces this share is sent, 0 to 1: under load, when there are thousands a second, 0.01 is plenty
    /// [default: 1]
    #[arg(
        long = "telemetry-trace-ratio",
        env = "SLUICEGATE_TELEMETRY_TRACE_RATIO",
        value_name = "SHARE"
    )]
    pub trace_ratio: Option<f64>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct TelemetryConfig {
    /// None sends none.
    otlp_endpoint: Option<String>,
    trace_ratio: f64,
}

impl TelemetryConfig {
    pub(super) fn merge(given: TelemetryOverrides, file: TelemetryOverrides) -> Self {
        Self {
            otlp_endpoint: given.otlp_endpoint.or(file.otlp_endpoint),
            trace_ratio: given.trace_ratio.or(file.trace_ratio).unwrap_or(1.0),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refused = |key, value, must| Err(ConfigError::Value { key, value, must });
        if let Some(endpoint) = &self.otlp_endpoint
            && !is_plain_address(endpoint)
        {
            return refused(
                "telemetry.otlp_endpoint",
                format!("{endpoint:?}"),
                "http://HOST:PORT: TLS is not there yet",
            );
        }
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            let value = self.trace_ratio.to_string();
            return refused("telemetry.trace_ratio", value, "0 to 1");
        }
        Ok(())
    }

    /// Where traces go, if they are sent anywhere.
    #[must_use]
    pub fn traces(&self, instance: &str) -> Option<TraceSettings> {
        let endpoint = self.otlp_endpoint.clone()?;
        Some(TraceSettings {
            endpoint,
            ratio: self.trace_ratio,
            instance: instance.to_owned(),
            version: VERSION,
        })
    }
}

fn is_plain_address(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<Uri>() else {
        return false;
    };
    let has_port = uri.port().is_some();
    uri.scheme_str() == Some("http") && has_port && uri.path() == "/" && uri.query().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_address_without_tls() {
        let check = |endpoint: &str, ratio| {
            let given = TelemetryOverrides {
                otlp_endpoint: Some(endpoint.to_owned()),
                trace_ratio: ratio,
            };
            TelemetryConfig::merge(given, TelemetryOverrides::default()).check()
        };
        assert!(check("http://127.0.0.1:4317", None).is_ok());
        assert!(check("http://collector:4317/", Some(0.0)).is_ok());
        for wrong in [
            "",
            "collector:4317",
            "https://c:4317",
            "http://c",
            "http://c:4317/v1/traces",
        ] {
            let error = check(wrong, None).unwrap_err().to_string();
            let expected = format!(
                "telemetry.otlp_endpoint is {wrong:?}, but must be http://HOST:PORT: TLS is not there yet"
            );
            assert_eq!(error, expected);
        }
        let error = check("http://c:4317", Some(1.5)).unwrap_err().to_string();
        assert_eq!(error, "telemetry.trace_ratio is 1.5, but must be 0 to 1");
        assert!(check("http://c:4317", Some(f64::NAN)).is_err());
    }
}
