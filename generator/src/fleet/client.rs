//! Asks many generators at once.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{api_token::ApiToken, serve::Problem, web::describe};

/// Requests at a time.
const PARALLEL: usize = 256;

#[derive(Debug)]
pub(super) struct Fleet {
    client: Client,
    token: Option<ApiToken>,
    pub(super) endpoints: Vec<String>,
    timeout: Duration,
}

/// What one generator answered, or why it did not.
pub(super) type Answer<T> = (String, Result<T, String>);

impl Fleet {
    pub(super) fn new(
        (client, token): (Client, Option<ApiToken>),
        endpoints: Vec<String>,
        timeout: Duration,
    ) -> Self {
        Self {
            client,
            token,
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
        let base = match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false => format!("http://{endpoint}"),
        };
        let mut request = self
            .client
            .request(method, format!("{base}/api/v1{path}"))
            .timeout(self.timeout);
        if let Some(token) = &self.token {
            request = token.on(request);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::Barrier,
    };

    use super::*;

    #[tokio::test]
    async fn all_are_asked_at_once_and_answers_keep_the_order() {
        let together = Arc::new(Barrier::new(10));
        let mut endpoints = Vec::new();
        for number in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            endpoints.push(listener.local_addr().unwrap().to_string());
            let together = Arc::clone(&together);
            tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.unwrap();
                assert!(socket.read(&mut [0; 1_024]).await.unwrap() > 0);
                // None answers before all are asked.
                together.wait().await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            });
        }
        endpoints.push("127.0.0.1:1".to_owned());
        let client = crate::web::client(&crate::access::TlsFlags::default()).unwrap();
        let fleet = Fleet::new((client, None), endpoints, Duration::from_secs(20));
        let answers = fleet.ask::<u64>(Method::GET, "/stats", None).await;
        let numbers: Vec<u64> = answers[..10]
            .iter()
            .map(|(_, answer)| *answer.as_ref().unwrap())
            .collect();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        let (endpoint, down) = &answers[10];
        assert_eq!(endpoint, "127.0.0.1:1");
        assert!(down.as_ref().unwrap_err().contains("refused"), "{down:?}");
    }
}
