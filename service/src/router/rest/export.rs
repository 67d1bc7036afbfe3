//! Readings as a stream of lines, whatever their number.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use super::{
    answer::{BrokenOff, Pieces},
    views::ReadingView,
};
use crate::{model::StoredReading, repository::RepositoryError};

const CSV_HEADER: [&str; 7] = [
    "id",
    "id1",
    "id2",
    "sensor_type",
    "sensor_value",
    "timestamp",
    "timestamp_us",
];

type Encode = fn(Vec<StoredReading>) -> Result<Vec<u8>, BrokenOff>;

pub(super) fn ndjson(
    pages: impl Stream<Item = Result<Vec<StoredReading>, RepositoryError>> + Send + Sync + 'static,
) -> Pieces {
    encoded(pages, ndjson_lines)
}

pub(super) fn csv(
    pages: impl Stream<Item = Result<Vec<StoredReading>, RepositoryError>> + Send + Sync + 'static,
) -> Pieces {
    let header = CSV_HEADER.join(",") + "\n";
    let header = futures::stream::iter([Ok(Bytes::from(header))]);
    Box::pin(header.chain(encoded(pages, csv_lines)))
}

fn encoded(
    pages: impl Stream<Item = Result<Vec<StoredReading>, RepositoryError>> + Send + Sync + 'static,
    encode: Encode,
) -> Pieces {
    Box::pin(pages.map(move |page| match page {
        Ok(readings) => encode(readings).map(Bytes::from),
        Err(error) => {
            tracing::warn!(%error, "an export broke off");
            Err(BrokenOff)
        }
    }))
}

fn ndjson_lines(readings: Vec<StoredReading>) -> Result<Vec<u8>, BrokenOff> {
    let mut lines = Vec::new();
    for reading in readings {
        serde_json::to_writer(&mut lines, &ReadingView::from(reading)).map_err(|_| BrokenOff)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn csv_lines(readings: Vec<StoredReading>) -> Result<Vec<u8>, BrokenOff> {
    let mut lines = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    for reading in readings {
        let line = lines.serialize(ReadingView::from(reading));
        line.map_err(|_| BrokenOff)?;
    }
    lines.into_inner().map_err(|_| BrokenOff)
}
