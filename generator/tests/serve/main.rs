//! The API of `serve`, against a model of the service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../service/tests/rest/browser.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod browser;
mod core_dumps;
#[path = "../../../service/tests/rest/page/driver.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod driver;
mod exposure;
#[path = "../../../proto/tests/fake/mod.rs"]
mod fake;
mod health;
mod metrics;
mod page;
#[path = "../port/mod.rs"]
mod port;
mod target;

use std::time::Duration;

use clap::Parser;
use fake::Fake;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sluicegen::serve::{ServeOptions, Server};
use tokio::time::{Instant, sleep};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: ServeOptions,
}

struct Generator {
    server: Server,
    client: Client,
}

impl Generator {
    async fn serve(flags: &str) -> Self {
        let flags = ["sluicegen", "--addr", "127.0.0.1:0"]
            .into_iter()
            .chain(flags.split_whitespace());
        let options = Flags::parse_from(flags).options;
        let fleet = sluicegen::fleet::figures(&options).unwrap();
        let server = Server::bind(&options, fleet).await.unwrap();
        sluicegate_transport::crypto::provider();
        let client = Client::new();
        Self { server, client }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.server.addr()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(kind == "application/problem+json", status >= 400, "{kind}");
        (status, reply.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn stats(&self) -> Value {
        self.ask(Method::GET, "/stats", None).await.1
    }

    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let give_up_at = Instant::now() + Duration::from_secs(20);
        loop {
            let stats = self.stats().await;
            if holds(&stats) {
                return stats;
            }
            assert!(
                Instant::now() < give_up_at,
                "waited in vain: {what}: {stats}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_with_a_token_is_driven_by_who_has_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"a-secret-of-theirs\n").unwrap();
    let flags = format!("--api-token-file {}", file.path().display());
    let generator = Generator::serve(&flags).await;
    let base = format!("http://{}", generator.server.addr());
    for (method, path) in [
        (Method::POST, "/start"),
        (Method::POST, "/stop"),
        (Method::POST, "/frequency"),
        (Method::POST, "/config"),
        (Method::POST, "/spam"),
        (Method::GET, "/config"),
        (Method::GET, "/stats"),
        (Method::GET, "/metrics"),
        (Method::GET, "/no/such/path"),
        (Method::GET, "/api/v1/stats"),
    ] {
        for token in [None, Some("another")] {
            let mut request = generator
                .client
                .request(method.clone(), format!("{base}{path}"));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let refused = request.send().await.unwrap();
            assert_eq!(refused.status(), 401, "{method} {path}");
            let problem: Value = refused.json().await.unwrap();
            assert_eq!(problem["type"], "urn:sluicegen:problem:unauthenticated");
        }
    }
    let stats = generator
        .client
        .get(format!("{base}/stats"))
        .bearer_auth("a-secret-of-theirs");
    assert_eq!(stats.send().await.unwrap().status(), 200);
    for open in [
        "/healthz",
        "/openapi.json",
        "/swagger/swagger-ui/index.html",
    ] {
        let answer = generator
            .client
            .get(format!("{base}{open}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{open}");
    }
    generator.server.close().await;
}

fn number(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_starts_changes_its_pace_and_stops() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let generator = Generator::serve(&format!("--target {target} --rate 0.01")).await;
    assert_eq!(generator.stats().await["running"], json!(false));
    assert_eq!(
        generator.ask(Method::POST, "/api/v1/start", None).await.0,
        200
    );
    let running = generator
        .until("it runs", |stats| stats["state"] == "running")
        .await;
    assert_eq!(
        number(&running, "sent"),
        0,
        "a reading in a hundred seconds"
    );

    // The generator sleeps until the next reading: a new rate wakes it up.
    let (status, config) = generator
        .post("/api/v1/frequency", json!({"rate": 2000}))
        .await;
    assert_eq!((status, &config["rate"]), (200, &json!(2000.0)));
    let stats = generator
        .until("it sends", |stats| number(stats, "acknowledged") > 500)
        .await;
    assert_eq!(stats["target"]["reachable"], json!(true), "{stats}");
    assert_eq!(stats["rate"]["target"], json!(2000.0));
    assert!(stats["ack_ms"]["p99"].as_f64().unwrap() > 0.0);

    let (status, config) = generator
        .post("/frequency", json!({"timeout": "100ms"}))
        .await;
    assert_eq!((status, &config["rate"]), (200, &json!(10.0)));
    let (status, last) = generator.ask(Method::POST, "/stop", None).await;
    assert_eq!((status, &last["running"]), (200, &json!(false)));
    let stored = fake.model().stored.len() as u64;
    assert_eq!(
        (number(&last, "sent"), number(&last, "acknowledged")),
        (stored, stored),
        "{last}"
    );
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        fake.model().stored.len() as u64,
        stored,
        "nothing comes after the stop"
    );
    assert_eq!(number(&generator.stats().await, "sent"), stored);
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_twice_and_stopping_when_stopped_are_conflicts() {
    let generator = Generator::serve("--target http://127.0.0.1:1").await;
    let (status, problem) = generator.ask(Method::POST, "/api/v1/stop", None).await;
    assert_eq!(
        (status, &problem["type"]),
        (409, &json!("urn:sluicegen:problem:not-running"))
    );
    assert_eq!(generator.ask(Method::POST, "/start", None).await.0, 200);
    let (status, problem) = generator.ask(Method::POST, "/start", None).await;
    assert_eq!(
        (status, &problem["title"]),
        (409, &json!("The generator is running already"))
    );
    assert_eq!(generator.ask(Method::POST, "/stop", None).await.0, 200);
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_that_waits_for_acknowledgements_says_so() {
    let fake = Fake::default();
    fake.model().stalled = true;
    let target = format!("http://{}", fake.serve().await);
    let generator = Generator::serve(&format!("--target {target} --rate 1000 --start")).await;
    generator
        .until("it sends", |stats| number(stats, "sent") > 0)
        .await;
    let address = generator.server.addr();
    let stop = tokio::spawn(async move {
        let stop = Client::new().post(format!("http://{address}/stop"));
        stop.send().await.unwrap().status().as_u16()
    });
    let stopping = generator
        .until("it stops", |stats| stats["state"] == "stopping")
        .await;
    assert_eq!(stopping["running"], json!(true));
    for path in ["/start", "/stop"] {
        let (status, problem) = generator.ask(Method::POST, path, None).await;
        assert_eq!(
            (status, &problem["type"]),
            (409, &json!("urn:sluicegen:problem:busy")),
            "{problem}"
        );
    }
    fake.model().stalled = false;
    assert_eq!(stop.await.unwrap(), 200);
    let stopped = generator.stats().await;
    assert_eq!(
        (&stopped["state"], number(&stopped, "failed")),
        (&json!("stopped"), 0)
    );
    assert_eq!(
        number(&stopped, "acknowledged"),
        fake.model().stored.len() as u64
    );
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_changed_in_part_and_wrong_ones_are_refused() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let generator = Generator::serve("--seed 9").await;
    let change = json!({"target": target, "mode": "batch", "patterns": {"types": ["rain=constant:3"], "id1": "7", "id2": "a"}});
    let (status, config) = generator.post("/api/v1/config", change).await;
    assert_eq!(
        (status, &config["patterns"]["seed"]),
        (200, &json!(9)),
        "{config}"
    );
    for (path, body, name) in [
        ("/config", json!({"color": 1}), "color"),
        ("/config", json!({"patterns": {"late": 3}}), "patterns.late"),
        ("/config", json!({"rate": "slow"}), "rate"),
        ("/frequency", json!({}), "timeout"),
        ("/frequency", json!({"rate": 5, "timeout": "1s"}), "timeout"),
        ("/frequency", json!({"rate": 0}), "rate"),
        ("/frequency", json!({"rate": null, "every": 1}), "every"),
        ("/frequency", json!({"timeout": "soon"}), "timeout"),
        ("/frequency", json!({"timeout": "9999h"}), "timeout"),
        ("/frequency", json!({"timeout": 100}), "timeout"),
        ("/spam", json!({"total": 0}), "total"),
        ("/spam", json!({"total": "all"}), "total"),
        ("/spam", json!({"concurrency": 1}), "total"),
        (
            "/spam",
            json!({"total": 1, "concurrency": 0}),
            "concurrency",
        ),
        ("/spam", json!({"total": 1, "timeout": "1h"}), "timeout"),
        ("/spam", json!({"total": 1, "mode": "fast"}), "mode"),
        ("/spam", json!({"total": 1, "batch_size": 0}), "batch_size"),
    ] {
        for prefix in ["", "/api/v1"] {
            let (status, problem) = generator
                .post(&format!("{prefix}{path}"), body.clone())
                .await;
            assert_eq!(
                (status, &problem["status"]),
                (400, &json!(400)),
                "{problem}"
            );
            assert_eq!(problem["parameter"], json!(name), "{problem}");
            let named = name.rsplit('.').next().unwrap();
            assert!(
                problem["detail"].as_str().unwrap().contains(named),
                "{problem}"
            );
        }
    }
    for (body, word) in [
        ("{", "JSON"),
        ("", "JSON"),
        ("[]", "object"),
        ("\u{1}", "JSON"),
    ] {
        for path in ["/config", "/frequency", "/spam"] {
            let request = generator
                .client
                .post(format!("http://{}{path}", generator.server.addr()))
                .body(body);
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status().as_u16(), 400);
            let problem: Value = reply.json().await.unwrap();
            assert!(
                problem["detail"].as_str().unwrap().contains(word),
                "{problem}"
            );
        }
    }
    assert_eq!(
        generator.ask(Method::GET, "/config", None).await.1,
        config,
        "what was refused changed nothing"
    );
    let (status, report) = generator
        .post("/spam", json!({"total": 500, "concurrency": 8}))
        .await;
    assert_eq!(
        (status, &report["committed"], &report["mode"]),
        (200, &json!(500), &json!("unary")),
        "{report}"
    );
    assert!(
        fake.model()
            .stored
            .iter()
            .all(|one| (one.id1, one.id2.as_str(), one.sensor_value()) == (7, "a", 3.0))
    );
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_ends_in_time_and_names_a_target_that_is_away() {
    let fake = Fake::default();
    fake.model().stalled = true;
    let target = format!("http://{}", fake.serve().await);
    let generator = Generator::serve(&format!("--target {target}")).await;
    let (status, report) = generator
        .post(
            "/spam",
            json!({"total": 100, "timeout": "500ms", "mode": "stream"}),
        )
        .await;
    assert_eq!(
        (status, number(&report, "sent"), number(&report, "failed")),
        (200, 100, 100),
        "{report}"
    );
    assert!(
        report["errors"][0].as_str().unwrap().contains("500ms"),
        "{report}"
    );
    generator
        .post("/config", json!({"target": "http://127.0.0.1:1"}))
        .await;
    let (status, problem) = generator.post("/spam", json!({"total": 10})).await;
    assert_eq!(
        (status, &problem["type"]),
        (502, &json!("urn:sluicegen:problem:target-unavailable"))
    );
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself_and_keeps_strangers_out() {
    let generator = Generator::serve("--target http://127.0.0.1:1").await;
    let (status, document) = generator.ask(Method::GET, "/openapi.json", None).await;
    assert_eq!(status, 200);
    for path in [
        "/start",
        "/stop",
        "/frequency",
        "/config",
        "/spam",
        "/stats",
        "/healthz",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    for prefix in ["", "/api/v1"] {
        let at = |path: &str| format!("{prefix}{path}");
        for path in ["/healthz", "/stats", "/config", "/openapi.json"] {
            let (status, _) = generator.ask(Method::GET, &at(path), None).await;
            assert_eq!(status, 200, "{path}");
        }
        for path in ["/start", "/stop"] {
            let (status, _) = generator.ask(Method::POST, &at(path), None).await;
            assert_eq!(status, 200, "{path}");
        }
        let (status, _) = generator.post(&at("/config"), json!({"rate": 7})).await;
        assert_eq!(status, 200);
        let (status, config) = generator
            .post(&at("/frequency"), json!({"timeout": "100ms"}))
            .await;
        assert_eq!((status, &config["rate"]), (200, &json!(10.0)));
        let (status, _) = generator.post(&at("/spam"), json!({"total": 1})).await;
        assert_eq!(status, 502, "there is no target");
        assert_eq!(generator.ask(Method::GET, &at("/start"), None).await.0, 405);
        assert_eq!(
            generator.ask(Method::GET, &at("/nowhere"), None).await.0,
            404
        );
        let page = format!(
            "http://{}{prefix}/swagger/swagger-ui/index.html",
            generator.server.addr()
        );
        let page = generator.client.get(page).send().await.unwrap();
        assert_eq!(page.status().as_u16(), 200);
    }
    let base = format!("http://{}", generator.server.addr());
    let page = generator
        .client
        .get(format!("{base}/swagger/swagger-ui/index.html"))
        .send()
        .await
        .unwrap();
    assert!(page.status().is_success() && page.text().await.unwrap().contains("swagger"));
    let foreign = generator
        .client
        .post(format!("{base}/start"))
        .header("origin", "http://elsewhere");
    assert_eq!(foreign.send().await.unwrap().status().as_u16(), 403);
    // A page whose own server points its name here.
    for (path, status) in [("start", 421), ("stats", 421), ("healthz", 200)] {
        let rebound = generator.client.request(
            if path == "start" {
                Method::POST
            } else {
                Method::GET
            },
            format!("{base}/{path}"),
        );
        let rebound = rebound
            .header("host", "pages.example")
            .send()
            .await
            .unwrap();
        assert_eq!(rebound.status().as_u16(), status, "{path}");
    }
    let large = generator
        .client
        .post(format!("{base}/config"))
        .body(vec![b' '; 2 << 20]);
    assert_eq!(large.send().await.unwrap().status().as_u16(), 413);
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let generator = Generator::serve("").await;
    let mut client = tokio::net::TcpStream::connect(generator.server.addr())
        .await
        .unwrap();
    let request = "POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    let read = client.read_exact(&mut begin);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    read.expect("it is answered").unwrap();
    assert_eq!(&begin, b"HTTP/1.1 408");
    drop(client);
    generator.server.close().await;
}
