//! One set of requests, one set of answers: whatever the layout, whatever the engine.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api::Api,
    common::{database::Database, engines::engines},
    sample::{LAYOUTS, START_S, filled, readings},
};

/// Method, path and body.
type Request = (Method, String, Option<Value>);

fn requests() -> Vec<Request> {
    let at = |second: i64| (START_S + second) * 1_000;
    let time = format!("from_time={}&to_time={}", at(0), at(300));
    let part = format!("from_time={}&to_time={}", at(60), at(90));
    let ids = r"id1=0,1,-1,7&id2=A,B,B,A\,%20b";
    let reads = [
        format!("/sensor/time?{time}&limit=50"),
        format!("/sensor/time?{time}&order=desc&limit=50&sensor_type=humidity"),
        format!("/sensor/ids?{ids}"),
        format!("/sensor/ids?{ids}&order=desc"),
        format!("/sensor/ids-time?{ids}&{part}"),
        format!("/sensor/latest?{ids}&sensor_type=humidity"),
        "/sensor/latest?id1=3&id2=nobody".to_owned(),
        format!("/sensor/aggregate?{time}&bucket=1m"),
        format!("/sensor/aggregate?{time}&bucket=7s&{ids}&limit=20"),
        format!("/sensor/aggregate?{part}&bucket=1d&sensor_type=temperature"),
        format!("/sensor/time?{time}&format=ndjson"),
        format!("/sensor/ids?{ids}&format=csv"),
        format!("/sensor/ids-time?{ids}&{part}&format=csv&order=desc&limit=9"),
        "/streams/sample".to_owned(),
        "/streams/sample/rejections".to_owned(),
        "/rejections".to_owned(),
        "/version".to_owned(),
        "/healthz".to_owned(),
    ];
    let errors = [
        "/sensor/time",
        "/sensor/ids?id1=1&id2=A,B",
        "/sensor/latest?id1=x&id2=A",
        "/sensor/aggregate?from_time=1&to_time=2&bucket=1w",
        "/sensor/time?from_time=1&to_time=2&cursor=AAAA",
        "/streams/nobody",
        "/nowhere",
    ]
    .map(str::to_owned);
    let get = |path: &String| (Method::GET, path.clone(), None);
    let change = |method: &Method, path: String, body: &Option<Value>| -> [Request; 2] {
        let dry = format!("{path}&dry_run=true");
        [
            (method.clone(), dry, body.clone()),
            (method.clone(), path, body.clone()),
        ]
    };
    let mut requests: Vec<_> = reads.iter().chain(&errors).map(get).collect();
    let new = Some(json!({"sensor_value": 0.1, "sensor_type": "gauge"}));
    for (method, verb, body) in [
        (Method::PUT, "update", &new),
        (Method::DELETE, "delete", &None),
    ] {
        let typed = "sensor_type=temperature";
        for path in [
            format!("/sensor/{verb}/ids-time?{ids}&{part}&{typed}"),
            format!("/sensor/{verb}/time?{part}"),
            format!("/sensor/{verb}/ids?id1=0&id2=a"),
        ] {
            requests.extend(change(&method, path, body));
            // What is left after each step.
            requests.extend(reads.iter().take(8).map(get));
        }
    }
    requests.push((Method::DELETE, "/sensor/delete/ids".to_owned(), None));
    requests.push((Method::PUT, format!("/sensor/update/time?{time}"), None));
    requests
}

/// Leaves out what is different each time: ids, cursors, names of requests, the clock of the ledger.
fn normalised(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| {
                let value = match name.as_str() {
                    "id" | "request_id" | "created_at" | "updated_at" => json!("..."),
                    "next_cursor" if value.is_string() => json!("..."),
                    _ => normalised(value),
                };
                (name, value)
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Array(items) => items.into_iter().map(normalised).collect(),
        other => other,
    }
}

/// The body without what differs, line by line where it is not JSON.
fn shown(content_type: &str, body: &str) -> String {
    let line = |line: &str| match serde_json::from_str(line) {
        Ok(value) => normalised(value).to_string(),
        // CSV begins with the id.
        Err(_) => line
            .split_once(',')
            .map_or(line, |(_, rest)| rest)
            .to_owned(),
    };
    let lines: Vec<_> = body.lines().map(line).collect();
    format!("{content_type}\n{}", lines.join("\n"))
}

pub(crate) async fn transcript(api: &Api) -> Vec<(String, String)> {
    let mut transcript = Vec::new();
    for (method, path, body) in requests() {
        let mut request = api.request(method.clone(), &path);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = api.send(request).await;
        let shown = shown(answer.header("content-type"), answer.text());
        transcript.push((
            format!("{method} {path}"),
            format!("{} {shown}", answer.status),
        ));
    }
    transcript
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_requests_get_the_same_answers_on_all_layouts_and_engines() {
    let mut first: Option<(String, Vec<(String, String)>)> = None;
    for (engine, _) in engines() {
        let database = Database::create(engine).await.expect("it is selected");
        for layout in LAYOUTS {
            let name = format!("{engine} {layout:?}");
            let (_, service) = filled(&database, layout, readings()).await;
            let transcript = transcript(&Api::of(&service)).await;
            let Some((of_first, expected)) = &first else {
                first = Some((name, transcript));
                service.close_after_deletes().await;
                continue;
            };
            for ((asked, answer), (_, expected)) in transcript.iter().zip(expected) {
                assert_eq!(answer, expected, "{asked}: {name} against {of_first}");
            }
            service.close_after_deletes().await;
        }
    }
    let (_, transcript) = first.expect("an engine");
    let of = |status: &str| {
        let answers = transcript.iter().map(|(_, answer)| answer);
        answers.filter(|answer| answer.starts_with(status)).count()
    };
    assert_eq!((of("400"), of("404"), of("415")), (6, 2, 1));
    assert_eq!(of("200"), transcript.len() - 9);
}
