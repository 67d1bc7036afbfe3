//! The parameters of an address that are ours, and not the driver's.

use percent_encoding::percent_decode_str;

use crate::{SslMode, TlsFiles};

/// The driver's own words for TLS, of which there are fewer than there are modes.
const OF_THE_DRIVER: [&str; 4] = [
    "require-ssl",
    "verify-ca",
    "verify-identity",
    "built-in-roots",
];

/// What an address says of TLS.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) mode: Option<SslMode>,
    pub(crate) files: TlsFiles,
}

pub(crate) struct Parameters {
    /// The address without them, for the driver, which refuses what it does not know.
    pub(crate) url: String,
    pub(crate) own: Own,
}

impl Parameters {
    pub(crate) fn taken_from(url: &str) -> Result<Self, String> {
        let mut own = Own::default();
        let Some((before, query)) = url.split_once('?') else {
            let url = url.to_owned();
            return Ok(Self { url, own });
        };
        let mut others = Vec::new();
        for parameter in query.split('&') {
            if !own.take(parameter)? {
                others.push(parameter);
            }
        }
        let url = match others.as_slice() {
            [] => before.to_owned(),
            others => format!("{before}?{}", others.join("&")),
        };
        Ok(Self { url, own })
    }
}

impl Own {
    /// Whether the parameter is one of ours.
    fn take(&mut self, parameter: &str) -> Result<bool, String> {
        let (written, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = written.replace('_', "-").to_ascii_lowercase();
        if OF_THE_DRIVER.contains(&name.as_str()) {
            return Err(format!(
                "has the parameter {written}: say ssl-mode=required, verify-ca or verify-identity instead"
            ));
        }
        let file = match name.as_str() {
            "ssl-mode" => {
                let mode = value.parse();
                self.mode = Some(mode.map_err(|must| format!("has an ssl-mode that {must}"))?);
                return Ok(true);
            }
            "ssl-ca" => &mut self.files.ca,
            "ssl-cert" => &mut self.files.client_cert,
            "ssl-key" => &mut self.files.client_key,
            _ => return Ok(false),
        };
        let path = percent_decode_str(value).decode_utf8_lossy();
        if path.is_empty() {
            return Err(format!("has the parameter {name} without a file"));
        }
        *file = Some(path.into_owned().into());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(url: &str) -> Parameters {
        Parameters::taken_from(url).unwrap()
    }

    #[test]
    fn what_is_ours_is_taken_out_and_the_rest_stays() {
        let url = "mysql://u:p@h:1/d?prefer_socket=false&ssl-mode=verify_ca&ssl-ca=%2Fetc%2Fca.pem&tcp_nodelay=true";
        let Parameters { url, own } = taken(url);
        assert_eq!(
            url,
            "mysql://u:p@h:1/d?prefer_socket=false&tcp_nodelay=true"
        );
        assert_eq!(own.mode, Some(SslMode::VerifyCa));
        assert_eq!(own.files.ca, Some("/etc/ca.pem".into()));
        assert_eq!(taken("mysql://h/d?ssl_mode=REQUIRED").url, "mysql://h/d");
        assert_eq!(taken("mysql://h/d").own.mode, None);
    }

    #[test]
    fn a_mode_that_is_none_is_refused_with_those_that_are() {
        for (parameters, expected) in [
            (
                "ssl-mode=yes",
                "disabled, preferred, required, verify-ca or verify-identity",
            ),
            ("ssl-mode", "disabled, preferred"),
            ("require_ssl=true", "ssl-mode=required"),
            ("verify_ca=false", "ssl-mode"),
            ("ssl-ca=", "without a file"),
        ] {
            let url = format!("mysql://u:s3cret@h/d?{parameters}");
            let reason = Parameters::taken_from(&url).err().unwrap();
            assert!(reason.contains(expected), "{reason}");
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }
}
