//! A client of the REST API that holds every answer to the rules that all of them obey.

use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::common::{service::Service, web};

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// What no client may ever read: the words of a driver or a database.
const UNSPOKEN: [&str; 9] = [
    "SQL",
    "sql",
    "MariaDB",
    "errno",
    "sensor_readings",
    "Packet",
    "syntax",
    "panicked",
    "Value(",
];

pub(crate) struct Api {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What was asked, for failures.
    asked: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Api {
    pub(crate) fn of(service: &Service) -> Self {
        let client = web::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            base: format!("http://{}/api/v1", service.rest),
            client: client.expect("a client"),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request whose answer may be any, 5xx included.
    pub(crate) async fn send_any(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let asked = format!("{} {}", request.method(), request.url());
        let response = self.client.execute(request).await;
        let response = response.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("a body").to_vec(),
            asked,
        };
        answer.obeys_the_rules();
        answer
    }

    /// Sends a request that the service must be able to answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = self.send_any(request).await;
        assert!(answer.status < 500, "{answer:?}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// All items of a query, page by page, each with at most `limit` of them.
    pub(crate) async fn pages(&self, path: &str, field: &str, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let path = format!("{path}{joint}limit={limit}{cursor}");
            let page = self.get(&path).await.json();
            let found = page[field].as_array().expect("a list").clone();
            assert!(found.len() <= limit, "{path}: {}", found.len());
            let more = page["next_cursor"].as_str();
            assert!(
                more.is_none() || found.len() == limit,
                "only the last page may be short: {page}"
            );
            items.extend(found);
            match more {
                Some(more) => cursor = format!("&cursor={more}"),
                None => return items,
            }
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.map_or("", |value| value.expect("visible ASCII"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The body of a success.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}: {}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Asserts that this is a problem of a kind, about a parameter or field if one is named; returns its document.
    pub(crate) fn problem(&self, status: u16, kind: &str, parameter: Option<&str>) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}: {}",
            self.asked,
            String::from_utf8_lossy(&self.body)
        );
        let document: Value = serde_json::from_slice(&self.body).expect("JSON");
        let expected = format!("urn:sluicegate:problem:{kind}");
        assert_eq!(document["type"], expected, "{}", self.asked);
        assert_eq!(
            document["parameter"].as_str(),
            parameter,
            "{}: {document}",
            self.asked
        );
        document
    }

    fn obeys_the_rules(&self) {
        let asked = &self.asked;
        let id = self.header("x-request-id");
        assert!(!id.is_empty(), "{asked}: no request id");
        assert!(
            !self.headers.contains_key("server"),
            "{asked}: tells what it runs on"
        );
        if self.status < 400 || self.body.is_empty() {
            return;
        }
        // As an InfluxDB does it.
        if asked.contains("/write") || asked.contains("/query") {
            return;
        }
        assert_eq!(self.header("content-type"), PROBLEM_JSON, "{asked}");
        let document: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(document["status"], self.status, "{asked}");
        assert_eq!(document["request_id"], id, "{asked}");
        let kind = document["type"].as_str().expect("a type");
        assert!(kind.starts_with("urn:sluicegate:problem:"), "{asked}");
        assert!(!document["title"].as_str().expect("a title").is_empty());
        let detail = document["detail"].as_str().expect("a detail");
        assert!(detail.ends_with('.'), "{asked}: {detail}");
        for word in UNSPOKEN {
            assert!(!detail.contains(word), "{asked}: {detail}");
        }
        let known = StatusCode::from_u16(self.status).expect("a status");
        assert!(known.canonical_reason().is_some(), "{asked}");
    }
}
