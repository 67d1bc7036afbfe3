//! Messages that are compressed. What one takes in memory is bounded before it is unpacked, and what it says of its size is
//! held to it (P4).

use std::io::Read as _;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use hyper::HeaderMap;
use tonic::Status;

use super::status;

/// gzip makes no more of a byte.
const MOST_TIMES: usize = 1_032;
/// The end of what is packed: a checksum, and how long it was.
const TRAILER_BYTES: usize = 8;
/// What is smaller is unpacked where it is: it takes less than to hand it over.
const SMALL_BYTES: usize = 1 << 10;

/// How a call packs its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

impl Packing {
    /// As the call says.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        match headers.get("grpc-encoding").map(|it| it.as_bytes()) {
            None | Some(b"identity") => Ok(Self::None),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(_) => Err(status::unknown_packing()),
        }
    }

    /// Memory that the message may take once it is unpacked, beside what came, bytes.
    pub(super) fn room_bytes(self, packed_bytes: usize, max_message_bytes: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Gzip => packed_bytes
                .saturating_mul(MOST_TIMES)
                .min(max_message_bytes),
        }
    }

    /// What was packed.
    pub(super) async fn unpack(
        self,
        packed: Bytes,
        max_message_bytes: usize,
    ) -> Result<Bytes, Status> {
        match self {
            Self::None => Ok(packed),
            Self::Gzip if packed.len() <= SMALL_BYTES => gunzip(&packed, max_message_bytes),
            Self::Gzip => {
                let unpacking =
                    tokio::task::spawn_blocking(move || gunzip(&packed, max_message_bytes));
                let unpacked = unpacking.await;
                unpacked.unwrap_or_else(|_| Err(Status::internal("nobody unpacks messages")))
            }
        }
    }
}

fn gunzip(packed: &[u8], max_message_bytes: usize) -> Result<Bytes, Status> {
    let unreadable = || status::unreadable("it is said to be packed with gzip, and is not");
    let (_, said) = packed.split_last_chunk::<4>().ok_or_else(unreadable)?;
    let said_bytes = u32::from_le_bytes(*said) as usize;
    if packed.len() < TRAILER_BYTES || said_bytes > packed.len().saturating_mul(MOST_TIMES) {
        return Err(unreadable());
    }
    if said_bytes > max_message_bytes {
        return Err(status::too_large(said_bytes, max_message_bytes));
    }
    let mut unpacked = Vec::with_capacity(said_bytes);
    let mut decoder = GzDecoder::new(packed).take(said_bytes as u64);
    decoder
        .read_to_end(&mut unpacked)
        .map_err(|_| unreadable())?;
    // At its end the checksum is looked at, and the length. Nothing else may follow.
    let mut decoder = decoder.into_inner();
    let more = decoder.read(&mut [0]).map_err(|_| unreadable())?;
    match more == 0 && unpacked.len() == said_bytes && decoder.into_inner().is_empty() {
        true => Ok(unpacked.into()),
        false => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use tonic::Code;

    use super::*;

    fn packed(message: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(message).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_out() {
        let long = [b'x'; 100_000];
        for message in [&b""[..], b"a", &long] {
            let room = Packing::Gzip.room_bytes(packed(message).len(), 4 << 20);
            assert!(room >= message.len());
            assert_eq!(gunzip(&packed(message), 4 << 20).unwrap(), message);
        }
    }

    #[test]
    fn more_than_a_message_may_have_is_not_unpacked() {
        let bomb = packed(&vec![0; 16 << 20]);
        assert!(bomb.len() < 20_000);
        let refused = gunzip(&bomb, 4 << 20).unwrap_err();
        assert!(refused.message().contains("too large"), "{refused:?}");
    }

    #[test]
    fn what_lies_or_is_broken_is_refused() {
        let honest = packed(&[7; 5_000]);
        let end = honest.len();
        let mut shorter = honest.clone();
        shorter[end - 4..].copy_from_slice(&10_u32.to_le_bytes());
        let mut longer = honest.clone();
        longer[end - 4..].copy_from_slice(&6_000_u32.to_le_bytes());
        let mut altered = honest.clone();
        altered[end - 8] ^= 1;
        let twice = [honest.clone(), honest.clone()].concat();
        let followed = [&honest[..], b"and more of it, 5000: \x88\x13\0\0"].concat();
        for broken in [
            &b""[..],
            b"abc",
            b"not gzip at all, but long enough",
            &honest[..end - 9],
            &shorter,
            &longer,
            &altered,
            &twice,
            &followed,
        ] {
            let refused = gunzip(broken, 4 << 20).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        }
    }
}
