//! A page of another name, or of another origin, can change nothing: by hand, and in a real browser.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    api::Api,
    browser::Browser,
    common::{database::Database, engines::engines, on_each_engine, readings, service::Service},
};

on_each_engine! {
    only_names_of_this_host_and_those_that_are_allowed_are_answered_to,
    a_page_of_another_origin_changes_nothing,
}

const DELETE: &str = "/sensor/delete/ids?id1=1&id2=a";

fn delete(api: &Api, name: &'static str, value: String) -> RequestBuilder {
    api.request(Method::DELETE, DELETE).header(name, value)
}

async fn only_names_of_this_host_and_those_that_are_allowed_are_answered_to(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.rest.allowed_hosts = Some(vec!["Gate.example".to_owned()]);
    })
    .await;
    let api = Api::of(&service);
    let port = service.rest.port();
    for name in ["localhost", "gate.example", "[::1]", "192.0.2.7"] {
        let answer = api
            .send(delete(&api, "host", format!("{name}:{port}")))
            .await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    for name in ["evil.example", "gate.example.evil.example", "a b"] {
        let host = format!("{name}:{port}");
        let refused = api.send(delete(&api, "host", host.clone())).await;
        refused.problem(421, "misdirected", None);
        let read = api
            .request(Method::GET, "/sensor/latest")
            .header("host", &host);
        api.send(read).await.problem(421, "misdirected", None);
        let health = api.request(Method::GET, "/readyz").header("host", &host);
        assert_eq!(api.send(health).await.status, 200);
    }
    service.close().await;
}

async fn a_page_of_another_origin_changes_nothing(database: Database) {
    const DESK: &str = "https://desk.example";
    let service = Service::start_with(&database, |settings| {
        settings.rest.cors_origins = Some(vec![DESK.to_owned()]);
    })
    .await;
    let api = Api::of(&service);
    let own = format!("http://{}", service.rest);
    for origin in [own.as_str(), DESK] {
        let answer = api.send(delete(&api, "origin", origin.to_owned())).await;
        assert_eq!(answer.status, 200, "{origin}: {answer:?}");
    }
    for (name, value) in [
        ("origin", "http://127.0.0.1:1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let refused = api.send(delete(&api, name, value.to_owned())).await;
        refused.problem(403, "cross-origin-refused", None);
    }
    service.close().await;
}

/// What a page tries, one after the other: returns the status of each, or that the browser let it see none.
const ATTEMPTS: &str = r#"
    const [base, done] = arguments;
    const ids = base + "/api/v1/sensor/delete/ids?id1=1&id2=a";
    const time = base + "/api/v1/sensor/delete/time?from=1970-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
    const attempts = [
        [ids, {method: "DELETE"}],
        [time, {method: "DELETE", mode: "no-cors"}],
        [time, {method: "POST", mode: "no-cors", body: "_method=DELETE"}],
        [base + "/api/v1/retention/confirm", {method: "PUT"}],
        [base + "/api/v1/sensor/latest", {}],
    ];
    (async () => {
        const found = [];
        for (const [url, options] of attempts) {
            await fetch(url, options).then(
                (answer) => found.push(answer.type === "opaque" ? "opaque" : answer.status),
                () => found.push("refused"),
            );
        }
        const form = document.createElement("form");
        Object.assign(form, {method: "POST", action: time, target: "frame"});
        const frame = document.createElement("iframe");
        frame.name = "frame";
        document.body.append(frame, form);
        const loaded = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 5000); });
        form.submit();
        await loaded;
        const image = new Image();
        const shown = new Promise((resolve) => { image.onload = image.onerror = resolve; });
        image.src = time;
        await shown;
        done(found);
    })();
"#;

/// A page that belongs to nobody here, on a port of its own.
async fn foreign_page() -> u16 {
    const PAGE: &str = "<!doctype html><title>elsewhere</title><body></body>";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{PAGE}",
                PAGE.len()
            );
            let _ = client.write_all(answer.as_bytes()).await;
            // The request is left unread: closing at once would reset the connection before the page is there.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    });
    port
}

async fn attempts(browser: &Browser, page: String, base: &str) -> Value {
    browser.post("url", json!({"url": page})).await;
    browser.async_script(ATTEMPTS, json!([base])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_is_led_here_by_a_foreign_page_changes_nothing() {
    // As if the page's own name server had pointed its name to this host after the page was loaded.
    let rebound = "--host-resolver-rules=MAP evil.example 127.0.0.1".to_owned();
    let Some(browser) = Browser::start(&[rebound]).await else {
        return;
    };
    let (engine, _) = engines().remove(0);
    let database = Database::create(engine).await.expect("it is selected");
    let service = Service::start_for_any_time(&database).await;
    let mut client = service.client().await;
    for n in 1..=20 {
        let mut reading = readings::reading(n);
        (reading.id1, reading.id2) = (1, "a".to_owned());
        client.send_sensor_reading(reading).await.expect("stored");
    }
    let port = service.rest.port();
    let rebound = format!("http://evil.example:{port}");
    let found = attempts(&browser, format!("{rebound}/healthz"), &rebound).await;
    assert_eq!(
        found,
        json!([421, "refused", 405, 421, 421]),
        "same origin, says the browser"
    );

    let own = format!("http://127.0.0.1:{port}");
    let elsewhere = format!("http://127.0.0.1:{}/", foreign_page().await);
    let found = attempts(&browser, elsewhere, &own).await;
    assert_eq!(
        found,
        json!(["refused", "refused", "opaque", "refused", "refused"]),
        "another origin of the same site"
    );
    assert_eq!(database.count("sensor_readings").await, 20);

    // The page of the service itself may.
    let found = attempts(&browser, format!("{own}/healthz"), &own).await;
    assert_eq!(found[0], 200, "{found}");
    assert_eq!(database.count("sensor_readings").await, 0);
    browser.end().await;
    service.close_after_deletes().await;
}
