//! The audit log: every change is told, with who made it, and one that cannot be told is not made.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use reqwest::Method;
use serde_json::{Value, json};
use sluicegate::audit::AuditTarget;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::command,
        service::{Service, take_any_time},
        tokens::Tokens,
        until,
    },
    document::{Operation, document, exemplary},
};

on_each_engine! {
    every_change_is_told_with_who_made_it,
    a_change_that_cannot_be_told_is_not_made,
    a_log_that_was_moved_away_is_begun_anew,
    an_owner_is_set_by_an_admin_and_the_earlier_one_is_fenced,
    no_secret_is_in_a_log_an_error_a_metric_or_an_audit_line,
}

const RANGE: &str = "from_time=2026-01-31T12:00:00Z&to_time=2026-01-31T12:00:10Z";

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the audit log");
    let lines = text.lines().map(serde_json::from_str);
    lines.map(|line| line.expect("JSON")).collect()
}

/// The service of the examples, with an audit log.
async fn audited(database: &Database, file: &Path, tokens: Option<&Tokens>) -> (Database, Service) {
    let (database, plain) = exemplary(database).await;
    plain.close().await;
    let service = Service::start_with(&database, |settings| {
        take_any_time(settings);
        crate::common::service::with_a_source(settings);
        settings.audit.file = Some(AuditTarget::File(file.to_owned()));
        if let Some(tokens) = tokens {
            tokens.asked_for(settings);
        }
    })
    .await;
    (database, service)
}

async fn every_change_is_told_with_who_made_it(database: Database) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit.jsonl");
    let tokens = Tokens::new();
    let admin = tokens.make("root", "admin");
    let (_, service) = audited(&database, &file, Some(&tokens)).await;
    let api = Api::of(&service);
    let document = document(&api).await;
    let mut told = 0;
    for operation in Operation::all(&document) {
        let name = operation.name();
        let path = operation.with_examples(|_| true);
        // Who brings readings changes none.
        let changes = match operation.method {
            Method::GET => false,
            Method::POST => operation.path == "/rejections/replay",
            _ => true,
        };
        let mut request = api
            .request(operation.method.clone(), &path)
            .bearer_auth(&admin);
        request = request.header("x-request-id", "of-this-test");
        if let Some(body) = operation.body(&document) {
            request = request.json(&body);
        } else if let Some((content_type, text)) = operation.text() {
            request = request.header("content-type", content_type).body(text);
        }
        let answer = api.send(request).await;
        assert!((200..400).contains(&answer.status), "{name}: {answer:?}");
        // A new route that changes something has to be told as well.
        told += usize::from(changes);
        let lines = lines(&file);
        assert_eq!(lines.len(), told, "{name}");
        if !changes {
            continue;
        }
        let line = &lines[told - 1];
        assert_eq!(line["principal"], "root", "{line}");
        let id = admin.split('_').nth(1).expect("an id");
        assert_eq!(line["proof"], id, "{line}");
        assert_eq!(line["outcome"], "done", "{line}");
        assert_eq!(line["request_id"], "of-this-test", "{line}");
        assert!(
            line["peer"]
                .as_str()
                .is_some_and(|it| it.starts_with("127.0.0.1:")),
            "{line}"
        );
        let action = match operation.path.as_str() {
            "/retention/confirm" => "confirm_retention",
            "/streams/{id}/owner" => "set_owner",
            "/sources/{name}/pause" => "pause_source",
            "/sources/{name}/resume" => "resume_source",
            "/rejections" => "drop_rejections",
            "/rejections/replay" => "replay_rejections",
            "/series" if operation.method == Method::DELETE => "remove_series",
            path if path.starts_with("/series") => "tag_series",
            path if path.starts_with("/sensor/delete/") => "delete_readings",
            path if path.starts_with("/sensor/update/") => "update_readings",
            path => panic!("say what {path} does"),
        };
        assert_eq!(line["action"], action, "{line}");
        if let Ok(body) = serde_json::from_slice::<Value>(&answer.body)
            && let Some(rows) = body.get("deleted_count").or(body.get("updated_count"))
        {
            assert_eq!(&line["rows"], rows, "{line}");
            assert!(!line["what"].is_null(), "{line}");
        }
    }
    assert_eq!(told, 16);
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o600);
    // What changes nothing is not told.
    let path = format!("/sensor/delete/time?{RANGE}&dry_run=true");
    let counted = api.request(Method::DELETE, &path).bearer_auth(&admin);
    api.send(counted).await.json();
    let refused = api.delete(&format!("/sensor/delete/time?{RANGE}")).await;
    refused.problem(401, "unauthenticated", None);
    assert_eq!(lines(&file).len(), told);
    service.close_after_deletes().await;
}

async fn a_change_that_cannot_be_told_is_not_made(database: Database) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log/audit.jsonl");
    fs::create_dir(folder.path().join("log")).expect("made");
    let (database, service) = audited(&database, &file, None).await;
    let api = Api::of(&service);
    fs::remove_dir_all(folder.path().join("log")).expect("removed");
    let before = database.count("sensor_readings").await;
    let delete = api.request(Method::DELETE, &format!("/sensor/delete/time?{RANGE}"));
    let refused = api.send_any(delete).await;
    refused.problem(503, "not-audited", None);
    assert_eq!(database.count("sensor_readings").await, before);
    fs::create_dir(folder.path().join("log")).expect("made");
    let deleted = api
        .delete(&format!("/sensor/delete/time?{RANGE}"))
        .await
        .json();
    let line = &lines(&file)[0];
    assert_eq!(line["rows"], deleted["deleted_count"]);
    assert_eq!(line["principal"], "anonymous");
    let page = api.get("/metrics").await;
    for expected in [
        "sluicegate_audit_entries_total 1\n",
        "sluicegate_audit_failures_total 1\n",
    ] {
        assert!(page.text().contains(expected), "{}", page.text());
    }
    service.close_after_deletes().await;
    // One that cannot even be opened refuses the start.
    let nowhere = folder.path().join("no/such/folder/audit.jsonl");
    let refused = Service::try_start(&database, |settings| {
        settings.audit.file = Some(AuditTarget::File(nowhere));
    });
    let sentence = refused.await.err().expect("refused");
    assert!(sentence.contains("(audit.file)"), "{sentence}");
}

async fn a_log_that_was_moved_away_is_begun_anew(database: Database) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit.jsonl");
    let (_, service) = audited(&database, &file, None).await;
    let api = Api::of(&service);
    let change = async || {
        let path = format!("/sensor/update/time?{RANGE}");
        api.put(&path, &json!({"sensor_value": 1.5})).await.json();
    };
    change().await;
    let moved = folder.path().join("audit.jsonl.1");
    fs::rename(&file, &moved).expect("moved");
    change().await;
    assert_eq!((lines(&moved).len(), lines(&file).len()), (1, 1));
    service.close().await;
}

async fn an_owner_is_set_by_an_admin_and_the_earlier_one_is_fenced(database: Database) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit.jsonl");
    let tokens = Tokens::new();
    let admin = tokens.make("root", "admin");
    let (_, service) = audited(&database, &file, Some(&tokens)).await;
    let api = Api::of(&service);
    let of_stream = async || {
        let request = api
            .request(Method::GET, "/streams/gateway-7")
            .bearer_auth(&admin);
        api.send(request).await.json()
    };
    let before = of_stream().await;
    assert_eq!(before["owner"], Value::Null);
    let put = |path: &str, body: Value| {
        let request = api
            .request(Method::PUT, path)
            .bearer_auth(&admin)
            .json(&body);
        api.send(request)
    };
    let epoch = |stream: &Value| stream["epoch"].as_u64().expect("an epoch");
    let given = put("/streams/gateway-7/owner", json!({"owner": "press-5"}))
        .await
        .json();
    assert_eq!(given["owner"], "press-5");
    assert_eq!(epoch(&given), epoch(&before) + 1);
    // To whom it is already: nothing is fenced.
    let again = put("/streams/gateway-7/owner", json!({"owner": "press-5"}))
        .await
        .json();
    assert_eq!(again["epoch"], given["epoch"]);
    let freed = put("/streams/gateway-7/owner", json!({"owner": null}))
        .await
        .json();
    assert_eq!(
        (&freed["owner"], epoch(&freed)),
        (&Value::Null, epoch(&before) + 2)
    );
    assert_eq!(of_stream().await["owner"], Value::Null);
    for wrong in [
        json!({}),
        json!({"owner": 7}),
        json!({"owner": "a", "b": 1}),
        json!("a"),
    ] {
        let answer = put("/streams/gateway-7/owner", wrong).await;
        answer.problem(422, "invalid-change", None);
    }
    let blank = put("/streams/gateway-7/owner", json!({"owner": "a b"})).await;
    blank.problem(422, "invalid-change", Some("owner"));
    let nobody = put("/streams/nobody/owner", json!({"owner": "a"})).await;
    nobody.problem(404, "not-found", Some("id"));
    let lane = put("/streams/lane%3Ax%2F0/owner", json!({"owner": "a"})).await;
    lane.problem(404, "not-found", Some("id"));
    service.close().await;
}

async fn no_secret_is_in_a_log_an_error_a_metric_or_an_audit_line(database: Database) {
    let folder = tempfile::tempdir().expect("a folder");
    let (audit, log) = (folder.path().join("audit.jsonl"), folder.path().join("log"));
    let tokens = Tokens::new();
    let admin = tokens.make("root", "admin");
    let revoked = tokens.make("gone", "admin");
    tokens.revoke(&revoked);
    let unknown = "sg_0123456789ab_CANARYCANARYCANARYCANARYCANARYCANARYCANARYa";
    let malformed = "sg_canary-that-is-no-token";
    let mut serve = command(&[
        "serve",
        "--log",
        "trace",
        "--grpc-addr",
        "127.0.0.1:0",
        "--rest-addr",
        "127.0.0.1:0",
    ]);
    serve
        .env("SLUICEGATE_DATABASE_URL", database.url())
        .env("SLUICEGATE_AUTH_TOKENS", tokens.path())
        .env("SLUICEGATE_AUDIT_FILE", &audit)
        .stderr(fs::File::create(&log).expect("the log"));
    let ready = folder.path().join("ready.json");
    serve.arg("--ready-file").arg(&ready);
    let mut child = serve.spawn().expect("it runs");
    until("it is ready", async || ready.exists()).await;
    let ready: Value = serde_json::from_slice(&fs::read(&ready).expect("read")).expect("JSON");
    let client = crate::common::web::client();
    let rest = format!(
        "http://{}/api/v1",
        ready["rest_addr"].as_str().expect("an address")
    );
    let grpc = ready["grpc_addr"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address");
    let mut told = String::new();
    for token in [&*admin, &*revoked, unknown, malformed] {
        for path in [
            "/streams".to_owned(),
            "/metrics".to_owned(),
            format!("/sensor/time?{RANGE}&access_token={token}"),
        ] {
            let request = client.get(format!("{rest}{path}"));
            for request in [
                request.try_clone().expect("no body").bearer_auth(token),
                request.basic_auth("x", Some(token)),
            ] {
                let answer = request.send().await.expect("answered");
                told += &format!("{:?}", answer.headers());
                told += &answer.text().await.expect("a text");
            }
        }
        let delete = client.delete(format!("{rest}/sensor/delete/time?{RANGE}"));
        let answer = delete.bearer_auth(token).send().await.expect("answered");
        told += &answer.text().await.expect("a text");
        let mut grpc = crate::common::service::connect(grpc).await;
        let reading = crate::common::readings::reading(1);
        let request = crate::common::tokens::with_token(reading, token);
        told += &format!("{:?}", grpc.send_sensor_reading(request).await);
    }
    let pid = child.id().expect("it runs").to_string();
    let ended = std::process::Command::new("kill").arg(pid).status();
    assert!(ended.expect("it runs").success());
    assert!(child.wait().await.expect("it ends").success());
    let log = fs::read_to_string(&log).expect("the log");
    assert!(log.contains("TRACE"), "it says all that it can");
    assert_eq!(lines(&audit).len(), 1);
    let audit = fs::read_to_string(&audit).expect("the audit log");
    let file = fs::read_to_string(tokens.path()).expect("the tokens");
    let secret = |token: &str| token.splitn(3, '_').last().expect("a secret").to_owned();
    for secret in [&*admin, &*revoked, unknown, malformed].map(secret) {
        for (what, text) in [
            ("the log", &log),
            ("the audit log", &audit),
            ("the token file", &file),
        ] {
            assert!(!text.contains(&secret), "{secret} in {what}");
        }
        // An unknown parameter is named, and its value is not.
        assert!(!told.contains(&secret), "{secret} in an answer: {told}");
    }
}
