//! Who gets what over REST: each route of the document, with each kind of token.

use reqwest::Method;

use crate::{
    api::{Answer, Api},
    common::{database::Database, on_each_engine, service::Service, tokens::Tokens, until},
    document::{Operation, document, exemplary},
};

on_each_engine! {
    every_route_asks_for_the_scope_that_it_says,
    a_token_is_taken_in_each_way_in_which_clients_send_one,
    metrics_are_open_where_the_setting_says,
    who_tries_too_many_tokens_is_told_to_wait_and_others_are_not,
    a_new_token_is_good_at_once_and_a_broken_file_changes_nothing,
    a_page_of_another_origin_may_read_that_a_token_is_asked_for,
}

/// What needs no token: no data, and the health.
const OPEN: [&str; 10] = [
    "/",
    "/page/{file}",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/swagger",
    "/swagger/swagger-ui/{file}",
    "/ping",
    "/health",
    "/ready",
];
const SCOPES: [&str; 4] = ["ingest", "read", "write", "admin"];
const UNKNOWN: &str = "sg_0123456789ab_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The service of the examples, which asks for tokens from now on.
pub(crate) async fn guarded(database: &Database, tokens: &Tokens) -> Service {
    let (database, open) = exemplary(database).await;
    open.close().await;
    Service::start_with(&database, |settings| {
        crate::common::service::take_any_time(settings);
        tokens.asked_for(settings);
        crate::common::service::with_a_source(settings);
        settings.auth.open_metrics = Some(sluicegate::auth::OpenMetrics::None);
        settings.auth.max_failures = Some(1_000_000);
    })
    .await
}

async fn ask(
    api: &Api,
    operation: &Operation,
    body: Option<&serde_json::Value>,
    authorization: Option<&str>,
) -> Answer {
    let mut path = operation.with_examples(|_| true);
    if matches!(operation.method, Method::DELETE) {
        path += "&dry_run=true";
    }
    let mut request = api.request(operation.method.clone(), &path);
    if let Some(body) = body {
        request = request.json(body);
    } else if let Some((content_type, text)) = operation.text() {
        request = request.header("content-type", content_type).body(text);
    }
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    api.send(request).await
}

async fn every_route_asks_for_the_scope_that_it_says(database: Database) {
    let tokens = Tokens::new();
    let of_scope = SCOPES.map(|scope| (scope, tokens.make(&format!("one-who-may-{scope}"), scope)));
    let revoked = tokens.make("gone", "admin");
    tokens.revoke(&revoked);
    let expired = tokens.make_expired("late", "admin").await;
    let service = guarded(&database, &tokens).await;
    let api = Api::of(&service);
    let document = document(&api).await;
    let mut operations = 0;
    for operation in Operation::all(&document) {
        let name = operation.name();
        let body = operation.body(&document);
        let ask = |authorization: Option<String>| {
            let (api, operation, body) = (&api, &operation, body.as_ref());
            async move { ask(api, operation, body, authorization.as_deref()).await }
        };
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        let security = operation.spec["security"].as_array().expect("security");
        if OPEN.contains(&operation.path.as_str()) {
            assert!(security.is_empty(), "{name}");
            for authorization in [None, Some("nonsense".to_owned()), bearer(UNKNOWN)] {
                let answer = ask(authorization).await;
                assert!((200..400).contains(&answer.status), "{name}: {answer:?}");
            }
            operations += 1;
            continue;
        }
        let needed: Vec<&str> = security[0]["token"]
            .as_array()
            .expect("scopes")
            .iter()
            .map(|scope| scope.as_str().expect("a scope"))
            .collect();
        let changes = operation.method != Method::GET;
        let expected: &[&str] = match (changes, operation.path.as_str()) {
            (_, "/retention/confirm" | "/streams/{id}/owner") => &["admin"],
            (true, path) if path.starts_with("/sources/") => &["admin"],
            (true, "/rejections/replay") => &["write"],
            _ if operation.method == Method::POST => &["ingest"],
            (true, _) => &["write"],
            (false, "/version") => &[],
            (false, _) => &["read"],
        };
        assert_eq!(needed, expected, "{name}");
        for (authorization, what) in [
            (None, "no token"),
            (Some("Bearer".to_owned()), "malformed"),
            (Some("Bearer sg_x".to_owned()), "malformed"),
            (Some("Negotiate abc".to_owned()), "malformed"),
            (bearer(UNKNOWN), "unknown"),
            (bearer(&expired), "expired"),
            (bearer(&revoked), "revoked"),
        ] {
            let answer = ask(authorization).await;
            answer.problem(401, "unauthenticated", None);
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer "),
                "{name}, {what}: {challenge}"
            );
            operation.assert_documented(&document, &answer);
        }
        for (scope, token) in &of_scope {
            let answer = ask(bearer(token)).await;
            if *scope == "admin" || needed.is_empty() || needed.contains(scope) {
                assert!(
                    (200..400).contains(&answer.status),
                    "{name}, {scope}: {answer:?}"
                );
            } else {
                let problem = answer.problem(403, "permission-denied", None);
                let detail = problem["detail"].as_str().expect("a detail");
                assert!(detail.contains(needed[0]), "{name}: {detail}");
                operation.assert_documented(&document, &answer);
            }
        }
        operations += 1;
    }
    let all = document["paths"].as_object().expect("paths").values();
    let all: usize = all
        .map(|path| path.as_object().expect("operations").len())
        .sum();
    assert_eq!(operations, all);
    // What there is not is told to who has a token.
    let path = "/no/such/path";
    api.get(path).await.problem(401, "unauthenticated", None);
    let request = api.request(Method::GET, path).bearer_auth(&of_scope[1].1);
    api.send(request).await.problem(404, "not-found", None);
    // However a path is written, nobody gets in by that.
    for path in [
        "/sensor/time/?from_time=0&to_time=1",
        "/sensor//time?from_time=0&to_time=1",
        "/%73ensor/time?from_time=0&to_time=1",
        "/sensor/time;x?from_time=0&to_time=1",
        "/./sensor/time?from_time=0&to_time=1",
        "//sensor/time?from_time=0&to_time=1",
    ] {
        api.get(path).await.problem(401, "unauthenticated", None);
        let request = api.request(Method::GET, path).bearer_auth(&of_scope[0].1);
        let answer = api.send(request).await;
        assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
    }
    service.close().await;
}

async fn a_token_is_taken_in_each_way_in_which_clients_send_one(database: Database) {
    let tokens = Tokens::new();
    let token = tokens.make("desk", "read");
    let service = guarded(&database, &tokens).await;
    let api = Api::of(&service);
    let get = || api.request(Method::GET, "/streams");
    for request in [
        get().bearer_auth(&token),
        get().header("authorization", format!("Token {token}")),
        get().basic_auth("anybody", Some(&token)),
        get().basic_auth("", Some(&token)),
    ] {
        api.send(request).await.json();
    }
    let twice = get().bearer_auth(&token).bearer_auth(&token);
    api.send(twice).await.problem(401, "unauthenticated", None);
    service.close().await;
}

async fn metrics_are_open_where_the_setting_says(database: Database) {
    use sluicegate::auth::OpenMetrics;

    let tokens = Tokens::new();
    let (reads, ingests) = (
        tokens.make("desk", "read"),
        tokens.make("press-4", "ingest"),
    );
    for (open, expected) in [
        (None, 200),
        (Some(OpenMetrics::Loopback), 200),
        (Some(OpenMetrics::All), 200),
        (Some(OpenMetrics::None), 401),
    ] {
        let service = Service::start_with(&database, |settings| {
            tokens.asked_for(settings);
            settings.auth.open_metrics = open;
        })
        .await;
        let api = Api::of(&service);
        assert_eq!(api.get("/metrics").await.status, expected, "{open:?}");
        let with = |token: &str| api.request(Method::GET, "/metrics").bearer_auth(token);
        assert_eq!(api.send(with(&reads)).await.status, 200);
        let expected = if expected == 401 { 403 } else { 200 };
        assert_eq!(api.send(with(&ingests)).await.status, expected);
        service.close().await;
    }
}

async fn who_tries_too_many_tokens_is_told_to_wait_and_others_are_not(database: Database) {
    let tokens = Tokens::new();
    let token = tokens.make("desk", "read");
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        settings.auth.max_failures = Some(5);
    })
    .await;
    let api = Api::of(&service);
    let with = |token: &str| api.request(Method::GET, "/streams").bearer_auth(token);
    // No token is no try.
    for _ in 0..10 {
        api.get("/streams")
            .await
            .problem(401, "unauthenticated", None);
    }
    for _ in 0..5 {
        let answer = api.send(with(UNKNOWN)).await;
        answer.problem(401, "unauthenticated", None);
    }
    for wrong in [UNKNOWN, "nonsense"] {
        let answer = api.send(with(wrong)).await;
        answer.problem(429, "too-many-failures", None);
        let wait: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    api.send(with(&token)).await.json();
    let metrics = api.get("/metrics").await;
    let expected = "sluicegate_auth_limited_total 2\n";
    assert!(metrics.text().contains(expected), "{}", metrics.text());
    let refused = r#"sluicegate_auth_refused_total{door="rest",why="missing"} 10"#;
    assert!(metrics.text().contains(refused), "{}", metrics.text());
    service.close().await;
}

async fn a_new_token_is_good_at_once_and_a_broken_file_changes_nothing(database: Database) {
    let tokens = Tokens::new();
    let first = tokens.make("desk", "read");
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        // One that is not yet good is asked about again and again.
        settings.auth.max_failures = Some(1_000_000);
    })
    .await;
    let api = &Api::of(&service);
    let status = |token: &str| {
        let request = api.request(Method::GET, "/streams").bearer_auth(token);
        async move { api.send(request).await.status }
    };
    assert_eq!(status(&first).await, 200);
    let second = tokens.make("desk", "read");
    until("the new one is good", async || status(&second).await == 200).await;
    let good = std::fs::read(tokens.path()).expect("the file");
    std::fs::write(tokens.path(), "tokens: [{id: nonsense").expect("written");
    let broken = async || {
        let metrics = api.get("/metrics").await;
        metrics.text().contains("sluicegate_auth_file_broken 1\n")
    };
    until("it is noticed", broken).await;
    assert_eq!((status(&first).await, status(&second).await), (200, 200));
    std::fs::write(tokens.path(), good).expect("written");
    until("it is mended", async || !broken().await).await;
    tokens.revoke(&first);
    until("the old one is no longer good", async || {
        status(&first).await == 401
    })
    .await;
    assert_eq!(status(&second).await, 200);
    service.close().await;
}

async fn a_page_of_another_origin_may_read_that_a_token_is_asked_for(database: Database) {
    const ALLOWED: &str = "access-control-allow-origin";
    let tokens = Tokens::new();
    tokens.make("desk", "read");
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        settings.rest.cors_origins = Some(vec!["https://dash.example".to_owned()]);
    })
    .await;
    let api = Api::of(&service);
    for (origin, allowed) in [
        ("https://dash.example", Some("https://dash.example")),
        ("https://elsewhere.example", None),
    ] {
        let request = api
            .request(Method::GET, "/streams")
            .header("origin", origin);
        let answer = api.send(request).await;
        assert_eq!(answer.status, 401, "{origin}");
        let found = answer
            .headers
            .get(ALLOWED)
            .map(|it| it.to_str().expect("ASCII"));
        assert_eq!(found, allowed, "{origin}");
    }
    service.close().await;
}
