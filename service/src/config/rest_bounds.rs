//! What settings under `rest:` may be.

use warp::http::uri::Authority;

use super::{ConfigError, mappings, rest::RestConfig};

impl RestConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let many = |count: usize| count as u64;
        for (key, value, from, to, must) in [
            (
                "rest.max_connections",
                many(self.max_connections),
                1,
                1 << 16,
                "1 to 65536",
            ),
            (
                "rest.max_connections_per_address",
                many(self.max_connections_per_address.unwrap_or(1)),
                1,
                1 << 16,
                "1 to 65536",
            ),
            (
                "rest.max_connection_age_s",
                self.max_connection_age_s.unwrap_or(1),
                1,
                31_536_000,
                "1 to 31536000",
            ),
            (
                "rest.connection_grace_s",
                self.connection_grace_s,
                0,
                86_400,
                "0 to 86400",
            ),
            (
                "rest.write_deadline_s",
                self.write_deadline_s,
                1,
                3_600,
                "1 to 3600",
            ),
            (
                "rest.max_header_bytes",
                self.max_header_bytes.into(),
                8 << 10,
                1 << 20,
                "8192 to 1048576",
            ),
            (
                "rest.statement_limit_s",
                self.statement_limit_s.into(),
                1,
                3_600,
                "1 to 3600",
            ),
            (
                "rest.answer_bytes",
                self.answer_bytes.into(),
                16 << 20,
                u64::MAX,
                "at least 16777216",
            ),
            (
                "rest.live_bytes",
                self.live_bytes.into(),
                1 << 20,
                u64::MAX,
                "at least 1048576",
            ),
            (
                "rest.parquet_bytes",
                self.parquet_bytes.into(),
                16 << 20,
                u64::MAX,
                "at least 16777216",
            ),
            (
                "rest.max_exports",
                many(self.max_exports),
                1,
                1_024,
                "1 to 1024",
            ),
            (
                "rest.max_heavy_queries",
                many(self.max_heavy_queries),
                1,
                64,
                "1 to 64",
            ),
            (
                "rest.max_buckets",
                self.max_buckets,
                1,
                u64::MAX,
                "at least 1",
            ),
            (
                "rest.max_scanned_rows",
                self.max_scanned_rows,
                1,
                u64::MAX,
                "at least 1",
            ),
            (
                "rest.max_writes",
                many(self.max_writes),
                1,
                1_024,
                "1 to 1024",
            ),
            (
                "rest.max_write_bytes",
                self.max_write_bytes,
                64 << 10,
                u64::MAX,
                "at least 65536",
            ),
            (
                "rest.max_line_bytes",
                many(self.max_line_bytes),
                1 << 10,
                1 << 20,
                "1024 to 1048576",
            ),
            (
                "rest.max_document_bytes",
                many(self.max_document_bytes),
                64 << 10,
                64 << 20,
                "65536 to 67108864",
            ),
            (
                "rest.write_idle_limit_s",
                self.write_idle_limit_s,
                1,
                3_600,
                "1 to 3600",
            ),
        ] {
            if !(from..=to).contains(&value) {
                let value = value.to_string();
                return Err(ConfigError::Value { key, value, must });
            }
        }
        self.check_origins()?;
        self.check_hosts()?;
        mappings::check(&self.mappings)
    }

    fn check_hosts(&self) -> Result<(), ConfigError> {
        let fits = |name: &String| {
            let bare = name.strip_prefix("*.").unwrap_or(name);
            let host = bare.parse::<Authority>();
            name == "*" || host.is_ok_and(|host| host.host() == bare && !bare.is_empty())
        };
        match self.allowed_hosts.iter().find(|it| !fits(it)) {
            None => Ok(()),
            Some(name) => Err(ConfigError::Value {
                key: "rest.allowed_hosts",
                value: format!("{name:?}"),
                must: "a name such as gate.example or *.example, without a scheme or a port, or *, each",
            }),
        }
    }

    fn check_origins(&self) -> Result<(), ConfigError> {
        let fits = |origin: &String| {
            let host = origin
                .split_once("://")
                .map(|(scheme, host)| (scheme, host.parse()));
            let fits = matches!(host, Some(("http" | "https", Ok(Authority { .. }))));
            origin == "*" || fits
        };
        match self.cors_origins.iter().find(|it| !fits(it)) {
            None => Ok(()),
            Some(origin) => Err(ConfigError::Value {
                key: "rest.cors_origins",
                value: format!("{origin:?}"),
                must: "http://HOST[:PORT], https://HOST[:PORT] or *, each",
            }),
        }
    }
}
