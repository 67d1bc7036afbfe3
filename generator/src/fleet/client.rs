//! Asks many generators at once.

use std::{error::Error as _, time::Duration};

use futures::{StreamExt as _, stream};
use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::serve::Problem;

/// Requests at a time.
const PARALLEL: usize = 256;

#[derive(Debug)]
pub(super) struct Fleet {
    client: Client,
    pub(super) endpoints: Vec<String>,
    timeout: Duration,
}

/// What one generator answered, or why it did not.
pub(super) type Answer<T> = (String, Result<T, String>);

impl Fleet {
    pub(super) fn new(endpoints: Vec<String>, timeout: Duration) -> Self {
        Self {
            client: Client::new(),
            endpoints,
            timeout,
        }
    }

    /// Sends the same request to all, and returns the answers in the order of the endpoints.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Vec<Answer<T>> {
        let ask = |endpoint: &String| {
            let (endpoint, method) = (endpoint.clone(), method.clone());
            async move {
                let answer = self.ask_one(&endpoint, method, path, body).await;
                (endpoint, answer)
            }
        };
        let requests: Vec<_> = self.endpoints.iter().map(ask).collect();
        stream::iter(requests).buffered(PARALLEL).collect().await
    }

    async fn ask_one<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, String> {
        let mut request = self
            .client
            .request(method, format!("http://{endpoint}/api/v1{path}"))
            .timeout(self.timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await.map_err(|error| describe(&error))?;
        if !reply.status().is_success() {
            let status = reply.status();
            return Err(match reply.json::<Problem>().await {
                Ok(problem) => format!("{}. {}", problem.title, problem.detail),
                Err(_) => format!("answers {status}"),
            });
        }
        reply.json().await.map_err(|error| describe(&error))
    }
}

/// The cause that a person can do something about is the last one.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(source) = cause {
        text = source.to_string();
        cause = source.source();
    }
    text
}
