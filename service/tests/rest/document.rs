//! The OpenAPI document against the running service: what it promises is what is answered.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Map, Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{SensorBatch, SensorReading};

use crate::{
    api::{Answer, Api},
    common::{database::Database, on_each_engine, readings::position, service::Service},
    sample::service,
};

on_each_engine! {
    every_operation_answers_its_examples_as_documented,
    every_operation_takes_what_it_requires_and_no_less,
    a_documented_path_takes_no_other_method,
    lines_of_an_export_are_documented_readings,
}

/// The stream of the examples.
const STREAM: &str = "gateway-7";
/// 2026-01-31T12:00:00Z: where the range of the examples begins.
const FROM_US: i64 = 1_769_860_800_000_000;

/// A service with readings, and a rejected one, such as the examples ask for.
pub(crate) async fn exemplary(database: &Database) -> (Database, Service) {
    let (database, service) = service(database, Layout::Series).await;
    let at = service.open(STREAM).await;
    let reading = |n: i64| SensorReading {
        sensor_value: Some(if n == 7 { f64::NAN } else { n as f64 }),
        sensor_type: "temperature".to_owned(),
        id1: (n % 2) as i32,
        id2: ["A", "B"][n as usize % 2].to_owned(),
        timestamp_us: Some(FROM_US + n * 1_000_000),
    };
    let batch = SensorBatch {
        readings: (0..200).map(reading).collect(),
        position: Some(position(STREAM, at.epoch, 1)),
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    assert_eq!(reply.expect("stored").into_inner().rejected, 1);
    (database, service)
}

/// One operation of the document.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) spec: Value,
}

impl Operation {
    pub(crate) fn all(document: &Value) -> Vec<Self> {
        let paths = document["paths"].as_object().expect("paths").iter();
        let of_path = |(path, operations): (&String, &Value)| {
            let operations = operations.as_object().expect("operations").clone();
            let path = path.clone();
            operations.into_iter().map(move |(method, spec)| Self {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                spec,
            })
        };
        paths.flat_map(of_path).collect()
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn parameters(&self) -> Vec<Value> {
        self.spec["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Path and query with the examples of those parameters that are `wanted`.
    pub(crate) fn with_examples(&self, wanted: impl Fn(&Value) -> bool) -> String {
        let mut path = self.path.clone();
        let mut query = Vec::new();
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().expect("a name");
            let example = match &parameter["example"] {
                Value::Null => {
                    assert_ne!(
                        parameter["required"],
                        true,
                        "{}: {name} has no example",
                        self.name()
                    );
                    continue;
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
                Some("query") if wanted(&parameter) => query.push(format!("{name}={example}")),
                _ => {}
            }
        }
        assert!(
            !path.contains('{'),
            "{path} has a segment that is not documented"
        );
        format!("{path}?{}", query.join("&"))
    }

    /// The body that the examples of its fields make, if it takes one.
    pub(crate) fn body(&self, document: &Value) -> Option<Value> {
        let content = &self.spec["requestBody"]["content"]["application/json"];
        if let Some(example) = content.get("example") {
            return Some(example.clone());
        }
        let schema = &content["schema"];
        let reference = schema["$ref"].as_str()?;
        let schema = document
            .pointer(reference.trim_start_matches('#'))
            .expect("a schema");
        let fields = schema["properties"].as_object().expect("fields").iter();
        let examples = fields.map(|(name, field)| (name.clone(), field["example"].clone()));
        Some(Value::Object(examples.collect::<Map<_, _>>()))
    }

    /// The example of a body that is a text.
    pub(crate) fn text(&self) -> Option<(String, String)> {
        let content = self.spec["requestBody"]["content"].as_object()?;
        let (content_type, of_type) = content.iter().next()?;
        let text = match content_type.as_str() {
            "application/x-www-form-urlencoded" => "q=CREATE+DATABASE+sensors",
            _ => of_type["example"].as_str()?,
        };
        Some((content_type.clone(), text.to_owned()))
    }

    /// Whether it answers as an InfluxDB does, which takes any parameter.
    fn is_of_influxdb(&self) -> bool {
        self.spec["tags"][0] == "influxdb"
    }

    async fn ask(&self, api: &Api, document: &Value, path: &str) -> Answer {
        let mut request = api.request(self.method.clone(), path);
        if let Some(body) = self.body(document) {
            request = request.json(&body);
        } else if let Some((content_type, text)) = self.text() {
            request = request.header("content-type", content_type).body(text);
        }
        api.send(request).await
    }

    /// Asserts that the answer has a documented status, format and shape.
    pub(crate) fn assert_documented(&self, document: &Value, answer: &Answer) {
        let name = self.name();
        let response = &self.spec["responses"][answer.status.to_string()];
        assert!(
            response.is_object(),
            "{name}: {} is not documented",
            answer.status
        );
        let Some(content) = response["content"].as_object() else {
            assert!(
                answer.body.is_empty(),
                "{name}: a body that is not documented"
            );
            return;
        };
        let content_type = answer
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default();
        let format = content.get(content_type);
        let format = format.unwrap_or_else(|| panic!("{name}: {content_type} is not documented"));
        if content_type.ends_with("json") {
            let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_fits(document, &format["schema"], &body, &name);
        } else if content_type == "text/event-stream" {
            for event in answer.text().split_terminator("\n\n") {
                let fields = event.lines().filter_map(|line| line.split_once(": "));
                let fields: BTreeMap<_, _> = fields.collect();
                assert_fits(document, &format["schema"], &json!(fields), &name);
            }
        } else {
            assert_eq!(format["schema"]["type"], "string", "{name}");
        }
    }
}

/// Asserts that a value has the shape of a schema of the document, and no field that it does not name.
fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    let mut components = document["components"].clone();
    let schemas = components["schemas"].as_object_mut().expect("schemas");
    for schema in schemas
        .values_mut()
        .filter(|it| it.get("properties").is_some())
    {
        schema["additionalProperties"] = Value::Bool(false);
    }
    let whole = json!({"allOf": [schema], "components": components});
    let validator = jsonschema::validator_for(&whole).expect("a schema");
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:?} in {value}");
}

pub(crate) async fn document(api: &Api) -> Value {
    let document = api.get("/openapi.json").await.json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|it| it.starts_with("3.1"))
    );
    document
}

/// The first list of a body, which has to hold something: an empty one would fit any schema.
fn assert_not_empty(answer: &Answer, what: &str) {
    let Ok(Value::Object(body)) = serde_json::from_slice(&answer.body) else {
        return;
    };
    for list in body.values().filter_map(Value::as_array) {
        assert!(!list.is_empty(), "{what} found nothing");
    }
    for count in ["deleted_count", "updated_count", "dropped_count"] {
        assert_ne!(body.get(count), Some(&json!(0)), "{what} found nothing");
    }
}

async fn every_operation_answers_its_examples_as_documented(database: Database) {
    let (_, service) = exemplary(&database).await;
    let mut api = Api::of(&service);
    let document = document(&api).await;
    let servers = document["servers"].as_array().expect("servers").clone();
    assert_eq!(servers.len(), 2);
    let mut operations = Operation::all(&document);
    // Deletes last, for the others to find something.
    operations.sort_by_key(|operation| operation.method == Method::DELETE);
    for server in servers {
        let server = server["url"].as_str().expect("a url").trim_end_matches('/');
        api.base = format!("http://{}{server}", service.rest);
        for operation in &operations {
            let path = operation.with_examples(|_| true);
            let deletes = operation.method == Method::DELETE;
            let path = if deletes {
                path + "&dry_run=true"
            } else {
                path
            };
            let answer = operation.ask(&api, &document, &path).await;
            let what = format!("{server} {}", operation.name());
            assert!((200..400).contains(&answer.status), "{what}: {answer:?}");
            operation.assert_documented(&document, &answer);
            // A service that is ready has no reasons why not.
            if operation.path != "/readyz" {
                assert_not_empty(&answer, &what);
            }
        }
    }
    let delete = operations
        .iter()
        .rev()
        .find(|it| it.path.ends_with("delete/time"));
    let delete = delete.expect("it is documented");
    let path = delete.with_examples(|_| true);
    let answer = delete.ask(&api, &document, &path).await;
    delete.assert_documented(&document, &answer);
    assert_eq!(
        answer.json(),
        json!({"deleted_count": 199, "dry_run": false})
    );
    service.close_after_deletes().await;
}

async fn every_operation_takes_what_it_requires_and_no_less(database: Database) {
    let (_, service) = exemplary(&database).await;
    let api = Api::of(&service);
    let document = document(&api).await;
    let mut refusals = BTreeSet::new();
    for operation in Operation::all(&document) {
        let name = operation.name();
        // In the place of ids there may be tags, which OpenAPI cannot say.
        let takes_tags = operation.parameters().iter().any(|it| it["name"] == "tags");
        let is_live = operation.path == "/live";
        let by_ids = takes_tags
            && (is_live
                || ["/sensor/ids", "/sensor/ids-time", "/sensor/latest"]
                    .contains(&&*operation.path));
        // What is live would not end by itself.
        let ends = |parameter: &Value| is_live && parameter["name"] == "limit";
        let required = |parameter: &Value| {
            let is_id = parameter["name"] == "id1" || parameter["name"] == "id2";
            parameter["required"] == true || (by_ids && is_id) || ends(parameter)
        };
        for left_out in operation.parameters() {
            if left_out["in"] != "query" || !required(&left_out) || ends(&left_out) {
                continue;
            }
            let rest = |it: &Value| required(it) && it["name"] != left_out["name"];
            let answer = operation
                .ask(&api, &document, &operation.with_examples(rest))
                .await;
            let parameter = left_out["name"].as_str();
            answer.problem(400, "missing-parameter", parameter);
            operation.assert_documented(&document, &answer);
            refusals.insert(name.clone());
        }
        if operation.spec["responses"].get("404").is_some() {
            let path = operation.with_examples(required);
            let of_nobody = path
                .replace(STREAM, "nobody")
                .replace("index.html", "nothing.html")
                .replace("/plant/", "/nobody/");
            // Others are not found on other layouts alone.
            if of_nobody != path {
                let answer = operation.ask(&api, &document, &of_nobody).await;
                assert_eq!(answer.status, 404, "{name}");
                operation.assert_documented(&document, &answer);
            }
        }
        if operation.method != Method::DELETE {
            let answer = operation
                .ask(&api, &document, &operation.with_examples(required))
                .await;
            assert!((200..400).contains(&answer.status), "{name}: {answer:?}");
            operation.assert_documented(&document, &answer);
        }
        let unknown = operation.with_examples(required) + "&colour=red";
        let answer = operation.ask(&api, &document, &unknown).await;
        if operation.spec["responses"].get("400").is_some() && !operation.is_of_influxdb() {
            answer.problem(400, "unknown-parameter", Some("colour"));
            operation.assert_documented(&document, &answer);
        }
    }
    assert_eq!(refusals.len(), 13, "{refusals:?}");
    service.close().await;
}

async fn a_documented_path_takes_no_other_method(database: Database) {
    let (_, service) = exemplary(&database).await;
    let api = Api::of(&service);
    let document = document(&api).await;
    let operations = Operation::all(&document);
    for operation in &operations {
        let path = operation.with_examples(|it| it["required"] == true);
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            let is_taken = |it: &&Operation| it.path == operation.path && it.method == method;
            if operations.iter().find(is_taken).is_some() {
                continue;
            }
            let method = method.parse().expect("a method");
            let refused = api.send(api.request(method, &path)).await;
            refused.problem(405, "method-not-allowed", None);
            let allowed: Vec<_> = refused.header("allow").split(", ").collect();
            assert!(
                allowed.contains(&operation.method.as_str()),
                "{}",
                operation.name()
            );
        }
    }
    service.close().await;
}

async fn lines_of_an_export_are_documented_readings(database: Database) {
    let (_, service) = exemplary(&database).await;
    let api = Api::of(&service);
    let document = document(&api).await;
    let answer = api.get("/sensor/ids?id1=0,1&id2=A,B&format=ndjson").await;
    let schema = json!({"$ref": "#/components/schemas/Reading"});
    let mut lines = 0;
    for line in answer.text().lines() {
        let reading = serde_json::from_str(line).expect("JSON");
        assert_fits(&document, &schema, &reading, "a line");
        lines += 1;
    }
    assert_eq!(lines, 199);
    service.close().await;
}
