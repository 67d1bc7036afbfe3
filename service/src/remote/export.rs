//! `sluicegate export`: writes what is stored into a file that other programs read.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat};
use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use reqwest::{Method, Response};

use super::client::{Access, Remote, RemoteError};
use crate::model::PointInTime;

const EXAMPLES: &str = "\
Examples:
  sluicegate export --from 2026-01-01 --to 2026-02-01 --out january.parquet
  sluicegate export --from 2026-01-01 --to 2026-02-01 --ids 1:seattle --ids 2:portland --out two.arrow
  sluicegate export --from 2026-01-01 --to 2026-01-02 --tags site:north --format csv | head";

/// Between two lines that tell how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportCommand {
    /// From then on: a date, or RFC 3339
    #[arg(long, value_name = "TIME")]
    from: PointInTime,

    /// Before then
    #[arg(long, value_name = "TIME")]
    to: PointInTime,

    /// Only of this pair of ids; may be given again, up to 1,000 times
    #[arg(long, value_name = "ID1:ID2", value_parser = pair, allow_hyphen_values = true)]
    ids: Vec<(i32, String)>,

    /// Only of series that have these tags, as name:value, separated by commas
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,

    /// Only of this sensor type
    #[arg(long, value_name = "TYPE")]
    sensor_type: Option<String>,

    /// What is written [default: what the ending of the file says]
    #[arg(long, value_enum, required_unless_present = "out")]
    format: Option<Format>,

    /// Where to; it gets its name once it is whole [default: the standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Parquet,
    /// The IPC streaming format
    Arrow,
    Csv,
    Ndjson,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    fn of_ending(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Self::Parquet),
            "arrow" | "arrows" => Some(Self::Arrow),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

fn pair(text: &str) -> Result<(i32, String), String> {
    let (id1, id2) = text
        .split_once(':')
        .ok_or_else(|| "it must be ID1:ID2, as in 1:seattle".to_owned())?;
    let id1 = id1
        .parse()
        .map_err(|_| format!("{id1:?} must be a whole number of 32 bits"))?;
    match id2 {
        "" => Err("ID2 is empty".to_owned()),
        id2 => Ok((id1, id2.to_owned())),
    }
}

impl ExportCommand {
    /// Runs it: what is exported goes into the file, or to `out`.
    ///
    /// # Errors
    /// When the service does not answer, refuses, or breaks off; there is no file then.
    pub async fn run(self, out: &mut impl Write) -> Result<(), RemoteError> {
        let (path, query) = self.asked()?;
        let remote = self.access.open()?;
        let answer = remote.send(Method::GET, path, &query).await?;
        let Some(target) = &self.out else {
            return save(&remote, answer, out).await.map(drop);
        };
        let part = part_of(target);
        let saved = into_file(&remote, answer, &part).await;
        let done = match saved {
            Ok(bytes) => fs::rename(&part, target)
                .map(|()| bytes)
                .map_err(|error| refused(target, &error)),
            Err(error) => Err(error),
        };
        match done {
            Ok(bytes) => writeln!(io::stderr(), "{}: {bytes} bytes", target.display())?,
            Err(error) => {
                // What was not whole is of no use; if it cannot be removed, its name says what it is.
                let _ = fs::remove_file(&part);
                return Err(error);
            }
        }
        Ok(())
    }

    fn asked(&self) -> Result<Question, RemoteError> {
        let of_ending = || self.out.as_deref().and_then(Format::of_ending);
        let format = self.format.or_else(of_ending).ok_or_else(|| {
            let path = self.out.as_deref().unwrap_or(Path::new("")).display();
            let reason = "its ending is none of .parquet, .arrow, .csv and .ndjson: say --format";
            RemoteError::Usage(format!("--out {path}: {reason}"))
        })?;
        let mut query = vec![
            ("from_time", instant(self.from)),
            ("to_time", instant(self.to)),
            ("format", format.name().to_owned()),
        ];
        if !self.ids.is_empty() {
            let id1: Vec<_> = self.ids.iter().map(|(id1, _)| id1.to_string()).collect();
            let id2: Vec<_> = self.ids.iter().map(|(_, id2)| escaped(id2)).collect();
            query.extend([("id1", id1.join(",")), ("id2", id2.join(","))]);
        }
        query.extend(self.tags.clone().map(|tags| ("tags", tags)));
        query.extend(self.sensor_type.clone().map(|one| ("sensor_type", one)));
        let path = match self.ids.is_empty() && self.tags.is_none() {
            true => "/sensor/time",
            false => "/sensor/ids-time",
        };
        Ok((path, query))
    }
}

/// A path, and the parameters of its query.
type Question = (&'static str, Vec<(&'static str, String)>);

fn instant(at: PointInTime) -> String {
    let at = DateTime::from_timestamp_micros(at.us()).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// As an element of a list.
fn escaped(id2: &str) -> String {
    id2.replace('\\', r"\\").replace(',', r"\,")
}

/// Beside the file, so that it can take its name.
fn part_of(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(".part");
    name.into()
}

fn refused(path: &Path, error: &io::Error) -> RemoteError {
    RemoteError::File {
        flag: "--out",
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

async fn into_file(remote: &Remote, answer: Response, path: &Path) -> Result<u64, RemoteError> {
    let file = File::create(path).map_err(|error| refused(path, &error))?;
    let mut file = BufWriter::new(file);
    let bytes = save(remote, answer, &mut file).await?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all().map_err(|error| refused(path, &error))?;
    Ok(bytes)
}

/// Writes the answer as it comes, and tells how far it is where nobody sees the bytes.
async fn save(remote: &Remote, answer: Response, out: &mut impl Write) -> Result<u64, RemoteError> {
    let mut pieces = answer.bytes_stream();
    let mut bytes = 0;
    let mut told_at = Instant::now();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| remote.broken(&error))?;
        out.write_all(&piece)?;
        bytes += piece.len() as u64;
        if told_at.elapsed() >= TOLD_EVERY {
            told_at = Instant::now();
            writeln!(io::stderr(), "{} MiB so far", bytes >> 20)?;
        }
    }
    out.flush()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Asked {
        #[command(flatten)]
        command: ExportCommand,
    }

    fn asked(words: &[&str]) -> Result<Question, String> {
        let range = [
            "export",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-01T00:00:00.000001Z",
        ];
        let asked = Asked::try_parse_from(range.iter().chain(words));
        let command = asked.map_err(|error| error.to_string())?.command;
        command.asked().map_err(|error| error.to_string())
    }

    #[test]
    fn the_ending_says_the_format_unless_a_flag_does() {
        for (words, expected) in [
            (&["--out", "a.parquet"][..], "parquet"),
            (&["--out", "a.arrow"], "arrow"),
            (&["--out", "a.b/a.ndjson"], "ndjson"),
            (&["--out", "a.parquet", "--format", "csv"], "csv"),
            (&["--format", "arrow"], "arrow"),
        ] {
            let (path, query) = asked(words).unwrap();
            assert_eq!(path, "/sensor/time");
            assert_eq!(query[0].1, "2026-01-01T00:00:00.000000Z");
            assert_eq!(query[1].1, "2026-01-01T00:00:00.000001Z");
            assert_eq!(query[2], ("format", expected.to_owned()));
        }
        assert!(asked(&[]).unwrap_err().contains("--format"));
        assert!(
            asked(&["--out", "a"])
                .unwrap_err()
                .contains("--out a: its ending")
        );
    }

    #[test]
    fn pairs_and_tags_ask_for_the_series_alone() {
        let words = ["--format", "csv", "--ids", "-1:a,b", "--ids", r"2:c\:d"];
        let (path, query) = asked(&words).unwrap();
        assert_eq!(path, "/sensor/ids-time");
        assert_eq!(query[3], ("id1", "-1,2".to_owned()));
        assert_eq!(query[4], ("id2", r"a\,b,c\\:d".to_owned()));
        let (path, query) = asked(&["--format", "csv", "--tags", "site:north"]).unwrap();
        assert_eq!((path, query[3].0), ("/sensor/ids-time", "tags"));
        assert!(asked(&["--format", "csv", "--ids", "1"]).is_err());
        assert!(asked(&["--format", "csv", "--ids", "x:1"]).is_err());
    }
}
