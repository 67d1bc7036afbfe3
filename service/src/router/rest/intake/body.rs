//! The body of a request that brings readings, unpacked. It comes in pieces of bounded size, whatever is packed in it (P4).

use std::{io, pin::Pin};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{BufMut as _, BytesMut};
use futures::{FutureExt as _, TryStreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;
use warp::http::{HeaderMap, header};

use crate::router::rest::{
    problem::{Kind, Problem},
    request::BodyStream,
};

/// The most that is read at once, bytes, unpacked.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// So much of what is too large is still read.
const DISCARDED_BYTES: usize = 4 << 20;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

impl Packing {
    /// As the request says.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut packings = headers.get_all(header::CONTENT_ENCODING).iter();
        let packing = packings.next().map(|packing| packing.as_bytes());
        match (packing, packings.next()) {
            (None, _) => Ok(Self::None),
            (Some(name), None) if name.eq_ignore_ascii_case(b"identity") => Ok(Self::None),
            (Some(name), None)
                if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") =>
            {
                Ok(Self::Gzip)
            }
            _ => Err(Problem::new(
                Kind::UnsupportedMediaType,
                "The body may be packed with gzip, or come as it is: send Content-Encoding: gzip, or none.",
            )),
        }
    }
}

/// What is still to come of a body.
pub(super) struct Body {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    packing: Packing,
    /// As the request said, if it is not packed.
    announced_bytes: Option<u64>,
    read_bytes: u64,
    max_bytes: u64,
    /// Whether the client sends it without a word from here.
    is_coming: bool,
}

impl Body {
    /// Takes a body of at most `max_bytes`, unpacked.
    pub(super) fn of(
        chunks: BodyStream,
        headers: &HeaderMap,
        max_bytes: u64,
    ) -> Result<Self, Problem> {
        let packing = Packing::of(headers)?;
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let announced_bytes = length.filter(|_| packing == Packing::None);
        let chunks = chunks.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof));
        let plain = StreamReader::new(chunks);
        let reader: Pin<Box<dyn AsyncRead + Send>> = match packing {
            Packing::None => Box::pin(plain),
            Packing::Gzip => {
                let mut unpacking = GzipDecoder::new(plain);
                unpacking.multiple_members(true);
                Box::pin(unpacking)
            }
        };
        Ok(Self {
            reader,
            packing,
            announced_bytes,
            read_bytes: 0,
            max_bytes,
            is_coming: !headers.contains_key(header::EXPECT),
        })
    }

    /// How long it is, as far as that is known before it is read.
    pub(super) fn announced_bytes(&self) -> Option<u64> {
        self.announced_bytes
    }

    /// Appends what comes next to `piece`, which has at most [`PIECE_BYTES`]. False at the end. Dropping the future loses
    /// nothing.
    pub(super) async fn read(&mut self, piece: &mut BytesMut) -> Result<bool, Problem> {
        let room = PIECE_BYTES.saturating_sub(piece.len());
        if room == 0 {
            return Ok(true);
        }
        if self.announced_bytes > Some(self.max_bytes) {
            self.discard().await;
            return Err(too_large(self.max_bytes, "nothing of it was stored"));
        }
        let read = self.reader.read_buf(&mut piece.limit(room)).await;
        let read = read.map_err(|error| self.explain(&error))?;
        self.read_bytes += read as u64;
        if self.read_bytes > self.max_bytes {
            self.discard().await;
            let what = "what came before that is stored as far as it was good";
            return Err(too_large(self.max_bytes, what));
        }
        Ok(read > 0)
    }

    /// The same for what is there already; None when nothing is.
    pub(super) fn read_now(&mut self, piece: &mut BytesMut) -> Option<Result<bool, Problem>> {
        match piece.len() < PIECE_BYTES {
            true => self.read(piece).now_or_never(),
            false => None,
        }
    }

    /// Reads some of what is too much, for its client to read the answer before it finds the connection closed.
    pub(super) async fn discard(&mut self) {
        let mut discarded = BytesMut::with_capacity(PIECE_BYTES);
        let mut bytes = 0;
        // Who waits for a word before sending it has not sent it yet.
        while self.is_coming && bytes < DISCARDED_BYTES {
            discarded.clear();
            match self
                .reader
                .read_buf(&mut (&mut discarded).limit(PIECE_BYTES))
                .await
            {
                Ok(read) if read > 0 => bytes += read,
                _ => return,
            }
        }
    }

    fn explain(&self, error: &io::Error) -> Problem {
        let detail = match (self.packing, error.kind()) {
            (Packing::Gzip, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                "The body is said to be packed with gzip, and is not."
            }
            _ => "The body ended before it was complete.",
        };
        Problem::new(Kind::MalformedBody, detail)
    }
}

fn too_large(max_bytes: u64, what: &str) -> Problem {
    Problem::new(
        Kind::BodyTooLarge,
        format!(
            "A request may bring {max_bytes} bytes, unpacked (rest.max_write_bytes), and {what}: send it in parts."
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;
    use flate2::{Compression, write::GzEncoder};
    use futures::{StreamExt as _, stream};
    use warp::http::HeaderValue;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn body(bytes: &[u8], is_packed: bool, max_bytes: u64) -> Body {
        let chunks: Vec<_> = bytes.chunks(1_000).map(Bytes::copy_from_slice).collect();
        let chunks = stream::iter(chunks).map(Ok::<_, warp::Error>).boxed();
        let mut headers = HeaderMap::new();
        if is_packed {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
        }
        Body::of(chunks, &headers, max_bytes).unwrap()
    }

    /// The whole body, and its largest piece.
    async fn all(mut body: Body) -> Result<(Vec<u8>, usize), Problem> {
        let (mut whole, mut largest) = (Vec::new(), 0);
        let mut piece = BytesMut::new();
        while body.read(&mut piece).await? {
            largest = largest.max(piece.len());
            whole.extend_from_slice(&piece.split());
        }
        Ok((whole, largest))
    }

    #[tokio::test]
    async fn what_was_sent_comes_out_packed_or_not_in_one_or_several_members() {
        let text = b"boiler t=1\n".repeat(1_000);
        assert_eq!(all(body(&text, false, 1 << 20)).await.unwrap().0, text);
        let twice = [gzip(&text), gzip(&text)].concat();
        let (whole, _) = all(body(&twice, true, 1 << 20)).await.unwrap();
        assert_eq!(whole, text.repeat(2));
    }

    #[tokio::test]
    async fn a_bomb_comes_in_pieces_and_not_beyond_the_limit() {
        let bomb = gzip(&vec![b'\n'; 32 << 20]);
        assert!(bomb.len() < 40_000);
        let (whole, largest) = all(body(&bomb, true, 64 << 20)).await.unwrap();
        assert_eq!(whole.len(), 32 << 20);
        assert!(largest <= PIECE_BYTES);
        let refused = all(body(&bomb, true, 1 << 20)).await.unwrap_err();
        assert_eq!(refused.kind, Kind::BodyTooLarge);
    }

    #[tokio::test]
    async fn what_is_cut_off_or_no_gzip_is_refused() {
        let packed = gzip(&b"boiler t=1\n".repeat(1_000));
        for broken in [&packed[..packed.len() - 9], b"boiler t=1\n"] {
            let refused = all(body(broken, true, 1 << 20)).await.unwrap_err();
            assert_eq!(refused.kind, Kind::MalformedBody);
        }
    }

    #[test]
    fn a_packing_that_is_not_known_is_refused() {
        let mut headers = HeaderMap::new();
        for (name, expected) in [
            ("gzip", true),
            ("X-GZIP", true),
            ("identity", true),
            ("zstd", false),
        ] {
            let name = HeaderValue::from_static(name);
            headers.insert(header::CONTENT_ENCODING, name);
            assert_eq!(Packing::of(&headers).is_ok(), expected);
        }
    }
}
