//! Servers that speak the protocol of MySQL, and do with it what no database does.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex as AsyncMutex,
};

/// The public half of a key that was made for this. Nobody has the other half.
const OWN_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA3EMLcM3rn6UboI5krZII
Zu0LJ0IQEITHbkNPCISZwYJeRusKEFblTTTSd2yVBhUaGUwsTjMBjFselipvfzID
8mBDLSgUW2wr3aknzKC8Ed9qzUcXqaYUsjNWKKFQrhRhOjtjjTOgUwgkj7qlOT0d
i+FDT1zptC4im0NUu/ua+OI4Q7ESkQ0+PXl41+xo2X0inS0Fd5R8Kdak25PBaUii
bhjMKmsJSHvSKHB2ZsybkNW93IF/Uc/JoFS1CrF+O+2SHxFdeajf+jTMxfPXhg8i
jBR/J5M/jsxOPjICLQdx6Dj1qsNZT0XfY8rM9KeAneixjgRXcTEDxyyWh6ofhCv0
XQIDAQAB
-----END PUBLIC KEY-----
";

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
/// A file that every system has, and its beginning.
pub(crate) const FOREIGN_FILE: &str = "/etc/passwd";

/// What a server does that nobody stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Asks for the password as it is.
    ClearPassword,
    /// Asks for the password, encrypted with a key of its own.
    OwnKey,
    /// Lets everybody in, and answers the first question with a request for a file.
    AsksForAFile,
    /// Lets everybody in, and answers no question.
    Silence,
}

/// A server that nobody stands behind.
pub(crate) struct FakeServer {
    pub(crate) port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl FakeServer {
    pub(crate) async fn start(host: &str, trick: Trick) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = heard.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(play(client, trick, hearing.clone()));
            }
        });
        Self { port, heard }
    }

    /// All that clients ever said.
    pub(crate) fn heard(&self) -> Vec<u8> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    pub(crate) fn has_heard(&self, what: &str) -> bool {
        let heard = self.heard();
        let mut windows = heard.windows(what.len());
        windows.any(|window| window == what.as_bytes())
    }
}

async fn play(mut client: TcpStream, trick: Trick, heard: Arc<Mutex<Vec<u8>>>) {
    let hear = |packet: Vec<u8>| {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(&packet);
        !packet.is_empty()
    };
    let plugin = match trick {
        Trick::OwnKey => "caching_sha2_password",
        _ => "mysql_native_password",
    };
    send(&mut client, 0, &greeting(plugin)).await;
    if !hear(receive(&mut client).await) {
        return;
    }
    match trick {
        Trick::ClearPassword => send(&mut client, 2, b"\xfemysql_clear_password\0").await,
        Trick::OwnKey => {
            // The whole password is wanted, and then here is the key.
            send(&mut client, 2, b"\x01\x04").await;
            hear(receive(&mut client).await);
            let key = [b"\x01", OWN_KEY.as_bytes()].concat();
            send(&mut client, 4, &key).await;
        }
        Trick::AsksForAFile => {
            send(&mut client, 2, OK).await;
            hear(receive(&mut client).await);
            let request = [b"\xfb", FOREIGN_FILE.as_bytes()].concat();
            send(&mut client, 1, &request).await;
        }
        Trick::Silence => send(&mut client, 2, OK).await,
    }
    while hear(receive(&mut client).await) {}
}

pub(crate) fn greeting(plugin: &str) -> Vec<u8> {
    // Long password, database, local files, protocol 41, transactions, secure connection, and, in the upper half, multiple
    // statements and results, plugins.
    let (lower, upper) = (0xa289_u16, 0x000b_u16);
    [
        b"\x0a8.0.99\0\x01\0\0\0".as_slice(),
        &[5; 8],
        b"\0",
        &lower.to_le_bytes(),
        b"\x2d\x02\0",
        &upper.to_le_bytes(),
        b"\x15",
        &[0; 10],
        &[5; 12],
        b"\0",
        plugin.as_bytes(),
        b"\0",
    ]
    .concat()
}

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes().to_vec();
    packet[3] = number;
    packet.extend_from_slice(payload);
    packet
}

pub(crate) async fn send(client: &mut TcpStream, number: u8, payload: &[u8]) {
    let _ = client.write_all(&packet(number, payload)).await;
}

/// A packet; empty when the client has gone.
pub(crate) async fn receive(client: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    if client.read_exact(&mut head).await.is_err() {
        return Vec::new();
    }
    head[3] = 0;
    let mut payload = vec![0; u32::from_le_bytes(head) as usize];
    let _ = client.read_exact(&mut payload).await;
    payload
}

/// What somebody between the service and its database makes of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// One row more was loaded than there were.
    Counts,
    /// There was a warning.
    Warnings,
    /// Each LOAD is to read another file.
    FileName,
    /// Rows without end.
    Rows,
    /// So many columns, whose descriptions have no end.
    Columns(u32),
    /// A packet without end.
    Packet,
}

/// Stands between the service and its database, and lies while it is told to.
#[derive(Clone)]
pub(crate) struct Liar {
    pub(crate) port: u16,
    lies: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// One connection through it.
struct Between {
    lie: Lie,
    about: &'static str,
    liar: Liar,
    client: AsyncMutex<OwnedWriteHalf>,
    /// A file has been sent: the next packet of the server counts it.
    counted_next: AtomicBool,
}

impl Liar {
    /// Lies about statements that have this in them, once it is told to.
    pub(crate) async fn start(target: u16, lie: Lie, about: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
        let liar = Self {
            port: listener.local_addr().expect("bound").port(),
            lies: Arc::default(),
            heard: Arc::default(),
        };
        let one = liar.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", target)).await;
                let Ok(server) = server else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let between = Arc::new(Between {
                    lie,
                    about,
                    liar: one.clone(),
                    client: AsyncMutex::new(to_client),
                    counted_next: AtomicBool::new(false),
                });
                tokio::spawn(between.clone().forth(from_client, to_server));
                tokio::spawn(between.back(from_server));
            }
        });
        liar
    }

    pub(crate) fn lie(&self, lies: bool) {
        self.lies.store(lies, Ordering::SeqCst);
    }

    fn lies(&self) -> bool {
        self.lies.load(Ordering::SeqCst)
    }

    /// Whether a client ever said this while there were lies.
    pub(crate) fn has_heard(&self, what: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut windows = heard.windows(what.len());
        windows.any(|window| window == what.as_bytes())
    }
}

impl Between {
    async fn forth(self: Arc<Self>, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) {
        let mut is_prepared = false;
        while let Some((number, payload)) = next(&mut client).await {
            if self.liar.lies() {
                let heard = self.liar.heard.lock();
                let mut heard = heard.unwrap_or_else(PoisonError::into_inner);
                heard.extend_from_slice(&payload);
            }
            let command = payload.first().copied().unwrap_or_default();
            let text = String::from_utf8_lossy(&payload).into_owned();
            let is_meant = self.liar.lies() && text.contains(self.about);
            let answers = match command {
                COM_QUERY => is_meant,
                COM_STMT_PREPARE => {
                    is_prepared |= is_meant;
                    false
                }
                COM_STMT_EXECUTE => is_prepared && self.liar.lies(),
                _ => false,
            };
            if answers && self.answer(command == COM_STMT_EXECUTE).await {
                return;
            }
            let is_end_of_file = payload.is_empty() && self.liar.lies();
            self.counted_next.fetch_or(is_end_of_file, Ordering::SeqCst);
            if server.write_all(&packet(number, &payload)).await.is_err() {
                return;
            }
        }
    }

    async fn back(self: Arc<Self>, mut server: OwnedReadHalf) {
        while let Some((number, mut payload)) = next(&mut server).await {
            if self.liar.lies() {
                let counts = self.counted_next.swap(false, Ordering::SeqCst);
                // Status OK, affected rows, an id, two bytes of status, two of warnings: all of one byte here.
                match self.lie {
                    Lie::Counts if counts && payload[0] == 0 => payload[1] += 1,
                    Lie::Warnings if counts && payload[0] == 0 => payload[5] += 1,
                    Lie::FileName if payload == b"\xfbbatch" => {
                        payload = [b"\xfb", FOREIGN_FILE.as_bytes()].concat();
                    }
                    _ => {}
                }
            }
            let packet = packet(number, &payload);
            if self.client.lock().await.write_all(&packet).await.is_err() {
                return;
            }
        }
    }

    /// Answers in the database's place until the client has gone; false where the database is to answer.
    async fn answer(&self, is_binary: bool) -> bool {
        let text = [b"\xfc\xe8\x03".as_slice(), &[b'x'; 1000]].concat();
        let row = match is_binary {
            true => [b"\0\0".as_slice(), &text].concat(),
            false => text,
        };
        let (mut beginning, repeated) = match self.lie {
            Lie::Rows => ([packet(1, b"\x01"), packet(2, &column())].concat(), row),
            Lie::Columns(count) => {
                let count = [b"\xfe".as_slice(), &u64::from(count).to_le_bytes()].concat();
                // In step with the rows of the other case.
                let beginning = [packet(1, &count), packet(2, &column())].concat();
                (beginning, column())
            }
            Lie::Packet => {
                let mut client = self.client.lock().await;
                let mut number = 1_u8;
                loop {
                    let part = packet(number, &vec![b'x'; 0xff_ffff]);
                    if client.write_all(&part).await.is_err() {
                        return true;
                    }
                    number = number.wrapping_add(1);
                }
            }
            Lie::Counts | Lie::Warnings | Lie::FileName => return false,
        };
        let all = (0..=255_u8).map(|number| packet(number.wrapping_add(3), &repeated));
        let all: Vec<u8> = all.flatten().collect();
        let mut client = self.client.lock().await;
        while client.write_all(&beginning).await.is_ok() {
            beginning.clone_from(&all);
        }
        true
    }
}

/// The description of a column of texts.
fn column() -> Vec<u8> {
    [
        b"\x03def\0\0\0\x01c\0\x0c".as_slice(),
        &45_u16.to_le_bytes(),
        &4000_u32.to_le_bytes(),
        b"\xfd\0\0\0\0\0",
    ]
    .concat()
}

/// The next packet: its number and what is in it.
async fn next(from: &mut OwnedReadHalf) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await.ok()?;
    let number = std::mem::take(&mut head[3]);
    let mut payload = vec![0; u32::from_le_bytes(head) as usize];
    from.read_exact(&mut payload).await.ok()?;
    Some((number, payload))
}
