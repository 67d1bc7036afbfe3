//! What is served, and who gets it.

use reqwest::Method;
use serde_json::Value;
use sluicegate::repository::mysql::Layout;
use sluicegate_page::{CONTENT_SECURITY_POLICY, Program};

use super::{database, filled, with_page};
use crate::{
    access::guarded,
    api::Api,
    common::{service::Service, tokens::Tokens},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_or_what_says_that_it_is_missing_needs_nothing_from_elsewhere() {
    let service = Service::start(&database().await).await;
    let api = Api::of(&service);
    let page = api.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(
        page.header("content-security-policy"),
        CONTENT_SECURITY_POLICY
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cache-control"), "no-cache");
    let again = api
        .request(Method::GET, "/")
        .header("if-none-match", page.header("etag"));
    assert_eq!(api.send(again).await.status, 304);
    let text = page.text();
    assert!(
        !text.contains("<style") && !text.contains("style="),
        "the policy lets no style in: {text}"
    );
    let scripts = text.matches("<script").count();
    assert_eq!(
        scripts,
        text.matches("<script type=\"module\" src=\"/page/").count(),
        "{text}"
    );
    if !Program::Service.has_page() {
        assert!(
            text.contains("scripts/page.sh") && text.contains("href=\"/swagger\""),
            "{text}"
        );
    }
    for part in text.split("\"/page/").skip(1) {
        let name = part.split('"').next().expect("a name");
        let file = api.get(&format!("/page/{name}")).await;
        assert_eq!(file.status, 200, "{name}");
        assert_eq!(
            file.header("cache-control"),
            "public, max-age=31536000, immutable",
            "{name}"
        );
        let packed = api
            .request(Method::GET, &format!("/page/{name}"))
            .header("accept-encoding", "gzip");
        let packed = api.send(packed).await;
        let is_small = file.body.len() < 1024;
        assert!(
            is_small || packed.header("content-encoding") == "gzip",
            "{name}"
        );
    }
    let missing = api.get("/page/nothing.js").await;
    missing.problem(404, "not-found", None);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shell_opens_without_a_token_and_asks_for_one() {
    let tokens = Tokens::new();
    let token = tokens.make("desk", "read");
    let service = guarded(&database().await, &tokens).await;
    with_page(&service, |page| async move {
        page.open("state").await;
        page.until(
            "the question for a token",
            "document.querySelector('dialog').open",
        )
        .await;
        let why = page.text("dialog .why").await;
        assert!(why.contains("token"), "the service's own sentence: {why}");
        page.until(
            "the state, which is open to all",
            "text('.state').includes('Ready')",
        )
        .await;
        page.is_accessible("the question for a token").await;
        page.run("fill('token', 'sg_nonsense'); submit('token')", Value::Null)
            .await;
        page.until(
            "the question, again",
            "document.querySelector('dialog').open",
        )
        .await;
        page.run(
            "fill('token', given); submit('token')",
            token.clone().into(),
        )
        .await;
        page.until("the figures", "/^0 %/m.test(text('.tile:nth-child(5) dd'))")
            .await;
        assert!(page.text("button.token").await.contains("given"));
        let kept = "return [location.href, localStorage.length, document.cookie].join()";
        let kept = page.browser.script(kept).await;
        assert!(!kept.to_string().contains(&token), "{kept}");
        page.open("quarantine").await;
        page.until(
            "the quarantine",
            "text('main table').includes('sensor_value')",
        )
        .await;
        page.run(
            "button('Token: given').click(); press('Forget it')",
            Value::Null,
        )
        .await;
        page.until(
            "that it is asked for once more",
            "document.querySelector('dialog').open || text('.notice').includes('token')",
        )
        .await;
        page.has_kept_to_itself().await;
    })
    .await;
    service.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_list_of_series_the_page_says_so_and_takes_names() {
    let (_database, service) = filled(Layout::Partitioned).await;
    let refused = Api::of(&service).get("/series?limit=50").await;
    let refused: Value = serde_json::from_slice(&refused.body).expect("JSON");
    let sentence = refused["detail"].as_str().expect("a sentence").to_owned();
    with_page(&service, |page| async move {
        page.open("series").await;
        page.until("the service's own sentence", "text('.browser .notice')")
            .await;
        assert_eq!(page.text(".browser .notice").await.trim(), sentence);
        page.run(
            "fill('by-hand-id1', 'seven'); fill('by-hand-id2', 'boiler-1'); submit('by-hand-id1')",
            Value::Null,
        )
        .await;
        page.until(
            "what is wrong with a name",
            "text('.by-hand .notice').includes('id1')",
        )
        .await;
        page.run(
            "fill('by-hand-id1', '7'); submit('by-hand-id1')",
            Value::Null,
        )
        .await;
        page.until(
            "the reason why there is no chart",
            "text('.panel .notice').includes('No reading of 7 / boiler-1')",
        )
        .await;
        page.run("press('Go to the newest reading')", Value::Null)
            .await;
        page.until(
            "both types of the pair",
            "all('.legend tbody tr').length === 2 && all('.u-over').length === 1",
        )
        .await;
    })
    .await;
    service.close().await;
}
