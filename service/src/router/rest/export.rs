//! Readings, stored or in quarantine, as a stream of lines or as a table, whatever their number.

use std::{
    io::{self, Write as _},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
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

/// Turns pages into pieces of a body. Whoever calls it is one of the workers.
pub(super) trait Encoder<T>: Send {
    /// The piece for a page, or without one that which ends the body.
    fn piece(&mut self, page: Option<Vec<T>>) -> Result<Vec<u8>, Unencoded>;
}

/// What cannot be written as it is, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unencoded(pub(super) String);

/// The pieces of a body that is made while it is sent.
pub(super) type Pieces = ReceiverStream<Result<Bytes, BrokenOff>>;

/// Encodes pages as the client takes them: one page waits, and the next is not read before that one is taken. Ends
/// when the client is gone, in the middle of a statement if need be.
pub(super) fn pieces<T: Send + 'static>(
    pages: impl Stream<Item = Result<Vec<T>, RepositoryError>> + Send + 'static,
    encoder: Box<dyn Encoder<T>>,
    workers: Arc<Workers>,
) -> Pieces {
    let (send, receive) = mpsc::channel(1);
    let sending = async move {
        let mut pages = pin!(pages);
        let mut encoder = encoder;
        loop {
            let Ok(room) = send.reserve().await else {
                return;
            };
            let page = tokio::select! {
                () = send.closed() => return,
                page = pages.next() => page,
            };
            let is_last = page.is_none();
            let piece = match page.transpose() {
                Ok(page) => {
                    let encoded = workers.run(move || encoded(encoder, page)).await;
                    let Ok((encoder_back, piece)) = encoded else {
                        return room.send(Err(BrokenOff));
                    };
                    encoder = encoder_back;
                    piece.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => room.send(Ok(piece.into())),
                Err(error) => {
                    tracing::warn!(%error, "an export broke off");
                    return room.send(Err(BrokenOff));
                }
            }
            if is_last {
                return;
            }
        }
    };
    tokio::spawn(tracing::Instrument::in_current_span(sending));
    ReceiverStream::new(receive)
}

type Encoded<T> = (Box<dyn Encoder<T>>, Result<Vec<u8>, Unencoded>);

fn encoded<T>(mut encoder: Box<dyn Encoder<T>>, page: Option<Vec<T>>) -> Encoded<T> {
    let rows = page.as_ref().map(Vec::len);
    tracing::trace!(rows, "encoded");
    let piece = encoder.piece(page);
    (encoder, piece)
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

/// Writes pages as lines.
pub(super) struct Lines {
    is_csv: bool,
    /// Whether the first line is still to come.
    begins: bool,
}

impl Lines {
    pub(super) fn csv() -> Self {
        Self {
            is_csv: true,
            begins: true,
        }
    }

    pub(super) fn ndjson() -> Self {
        Self {
            is_csv: false,
            begins: true,
        }
    }
}

impl<T: Exported> Encoder<T> for Lines {
    fn piece(&mut self, page: Option<Vec<T>>) -> Result<Vec<u8>, Unencoded> {
        let mut lines = Vec::new();
        if std::mem::take(&mut self.begins) && self.is_csv {
            lines.extend(T::CSV_HEADER.join(",").bytes().chain([b'\n']));
        }
        let rows = page.unwrap_or_default();
        match self.is_csv {
            true => csv_lines(rows, &mut lines).map_err(|error| Unencoded(error.to_string()))?,
            false => {
                ndjson_lines(rows, &mut lines).map_err(|error| Unencoded(error.to_string()))?
            }
        }
        Ok(lines)
    }
}

/// The same pieces, compressed.
pub(super) struct Packed<T> {
    pieces: Box<dyn Encoder<T>>,
    /// None at the end.
    packing: Option<GzEncoder<Vec<u8>>>,
}

impl<T> Packed<T> {
    pub(super) fn new(pieces: Box<dyn Encoder<T>>) -> Self {
        let packing = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        Self { pieces, packing }
    }
}

impl<T: Send> Encoder<T> for Packed<T> {
    fn piece(&mut self, page: Option<Vec<T>>) -> Result<Vec<u8>, Unencoded> {
        let is_last = page.is_none();
        let plain = self.pieces.piece(page)?;
        pack(&mut self.packing, &plain, is_last).map_err(|error| Unencoded(error.to_string()))
    }
}

fn pack(
    packing: &mut Option<GzEncoder<Vec<u8>>>,
    plain: &[u8],
    is_last: bool,
) -> io::Result<Vec<u8>> {
    let Some(mut encoder) = packing.take() else {
        return Ok(Vec::new());
    };
    encoder.write_all(plain)?;
    if is_last {
        return encoder.finish();
    }
    // So that a client sees these rows while the rest is still being read.
    encoder.flush()?;
    let piece = std::mem::take(encoder.get_mut());
    *packing = Some(encoder);
    Ok(piece)
}

fn ndjson_lines<T: Exported>(rows: Vec<T>, lines: &mut Vec<u8>) -> serde_json::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *lines, &T::View::from(row))?;
        lines.push(b'\n');
    }
    Ok(())
}

fn csv_lines<T: Exported>(rows: Vec<T>, lines: &mut Vec<u8>) -> csv::Result<()> {
    let mut records = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(lines);
    for row in rows {
        records.serialize(T::View::from(row))?;
    }
    Ok(records.flush()?)
}
