use std::path::Path;

use chrono::FixedOffset;

use super::*;
use crate::replay::ReplayOptions;
use clap::Parser;

#[derive(Parser)]
struct Replay {
    #[command(flatten)]
    options: ReplayOptions,
}

/// Readings, skipped cells and notes of a text, or the mistake as a person sees it.
fn read(
    text: impl AsRef<[u8]>,
    flags: &[&str],
) -> Result<(Vec<Reading>, u64, Vec<String>), String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.csv");
    std::fs::write(&path, text).unwrap();
    let shorten = |text: String| text.replace(&path.display().to_string(), "t.csv");
    let first = ["replay", path.to_str().unwrap()];
    let flags = first.iter().chain(flags);
    let options = Replay::try_parse_from(flags).unwrap().options;
    let meaning = options.meaning();
    let fail = |error: CsvError| shorten(error.to_string());
    let input = Input::open(&path).map_err(fail)?;
    let checked = check(&input, &meaning).map_err(fail)?;
    let (count, skipped) = (checked.readings, checked.skipped);
    let notes = checked.notes.iter().cloned().map(shorten).collect();
    let all = Readings::of(&input, &meaning, &checked).map_err(fail)?;
    let all: Vec<Reading> = all.collect::<Result<_, _>>().map_err(fail)?;
    assert_eq!(all.len() as u64, count, "both times the same");
    Ok((all, skipped, notes))
}

const WIDE: [&str; 5] = ["--wide", "--time-column", "date", "--id2", "seattle"];

fn with<'a>(flags: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [flags, more].concat()
}

#[test]
fn the_sample_file_yields_26277_readings() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/seattle-weather-hourly-normals.csv");
    let text = std::fs::read(path).unwrap();
    let (readings, skipped, notes) = read(text, &WIDE).unwrap();
    assert_eq!((readings.len(), skipped), (26_277, 0));
    assert_eq!(readings[0].sensor_type, "pressure");
    assert_eq!(readings[0].value, 1016.6);
    assert_eq!(readings[0].timestamp_us, 1_262_307_600_000_000);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("taken for UTC"), "{notes:?}");
}

#[test]
fn cells_without_a_value_are_skipped_and_counted() {
    let text = "date,a,b\n2026-01-01,1,\n2026-01-02,,\n2026-01-03,3,4\n";
    let (readings, skipped, _) = read(text, &WIDE).unwrap();
    assert_eq!((readings.len(), skipped), (3, 3));
    let (readings, skipped, _) = read(text, &with(&WIDE, &["--types", "b"])).unwrap();
    assert_eq!((readings.len(), skipped), (1, 2));
}

#[test]
fn a_long_file_has_a_reading_per_line_and_its_texts_as_they_are() {
    let text = "id2,id1,timestamp,sensor_type,sensor_value,unit\n\
                \" A \",-7,2026-01-01T00:00:00Z, wind ,-3.5,m/s\n\
                \"B\nC\",-7,2026-01-01T00:00:01Z,\"1,5\",,m/s\n";
    let (readings, skipped, notes) = read(text, &[]).unwrap();
    assert_eq!(skipped, 1);
    assert_eq!(
        readings,
        [Reading {
            id1: -7,
            id2: " A ".to_owned(),
            sensor_type: "wind".to_owned(),
            value: -3.5,
            timestamp_us: 1_767_225_600_000_000,
        }]
    );
    assert_eq!(notes, ["t.csv: the column is left out: unit"]);
}

#[test]
fn a_column_is_text_or_numbers_but_not_both() {
    let text = "date,a,sky,b\n2026-01-01,1,clear,N/A\n2026-01-02,2,rain,3\n";
    let error = read(text, &WIDE).unwrap_err();
    assert!(
        error.starts_with("t.csv, line 2, column b: \"N/A\" is no number"),
        "{error}"
    );
    let (readings, skipped, notes) = read(text, &with(&WIDE, &["--null", "N/A"])).unwrap();
    assert_eq!((readings.len(), skipped), (3, 1));
    assert!(notes.contains(&"t.csv: the column of text is left out: sky".to_owned()));
    // Named, it has to have numbers.
    let error = read(text, &with(&WIDE, &["--types", "a,sky"])).unwrap_err();
    assert!(
        error.starts_with("t.csv, line 2, column sky: \"clear\""),
        "{error}"
    );
}

#[test]
fn a_mistake_is_named_with_its_place_and_what_helps() {
    let long = "timestamp,id1,id2,sensor_type,sensor_value\n";
    let line = "2026-01-01T00:00:00Z,1,a,t,1\n";
    let of_long = |rest: &str| format!("{long}{line}{rest}");
    for (text, flags, place, part) in [
        (
            "date,a\n2026-01-01,1\n2026-01-02,x\n".to_owned(),
            &WIDE[..],
            ", line 3, column a",
            "--null 'x'",
        ),
        (
            "date,a\n2026-01-01,1,2\n".to_owned(),
            &WIDE,
            ", line 2",
            "found 3",
        ),
        (
            "date,a,b\n2026-01-01,1\n".to_owned(),
            &WIDE,
            ", line 2, column b",
            "found 2",
        ),
        (
            "day,a\n2026-01-01,1\n".to_owned(),
            &WIDE,
            ", line 1",
            "only day, a: --time-column",
        ),
        (
            "date;a\n2026-01-01;1,5\n".to_owned(),
            &WIDE,
            ", line 1",
            "--delimiter ';', and --decimal ','",
        ),
        (
            "date\ta\n2026-01-01\t1\n".to_owned(),
            &WIDE,
            ", line 1",
            "--delimiter 'tab'",
        ),
        (
            "date,a,a\n2026-01-01,1,2\n".to_owned(),
            &WIDE,
            ", line 1, column a",
            "twice",
        ),
        (
            "date\n2026-01-01\n".to_owned(),
            &WIDE,
            ", line 1",
            "no column of values",
        ),
        (
            "date,a\nnoon,1\n".to_owned(),
            &WIDE,
            ", line 2, column date",
            "--time-format",
        ),
        (String::new(), &[], "", "empty"),
        ("\u{feff}\n\n".to_owned(), &[], "", "empty"),
        (
            of_long("2026-01-01T00:00:00Z,1.0,a,t,1\n"),
            &[],
            ", line 3, column id1",
            "--id1-column",
        ),
        (
            of_long("2026-01-01T00:00:00Z,1,a,t,NaN\n"),
            &[],
            ", line 3, column sensor_value",
            "--null 'NaN'",
        ),
        (
            of_long("2026-01-01T00:00:00Z,1,a,t,1e999\n"),
            &[],
            ", line 3, column sensor_value",
            "beyond",
        ),
        (
            of_long("2026-01-01T00:00:00Z,1,\"a\nb\",t,x\n"),
            &[],
            ", line 4, column sensor_value",
            "\"x\" is no number",
        ),
        (
            of_long("2026-01-01T00:00:00Z,1,a\0,t,1\n"),
            &[],
            ", line 3, column id2",
            "NUL",
        ),
        (
            of_long(",1,a,t,1\n"),
            &[],
            ", line 3, column timestamp",
            "\"\" is no time",
        ),
    ] {
        let error = read(&text, flags).unwrap_err();
        let place = format!("t.csv{place}: ");
        assert!(
            error.starts_with(&place) && error.contains(part),
            "{text:?}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let latin = [
        of_long("2026-01-01T00:00:00Z,1,M").as_bytes(),
        b"\xfcnchen,t,1\n",
    ]
    .concat();
    let error = read(latin, &[]).unwrap_err();
    assert!(
        error.starts_with("t.csv, line 3, column id2: the text is not UTF-8"),
        "{error}"
    );
}

#[test]
fn what_is_no_csv_is_named() {
    for (bytes, part) in [
        (&b"PK\x03\x04rest"[..], "spreadsheet"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        // A header of gzip and nothing behind.
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "t.csv: "),
    ] {
        let error = read(bytes, &[]).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_mark_in_front_and_blank_lines_change_nothing() {
    let text = "\u{feff}date,a\r\n\r\n2026-01-01,1\r\n\r\n";
    let (readings, ..) = read(text, &WIDE).unwrap();
    assert_eq!(readings.len(), 1);
    let (readings, _, notes) = read("date,a\n", &WIDE).unwrap();
    assert!(
        readings.is_empty() && notes == ["t.csv: there is no reading in it"],
        "{notes:?}"
    );
}

#[test]
fn offsets_of_the_command_line_reach_the_times() {
    let text = "date,a\n2026-01-01 00:00:00,1\n";
    let (readings, _, notes) = read(text, &with(&WIDE, &["--utc-offset", "-01:00"])).unwrap();
    let hour_us = i64::from(FixedOffset::east_opt(3_600).unwrap().local_minus_utc()) * 1_000_000;
    assert_eq!(readings[0].timestamp_us, 1_767_225_600_000_000 + hour_us);
    assert!(notes.is_empty(), "{notes:?}");
}
