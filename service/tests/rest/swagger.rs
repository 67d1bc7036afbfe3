//! The Swagger UI in a real browser: every operation is tried out from the page.
//!
//! `SLUICEGATE_TEST_BROWSER=required` demands Chromium and its driver; by default they are used when they are found.

use std::{path::PathBuf, process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    common::{database::Database, engines::engines},
    document::exemplary,
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
/// How long the page may take to show something.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long the driver may take for a command: longer than its own limits for what the browser does.
const COMMAND_LIMIT: Duration = Duration::from_secs(80);
const GROUPS: [&str; 5] = ["readings", "analysis", "changes", "streams", "service"];

/// Opens an operation of the page, executes it with the examples that it was given, and returns what came back.
const TRY_IT_OUT: &str = r#"
    const [id, done] = arguments;
    const until = (find) => new Promise((resolve, reject) => {
        const begun = Date.now();
        const look = () => {
            const found = find();
            if (found) resolve(found);
            else if (Date.now() - begun > 15000) reject(new Error("waited in vain: " + find));
            else setTimeout(look, 20);
        };
        look();
    });
    (async () => {
        const block = await until(() => document.getElementById(id));
        block.querySelector(".opblock-summary-control").click();
        const execute = await until(() => block.querySelector(".btn.execute"));
        // A click that comes before the page has taken its own examples over is lost.
        const clicking = setInterval(() => execute.click(), 200);
        const row = ".live-responses-table tbody tr";
        const status = await until(() => block.querySelector(row + " .response-col_status"));
        const shown = await until(() => block.querySelector(row + " .response-col_description"));
        clearInterval(clicking);
        const answer = {
            status: status.innerText.trim().split("\n")[0],
            url: block.querySelector(".request-url pre").innerText,
            body: shown.innerText,
        };
        block.querySelector(".opblock-summary-control").click();
        return answer;
    })().then((answer) => done(answer), (error) => done({failure: String(error)}));
"#;

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(program));
    found.find(|binary| binary.is_file())
}

/// A browser, driven by the WebDriver protocol.
struct Browser {
    client: reqwest::Client,
    session: String,
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    async fn start(driver: PathBuf, chromium: PathBuf) -> Self {
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
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": flags},
            "timeouts": {"script": 30_000, "pageLoad": 30_000},
        }}});
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

    async fn post(&self, command: &str, body: Value) -> Value {
        let url = format!("{}/{command}", self.session);
        call(&self.client, Method::POST, &url, &body).await
    }

    async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", json!({"script": script, "args": []}))
            .await
    }

    async fn end(self) {
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

/// Waits until the page shows all of its operations; their ids are `operations-GROUP-NAME`.
async fn operations(browser: &Browser, count: usize) -> Vec<String> {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let script = "return [...document.querySelectorAll('.opblock')].map((it) => it.id)";
        let ids: Vec<String> = serde_json::from_value(browser.script(script).await).expect("ids");
        if ids.len() == count {
            return ids;
        }
        assert!(Instant::now() < give_up_at, "{count} expected: {ids:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Tries every operation out; in groups, in the order of the page.
async fn try_all(browser: &Browser, page: &str, count: usize) {
    browser.post("url", json!({"url": page})).await;
    let ids = operations(browser, count).await;
    let title = browser.script("return document.title").await;
    assert_eq!(title, "Swagger UI");
    let at = browser.script("return location.pathname").await;
    assert_eq!(at, "/swagger/swagger-ui/index.html", "where /swagger leads");
    for group in GROUPS {
        let of_group = format!("operations-{group}-");
        let ids: Vec<_> = ids.iter().filter(|id| id.starts_with(&of_group)).collect();
        assert!(!ids.is_empty(), "the page has nothing of {group}");
        for id in ids {
            let script = json!({"script": TRY_IT_OUT, "args": [id]});
            let answer = browser.post("execute/async", script).await;
            assert_eq!(answer["status"], "200", "{id}: {answer:#}");
            let url = answer["url"].as_str().expect("a url");
            assert!(url.contains("/api/v1/"), "{id}: {url}");
            let expected = match group {
                "readings" => "\"timestamp_us\"",
                "analysis" => "\"id2\": \"A\"",
                "changes" => "_count\"",
                "streams" => "gateway-7",
                _ => continue,
            };
            let body = answer["body"].as_str().expect("a body");
            assert!(body.contains(expected), "{id}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_can_be_tried_out_from_the_page() {
    let found = find("chromedriver").zip(find("chromium"));
    let Some((driver, chromium)) = found else {
        let demanded = std::env::var_os("SLUICEGATE_TEST_BROWSER").is_some();
        assert!(
            !demanded,
            "no Chromium and driver found: run scripts/test.sh"
        );
        eprintln!("no Chromium and driver found: nothing was tested");
        return;
    };
    let (engine, _) = engines().remove(0);
    let database = Database::create(engine).await.expect("it is selected");
    let (_, service) = exemplary(&database).await;
    let document: Value =
        serde_json::from_str(sluicegate::router::rest::openapi_json()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    let count = paths
        .map(|of_path| of_path.as_object().expect("operations").len())
        .sum();
    // The address alone leads to it.
    let page = format!("http://{}/", service.rest);
    let browser = std::sync::Arc::new(Browser::start(driver, chromium).await);
    // In a task, so that the browser ends however this does.
    let trying = tokio::spawn({
        let browser = browser.clone();
        async move { try_all(&browser, &page, count).await }
    });
    let tried = trying.await;
    if let Some(browser) = std::sync::Arc::into_inner(browser) {
        browser.end().await;
    }
    tried.expect("all of them answer");
    service.close_after_deletes().await;
}
