//! The OpenAPI document, with what its derive cannot say.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::api::Document;

/// What needs no token: the health, and the document of the pages.
pub(super) const OPEN: [&str; 2] = ["/healthz", "/openapi.json"];

/// The document as JSON.
pub(super) fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
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
    for name in ["Settings", "Frequency"] {
        schemas[name]["properties"]["rate"]["$ref"] = reference("Rate")["$ref"].take();
    }
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
                *schema = json!({"anyOf": [of_change, {"type": "null"}]});
            }
        }
        schemas[format!("{name}Change")] = change;
    }
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
