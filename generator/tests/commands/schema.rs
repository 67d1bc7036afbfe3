//! The JSON that commands print has the form that the README describes.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use sluicegen::verify::VerifyReport;

use crate::{fake::Fake, sample, sluicegen};

/// The table under this heading of the README: what each key is.
fn documented(heading: &str) -> BTreeMap<String, String> {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once(heading).unwrap();
    let mut keys = BTreeMap::new();
    let mut rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    rows.next();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (names, kind) = (cells.next().unwrap(), cells.next().unwrap());
        for name in names.split(',') {
            keys.insert(name.trim().trim_matches('`').to_owned(), kind.to_owned());
        }
    }
    assert!(keys.len() > 5, "{heading}: {keys:?}");
    keys
}

fn has_documented_form(json: &Value, keys: &BTreeMap<String, String>) {
    let json = json.as_object().unwrap();
    let found: Vec<&String> = json.keys().collect();
    for key in &found {
        assert!(keys.contains_key(*key), "{key} is not documented");
    }
    for (key, kind) in keys {
        let Some(value) = json.get(key) else {
            assert!(
                kind.contains("may be absent"),
                "{key} is documented, and not there"
            );
            continue;
        };
        let list_of =
            |is: fn(&Value) -> bool| value.as_array().is_some_and(|all| all.iter().all(is));
        let fits = kind
            .split(" or ")
            .any(|kind| match kind.split(',').next().unwrap() {
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                "object" => value.is_object(),
                "strings" => list_of(Value::is_string),
                "objects" => list_of(Value::is_object),
                _ => panic!("{key}: {kind} is no type"),
            });
        assert!(fits, "{key} is {value}, and not {kind}");
    }
}

/// A `sluicegen serve`, which ends with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_reports_have_the_form_that_is_documented() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let report = |flags: &[&str]| {
        let (code, out, err) = sluicegen(flags);
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let keys = documented("### The report of `run` and `replay`");
    for rate in ["max", "10000"] {
        let flags = [
            "run", "--json", "--target", &target, "--count", "1000", "--bad", "0.1",
        ];
        let json = report(&[&flags[..], &["--rate", rate]].concat());
        has_documented_form(&json, &keys);
        let quantiles: Vec<&String> = json["ack_ms"].as_object().unwrap().keys().collect();
        assert_eq!(quantiles, ["max", "p50", "p90", "p99", "p999"]);
        let rejection = json["rejections"][0].as_object().unwrap();
        assert_eq!(rejection.keys().collect::<Vec<_>>(), ["readings", "reason"]);
        assert_eq!(json["target_per_s"].is_null(), rate == "max");
    }
    let file = sample();
    let flags = [
        "replay",
        &file,
        "--json",
        "--target",
        &target,
        "--wide",
        "--time-column",
        "date",
    ];
    let json = report(&[&flags[..], &["--id2", "seattle"]].concat());
    has_documented_form(&json, &keys);
    assert!(json["skipped"].is_u64());

    let json = serde_json::to_value(VerifyReport::default()).unwrap();
    has_documented_form(&json, &documented("### The report of `verify`"));

    let served = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
        .args(["serve", "--addr", "127.0.0.1:0", "--target", &target])
        .stderr(Stdio::piped())
        .spawn();
    let mut served = Served(served.unwrap());
    let mut line = String::new();
    let mut stderr = BufReader::new(served.0.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let endpoint = line.split('/').nth(2).unwrap().to_owned();
    let json = report(&["fleet", "--json", "--endpoints", &endpoint, "stats"]);
    has_documented_form(&json, &documented("### The figures of `fleet stats`"));
    let spread: Vec<&String> = json["rate"].as_object().unwrap().keys().collect();
    assert_eq!(spread, ["avg", "max", "min", "total"]);
}
