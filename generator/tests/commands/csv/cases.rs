//! Files, and what their writers expect of them.

/// A file, and what has to come of it.
pub(super) struct Case {
    pub(super) file: &'static str,
    pub(super) flags: &'static [&'static str],
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// Values that are stored, the time of the first reading in microseconds, cells that are skipped, and what is said.
    Stored {
        values: &'static [f64],
        first_us: i64,
        skipped: u64,
        said: &'static [&'static str],
    },
    /// Status 2 and nothing is sent; all of this is in the one sentence, behind the name of the file.
    Refused(&'static [&'static str]),
}

use Outcome::{Refused, Stored};

/// 2026-03-01T00:00:00Z
pub(super) const MARCH_US: i64 = 1_772_323_200_000_000;

pub(super) const CASES: [Case; 23] = [
    Case {
        file: "stray-quote.csv",
        flags: &[],
        outcome: Refused(&[
            ", line 3, column id2: ",
            "quote",
            "never closes",
            "--escape",
        ]),
    },
    Case {
        file: "after-quote.csv",
        flags: &[],
        outcome: Refused(&[", line 2, column id2: ", "text behind the closing quote"]),
    },
    Case {
        file: "escaped-quote.csv",
        flags: &[],
        outcome: Refused(&[", line 2, column id2: ", "--escape backslash"]),
    },
    Case {
        file: "escaped-quote.csv",
        flags: &["--escape", "backslash"],
        outcome: Stored {
            values: &[3.5],
            first_us: MARCH_US,
            skipped: 0,
            said: &[],
        },
    },
    Case {
        file: "crlf-bad-second.csv",
        flags: &[],
        outcome: Refused(&[", line 3, column id1: ", "\"x\"", "--id1-column"]),
    },
    Case {
        file: "epoch-seconds.csv",
        flags: &[],
        outcome: Refused(&[
            ", line 2, column timestamp: ",
            "as milliseconds is 1970-01-21T12:18:43.200Z",
            "as seconds 2026-03-01T00:00:00Z",
            "--time-unit s ",
        ]),
    },
    Case {
        file: "epoch-seconds.csv",
        flags: &["--time-unit", "s"],
        outcome: Stored {
            values: &[20.5, 20.6],
            first_us: MARCH_US,
            skipped: 0,
            said: &[],
        },
    },
    Case {
        file: "epoch-seconds.csv",
        flags: &["--time-unit", "auto"],
        outcome: Stored {
            values: &[20.5, 20.6],
            first_us: MARCH_US,
            skipped: 0,
            said: &["line 2, column timestamp", "taken for seconds"],
        },
    },
    Case {
        file: "epoch-nanos.csv",
        flags: &["--time-unit", "ns"],
        outcome: Stored {
            values: &[20.5],
            first_us: MARCH_US,
            skipped: 0,
            said: &[
                "line 2, column timestamp",
                "finer than a microsecond, and cut",
            ],
        },
    },
    Case {
        file: "epoch-nanos.csv",
        flags: &[],
        outcome: Refused(&[", line 2, column timestamp: ", "--time-unit ns "]),
    },
    Case {
        file: "epoch-fraction.csv",
        flags: &["--time-unit", "s"],
        outcome: Stored {
            values: &[20.5],
            first_us: MARCH_US + 250_000,
            skipped: 0,
            said: &[],
        },
    },
    Case {
        file: "semicolon-comma.csv",
        flags: &[],
        outcome: Refused(&[", line 1: ", "--delimiter ';'", "--decimal ','"]),
    },
    Case {
        file: "semicolon-comma.csv",
        flags: &["--delimiter", ";"],
        outcome: Refused(&[", line 2, column sensor_value: ", "\"20,5\"", "--decimal ,"]),
    },
    Case {
        file: "semicolon-comma.csv",
        flags: &["--delimiter", ";", "--decimal", ","],
        outcome: Stored {
            values: &[20.5, 1_020.6],
            first_us: MARCH_US,
            skipped: 0,
            said: &[],
        },
    },
    Case {
        file: "nulls.csv",
        flags: &[],
        outcome: Refused(&[", line 3, column sensor_value: ", "--null 'N/A'"]),
    },
    Case {
        file: "nulls.csv",
        flags: &["--null", "N/A", "--null", "\\N", "--null", "null"],
        outcome: Stored {
            values: &[20.5],
            first_us: MARCH_US,
            skipped: 3,
            said: &[],
        },
    },
    Case {
        file: "dates-wide.csv",
        flags: &["--wide", "--time-column", "date", "--id2", "field"],
        outcome: Stored {
            values: &[0.0, 1.5, 9.5, 4.2, 2.0, 8.0],
            first_us: MARCH_US,
            skipped: 0,
            said: &["of text is left out: sky", "taken for UTC"],
        },
    },
    Case {
        file: "german-time.csv",
        flags: &[
            "--wide",
            "--time-column",
            "Zeit",
            "--time-format",
            "%d.%m.%Y %H:%M",
            "--delimiter",
            ";",
            "--decimal",
            ",",
            "--id2",
            "field",
        ],
        outcome: Stored {
            values: &[20.5, 20.6],
            first_us: MARCH_US + 12 * 3_600_000_000,
            skipped: 0,
            said: &["taken for UTC"],
        },
    },
    Case {
        file: "local-dst.csv",
        flags: &["--time-zone", "Europe/Berlin"],
        outcome: Refused(&[
            ", line 3, column timestamp: ",
            "does not exist in Europe/Berlin",
            "--time-zone",
        ]),
    },
    Case {
        file: "local-dst.csv",
        flags: &["--utc-offset", "+01:00"],
        outcome: Stored {
            values: &[1.0, 2.0, 3.0],
            // 2026-03-29T00:59:00Z
            first_us: 1_774_745_940_000_000,
            skipped: 0,
            said: &[],
        },
    },
    Case {
        file: "duplicate-header.csv",
        flags: &[],
        outcome: Refused(&[
            ", line 1, column sensor_value: ",
            "stands twice",
            "--value-column",
        ]),
    },
    Case {
        file: "index-column.csv",
        flags: &["--wide", "--time-column", "timestamp", "--id2", "field"],
        outcome: Stored {
            values: &[20.5, 40.0, 20.6, 41.0],
            first_us: MARCH_US,
            skipped: 0,
            said: &["without a name is left out: 1"],
        },
    },
    Case {
        file: "monday.csv",
        flags: &[],
        outcome: Stored {
            values: &[1.0, 2.0, 3.0],
            // 2026-03-02T00:00:00Z
            first_us: MARCH_US + 86_400_000_000,
            skipped: 0,
            said: &[],
        },
    },
];
