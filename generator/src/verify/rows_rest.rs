//! Rows through the management API: one export, line by line.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;

use super::row::Row;
use crate::{access::Access, error::Error, web};

/// A line longer than this is none of ours.
const MAX_LINE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct RestTable {
    client: Client,
    base: String,
    token: Option<String>,
    pub(super) decimals: u32,
}

#[derive(Deserialize)]
struct Line<'a> {
    id1: i32,
    #[serde(borrow)]
    id2: Cow<'a, str>,
    #[serde(borrow)]
    sensor_type: Cow<'a, str>,
    sensor_value: f64,
    timestamp_us: i64,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

impl RestTable {
    pub(super) async fn open(base: &str, access: &Access) -> Result<Self, Error> {
        let base = base.trim_end_matches('/').to_owned();
        let mut table = Self {
            client: web::client(&access.tls)?,
            token: access.token()?,
            decimals: 6,
            base,
        };
        let request = table.request("/readyz");
        let reply = request.send().await.map_err(|error| table.failed(&error))?;
        let readiness: serde_json::Value =
            reply.json().await.map_err(|error| table.failed(&error))?;
        if let Some(decimals) = readiness["storage"]["timestamp_decimals"].as_u64() {
            table.decimals = u32::try_from(decimals).unwrap_or(6);
        }
        Ok(table)
    }

    pub(super) async fn each(
        &self,
        from_us: i64,
        to_us: i64,
        mut take: impl FnMut(Row<'_>),
    ) -> Result<(), Error> {
        let path = format!(
            "/api/v1/sensor/time?from_time={}&to_time={}",
            instant(from_us),
            instant(to_us)
        );
        let request = self.request(&path).header("accept", "application/x-ndjson");
        let mut reply = request.send().await.map_err(|error| self.failed(&error))?;
        if reply.status() != StatusCode::OK {
            let status = reply.status();
            let problem: Option<Problem> = reply.json().await.ok();
            let reason =
                problem.map_or_else(String::new, |problem| match problem.detail.is_empty() {
                    true => problem.title,
                    false => problem.detail,
                });
            return Err(Error::Database(format!(
                "{} answers {status}. {reason}",
                self.base
            )));
        }
        let mut waiting: Vec<u8> = Vec::new();
        while let Some(piece) = reply.chunk().await.map_err(|error| self.failed(&error))? {
            waiting.extend_from_slice(&piece);
            let mut start = 0;
            while let Some(end) = waiting[start..].iter().position(|byte| *byte == b'\n') {
                self.line(&waiting[start..start + end], &mut take)?;
                start += end + 1;
            }
            waiting.drain(..start);
            if waiting.len() > MAX_LINE_BYTES {
                return Err(self.strange("a line without an end"));
            }
        }
        match waiting.is_empty() {
            true => Ok(()),
            false => self.line(&waiting, &mut take),
        }
    }

    fn line(&self, bytes: &[u8], take: &mut impl FnMut(Row<'_>)) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let line: Line<'_> =
            serde_json::from_slice(bytes).map_err(|error| self.strange(&error.to_string()))?;
        take(Row {
            id1: line.id1,
            id2: &line.id2,
            sensor_type: &line.sensor_type,
            value: line.sensor_value,
            timestamp_us: line.timestamp_us,
        });
        Ok(())
    }

    fn request(&self, path: &str) -> RequestBuilder {
        let request = self.client.get(format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn strange(&self, reason: &str) -> Error {
        Error::Database(format!("{} does not export readings: {reason}", self.base))
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Error::Database(format!("{}: {cause}", self.base))
    }
}

fn instant(us: i64) -> String {
    let at = DateTime::from_timestamp_micros(us).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
