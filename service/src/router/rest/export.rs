//! Readings, stored or in quarantine, as a stream of lines, whatever their number.

use std::{io::Write as _, pin::pin, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    format::Format,
    views::{ReadingView, RejectionView},
    workers::Workers,
};
use crate::{
    model::{Quarantined, StoredReading},
    repository::RepositoryError,
};

/// What can be written as lines.
pub(super) trait Exported: Send + Sized + 'static {
    /// A line of it.
    type View: Serialize + From<Self>;
    /// The first line of a table.
    const CSV_HEADER: &[&str];
}

impl Exported for StoredReading {
    type View = ReadingView;
    const CSV_HEADER: &[&str] = &[
        "id",
        "id1",
        "id2",
        "sensor_type",
        "sensor_value",
        "timestamp",
        "timestamp_us",
    ];
}

impl Exported for Quarantined {
    type View = RejectionView;
    const CSV_HEADER: &[&str] = &[
        "id",
        "stream_id",
        "seq",
        "field",
        "reason",
        "id1",
        "id2",
        "sensor_type",
        "sensor_value",
        "timestamp_us",
        "rejected_at",
        "origin",
        "payload",
        "payload_bytes",
    ];
}

/// Breaks the connection off: the client then knows that the body is not complete.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an export broke off")]
pub(super) struct BrokenOff;

/// The pieces of a body that is made while it is sent.
pub(super) type Pieces = ReceiverStream<Result<Bytes, BrokenOff>>;

/// Encodes pages as the client takes them: one page waits, and the next is not read before that one is taken. Ends
/// when the client is gone, in the middle of a statement if need be.
pub(super) fn pieces<T: Exported>(
    pages: impl Stream<Item = Result<Vec<T>, RepositoryError>> + Send + 'static,
    format: Format,
    compressed: bool,
    workers: Arc<Workers>,
) -> Pieces {
    let (send, receive) = mpsc::channel(1);
    let sending = async move {
        let mut pages = pin!(pages);
        let mut lines = Lines::new(format, compressed);
        loop {
            let Ok(room) = send.reserve().await else {
                return;
            };
            let page = tokio::select! {
                () = send.closed() => return,
                page = pages.next() => page,
            };
            let is_last = page.is_none();
            let (lines_back, piece) = match page.transpose() {
                Ok(page) => match workers.run(move || lines.piece(page)).await {
                    Ok((lines, Some(piece))) => (lines, Ok(piece)),
                    _ => return room.send(Err(BrokenOff)),
                },
                Err(error) => {
                    tracing::warn!(%error, "an export broke off");
                    return room.send(Err(BrokenOff));
                }
            };
            lines = lines_back;
            match &piece {
                Ok(piece) if piece.is_empty() => {}
                _ => room.send(piece),
            }
            if is_last {
                return;
            }
        }
    };
    tokio::spawn(tracing::Instrument::in_current_span(sending));
    ReceiverStream::new(receive)
}

/// Asks for each piece when the one before is taken, so that what a slow client gets is as new as it can be. Ends when the client is
/// gone.
pub(super) fn when_taken(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Pieces {
    let (send, receive) = mpsc::channel(1);
    let sending = async move {
        let mut pieces = pin!(pieces);
        while let Ok(room) = send.reserve().await {
            let piece = tokio::select! {
                () = send.closed() => return,
                piece = pieces.next() => piece,
            };
            match piece {
                Some(piece) => room.send(Ok(piece)),
                None => return,
            }
        }
    };
    tokio::spawn(tracing::Instrument::in_current_span(sending));
    ReceiverStream::new(receive)
}

/// The pages, until their reader may have no more.
pub(super) fn until_ended<T: Send + 'static>(
    pages: impl Stream<Item = Result<Vec<T>, RepositoryError>> + Send + 'static,
    ended: Option<CancellationToken>,
) -> BoxStream<'static, Result<Vec<T>, RepositoryError>> {
    let Some(ended) = ended else {
        return pages.boxed();
    };
    let checked = pages.map(move |page| match ended.is_cancelled() {
        true => Err(RepositoryError::Other(
            "the token of its reader is no longer valid".to_owned(),
        )),
        false => page,
    });
    checked.boxed()
}

/// Turns pages into pieces of a body.
struct Lines {
    format: Format,
    /// Whether the first line is still to come.
    begins: bool,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Lines {
    fn new(format: Format, compressed: bool) -> Self {
        Self {
            format,
            begins: true,
            encoder: compressed.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    /// The piece for a page, or the last one; None when it cannot be made.
    fn piece<T: Exported>(mut self, page: Option<Vec<T>>) -> (Self, Option<Bytes>) {
        let rows = page.as_ref().map(Vec::len);
        tracing::trace!(rows, compressed = self.encoder.is_some(), "encoded");
        let piece = self.encode(page);
        (self, piece)
    }

    fn encode<T: Exported>(&mut self, page: Option<Vec<T>>) -> Option<Bytes> {
        let mut lines = Vec::new();
        if std::mem::take(&mut self.begins) && self.format == Format::Csv {
            lines.extend(T::CSV_HEADER.join(",").bytes().chain([b'\n']));
        }
        let is_last = page.is_none();
        let rows = page.unwrap_or_default();
        match self.format {
            Format::Csv => csv_lines(rows, &mut lines)?,
            Format::Json | Format::Ndjson => ndjson_lines(rows, &mut lines)?,
        }
        let Some(mut encoder) = self.encoder.take() else {
            return Some(lines.into());
        };
        encoder.write_all(&lines).ok()?;
        if is_last {
            return Some(encoder.finish().ok()?.into());
        }
        // So that a client sees these rows while the rest is still being read.
        encoder.flush().ok()?;
        let piece = std::mem::take(encoder.get_mut());
        self.encoder = Some(encoder);
        Some(piece.into())
    }
}

fn ndjson_lines<T: Exported>(rows: Vec<T>, lines: &mut Vec<u8>) -> Option<()> {
    for row in rows {
        serde_json::to_writer(&mut *lines, &T::View::from(row)).ok()?;
        lines.push(b'\n');
    }
    Some(())
}

fn csv_lines<T: Exported>(rows: Vec<T>, lines: &mut Vec<u8>) -> Option<()> {
    let mut records = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(lines);
    for row in rows {
        records.serialize(T::View::from(row)).ok()?;
    }
    records.flush().ok()
}
