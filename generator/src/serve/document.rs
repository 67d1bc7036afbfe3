//! The OpenAPI document, with what its derive cannot say.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::api::{Document, OPEN};

/// What may be a number, or a list, where its text would say the same.
const LISTS: [&str; 3] = ["id1", "id2", "start_time"];

/// The document as JSON.
pub(super) fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    // The format int64, which its derive gives it, ends at half of it.
    document["components"]["schemas"]["Patterns"]["properties"]["seed"] = json!({
        "type": "integer",
        "description": "The same seed makes the same readings",
        "minimum": 0,
        "maximum": u64::MAX,
    });
    describe_rates(&mut document["components"]["schemas"]);
    describe_changes(&mut document["components"]["schemas"]);
    document["paths"]["/config"]["post"]["requestBody"]["content"]["application/json"]["schema"] =
        reference("SettingsChange");
    document["components"]["securitySchemes"]["token"] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "The token of --api-token-file. Without one nobody is asked for it.",
    });
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            let operations = item.as_object_mut().into_iter().flatten();
            operations.for_each(|(_, operation)| describe_access(path, operation));
        }
    }
    document
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Readings per second are a number or a text.
fn describe_rates(schemas: &mut Value) {
    schemas["Rate"] = json!({"anyOf": [
        {"type": "number", "description": "Readings per second", "minimum": 0.001, "maximum": 100_000_000},
        {
            "type": "string",
            "description": "`max`, or readings per second such as `10k` or `1.5M`",
            "pattern": "^(max|[0-9_,]*[0-9]+[0-9_,]*(\\.[0-9]+)?(e[0-9]+)?[kM]?)$",
        },
    ]});
    schemas["Settings"]["properties"]["rate"]["$ref"] = reference("Rate")["$ref"].take();
    describe_frequency(&mut schemas["Frequency"]);
}

/// Either of two keys, where null stands for one that is not there.
fn describe_frequency(frequency: &mut Value) {
    let properties = frequency["properties"].take();
    let (mut timeout, mut rate) = (properties["timeout"].clone(), properties["rate"].clone());
    timeout["type"] = json!("string");
    rate["$ref"] = reference("Rate")["$ref"].take();
    let null = json!({"type": "null"});
    let one = |name: &str, timeout: &Value, rate: &Value| {
        json!({
            "type": "object",
            "required": [name],
            "properties": {"timeout": timeout, "rate": rate},
            "additionalProperties": false,
        })
    };
    *frequency = json!({
        "description": frequency["description"],
        "oneOf": [one("timeout", &timeout, &null), one("rate", &null, &rate)],
    });
}

/// In a change each key may be left out, or be null for what it is by default (RFC 7386).
fn describe_changes(schemas: &mut Value) {
    for name in ["Settings", "Patterns"] {
        let mut change = schemas[name].clone();
        if let Some(properties) = change["properties"].as_object_mut() {
            for (name, schema) in properties {
                let of_change = match name.as_str() {
                    "patterns" => reference("PatternsChange"),
                    _ => schema.take(),
                };
                let mut forms = vec![of_change, json!({"type": "null"})];
                if LISTS.contains(&name.as_str()) {
                    forms.extend([json!({"type": "integer"}), json!({"type": "array"})]);
                }
                *schema = json!({"anyOf": forms});
            }
        }
        if name == "Patterns" {
            change["properties"]["types"] = types_change(&schemas["SensorType"]);
        }
        schemas[format!("{name}Change")] = change;
    }
}

/// A type may be given without its weight, or as the flag `--types` has it.
fn types_change(sensor_type: &Value) -> Value {
    let mut named = sensor_type.clone();
    named["required"] = json!(["name"]);
    let text = json!({
        "type": "string",
        "description": "NAME[:WEIGHT][=VALUES]",
        "pattern": "^[^:=]+(:[0-9]+)?(=.+)?$",
    });
    let items = json!({"anyOf": [named, text]});
    json!({"anyOf": [{"type": "array", "minItems": 1, "items": items}, {"type": "null"}]})
}

fn describe_access(path: &str, operation: &mut Value) {
    if OPEN.contains(&path) {
        return;
    }
    operation["security"] = json!([{"token": []}]);
    operation["responses"]["401"] = json!({
        "description": "The token is missing, or not the one",
        "content": {"application/problem+json": {"schema": reference("Problem")}},
    });
}
