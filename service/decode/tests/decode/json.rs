//! JSON as devices and gateways send it.

use proptest::prelude::*;
use serde_json::Value;

use crate::common::{ARRIVAL_US, Decoded, decode, mapping, reading};

const PLAIN: &str = "
format: json
value: { pointer: /v }
sensor_type: { constant: t }
id1: { pointer: /id, default: 0 }
id2: { constant: x }
";

fn plain(payload: impl AsRef<[u8]>) -> Decoded {
    decode(&mapping(PLAIN), payload)
}

#[test]
fn an_object_an_array_and_lines_give_the_same() {
    for payload in [
        r#"[{"v":1,"id":1},{"v":2}]"#,
        "{\"v\":1,\"id\":1}\n{\"v\":2}",
        "\u{feff}\n {\"v\":1,\"id\":1} \r\n\r\n{\"v\":2}\n\n",
        "[\n  {\n    \"v\": 1,\n    \"id\": 1\n  },\n  {\"v\": 2}\n]\n",
        "[{\"v\":1,\"id\":1}]\n[{\"v\":2}]\n",
        "[{\"v\":1,\"id\":1},\n{\"v\":2}]",
    ] {
        let decoded = plain(payload);
        let expected = [
            reading("t", 1, "x", 1.0, ARRIVAL_US),
            reading("t", 0, "x", 2.0, ARRIVAL_US),
        ];
        assert_eq!(
            decoded.readings,
            expected,
            "{payload}: {:?}",
            decoded.sentences()
        );
    }
    assert_eq!(plain("{\n  \"id\": 1,\n  \"v\": 1\n}").values(), [1.0]);
    assert_eq!(plain("[]").counts.readings, 0);
    assert_eq!(
        plain("").sentences(),
        ["the message: payload is missing, expected an object, or an array of objects"]
    );
}

#[test]
fn what_is_a_number_and_what_is_none() {
    for (text, value) in [
        ("21.5", 21.5),
        ("\"21.5\"", 21.5),
        ("\" -3e2 \"", -300.0),
        ("\"2\\u0031\"", 21.0),
        ("true", 1.0),
        ("false", 0.0),
        ("-0", -0.0),
        ("18446744073709551617", 18_446_744_073_709_551_616.0),
        ("1e-400", 0.0),
    ] {
        let decoded = plain(format!("{{\"v\":{text}}}"));
        assert_eq!(
            decoded.values(),
            [value],
            "{text}: {:?}",
            decoded.sentences()
        );
    }
    for (text, fault) in [
        (
            "1e400",
            "is `1e400`, expected a finite number, at most 1.8e308",
        ),
        (
            "\"21,5\"",
            "is `21,5`, expected a number with a point, not a comma",
        ),
        ("\"NaN\"", "is `NaN`, expected a finite number"),
        ("NaN", "is `NaN`, expected a finite number"),
        ("-Infinity", "is `-Infinity`, expected a finite number"),
        ("\"on\"", "is `on`, expected a number"),
        ("\"true\"", "is `true`, expected a number"),
        (
            "\"\\ud800\"",
            "is `\"\\ud800\"`, expected a text of Unicode characters",
        ),
        ("null", "is missing, expected a number"),
        ("\"\"", "is missing, expected a number"),
        ("[1]", "is `[1]`, expected a number"),
        ("{\"x\":1}", "is `{\"x\":1}`, expected a number"),
        ("1,\"v\":2", "is `2`, expected one member of this name"),
        ("null,\"v\":2", "is `2`, expected one member of this name"),
    ] {
        // Beside others in an array nothing of them is lost.
        let decoded = plain(format!("[{{\"v\":1}},{{\"v\":{text}}},{{\"v\":3}}]"));
        assert_eq!(decoded.values(), [1.0, 3.0], "{text}");
        let sentence = format!("record 2: sensor_value (/v) {fault}");
        assert!(
            decoded.sentences()[0].starts_with(&sentence),
            "{:?}",
            decoded.sentences()
        );
    }
}

#[test]
fn a_malformed_line_loses_no_other() {
    for line in [
        "{\"v\":1",
        "{\"v\":01}",
        "{\"v\":2}}",
        "{\"v\":2} x",
        "{'v':2}",
        "x",
        "{\"v\":\"\t\"}",
    ] {
        let decoded = plain(format!("{{\"v\":1}}\n{line}\n{{\"v\":3}}\n"));
        assert_eq!(decoded.values(), [1.0, 3.0], "{line}");
        let sentence = &decoded.sentences()[0];
        assert!(sentence.starts_with("line 2: payload is `"), "{sentence}");
        assert!(sentence.contains("expected JSON ("), "{sentence}");
    }
    let decoded = plain(b"{\"v\":1}\n{\"v\":2,\"x\":\"\xff\"}\n{\"v\":3}");
    assert_eq!(decoded.values(), [1.0, 3.0]);
    assert!(decoded.sentences()[0].ends_with("expected text in UTF-8"));
}

#[test]
fn words_for_what_is_not_finite_are_faults_of_their_readings() {
    let each =
        mapping("{format: json, value: {each: /f}, id1: {constant: 1}, id2: {constant: NaN}}");
    let decoded = decode(&each, r#"{"f":{"a":NaN,"b":2,"NaN":3}}"#);
    assert_eq!(decoded.values(), [2.0, 3.0]);
    assert_eq!(decoded.counts.left_out, 1);
    assert_eq!(plain("{\"v\":1}\n{\"v\":NaN}\n").values(), [1.0]);
}

#[test]
fn what_an_array_held_before_it_broke_off_is_kept() {
    let decoded = plain("[{\"v\":1},\n{\"v\":2},\n{\"v\":");
    assert_eq!(decoded.values(), [1.0, 2.0]);
    assert_eq!(
        decoded.sentences(),
        ["line 3: payload is `{\"v\":`, expected JSON (EOF while parsing a value)"]
    );
}

#[test]
fn records_that_are_no_objects_are_faults_of_their_own() {
    let decoded = plain("[1,{\"v\":2},null,[],\"x\"]");
    assert_eq!(decoded.values(), [2.0]);
    assert_eq!(decoded.counts.faults, 4);
    assert_eq!(
        decoded.sentences()[0],
        "record 1: sensor_value (/v) is missing, expected a number"
    );
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // Where nobody looks it is skipped.
    assert_eq!(
        plain(format!("{{\"x\":{},\"v\":1}}", deep(100_000))).values(),
        [1.0]
    );
    let decoded = plain(format!("{{\"v\":{}}}", deep(100_000)));
    assert_eq!(decoded.counts.faults, 1);
    assert!(decoded.sentences()[0].len() < 300);
    let many = mapping(
        "{format: json, records: /r, value: {each: /f}, id1: {constant: 1}, id2: {pointer: /a/b/c}}",
    );
    for payload in [
        deep(100_000),
        "{\"r\":".repeat(100_000),
        "{\"r\":[{\"f\":{\"x\":".repeat(100_000),
    ] {
        assert_eq!(decode(&many, payload).readings, []);
    }
}

#[test]
fn each_number_of_an_object_is_a_reading_of_its_name() {
    let all = mapping(
        "{format: json, value: {each: ''}, id1: {constant: 1}, id2: {pointer: /device}, time: {pointer: /at, unit: s}}",
    );
    let decoded = decode(
        &all,
        r#"{"temperature":21.5,"at":1795785959.25,"humidity":40,"on":true,"state":"12","none":null,"inner":{"x":1},"device":"d","big":1e999}"#,
    );
    let at_us = 1_795_785_959_250_000;
    assert_eq!(
        decoded.readings,
        [
            reading("temperature", 1, "d", 21.5, at_us),
            reading("humidity", 1, "d", 40.0, at_us),
            reading("on", 1, "d", 1.0, at_us),
        ]
    );
    assert_eq!(decoded.counts.left_out, 3);
    assert_eq!(
        decoded.sentences(),
        ["record 1: sensor_value (big) is `1e999`, expected a finite number, at most 1.8e308"]
    );
    let below =
        mapping("{format: json, value: {each: /f}, id1: {constant: 1}, id2: {constant: d}}");
    assert_eq!(decode(&below, r#"{"f":{}}"#).counts.faults, 0);
    assert_eq!(
        decode(&below, r#"{"g":{"x":1}}"#).sentences(),
        ["record 1: sensor_value (/f) is missing, expected an object with numbers"]
    );
    assert_eq!(decode(&below, r#"{"f":[1,2]}"#).readings[1].0, "1");
    // As in line protocol.
    assert_eq!(
        decode(&below, r#"{"f":{"x":1,"x":2}}"#).values(),
        [1.0, 2.0]
    );
}

#[test]
fn records_below_the_root_take_what_stands_beside_them() {
    let gateway = mapping(
        "
format: json
records: /data/readings
value: { pointer: /v }
sensor_type: { pointer: /t }
id1: { root: /gateway/id }
id2: { root: /gateway/name }
time: { pointer: /at, unit: rfc3339, default: arrival }
",
    );
    let payload = r#"{"data":{"n":1e999,"readings":[{"t":"a","v":1},{"t":"b","v":2,"at":"1970-01-01T00:00:01+00:00"}]},"gateway":{"name":"gw","id":"7"}}"#;
    let expected = [
        reading("a", 7, "gw", 1.0, ARRIVAL_US),
        reading("b", 7, "gw", 2.0, 1_000_000),
    ];
    assert_eq!(decode(&gateway, payload).readings, expected);
    let twice = decode(&gateway, format!("[{payload},{payload}]"));
    assert_eq!(
        twice.readings,
        [expected.clone(), expected.clone()].concat()
    );
    let lines = decode(&gateway, format!("{payload}\n{payload}"));
    assert_eq!(lines.readings, [expected.clone(), expected].concat());
    for payload in ["{}", "{\"data\":{\"readings\":3}}", "{\"data\":[]}", "7"] {
        assert_eq!(
            decode(&gateway, payload).sentences(),
            ["the message: payload (/data/readings) is missing, expected an array of records"],
            "{payload}"
        );
    }
    let nameless = decode(
        &gateway,
        r#"{"data":{"readings":[{"t":"a","v":1}]},"gateway":{"id":1}}"#,
    );
    assert_eq!(
        nameless.sentences(),
        ["record 1: id2 (/gateway/name) is missing, expected a text that is not empty"]
    );
}

#[test]
fn pointers_lead_through_arrays_and_odd_names() {
    let odd = mapping(
        r#"{format: json, value: {pointer: "/a/1/x~1y"}, sensor_type: {pointer: "/m~0"}, id1: {pointer: /a/0}, id2: {pointer: "/é"}}"#,
    );
    assert_eq!(
        decode(&odd, r#"{"a":[4,{"x/y":2.5}],"m~":"t","\u00e9":17}"#).readings,
        [reading("t", 4, "17", 2.5, ARRIVAL_US)]
    );
}

#[test]
fn ids_are_held_to_what_they_are() {
    for (id, sentence) in [
        (
            "4.5",
            "is `4.5`, expected a whole number from -2147483648 to 2147483647",
        ),
        ("2147483648", "is `2147483648`, expected a whole number"),
        ("\"four\"", "is `four`, expected a whole number"),
        ("true", "is `true`, expected a whole number"),
        ("[]", "is `[]`, expected a whole number"),
    ] {
        let decoded = plain(format!("{{\"v\":1,\"id\":{id}}}"));
        assert!(
            decoded.sentences()[0].starts_with(&format!("record 1: id1 (/id) {sentence}")),
            "{:?}",
            decoded.sentences()
        );
    }
    for (id, id1) in [
        ("\"-12\"", -12),
        ("-2147483648", i32::MIN),
        ("null", 0),
        ("\"\"", 0),
    ] {
        assert_eq!(plain(format!("{{\"v\":1,\"id\":{id}}}")).readings[0].1, id1);
    }
}

#[test]
fn tags_of_json_are_as_those_of_line_protocol() {
    let tagged = mapping(
        "{format: json, value: {pointer: /v}, sensor_type: {tag: kind}, tags: /tags, ignored_tags: [host]}",
    );
    let id2 = |tags: &str| decode(&tagged, format!("{{\"v\":1,\"tags\":{tags}}}"));
    assert_eq!(
        id2(
            r#"{"b":2,"a":"x,y","host":"h","kind":"t","id1":"4","empty":"","none":null,"yes":true}"#
        )
        .readings,
        [reading("t", 4, r"a=x\,y,b=2,yes=true", 1.0, ARRIVAL_US)]
    );
    assert_eq!(
        id2(r#"{"kind":"t","a":1,"a":2}"#).sentences(),
        ["record 1: tags is `a`, expected each tag once"]
    );
    assert_eq!(
        id2(r#"{"kind":"t","a":{"x":1}}"#).sentences(),
        ["record 1: tags (a) is `{\"x\":1}`, expected a text"]
    );
}

/// Objects of few names, so that pointers lead somewhere.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9.,\"\\\\é\u{1}]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[ab/~é\"]{1,2}|[01]", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn pointers_lead_where_those_of_serde_json_lead(
        message in value(),
        pointer in "(/(a|b|é|~0|~1|a~1|\"|0|1)){0,3}",
        is_pretty in any::<bool>(),
    ) {
        // An array at the root is one of messages.
        let written = if message.is_array() { Value::from(vec![message.clone()]) } else { message.clone() };
        let settings = serde_json::json!({
            "format": "json",
            "value": {"pointer": pointer},
            "sensor_type": {"constant": "t"},
            "id1": {"constant": 1},
            "id2": {"constant": "x"},
        });
        let text = if is_pretty { serde_json::to_string_pretty(&written) } else { serde_json::to_string(&written) };
        let decoded = decode(&mapping(&settings.to_string()), text.unwrap());
        let expected = match message.pointer(&pointer) {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::Bool(is_true)) => Some(f64::from(u8::from(*is_true))),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        prop_assert_eq!(decoded.values(), Vec::from_iter(expected), "{:?}", decoded.sentences());
        prop_assert_eq!(decoded.counts.readings + decoded.counts.faults, 1);
    }
}
