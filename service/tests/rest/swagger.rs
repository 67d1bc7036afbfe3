//! The Swagger UI in a real browser: every operation is tried out from the page.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    access::guarded,
    browser::{Browser, PATIENCE},
    common::{database::Database, engines::engines, tokens::Tokens},
    document::exemplary,
};

const GROUPS: [&str; 8] = [
    "readings",
    "analysis",
    "changes",
    "series",
    "streams",
    "quarantine",
    "sources",
    "service",
];

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

fn operations_of_document() -> usize {
    let document: Value =
        serde_json::from_str(sluicegate::router::rest::openapi_json()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    paths
        .map(|of_path| of_path.as_object().expect("operations").len())
        .sum()
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
            let answer = browser.async_script(TRY_IT_OUT, json!([id])).await;
            let brings = id.ends_with("-post");
            let status = if brings { "204" } else { "200" };
            assert_eq!(answer["status"], status, "{id}: {answer:#}");
            let url = answer["url"].as_str().expect("a url");
            assert!(url.contains("/api/v1/"), "{id}: {url}");
            let expected = match group {
                _ if brings => continue,
                "readings" => "\"timestamp_us\"",
                "analysis" => "\"id2\": \"A\"",
                "changes" => "_count\"",
                "streams" => "gateway-7",
                "sources" => "\"plant\"",
                _ => continue,
            };
            let body = answer["body"].as_str().expect("a body");
            assert!(body.contains(expected), "{id}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_can_be_tried_out_from_the_page() {
    let Some(browser) = Browser::start(&[]).await else {
        return;
    };
    let (engine, _) = engines().remove(0);
    let database = Database::create(engine).await.expect("it is selected");
    let (_, service) = exemplary(&database).await;
    let count = operations_of_document();
    // It leads to the page.
    let page = format!("http://{}/swagger", service.rest);
    let browser = std::sync::Arc::new(browser);
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

/// Gives the page a token, as a person does by the button Authorize.
const AUTHORIZE: &str = r#"
    const [token, done] = arguments;
    const until = (selector) => new Promise((resolve, reject) => {
        const begun = Date.now();
        const look = () => {
            const found = document.querySelector(selector);
            if (found) resolve(found);
            else if (Date.now() - begun > 15000) reject(new Error("waited in vain: " + selector));
            else setTimeout(look, 20);
        };
        look();
    });
    (async () => {
        (await until(".auth-wrapper .btn.authorize")).click();
        const field = await until(".dialog-ux input");
        // As if it was typed: the page keeps the value that it was told of.
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, token);
        field.dispatchEvent(new Event("input", {bubbles: true}));
        (await until(".dialog-ux .btn.modal-btn.auth.authorize")).click();
        (await until(".dialog-ux .btn-done")).click();
        return "given";
    })().then((it) => done(it), (error) => done({failure: String(error)}));
"#;

async fn authorize(browser: &Browser, page: &str, token: &str, count: usize) {
    browser.post("url", json!({"url": page})).await;
    let ids = operations(browser, count).await;
    let mut ids = ids
        .iter()
        .filter(|id| id.starts_with("operations-streams-"));
    // One for each: an operation shows its old answer until the new one is there.
    let (first, second) = (ids.next().expect("one"), ids.next().expect("another one"));
    let answer = browser.async_script(TRY_IT_OUT, json!([first])).await;
    assert_eq!(answer["status"], "401", "without a token: {answer:#}");
    let given = browser.async_script(AUTHORIZE, json!([token])).await;
    assert_eq!(given, "given");
    let answer = browser.async_script(TRY_IT_OUT, json!([second])).await;
    assert_eq!(answer["status"], "200", "with the token: {answer:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_sends_the_token_that_its_reader_gives_it() {
    let Some(browser) = Browser::start(&[]).await else {
        return;
    };
    let (engine, _) = engines().remove(0);
    let database = Database::create(engine).await.expect("it is selected");
    let tokens = Tokens::new();
    let token = tokens.make("desk", "read");
    let service = guarded(&database, &tokens).await;
    let page = format!("http://{}/swagger", service.rest);
    let browser = std::sync::Arc::new(browser);
    // In a task, so that the browser ends however this does.
    let trying = tokio::spawn({
        let browser = browser.clone();
        async move { authorize(&browser, &page, &token, operations_of_document()).await }
    });
    let tried = trying.await;
    if let Some(browser) = std::sync::Arc::into_inner(browser) {
        browser.end().await;
    }
    tried.expect("it is let in");
    service.close().await;
}
