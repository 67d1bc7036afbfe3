//! `sluicegate series`: which series there are, and what is said of them.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::client::{Access, Remote, RemoteError};

const EXAMPLES: &str = "\
Examples:
  sluicegate series list
  sluicegate series list --tags site:north --sensor-type temperature
  sluicegate series count --seen-since 2026-01-31
  sluicegate series tag 7 site=north line=7
  sluicegate series tag 7 line=
  sluicegate series import --from tags.ndjson
  sluicegate series remove-unused --dry-run";

/// Series of a request, where all are asked for.
const PAGE_SERIES: u64 = 1_000;
/// Lines of a request with tags.
const IMPORTED_LINES: usize = 1_000;
/// What they may have together, unless it is one: less than a service takes.
const IMPORTED_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SeriesCommand {
    #[command(subcommand)]
    what: What,

    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Shows series, a line each: number, id1, id2, sensor type, the day on which it was last seen, tags; separated by tabs
    List {
        #[command(flatten)]
        filter: Filter,

        /// As many at the most [default: all]
        #[arg(long, value_name = "SERIES", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Says how many series there are
    Count {
        #[command(flatten)]
        filter: Filter,
    },
    /// Changes tags of a series, and shows it; a tag without a value is removed
    Tag {
        #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        number: u32,

        #[arg(value_name = "NAME=VALUE", required = true, value_parser = assignment)]
        tags: Vec<(String, Option<String>)>,
    },
    /// Changes tags of many series: a line of JSON each, with series_id, or id1, id2 and sensor_type, and tags, of which null
    /// removes one
    Import {
        /// Where the lines are; - for the standard input
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Removes series that have no readings and got their numbers more than an hour ago
    RemoveUnused {
        /// Only those that got their numbers before: RFC 3339, or milliseconds since the Unix epoch
        #[arg(long, value_name = "TIME")]
        first_seen_before: Option<String>,

        /// Only counts them
        #[arg(long)]
        dry_run: bool,
    },
}

fn assignment(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "it must be NAME=VALUE, or NAME= to remove one".to_owned())?;
    let value = (!value.is_empty()).then(|| value.to_owned());
    Ok((name.to_owned(), value))
}

/// Which series are meant: those that meet every condition.
#[derive(Clone, Debug, Default, Args)]
struct Filter {
    /// With this id1
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id1: Option<i32>,

    /// With this id2
    #[arg(long, value_name = "ID", conflicts_with = "prefix")]
    id2: Option<String>,

    /// Whose id2 begins like this
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// Of this sensor type
    #[arg(long, value_name = "TYPE")]
    sensor_type: Option<String>,

    /// That have these tags, as name:value, separated by commas
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,

    /// Of which a reading was stored on that day, UTC, or later, such as 2026-01-31
    #[arg(long, value_name = "DAY")]
    seen_since: Option<String>,
}

type Query = Vec<(&'static str, String)>;

impl Filter {
    fn query(&self) -> Query {
        let texts = [
            ("id1", self.id1.map(|id1| id1.to_string())),
            ("id2", self.id2.clone()),
            ("prefix", self.prefix.clone()),
            ("sensor_type", self.sensor_type.clone()),
            ("tags", self.tags.clone()),
            ("seen_since", self.seen_since.clone()),
        ];
        let given = texts.into_iter();
        given
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }
}

#[derive(Deserialize)]
struct Page {
    series: Vec<Series>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Series {
    series_id: u32,
    id1: i32,
    id2: String,
    sensor_type: String,
    last_seen: Option<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Counted {
    count: u64,
}

#[derive(Deserialize)]
struct Tagged {
    tagged_count: u64,
}

#[derive(Deserialize)]
struct Removed {
    removed_count: u64,
}

impl SeriesCommand {
    /// Runs it, and writes what there is to say.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn run(self, out: &mut impl Write) -> Result<(), RemoteError> {
        let remote = self.access.open()?;
        match self.what {
            What::List { filter, limit } => list(&remote, &filter, limit, out).await,
            What::Count { filter } => {
                let path = "/series/count";
                let Counted { count } = remote.ask(Method::GET, path, &filter.query()).await?;
                Ok(writeln!(out, "{count}")?)
            }
            What::Tag { number, tags } => {
                let path = format!("/series/{number}/tags");
                let tags: BTreeMap<_, _> = tags.into_iter().collect();
                let body = serde_json::to_vec(&tags).unwrap_or_default();
                let series = remote
                    .bring(Method::PATCH, &path, "application/json", body)
                    .await?;
                Ok(show(&series, out)?)
            }
            What::Import { from } => import(&remote, &from, out).await,
            What::RemoveUnused {
                first_seen_before,
                dry_run,
            } => {
                let before = first_seen_before.map(|at| ("first_seen_before", at));
                let mut query: Query = before.into_iter().collect();
                query.push(("unused", "true".to_owned()));
                query.push(("dry_run", dry_run.to_string()));
                let Removed { removed_count } =
                    remote.ask(Method::DELETE, "/series", &query).await?;
                let what = match dry_run {
                    true => "would be removed",
                    false => "removed",
                };
                Ok(writeln!(out, "{removed_count} series {what}")?)
            }
        }
    }
}

async fn list(
    remote: &Remote,
    filter: &Filter,
    limit: Option<u64>,
    out: &mut impl Write,
) -> Result<(), RemoteError> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut cursor: Option<String> = None;
    while left > 0 {
        let mut query = filter.query();
        query.push(("limit", left.min(PAGE_SERIES).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page = remote.ask(Method::GET, "/series", &query).await?;
        for series in &page.series {
            show(series, out)?;
        }
        left -= (page.series.len() as u64).min(left);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(())
}

fn show(series: &Series, out: &mut impl Write) -> io::Result<()> {
    let tags: Vec<String> = series
        .tags
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // A sensor type may hold any character: none of them may end the field or the line.
    let sensor_type: String = series.sensor_type.escape_debug().collect();
    writeln!(
        out,
        "{}\t{}\t{}\t{}\t{}\t{}",
        series.series_id,
        series.id1,
        series.id2,
        sensor_type,
        series.last_seen.as_deref().unwrap_or("-"),
        tags.join(" ")
    )
}

/// Some lines in each request: what was done before one that fails stays done, and all may be sent again.
async fn import(
    remote: &Remote,
    from: &std::path::Path,
    out: &mut impl Write,
) -> Result<(), RemoteError> {
    let text = match from.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        _ => fs::read_to_string(from),
    };
    let text = text.map_err(|error| RemoteError::File {
        flag: "--from",
        path: from.to_owned(),
        reason: error.to_string(),
    })?;
    let mut done = 0;
    for (first, body) in parts(&text) {
        let tagged = remote
            .bring::<Tagged>(
                Method::PATCH,
                "/series",
                "application/x-ndjson",
                body.into(),
            )
            .await;
        match tagged {
            Ok(tagged) => done += tagged.tagged_count,
            Err(RemoteError::Refused { detail }) => {
                let detail = format!(
                    "of what begins in line {first}, whose lines are counted from there: {detail} Before it {done} series were \
                     tagged, and what follows was not sent."
                );
                return Err(RemoteError::Refused { detail });
            }
            Err(other) => return Err(other),
        }
    }
    Ok(writeln!(out, "{done} series tagged")?)
}

/// What goes into each request, and the line with which it begins: neither too many lines nor too long.
fn parts(text: &str) -> Vec<(usize, String)> {
    let mut parts = Vec::<(usize, usize, String)>::new();
    for (number, line) in (1..).zip(text.lines()) {
        match parts.last_mut() {
            Some((_, lines, body))
                if *lines < IMPORTED_LINES && body.len() + line.len() < IMPORTED_BYTES =>
            {
                *lines += 1;
                body.push_str(line);
                body.push('\n');
            }
            _ => parts.push((number, 1, format!("{line}\n"))),
        }
    }
    let parts = parts.into_iter();
    parts.map(|(first, _, body)| (first, body)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_neither_too_long_nor_of_too_many_lines() {
        let short = "x\n".repeat(2_500);
        let firsts: Vec<_> = parts(&short).iter().map(|part| part.0).collect();
        assert_eq!(firsts, [1, 1_001, 2_001]);
        let long = format!("{}\n", "x".repeat(600_000)).repeat(3);
        assert_eq!(parts(&long).len(), 3);
    }

    #[test]
    fn a_tag_without_a_value_is_removed() {
        assert_eq!(
            assignment("site=north=1"),
            Ok(("site".to_owned(), Some("north=1".to_owned())))
        );
        assert_eq!(assignment("site="), Ok(("site".to_owned(), None)));
        assert!(assignment("site").is_err());
    }
}
