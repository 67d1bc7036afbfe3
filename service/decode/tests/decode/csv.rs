//! CSV: a reading in each line.

use proptest::prelude::*;

use crate::common::{ARRIVAL_US, Decoded, decode, mapping, reading};

const NAMED: &str = "
format: csv
columns: [id1, id2, type, time, value]
value: { column: value }
sensor_type: { column: type }
id1: { column: id1 }
id2: { column: 2 }
time: { column: time, unit: ms }
";

const NUMBERED: &str = "
format: csv
delimiter: ';'
value: { column: 3 }
sensor_type: { constant: t }
id1: { column: 1, default: 7 }
id2: { column: 1 }
";

fn named(payload: &str) -> Decoded {
    decode(&mapping(NAMED), payload)
}

#[test]
fn columns_are_found_by_name_and_by_number() {
    let decoded = named(
        "id1,id2,type,time,value\r\n4,BOILER,temperature,1000,21.5\r\n\r\n4,\"a, \"\"b\"\"\",t,1.5,-1e3",
    );
    assert_eq!(
        decoded.readings,
        [
            reading("temperature", 4, "BOILER", 21.5, 1_000_000),
            reading("t", 4, "a, \"b\"", -1000.0, 1_500),
        ]
    );
    assert_eq!(decoded.sentences(), [""; 0]);
    let decoded = decode(&mapping(NUMBERED), "3;x; 1.5 ;rest\n");
    assert_eq!(decoded.readings, [reading("t", 3, "3", 1.5, ARRIVAL_US)]);
}

#[test]
fn a_malformed_line_says_why_and_loses_no_other() {
    for (line, fault) in [
        (
            "4,B,t,1",
            "payload is `4,B,t,1`, expected 5 columns, as mapping.columns names them, not 4",
        ),
        // A decimal comma.
        (
            "4,B,t,1,21,5",
            "payload is `4,B,t,1,21,5`, expected 5 columns, as mapping.columns names them, not 6",
        ),
        (
            "4,B,t,1,\"21,5\"",
            "sensor_value (column value) is `21,5`, expected a number with a point, not a comma",
        ),
        (
            "4,B,t,1,",
            "sensor_value (column value) is missing, expected a number",
        ),
        (
            "4,,t,1,2",
            "id2 (column 2) is missing, expected a text that is not empty",
        ),
        (
            "x,B,t,1,2",
            "id1 (column id1) is `x`, expected a whole number",
        ),
        (
            "4,B,t,now,2",
            "timestamp_us (column time) is `now`, expected milliseconds since 1970 as a number",
        ),
        (
            "4,\"B,t,1,2",
            "payload is `B,t,1,2`, expected a quote that closes what one has opened",
        ),
        (
            "4,\"B\"x,t,1,2",
            "payload is `x,t,1,2`, expected `,` or the end of the line after a quoted column",
        ),
        (
            "4,B,t,1,nan",
            "sensor_value (column value) is `nan`, expected a finite number",
        ),
    ] {
        let decoded = named(&format!("4,B,t,1,1\n{line}\n4,B,t,1,3"));
        assert_eq!(decoded.values(), [1.0, 3.0], "{line}");
        let sentence = &decoded.sentences()[0];
        assert!(
            sentence.starts_with(&format!("line 2: {fault}")),
            "{line}: {sentence}"
        );
    }
    let decoded = decode(&mapping(NUMBERED), "1;2\n");
    assert_eq!(
        decoded.sentences(),
        ["line 1: sensor_value (column 3) is missing, expected a number"]
    );
}

#[test]
fn a_quote_inside_of_an_unquoted_column_is_just_a_quote() {
    let decoded = named("4,5\" pipe,t,1,\"2\"");
    assert_eq!(decoded.readings, [reading("t", 4, "5\" pipe", 2.0, 1_000)]);
}

proptest! {
    #[test]
    fn what_the_csv_crate_writes_is_read_back(
        rows in prop::collection::vec((any::<i32>(), r#"[a-z ,;"'é]{1,9}"#, r#"[a-z,"]{1,9}"#, any::<i32>(), prop::num::f64::NORMAL), 1..20),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for (id1, id2, sensor_type, time_ms, value) in &rows {
            let row = [id1.to_string(), id2.clone(), sensor_type.clone(), time_ms.to_string(), format!("{value:e}")];
            writer.write_record(row).unwrap();
        }
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let expected: Vec<_> = rows
            .iter()
            .map(|(id1, id2, sensor_type, time_ms, value)| reading(sensor_type, *id1, id2, *value, i64::from(*time_ms) * 1_000))
            .collect();
        let decoded = named(&text);
        prop_assert_eq!(decoded.sentences(), Vec::<String>::new());
        prop_assert_eq!(decoded.readings, expected);
    }
}
