//! Whom a door lets in, and for how long it waits for them to begin.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::server::TlsStream;

use crate::{
    addresses::{Addresses, Counted},
    idle::Activity,
    peer::Peer,
    tls::{PeerCertificate, Protocol, Tls},
    wire::Wire,
};

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What the system keeps of what a client has not taken yet; it counts twice as much, for its own needs. Left to itself it keeps
/// 4 MiB for each, which nobody counts (P4), and which takes seconds to fill for a crowd that asks and does not read.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// A client that takes longer for its handshake, or to begin after it, is cut off.
const BEGIN_DEADLINE: Duration = Duration::from_secs(10);
/// After a connection was turned away. Those who come again at once wait in the system's queue meanwhile, where they cost
/// nothing: to accept and close them as fast as they come would take a processor from those who are connected.
pub const TURN_AWAY_PAUSE: Duration = Duration::from_millis(1);
/// After a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a connection is over before it began.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    #[error("it brought nothing")]
    Late,
    #[error("it does not begin with a handshake of TLS")]
    NoTls,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// A socket that listens, and whom it lets in.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    addresses: Addresses,
    /// For one address.
    max_connections: Option<usize>,
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// To be kept for as long as the connection is open.
    pub counted: Option<Counted>,
}

/// An address that has as many connections as it may: this one is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd(pub IpAddr);

impl Listener {
    /// As many connections from one address as there are `max_connections`, or as come.
    #[must_use]
    pub fn new(tcp: TcpListener, max_connections: Option<usize>) -> Self {
        // Each connection that is accepted has what its listener has.
        if let Err(error) = SockRef::from(&tcp).set_send_buffer_size(SEND_BUFFER_BYTES) {
            tracing::warn!(%error, "the system keeps as much for a client that takes nothing as it likes");
        }
        Self {
            tcp,
            addresses: Addresses::default(),
            max_connections,
        }
    }

    /// The next connection. May be cancelled: one that is not handed out waits for the next call.
    ///
    /// # Errors
    /// When it comes from an address that has enough of them.
    pub async fn accept(&self) -> Result<Accepted, Crowd> {
        let (stream, peer) = loop {
            match self.tcp.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        let counted = match self.max_connections {
            Some(most) => Some(
                self.addresses
                    .enter(peer.ip(), most)
                    .ok_or(Crowd(peer.ip()))?,
            ),
            None => None,
        };
        Ok(Accepted {
            stream,
            peer,
            counted,
        })
    }
}

/// Waits until a connection has begun: its handshake, if it is one of TLS, and what tells HTTP/1 from HTTP/2, which hyper
/// would wait for without a deadline.
///
/// # Errors
/// When the connection ends before, takes too long, or speaks what this door does not.
pub async fn begin(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<(&Tls, Protocol)>,
    activity: &Arc<Activity>,
) -> Result<(Begun<Wire>, Peer), NotBegun> {
    // Without it every small answer would wait for the client's delayed TCP acknowledgement.
    stream.set_nodelay(true)?;
    let (wire, certificate) = match tls {
        None => (Wire::Plain(stream), None),
        Some((tls, protocol)) => {
            let shaking = shake_hands(stream, tls, protocol, activity);
            let stream = tokio::time::timeout(BEGIN_DEADLINE, shaking)
                .await
                .map_err(|_| NotBegun::Late)??;
            let (_, session) = stream.get_ref();
            let certificates = session.peer_certificates().unwrap_or_default();
            let certificate = certificates.first().and_then(PeerCertificate::read);
            (Wire::Tls(Box::new(stream)), certificate.map(Arc::new))
        }
    };
    let peer = Peer {
        address,
        certificate,
    };
    Ok((begun(wire).await?, peer))
}

/// How a handshake of TLS begins.
const HANDSHAKE: u8 = 22;
/// What a client is told that does not begin with one.
const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 35\r\n\
    connection: close\r\n\r\nThis port speaks TLS: use https://.\n";

async fn shake_hands(
    mut stream: TcpStream,
    tls: &Tls,
    protocol: Protocol,
    activity: &Arc<Activity>,
) -> Result<TlsStream<TcpStream>, NotBegun> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(NotBegun::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    if first != [HANDSHAKE] {
        let _ = stream.write_all(NO_TLS).await;
        let _ = stream.shutdown().await;
        return Err(NotBegun::NoTls);
    }
    Ok(tls.shake_hands(stream, protocol, activity).await?)
}

async fn begun<S: AsyncRead + Unpin>(stream: S) -> Result<Begun<S>, NotBegun> {
    tokio::time::timeout(BEGIN_DEADLINE, first_bytes(stream))
        .await
        .map_err(|_| NotBegun::Late)?
        .map_err(NotBegun::Broken)
}

async fn first_bytes<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Begun<S>> {
    let mut start = BytesMut::with_capacity(PREFACE.len());
    while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
        let room = PREFACE.len() - start.len();
        if (&mut stream).take(room as u64).read_buf(&mut start).await? == 0 {
            break;
        }
    }
    let start = start.freeze();
    Ok(Begun { start, stream })
}

/// A connection that has begun. What it began with is read once more.
#[derive(Debug)]
pub struct Begun<S> {
    start: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let taken = self.start.len().min(buffer.remaining());
        buffer.put_slice(&self.start.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_back(sent: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut read = Vec::new();
        let mut begun = begun(server).await.unwrap();
        begun.read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn nothing_of_what_it_began_with_is_lost() {
        let http2 = [PREFACE, b"and more"].concat();
        for sent in [
            http2.as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP",
            b"P",
            b"",
        ] {
            assert_eq!(read_back(sent).await, sent);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_brings_nothing_or_half_of_it_is_not_waited_for() {
        for half in [&b""[..], b"PRI * HTTP/2.0"] {
            let (mut client, server) = tokio::io::duplex(1 << 10);
            client.write_all(half).await.unwrap();
            assert!(matches!(begun(server).await, Err(NotBegun::Late)));
        }
    }
}
