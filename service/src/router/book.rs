//! Reads what the book says of errors, for the tests that hold it to the program.

/// The cells of each line of the table below the heading, without backticks.
pub(super) fn table(heading: &str) -> Vec<Vec<String>> {
    let book = include_str!("../../../docs/errors.md");
    let section = book
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .expect("a section of that name");
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<String>> = lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "the section {heading} has no table");
    rows
}

/// Whether a text is what the book shows; `…` stands for anything.
pub(super) fn shows(shown: &str, text: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut ends_open = true;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        ends_open = part.is_empty();
    }
    rest.is_empty() || (ends_open && shown.contains('…'))
}

#[test]
fn dots_stand_for_anything() {
    assert!(shows("a … c", "a b c") && shows("…", "a") && shows("a…", "abc") && shows("a", "a"));
    assert!(!shows("a … c", "a b d") && !shows("a", "ab") && !shows("a … c", "b c"));
}

#[test]
fn the_book_has_every_reason_for_a_rejection() {
    use crate::model::{Fault, Field, SeriesBound, TimeSpan, TimeWindow, TimestampRange};

    const NOW_US: i64 = 1_767_225_600_000_000;
    let table = TimestampRange::DATETIME_6;
    let all_of_it = TimeWindow::of_table(table);
    let times = [
        (all_of_it.not_before(NOW_US), NOW_US / 1_000_000),
        (all_of_it.kept_for(TimeSpan::DAY, NOW_US), 0),
        (
            all_of_it.at_most_ahead(TimeSpan::DAY, NOW_US),
            NOW_US * 1_000,
        ),
        (all_of_it, table.min_us - 1),
        (all_of_it, table.max_us + 1),
    ];
    let times = times.map(|(window, at_us)| Fault::Time(window.fault(at_us).expect("refused")));
    let texts = [Field::Id2, Field::SensorType]
        .into_iter()
        .flat_map(|field| {
            let max_chars = 50;
            [Fault::Empty(field), Fault::TooLong { field, max_chars }]
        });
    let others = [
        Fault::OuterBlank(Field::Id2),
        Fault::ControlCharacter(Field::Id2),
        Fault::Absent(Field::SensorValue),
        Fault::Absent(Field::TimestampUs),
        Fault::NotFinite,
        Fault::UnknownSeries {
            index: 7,
            series: 2,
        },
        Fault::TooManySeries(SeriesBound::Max(7)),
        Fault::TooManySeries(SeriesBound::NewPerHour(7)),
        Fault::TooManySeries(SeriesBound::Numbers),
        Fault::RefusedByDatabase("in words".to_owned()),
    ];
    let faults: Vec<Fault> = times.into_iter().chain(texts).chain(others).collect();
    let shown = self::table("Rejected readings");
    let fits = |row: &[String], fault: &Fault| {
        row[0] == fault.field().as_str() && shows(&row[1], &fault.to_string())
    };
    for fault in &faults {
        assert!(shown.iter().any(|row| fits(row, fault)), "{fault}");
    }
    for row in &shown {
        assert!(faults.iter().any(|fault| fits(row, fault)), "{row:?}");
    }
}
