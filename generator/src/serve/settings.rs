//! What a generator is told to do.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use crate::{
    access::Access,
    flags::{self, Rate},
    patterns::{Misfit, Patterns},
    run::{EncodingFlag, GiveUpAfter, Mode, RunOptions},
};

/// The configuration, as `GET /config` shows it and `POST /config` changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address of the service.
    #[schema(example = "http://127.0.0.1:50051")]
    pub target: String,
    /// The kind of call.
    pub mode: Mode,
    /// Of the streaming modes.
    pub encoding: EncodingFlag,
    /// Readings per second, or "max".
    #[schema(value_type = Value, example = json!(1000))]
    pub rate: Rate,
    /// Connections, each with its own stream; 1 to 1024.
    #[schema(minimum = 1, maximum = 1_024)]
    pub connections: u16,
    /// Readings per batch, 1 to 1000000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub batch_size: Option<u32>,
    /// Calls at a time, with the modes unary and batch; 1 to 65536.
    #[schema(minimum = 1, maximum = 65_536)]
    pub concurrency: u32,
    /// What the readings look like.
    pub patterns: Patterns,
}

impl Default for Settings {
    fn default() -> Self {
        let options = RunOptions::default();
        Self {
            target: options.target,
            mode: options.mode,
            encoding: options.encoding,
            rate: Rate::PerSecond(1_000.0),
            connections: options.connections,
            batch_size: None,
            concurrency: options.concurrency,
            patterns: Patterns::default(),
        }
    }
}

impl Settings {
    /// These settings with a part of them changed, as RFC 7386 describes it.
    pub(super) fn merged(&self, change: Value) -> Result<Self, Problem> {
        let invalid = |reason: String| Problem::new(Kind::InvalidConfig, reason);
        if !change.is_object() {
            return Err(invalid(
                "The configuration must be a JSON object.".to_owned(),
            ));
        }
        let mut whole = serde_json::to_value(self).map_err(|error| invalid(error.to_string()))?;
        merge(&mut whole, change);
        if whole.get("patterns").is_none() {
            whole["patterns"] = Value::Object(serde_json::Map::new());
        }
        // As a list, serde would take it for the values of the fields.
        if !whole["patterns"].is_object() {
            let detail = "patterns must be a JSON object";
            return Err(Problem::of(Kind::InvalidConfig, "patterns", detail));
        }
        let settings: Self = serde_path_to_error::deserialize(whole)
            .map_err(|error| Problem::of_json(Kind::InvalidConfig, error))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Problem> {
        let invalid =
            |name: &str, reason: String| Err(Problem::of(Kind::InvalidConfig, name, reason));
        if let Err(reason) = flags::target(&self.target) {
            return invalid("target", format!("target is {:?}: {reason}", self.target));
        }
        let within = |name: &str, value: u32, most| match (1..=most).contains(&value) {
            true => Ok(()),
            false => invalid(name, format!("{name} is {value}, but must be 1 to {most}")),
        };
        within("connections", self.connections.into(), 1_024)?;
        within("concurrency", self.concurrency, 65_536)?;
        within("batch_size", self.batch_size.unwrap_or(1), 1_000_000)?;
        let misfit = |misfit: Misfit| {
            let name = format!("patterns.{}", misfit.field);
            Problem::of(Kind::InvalidConfig, name, misfit.reason)
        };
        self.patterns.check().map_err(misfit)
    }

    /// The options of a run without end with these settings.
    pub(super) fn options(&self, access: &Access) -> RunOptions {
        RunOptions {
            target: self.target.clone(),
            access: access.clone(),
            mode: self.mode,
            encoding: self.encoding,
            rate: self.rate,
            connections: self.connections,
            batch_size: self.batch_size,
            concurrency: self.concurrency,
            // It goes on by itself once the target is back.
            give_up_after: GiveUpAfter(None),
            ..RunOptions::default()
        }
    }
}

fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                match value {
                    Value::Null => drop(target.remove(&key)),
                    value => merge(target.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (target, change) => *target = change,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_names_only_what_it_changes() {
        let settings = Settings::default()
            .merged(
                json!({"rate": "max", "patterns": {"types": ["rain:2=normal:5:1"], "id1": "0..3"}}),
            )
            .unwrap();
        assert_eq!(settings.rate, Rate::Max);
        assert_eq!(settings.patterns.types[0].weight, 2);
        assert_eq!(settings.patterns.series, 1_000);
        let back = settings
            .merged(json!({"patterns": {"id1": null}, "rate": 5}))
            .unwrap();
        assert_eq!((back.patterns.id1, back.rate), (None, Rate::PerSecond(5.0)));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_name() {
        for (change, name) in [
            (json!({"targets": "x"}), "targets"),
            (json!({"target": "nowhere"}), "target"),
            (json!({"target": 3}), "target"),
            (json!({"connections": 0}), "connections"),
            (json!({"connections": 70_000}), "connections"),
            (json!({"concurrency": -1}), "concurrency"),
            (json!({"batch_size": 0}), "batch_size"),
            (json!({"rate": -1}), "rate"),
            (json!({"mode": "fast"}), "mode"),
            (json!({"encoding": []}), "encoding"),
            (json!({"patterns": []}), "patterns"),
            (json!({"patterns": {"bad": 2}}), "patterns.bad"),
            (json!({"patterns": {"late": "x"}}), "patterns.late"),
            (
                json!({"patterns": {"late": 0.7, "bad": 0.4}}),
                "patterns.late",
            ),
            (json!({"patterns": {"latte": 2}}), "patterns.latte"),
            (json!({"patterns": {"late_by": "soon"}}), "patterns.late_by"),
            (
                json!({"patterns": {"start_time": "soon"}}),
                "patterns.start_time",
            ),
            (json!({"patterns": {"types": []}}), "patterns.types"),
            (
                json!({"patterns": {"types": ["a", "b=dice"]}}),
                "patterns.types[1]",
            ),
            (
                json!({"patterns": {"types": [{"name": "a", "weight": 0}]}}),
                "patterns.types[0]",
            ),
            (json!({"patterns": {"id1": "x"}}), "patterns.id1"),
            (json!({"patterns": {"id2": ""}}), "patterns.id2"),
            (json!({"patterns": {"series": 0}}), "patterns.series"),
            (json!({"patterns": {"values": "dice"}}), "patterns.values"),
        ] {
            let problem = Settings::default().merged(change).unwrap_err();
            assert_eq!(problem.parameter.as_deref(), Some(name), "{problem:?}");
            let last = name.rsplit('.').next().unwrap_or(name);
            assert!(problem.detail.contains(last), "{problem:?}");
        }
        let problem = Settings::default().merged(json!([])).unwrap_err();
        assert!(problem.detail.contains("object"), "{problem:?}");
    }
}
