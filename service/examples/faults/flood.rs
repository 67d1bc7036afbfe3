//! Clients that flood: connections that say nothing, headers and bodies that never end, and frames of HTTP/2 that cost the
//! server more than the client. They write frames by hand, for no library would.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, LazyLock},
    time::Duration,
};

use prost::bytes::{BufMut as _, BytesMut};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    task::JoinSet,
    time::sleep,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames, and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// What a client writes at a time.
const PIECE_BYTES: usize = 16 << 10;
/// The flood is held to this pace for each connection: client and server share the machine.
const PAUSE: Duration = Duration::from_millis(2);
/// Connections that write frames as fast as that.
const WRITERS: usize = 8;
/// Connections that open calls and keep them. Each has a quarter of all calls at the most, so four would take all: what holds
/// that back is `auth.max_open_calls`, and not the door.
const KEEPERS: usize = 3;
/// Connections that are slow, or silent.
const CROWD: usize = 1_100;
/// Between two bytes of one that is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Before one that was cut off comes again.
const AGAIN: Duration = Duration::from_millis(20);

/// Where those who flood run. They have machines of their own; here they get all of the processors that the service, its database
/// and the producers leave, and take none from them.
static OUTSIDE: LazyLock<Runtime> = LazyLock::new(|| {
    let mut outside = tokio::runtime::Builder::new_multi_thread();
    outside.enable_all().on_thread_start(|| {
        // Of this thread alone. Where it is not allowed, the test is the harder.
        let _ = rustix::process::nice(19);
    });
    outside.build().expect("threads")
});

/// A way to flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    SilentConnections,
    SlowHeaders,
    SlowBodies,
    SlowReaders,
    RapidReset,
    Pings,
    Settings,
    Continuations,
    EmptyData,
    HeaderBombs,
    LyingLengths,
    CompressionBombs,
    /// The slow clients of `slowhttptest`, which others have written.
    StrangersSlowHeaders,
    StrangersSlowBodies,
    StrangersSlowReaders,
    /// Handshakes of TLS that end in the middle of the client's first message, and behind it.
    HalfHellos,
    UnansweredHellos,
    /// Handshakes that are begun as fast as they are answered.
    RepeatedHellos,
}

impl Flood {
    pub(crate) const TLS: [Self; 3] = [
        Self::HalfHellos,
        Self::UnansweredHellos,
        Self::RepeatedHellos,
    ];

    pub(crate) const PLAIN: [Self; 15] = [
        Self::SilentConnections,
        Self::SlowHeaders,
        Self::SlowBodies,
        Self::SlowReaders,
        Self::RapidReset,
        Self::Pings,
        Self::Settings,
        Self::Continuations,
        Self::EmptyData,
        Self::HeaderBombs,
        Self::LyingLengths,
        Self::CompressionBombs,
        Self::StrangersSlowHeaders,
        Self::StrangersSlowBodies,
        Self::StrangersSlowReaders,
    ];

    /// Whether it is let loose by `slowhttptest`.
    pub(crate) fn is_strangers(self) -> bool {
        matches!(
            self,
            Self::StrangersSlowHeaders | Self::StrangersSlowBodies | Self::StrangersSlowReaders
        )
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SilentConnections => "silent_connections",
            Self::SlowHeaders => "slow_headers",
            Self::SlowBodies => "slow_bodies",
            Self::SlowReaders => "slow_readers",
            Self::RapidReset => "rapid_reset",
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::Continuations => "continuations",
            Self::EmptyData => "empty_data",
            Self::HeaderBombs => "header_bombs",
            Self::LyingLengths => "lying_lengths",
            Self::CompressionBombs => "compression_bombs",
            Self::StrangersSlowHeaders => "strangers_slow_headers",
            Self::StrangersSlowBodies => "strangers_slow_bodies",
            Self::StrangersSlowReaders => "strangers_slow_readers",
            Self::HalfHellos => "half_hellos",
            Self::UnansweredHellos => "unanswered_hellos",
            Self::RepeatedHellos => "repeated_hellos",
        }
    }

    /// Begins, and goes on until it is dropped. Who is cut off comes again.
    pub(crate) fn begin(self, grpc: SocketAddr, rest: SocketAddr) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        let doors: &[SocketAddr] = match self {
            Self::SlowHeaders
            | Self::SlowBodies
            | Self::SlowReaders
            | Self::StrangersSlowHeaders
            | Self::StrangersSlowBodies
            | Self::StrangersSlowReaders => &[rest],
            _ => &[grpc, rest],
        };
        let each = match self {
            Self::SilentConnections
            | Self::SlowHeaders
            | Self::SlowBodies
            | Self::SlowReaders
            | Self::HalfHellos
            | Self::UnansweredHellos => CROWD,
            // Each is a crowd by itself.
            Self::StrangersSlowHeaders | Self::StrangersSlowBodies | Self::StrangersSlowReaders => {
                1
            }
            Self::LyingLengths | Self::CompressionBombs => KEEPERS,
            _ => WRITERS,
        };
        for &door in doors {
            for _ in 0..each {
                let flooding = async move {
                    loop {
                        // However it ends: it comes again.
                        let _ = self.client(door).await;
                        sleep(AGAIN).await;
                    }
                };
                clients.spawn_on(flooding, OUTSIDE.handle());
            }
        }
        clients
    }

    async fn client(self, door: SocketAddr) -> std::io::Result<()> {
        match self {
            Self::SilentConnections => {
                let mut silent = connect(door).await?;
                // Until it is closed.
                silent.read_u8().await.map(drop)
            }
            Self::SlowHeaders => {
                let mut slow = connect(door).await?;
                slow.write_all(b"GET /readyz HTTP/1.1\r\nx-slow: ").await?;
                trickle(slow).await
            }
            Self::SlowBodies => {
                let mut slow = connect(door).await?;
                let head = "PUT /sensor/update/time?from_time=1&to_time=2 HTTP/1.1\r\nhost: localhost\r\n\
                            content-type: application/json\r\ncontent-length: 4000\r\n\r\n{";
                slow.write_all(head.as_bytes()).await?;
                trickle(slow).await
            }
            Self::SlowReaders => {
                let mut slow = connect(door).await?;
                let ask = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50);
                slow.write_all(ask.as_bytes()).await?;
                loop {
                    slow.read_u8().await?;
                    sleep(SLOW).await;
                }
            }
            Self::RapidReset => {
                let mut call = 1;
                let piece = |to: &mut BytesMut| {
                    while to.len() < PIECE_BYTES {
                        frame(to, HEADERS, END_HEADERS, call, &request(&[]));
                        frame(to, RST_STREAM, 0, call, &8_u32.to_be_bytes());
                        call += 2;
                    }
                };
                write(door, piece).await
            }
            Self::Pings => write(door, |to| fill(to, PING, 0, 0, &[7; 8])).await,
            Self::Settings => write(door, |to| fill(to, SETTINGS, 0, 0, &[])).await,
            Self::Continuations => {
                let mut begun = false;
                let piece = |to: &mut BytesMut| {
                    if !begun {
                        frame(to, HEADERS, 0, 1, &request(&[]));
                        begun = true;
                    }
                    // A header that is nobody's, again and again.
                    let header = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat();
                    fill(to, CONTINUATION, 0, 1, &header.repeat(100));
                };
                write(door, piece).await
            }
            Self::EmptyData => {
                let mut begun = false;
                let piece = |to: &mut BytesMut| {
                    if !begun {
                        frame(to, HEADERS, END_HEADERS, 1, &request(&[]));
                        begun = true;
                    }
                    fill(to, DATA, 0, 1, &[]);
                };
                write(door, piece).await
            }
            Self::HeaderBombs => {
                let mut call = 1;
                let piece = |to: &mut BytesMut| {
                    // One header of 4,000 bytes goes into the table, and each byte after it is that header again.
                    let mut block = request(&[]);
                    block.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
                    block.extend_from_slice(&[b'y'; 4_000]);
                    block.extend_from_slice(&[0xbe; 8_000]);
                    frame(to, HEADERS, END_HEADERS, call, &block);
                    call += 2;
                };
                write(door, piece).await
            }
            Self::LyingLengths => {
                let mut call = 1;
                let piece = |to: &mut BytesMut| {
                    for length in [u32::MAX, 4 << 20, 1 << 31] {
                        frame(to, HEADERS, END_HEADERS, call, &request(&[]));
                        let message = [&[0][..], &length.to_be_bytes(), &[1; 64]].concat();
                        frame(to, DATA, 0, call, &message);
                        call += 2;
                    }
                };
                write(door, piece).await
            }
            Self::CompressionBombs => {
                let bomb = bomb();
                let mut call = 1;
                let piece = |to: &mut BytesMut| {
                    frame(
                        to,
                        HEADERS,
                        END_HEADERS,
                        call,
                        &request(&[("grpc-encoding", "gzip")]),
                    );
                    let length = bomb.len() as u32;
                    let message = [&[1][..], &length.to_be_bytes(), &bomb].concat();
                    for part in message.chunks(PIECE_BYTES) {
                        frame(to, DATA, 0, call, part);
                    }
                    call += 2;
                };
                write(door, piece).await
            }
            Self::StrangersSlowHeaders => stranger(door, &["-H", "-i", "1"], "readyz").await,
            Self::StrangersSlowBodies => {
                let update = "sensor/update/time?from_time=1&to_time=2";
                let put = ["-B", "-i", "1", "-t", "PUT", "-f", "application/json"];
                stranger(door, &put, update).await
            }
            Self::StrangersSlowReaders => stranger(door, &["-X", "-k", "50"], "openapi.json").await,
            Self::HalfHellos => {
                let mut client = connect(door).await?;
                let hello = hello();
                client.write_all(&hello[..hello.len() / 2]).await?;
                // Until it is closed.
                client.read_u8().await.map(drop)
            }
            Self::UnansweredHellos => {
                let mut client = connect(door).await?;
                client.write_all(hello()).await?;
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.map(drop)
            }
            Self::RepeatedHellos => {
                let hello = hello();
                loop {
                    let mut client = connect(door).await?;
                    client.write_all(hello).await?;
                    client.read_u8().await?;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// `slowhttptest` with as many connections, for as long as it is let.
async fn stranger(door: SocketAddr, how: &[&str], path: &str) -> std::io::Result<()> {
    let mut command = tokio::process::Command::new("slowhttptest");
    command
        .args(how)
        .args(["-c", &CROWD.to_string(), "-r", "500", "-l", "600"])
        .args(["-u", &format!("http://{door}/{path}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.status().await.map(drop)
}

/// Whether `slowhttptest` is there.
pub(crate) fn has_stranger() -> bool {
    let mut command = std::process::Command::new("slowhttptest");
    let quiet = command
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // It has no status of its own for a question.
    quiet.status().is_ok()
}

/// The first message of a client of TLS, always the same: the server is to work for it, and not the client.
fn hello() -> &'static [u8] {
    static HELLO: LazyLock<Vec<u8>> = LazyLock::new(new_hello);
    &HELLO
}

fn new_hello() -> Vec<u8> {
    let provider = sluicegate_transport::crypto::provider();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|config| config.with_root_certificates(RootCertStore::empty()))
        .map(|config| config.with_no_client_auth());
    let name = ServerName::from(std::net::Ipv4Addr::LOCALHOST);
    let client = config.and_then(|config| ClientConnection::new(Arc::new(config), name));
    let mut hello = Vec::new();
    // Memory does not fail, and the parts are those of the library itself.
    if let Ok(mut client) = client {
        let _ = client.write_tls(&mut hello);
    }
    hello
}

/// Little is kept of what comes back: these clients do not read.
async fn connect(door: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    socket.connect(door).await
}

async fn trickle(mut slow: TcpStream) -> std::io::Result<()> {
    loop {
        slow.write_u8(b'x').await?;
        sleep(SLOW).await;
    }
}

/// A connection of HTTP/2 on which pieces follow each other, whatever the server says to them.
async fn write(door: SocketAddr, mut piece: impl FnMut(&mut BytesMut)) -> std::io::Result<()> {
    let mut client = connect(door).await?;
    let mut to = BytesMut::from(PREFACE);
    frame(&mut to, SETTINGS, 0, 0, &[]);
    loop {
        piece(&mut to);
        client.write_all(&to).await?;
        to.clear();
        sleep(PAUSE).await;
    }
}

/// As many frames of one kind as go into a piece.
fn fill(to: &mut BytesMut, kind: u8, flags: u8, call: u32, payload: &[u8]) {
    while to.len() < PIECE_BYTES {
        frame(to, kind, flags, call, payload);
    }
}

fn frame(to: &mut BytesMut, kind: u8, flags: u8, call: u32, payload: &[u8]) {
    to.put_uint(payload.len() as u64, 3);
    to.put_u8(kind);
    to.put_u8(flags);
    to.put_u32(call);
    to.put_slice(payload);
}

/// The headers of a call that streams, each written out.
fn request(more: &[(&str, &str)]) -> Vec<u8> {
    let literal = |to: &mut Vec<u8>, text: &str| {
        to.push(text.len() as u8);
        to.extend_from_slice(text.as_bytes());
    };
    // POST, and http.
    let mut block = vec![0x83, 0x86, 0x04];
    literal(&mut block, "/sluicegate.v1.SensorService/StreamReadings");
    block.push(0x01);
    literal(&mut block, "localhost");
    let own = [("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in own.iter().chain(more) {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    block
}

/// A few kilobytes that become sixteen megabytes.
fn bomb() -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..16 {
        // Memory does not fail.
        let _ = packed.write_all(&zeros);
    }
    packed.finish().unwrap_or_default()
}
