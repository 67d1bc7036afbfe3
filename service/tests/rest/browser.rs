//! A real browser, driven by the WebDriver protocol.
//!
//! `SLUICEGATE_TEST_BROWSER=required` demands Chromium and its driver; by default they are used when they are found.

use std::{path::PathBuf, process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1200",
];
/// How long the browser may take to start, and a page to show something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How long the driver may take for a command: longer than its own limits for what the browser does.
const COMMAND_LIMIT: Duration = Duration::from_secs(80);

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(program));
    found.find(|binary| binary.is_file())
}

/// A browser, driven by the WebDriver protocol.
pub(crate) struct Browser {
    client: reqwest::Client,
    session: String,
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// None, said aloud, where there is no Chromium and none is demanded. `flags` go beside the usual ones.
    pub(crate) async fn start(flags: &[String]) -> Option<Self> {
        let found = find("chromedriver").zip(find("chromium"));
        let Some((driver, chromium)) = found else {
            let demanded = std::env::var_os("SLUICEGATE_TEST_BROWSER").is_some();
            assert!(
                !demanded,
                "no Chromium and driver found: run scripts/test.sh"
            );
            eprintln!("no Chromium and driver found: nothing was tested");
            return None;
        };
        Some(Self::started(driver, chromium, flags).await)
    }

    async fn started(driver: PathBuf, chromium: PathBuf, more_flags: &[String]) -> Self {
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let starting = async {
            loop {
                let line = lines.next_line().await.expect("readable").expect("a port");
                if let Some((_, port)) = line.split_once("successfully on port ") {
                    break port.trim_end_matches('.').to_owned();
                }
            }
        };
        let port = timeout(PATIENCE, starting).await.expect("it starts");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = TempDir::new().expect("a directory");
        let mut flags: Vec<_> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        flags.extend_from_slice(more_flags);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": flags},
            "timeouts": {"script": 30_000, "pageLoad": 30_000},
        }}});
        sluicegate_transport::crypto::provider();
        let client = reqwest::Client::builder().timeout(COMMAND_LIMIT).build();
        let client = client.expect("a client");
        let sessions = format!("http://127.0.0.1:{port}/session");
        let opened = call(&client, Method::POST, &sessions, &wanted).await;
        let id = opened["sessionId"].as_str().expect("a session").to_owned();
        Self {
            client,
            session: format!("{sessions}/{id}"),
            _driver: driver,
            _profile: profile,
        }
    }

    pub(crate) async fn post(&self, command: &str, body: Value) -> Value {
        let url = format!("{}/{command}", self.session);
        call(&self.client, Method::POST, &url, &body).await
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", json!({"script": script, "args": []}))
            .await
    }

    /// Runs a script that ends with a call of its last argument.
    pub(crate) async fn async_script(&self, script: &str, arguments: Value) -> Value {
        self.post(
            "execute/async",
            json!({"script": script, "args": arguments}),
        )
        .await
    }

    pub(crate) async fn end(self) {
        call(&self.client, Method::DELETE, &self.session, &json!({})).await;
    }
}

async fn call(client: &reqwest::Client, method: Method, url: &str, body: &Value) -> Value {
    let answer = client.request(method, url).json(body).send().await;
    let answer: Value = answer.expect("answers").json().await.expect("JSON");
    let value = answer["value"].clone();
    assert!(
        value.get("error").is_none_or(|it| !it.is_string()),
        "{url}: {value}"
    );
    value
}
