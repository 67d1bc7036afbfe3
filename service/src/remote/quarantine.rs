//! `sluicegate quarantine`: looks at what was rejected, and works it off.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};
use futures::StreamExt as _;
use reqwest::Method;
use serde::Deserialize;

use super::client::{Access, Remote, RemoteError};

const EXAMPLES: &str = "\
Examples:
  sluicegate quarantine list --stream press-0
  sluicegate quarantine list --field payload --origin 'topic plant/4' --limit 20
  sluicegate quarantine export --format csv --into rejected.csv
  sluicegate quarantine replay --dry-run
  sluicegate quarantine replay --origin 'topic plant/4'
  sluicegate quarantine drop --ids 17,18
  sluicegate quarantine drop --everything --url https://gate.example:8080 --tls-ca ca.pem --token-file token";

/// Rejections of a request, where all are asked for.
const PAGE_ROWS: u64 = 1_000;

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct QuarantineCommand {
    #[command(subcommand)]
    what: What,

    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Shows rejections, a line each: id, when, stream and position, what is wrong, where it came from
    List {
        #[command(flatten)]
        filter: Filter,

        /// As many at the most
        #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// Writes rejections with all that was kept of them
    Export {
        #[command(flatten)]
        filter: Filter,

        #[arg(long, value_enum, default_value_t = Format::Ndjson)]
        format: Format,

        /// Where to [default: the standard output]
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Stores what was rejected, after the table, a limit or a mapping was mended; what is refused still stays
    Replay {
        #[command(flatten)]
        filter: Filter,

        /// Decode payloads by this mapping of rest.mappings, or by json or influx, instead of the one of their source or
        /// their request
        #[arg(long, value_name = "NAME")]
        mapping: Option<String>,

        /// Only says what would become of them
        #[arg(long)]
        dry_run: bool,
    },
    /// Removes rejections
    Drop {
        #[command(flatten)]
        filter: Filter,

        /// All that there are
        #[arg(long)]
        everything: bool,

        /// Only counts them
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

/// Which rejections are meant: those that meet every condition.
#[derive(Clone, Debug, Default, Args)]
struct Filter {
    /// Of the stream of this name
    #[arg(long, value_name = "NAME", conflicts_with = "anonymous")]
    stream: Option<String>,

    /// Of calls that name no stream
    #[arg(long)]
    anonymous: bool,

    /// These, at most 1,000, separated by commas
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    ids: Vec<u64>,

    /// Those of which this field is wrong, such as sensor_value
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,

    /// Those in whose reason this stands
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// What could not be decoded, from a place that begins like this
    #[arg(long, value_name = "TEXT")]
    origin: Option<String>,

    /// Rejected then or later: RFC 3339, or milliseconds since the Unix epoch
    #[arg(long, value_name = "TIME")]
    from_time: Option<String>,

    /// Rejected before
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
}

type Query = Vec<(&'static str, String)>;

impl Filter {
    fn query(&self) -> Query {
        let ids: Vec<String> = self.ids.iter().map(u64::to_string).collect();
        let texts = [
            ("stream", self.stream.clone()),
            ("anonymous", self.anonymous.then(|| "true".to_owned())),
            ("ids", (!ids.is_empty()).then(|| ids.join(","))),
            ("field", self.field.clone()),
            ("reason", self.reason.clone()),
            ("origin", self.origin.clone()),
            ("from_time", self.from_time.clone()),
            ("to_time", self.to_time.clone()),
        ];
        let given = texts.into_iter();
        given
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }
}

#[derive(Deserialize)]
struct Page {
    rejections: Vec<Rejection>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Rejection {
    id: u64,
    stream_id: Option<String>,
    seq: u64,
    field: String,
    reason: String,
    rejected_at: String,
    origin: Option<String>,
}

#[derive(Deserialize)]
struct Replayed {
    replayed_count: u64,
    stored_count: u64,
    kept_count: u64,
    kept: Vec<Kept>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Kept {
    id: u64,
    reason: String,
}

#[derive(Deserialize)]
struct Dropped {
    dropped_count: u64,
}

impl QuarantineCommand {
    /// Runs it, and writes what there is to say.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn run(self, out: &mut impl Write) -> Result<(), RemoteError> {
        let remote = self.access.open()?;
        match self.what {
            What::List { filter, limit } => list(&remote, &filter, limit, out).await,
            What::Export {
                filter,
                format,
                into: Some(path),
            } => {
                let file = File::create(&path).map_err(|error| RemoteError::File {
                    flag: "--into",
                    path,
                    reason: error.to_string(),
                })?;
                export(&remote, &filter, format, &mut BufWriter::new(file)).await
            }
            What::Export {
                filter,
                format,
                into: None,
            } => export(&remote, &filter, format, out).await,
            What::Replay {
                filter,
                mapping,
                dry_run,
            } => {
                let mut query = filter.query();
                query.extend(mapping.map(|name| ("mapping", name)));
                replay(&remote, query, dry_run, out).await
            }
            What::Drop {
                filter,
                everything,
                dry_run,
            } => {
                let mut query = filter.query();
                query.extend(flag("everything", everything));
                query.extend(flag("dry_run", dry_run));
                let Dropped { dropped_count } =
                    remote.ask(Method::DELETE, "/rejections", &query).await?;
                let word = if dry_run {
                    "would be dropped"
                } else {
                    "dropped"
                };
                writeln!(out, "{word}: {dropped_count}")?;
                Ok(())
            }
        }
    }
}

fn flag(name: &'static str, is_set: bool) -> Option<(&'static str, String)> {
    is_set.then(|| (name, "true".to_owned()))
}

async fn list(
    remote: &Remote,
    filter: &Filter,
    limit: u64,
    out: &mut impl Write,
) -> Result<(), RemoteError> {
    let mut left = limit;
    let mut cursor = None;
    while left > 0 {
        let mut query = filter.query();
        query.push(("limit", left.min(PAGE_ROWS).to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page: Page = remote.ask(Method::GET, "/rejections", &query).await?;
        for rejection in &page.rejections {
            writeln!(out, "{}", line(rejection))?;
        }
        left = left.saturating_sub(page.rejections.len() as u64);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
    writeln!(io::stderr(), "there are more: --limit shows them")?;
    Ok(())
}

fn line(rejection: &Rejection) -> String {
    let Rejection {
        id,
        stream_id,
        seq,
        field,
        reason,
        rejected_at,
        origin,
    } = rejection;
    let stream = stream_id.as_deref().unwrap_or("-");
    let origin = origin.as_deref().map(|origin| format!(" ({origin})"));
    let text = format!(
        "{id} {rejected_at} {stream} {seq} {field}: {reason}{}",
        origin.unwrap_or_default()
    );
    // What others sent must not make a terminal say something else.
    let shown = text.chars().map(|letter| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    });
    shown.collect()
}

async fn export(
    remote: &Remote,
    filter: &Filter,
    format: Format,
    out: &mut impl Write,
) -> Result<(), RemoteError> {
    let mut query = filter.query();
    let name = match format {
        Format::Ndjson => "ndjson",
        Format::Csv => "csv",
    };
    query.push(("format", name.to_owned()));
    let answer = remote.send(Method::GET, "/rejections", &query).await?;
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        out.write_all(&piece.map_err(|error| remote.broken(&error))?)?;
    }
    out.flush()?;
    Ok(())
}

async fn replay(
    remote: &Remote,
    mut query: Query,
    dry_run: bool,
    out: &mut impl Write,
) -> Result<(), RemoteError> {
    query.push(("limit", PAGE_ROWS.to_string()));
    query.extend(flag("dry_run", dry_run));
    let (mut replayed, mut stored, mut kept) = (0, 0, 0);
    let mut cursor: Option<String> = None;
    loop {
        let mut asked = query.clone();
        asked.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page: Replayed = remote
            .ask(Method::POST, "/rejections/replay", &asked)
            .await?;
        for Kept { id, reason } in &page.kept {
            writeln!(out, "stays: {id}: {}", reason.escape_debug())?;
        }
        replayed += page.replayed_count;
        stored += page.stored_count;
        kept += page.kept_count;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let would = if dry_run { "would be " } else { "" };
    writeln!(
        out,
        "{would}replayed: {replayed} ({stored} readings), kept: {kept}"
    )?;
    Ok(())
}
