//! The flags of `sluicegen replay`.

use std::{path::PathBuf, time::Duration};

use chrono::FixedOffset;
use chrono_tz::Tz;
use clap::Args;

use super::{
    columns::{Form, LongColumns, WideColumns},
    number::Decimal,
    quotes::{Delimiter, Dialect, Escape},
    time::{Ambiguous, TimeFormat, TimeRules, UnitFlag, Zone},
};
use crate::{
    access::Access,
    flags::{self, GiveUpAfter, Rate},
    run::EncodingFlag,
};

/// Which file, how to read it and where to send it.
#[derive(Debug, Clone, Args)]
pub struct ReplayOptions {
    /// A CSV file with a header line, or - for standard input. What is compressed with gzip is unpacked.
    pub file: PathBuf,
    /// Address of the service.
    #[arg(
        long,
        default_value = "http://127.0.0.1:50051",
        env = "SLUICEGEN_TARGET",
        value_parser = flags::target
    )]
    pub target: String,
    #[command(flatten)]
    pub access: Access,
    /// Name of the stream. A named replay that is run again goes on where the last one stopped, and says so; what follows
    /// in the file by then is sent too. Another file is refused.
    #[arg(long, value_name = "NAME")]
    pub stream_id: Option<String>,
    /// Sends a file behind another one that the stream stands in.
    #[arg(long, requires = "stream_id")]
    pub append: bool,
    #[arg(long, value_enum, default_value_t = EncodingFlag::Columns)]
    pub encoding: EncodingFlag,
    /// Readings per second, or max.
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub rate: Rate,
    /// How long to try to connect at the start.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = flags::duration)]
    pub connect_timeout: Duration,
    /// How long to go on without progress, or none.
    #[arg(long, value_name = "TIME|none", default_value = "60s")]
    pub give_up_after: GiveUpAfter,
    /// What separates cells: one character, or tab.
    #[arg(long, value_name = "CHAR", default_value = ",", help_heading = HOW)]
    pub delimiter: Delimiter,
    /// What a quote inside of a quoted cell is escaped with, beside being doubled.
    #[arg(long, value_enum, default_value_t = Escape::Double, help_heading = HOW)]
    pub escape: Escape,
    /// The decimal sign. The other one, blanks and ' may then stand between thousands [default: a point, and nothing
    /// between thousands].
    #[arg(long, value_name = ".|,", help_heading = HOW)]
    pub decimal: Option<Decimal>,
    /// A value that means none, such as N/A; may be given again. Empty cells always do.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = HOW)]
    pub null: Vec<String>,
    /// Column of the times: 2026-01-31T12:00:00Z, with or without an offset, seconds or a time of day; or a number.
    #[arg(long, value_name = "NAME", default_value = "timestamp", help_heading = HOW)]
    pub time_column: String,
    /// How times are written, such as '%d.%m.%Y %H:%M', in the letters of strftime.
    #[arg(long, value_name = "FORMAT", conflicts_with = "time_unit", help_heading = HOW)]
    pub time_format: Option<TimeFormat>,
    /// Unit of times that are numbers since 1970; auto takes the one that gives a time from 1990 to 2100
    /// [default: ms, where that does].
    #[arg(long, value_enum, help_heading = HOW)]
    pub time_unit: Option<UnitFlag>,
    /// What to take times without an offset for [default: UTC].
    #[arg(long, value_name = "+HH:MM", value_parser = flags::utc_offset, allow_hyphen_values = true, help_heading = HOW)]
    pub utc_offset: Option<FixedOffset>,
    /// The zone of times without an offset, such as Europe/Berlin.
    #[arg(long, value_name = "NAME", value_parser = zone, conflicts_with = "utc_offset", help_heading = HOW)]
    pub time_zone: Option<Tz>,
    /// Which one is meant of a time that comes twice, as clocks are put back.
    #[arg(long, value_enum, default_value_t = Ambiguous::Earlier, requires = "time_zone", help_heading = HOW)]
    pub ambiguous: Ambiguous,
    /// Column of the values.
    #[arg(long, value_name = "NAME", default_value = "sensor_value", conflicts_with = "wide", help_heading = HOW)]
    pub value_column: String,
    /// Column of the sensor types.
    #[arg(long, value_name = "NAME", default_value = "sensor_type", conflicts_with = "wide", help_heading = HOW)]
    pub type_column: String,
    /// Column of id1.
    #[arg(long, value_name = "NAME", default_value = "id1", conflicts_with = "wide", help_heading = HOW)]
    pub id1_column: String,
    /// Column of id2.
    #[arg(long, value_name = "NAME", default_value = "id2", conflicts_with = "wide", help_heading = HOW)]
    pub id2_column: String,
    /// One column per sensor type instead of one reading per line.
    #[arg(long, requires = "id2", help_heading = HOW)]
    pub wide: bool,
    /// The columns that are sensor types [default: all that have a name and numbers, but the time].
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "wide", help_heading = HOW)]
    pub types: Vec<String>,
    /// id1 of all readings of a wide file.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "wide",
        allow_negative_numbers = true,
        help_heading = HOW
    )]
    pub id1: i32,
    /// id2 of all readings of a wide file.
    #[arg(long, value_name = "TEXT", requires = "wide", help_heading = HOW)]
    pub id2: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

const HOW: &str = "How the file is written";

/// Everything that decides what a cell means.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    pub(super) dialect: Dialect,
    pub(super) form: Form,
    pub(super) decimal: Option<Decimal>,
    pub(super) nulls: Vec<String>,
    pub(super) time: TimeRules,
}

impl ReplayOptions {
    pub(super) fn meaning(&self) -> Meaning {
        Meaning {
            dialect: Dialect {
                delimiter: self.delimiter,
                escape: self.escape,
            },
            form: self.form(),
            decimal: self.decimal,
            nulls: self.null.clone(),
            time: TimeRules {
                unit: self.time_unit,
                format: self.time_format.clone(),
                zone: match (self.time_zone, self.utc_offset) {
                    (Some(zone), _) => Zone::Named(zone),
                    (None, Some(offset)) => Zone::Offset(offset),
                    (None, None) => Zone::Assumed,
                },
                ambiguous: self.ambiguous,
                decimal: self.decimal,
            },
        }
    }

    fn form(&self) -> Form {
        match self.wide {
            true => Form::Wide(WideColumns {
                time: self.time_column.clone(),
                types: self.types.clone(),
                id1: self.id1,
                id2: self.id2.clone().unwrap_or_default(),
            }),
            false => Form::Long(LongColumns {
                time: self.time_column.clone(),
                value: self.value_column.clone(),
                sensor_type: self.type_column.clone(),
                id1: self.id1_column.clone(),
                id2: self.id2_column.clone(),
            }),
        }
    }
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse()
        .map_err(|_| "expected a zone of the IANA database such as Europe/Berlin".to_owned())
}
