//! A CSV file, read as `sluicegen replay` reads it.

use std::sync::OnceLock;

use clap::{Args as _, Command, FromArgMatches as _};

use super::{
    ReplayOptions,
    input::Input,
    options::Meaning,
    readings::{Readings, check},
};

/// How the file is written; the first byte of the data chooses.
const FLAGS: [&str; 8] = [
    "",
    "--wide --id2 A",
    "--wide --id2 A --types x,y --delimiter ; --decimal ,",
    "--delimiter tab --escape backslash --null N/A",
    "--time-unit auto --decimal .",
    "--time-zone Europe/Berlin --ambiguous later",
    "--time-format %d.%m.%Y-%H:%M:%S%.f --utc-offset +02:00",
    "--time-column t --value-column v --type-column s --id1-column a --id2-column b",
];

fn meanings() -> &'static [Meaning] {
    static MEANINGS: OnceLock<Vec<Meaning>> = OnceLock::new();
    MEANINGS.get_or_init(|| {
        let meaning = |flags: &&str| {
            let args = ["replay", "input"]
                .into_iter()
                .chain(flags.split_whitespace());
            let read = ReplayOptions::augment_args(Command::new("replay")).get_matches_from(args);
            let options = ReplayOptions::from_arg_matches(&read).expect("its flags");
            options.meaning()
        };
        FLAGS.iter().map(meaning).collect()
    })
}

pub(crate) fn csv(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let meaning = &meanings()[usize::from(choice) % FLAGS.len()];
    let input = Input::of(text);
    let checked = match check(&input, meaning) {
        Ok(checked) => checked,
        Err(error) => {
            let lines = text
                .iter()
                .filter(|&&byte| matches!(byte, b'\n' | b'\r'))
                .count() as u64
                + 1;
            let is_packed = text.starts_with(b"\x1f\x8b");
            assert!(
                is_packed || error.line.is_none_or(|line| (1..=lines).contains(&line)),
                "{error}"
            );
            return;
        }
    };
    let readings = checked.readings;
    let again = Readings::of(&input, meaning, &checked).expect("it was opened before");
    let mut found = 0;
    for reading in again {
        let reading = reading.expect("it was read before");
        assert!(reading.value.is_finite(), "{reading:?}");
        found += 1;
    }
    assert_eq!(found, readings);
}
