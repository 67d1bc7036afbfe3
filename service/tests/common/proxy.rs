//! A TCP proxy between the service and its database that loses connections at chosen moments.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
};

/// When the next connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "shared with the fault suite, which needs less of it"
)]
pub(crate) enum Fault {
    /// The database has committed, the reply is lost.
    AfterCommit,
    /// The COMMIT itself is lost.
    BeforeCommit,
    /// The COMMIT is lost and the database does not hear of it: its side of the connection stays open, with the
    /// transaction's locks.
    BeforeCommitUnheard,
    /// The COMMIT is lost, and so is all that follows it, in both directions; neither side hears of it.
    SilenceBeforeCommit,
    /// As `SilenceBeforeCommit`, but the database has committed.
    SilenceAfterCommit,
    /// The COMMIT that gives series their numbers is lost, or its reply.
    BeforeNumbersCommit,
    AfterNumbersCommit,
    /// After so many bytes of a LOAD and what follows it, the statement itself not counted.
    InsideLoad(u64),
    /// Each COMMIT after more than so many bytes of a LOAD is answered with an error of a code that nobody knows, until
    /// something else is armed.
    CommitRefusedAbove(u64),
}

const COM_QUERY: u8 = 3;
/// In the last message of a load; opening a stream ends with COMMIT.
const COMMIT: &[u8] = b"; COMMIT; ";
/// At the end of the transaction that gives series their numbers.
const NUMBERS_COMMIT: &[u8] = b"COMMIT; SET wait_timeout";
/// Of no server.
const UNKNOWN_CODE: u16 = 64_999;
/// In the status flags of an OK packet.
const MORE_RESULTS: u16 = 8;

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    armed: Arc<Mutex<Option<Fault>>>,
    cuts: Arc<AtomicU64>,
    /// Connections to the database that stay open although their client is gone.
    unheard: Arc<tokio::sync::Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens on a free port for connections to the database at `target` of this host.
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
        let proxy = Self {
            port: listener.local_addr().expect("bound").port(),
            armed: Arc::default(),
            cuts: Arc::default(),
            unheard: Arc::default(),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = accepting.clone();
                tokio::spawn(async move {
                    // A database that is away ends the connection, as a cut does.
                    if let Ok(database) = TcpStream::connect(("127.0.0.1", target)).await {
                        let _ = proxy.forward(client, database).await;
                    }
                });
            }
        });
        proxy
    }

    /// Arms a fault. It happens once.
    pub(crate) fn arm(&self, fault: Fault) {
        *self.armed() = Some(fault);
    }

    /// Connections lost so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    fn armed(&self) -> std::sync::MutexGuard<'_, Option<Fault>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, happens: impl FnOnce(Fault) -> bool) -> Option<Fault> {
        let mut armed = self.armed();
        let fault = armed.filter(|&fault| happens(fault))?;
        *armed = None;
        Some(fault)
    }

    /// Whether a COMMIT after so many bytes of a LOAD is refused.
    fn refuses(&self, loaded: Option<u64>) -> bool {
        matches!(*self.armed(), Some(Fault::CommitRefusedAbove(limit)) if loaded > Some(limit))
    }

    /// Forwards until a side ends, or a fault does: its halves are dropped with the caller.
    async fn forward(&self, client: TcpStream, database: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        database.set_nodelay(true)?;
        let (from_client, mut to_client) = client.into_split();
        let (from_database, mut to_database) = database.into_split();
        let mut from_client = BufReader::new(from_client);
        let mut from_database = BufReader::new(from_database);
        // Set by a LOAD statement; counts what the client sends from then on.
        let mut loading: Option<u64> = None;
        loop {
            tokio::select! {
                // `fill_buf` is cancel-safe, so that no half of a packet is lost.
                ready = from_client.fill_buf() => {
                    if ready?.is_empty() {
                        return Ok(());
                    }
                    let packet = read_packet(&mut from_client).await?;
                    let query = (packet.get(4) == Some(&COM_QUERY)).then(|| &packet[5..]);
                    if query.is_some_and(|sql| holds(sql, COMMIT)) && self.refuses(loading) {
                        to_client.write_all(&error_packet(UNKNOWN_CODE)).await?;
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        continue;
                    }
                    if query.is_some_and(|sql| sql.starts_with(NUMBERS_COMMIT))
                        && let Some(fault) = self.take(is_about_numbers)
                    {
                        if fault == Fault::AfterNumbersCommit {
                            to_database.write_all(&packet).await?;
                            read_replies(&mut from_database).await?;
                        }
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    if query.is_some_and(|sql| holds(sql, COMMIT))
                        && let Some(fault) = self.take(is_about_commit)
                    {
                        if matches!(fault, Fault::AfterCommit | Fault::SilenceAfterCommit) {
                            to_database.write_all(&packet).await?;
                            read_replies(&mut from_database).await?;
                        }
                        if fault == Fault::BeforeCommitUnheard {
                            let unheard = from_database.into_inner().reunite(to_database);
                            self.unheard.lock().await.extend(unheard);
                        }
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        if matches!(fault, Fault::SilenceBeforeCommit | Fault::SilenceAfterCommit) {
                            std::future::pending::<()>().await;
                        }
                        return Ok(());
                    }
                    if let Some(sent) = &mut loading
                        && let Some(Fault::InsideLoad(at)) =
                            self.take(|fault| falls_into(fault, *sent, packet.len()))
                    {
                        to_database.write_all(&packet[..(at - *sent) as usize]).await?;
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    if query.is_some_and(|sql| holds(sql, b"LOAD DATA")) {
                        loading = Some(0);
                    } else if let Some(sent) = &mut loading {
                        *sent += packet.len() as u64;
                    }
                    to_database.write_all(&packet).await?;
                }
                ready = from_database.fill_buf() => {
                    let bytes = ready?;
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    to_client.write_all(bytes).await?;
                    let count = bytes.len();
                    from_database.consume(count);
                }
            }
        }
    }
}

fn is_about_numbers(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::BeforeNumbersCommit | Fault::AfterNumbersCommit
    )
}

fn is_about_commit(fault: Fault) -> bool {
    !is_about_numbers(fault)
        && !matches!(fault, Fault::InsideLoad(_) | Fault::CommitRefusedAbove(_))
}

fn falls_into(fault: Fault, sent: u64, packet_bytes: usize) -> bool {
    matches!(fault, Fault::InsideLoad(at) if (sent..sent + packet_bytes as u64).contains(&at))
}

fn holds(sql: &[u8], word: &[u8]) -> bool {
    sql.windows(word.len()).any(|window| window == word)
}

/// One packet with its header of three bytes of length and one of sequence.
async fn read_packet(from: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet).await?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// The answer to a statement.
fn error_packet(code: u16) -> Vec<u8> {
    let payload = [
        &[0xff][..],
        &code.to_le_bytes(),
        b"#HY000",
        b"something of this server's own",
    ]
    .concat();
    let length = payload.len() as u8;
    [&[length, 0, 0, 1][..], &payload].concat()
}

/// Reads up to the reply of the last of several statements, none of which returns rows.
async fn read_replies(from: &mut BufReader<OwnedReadHalf>) -> std::io::Result<()> {
    loop {
        let packet = read_packet(from).await?;
        assert_eq!(packet[4], 0, "an OK packet: {packet:?}");
        // Behind two counts, which take one byte each as long as they are small.
        assert!(
            packet[5] < 251 && packet[6] < 251,
            "small counts: {packet:?}"
        );
        let status = u16::from_le_bytes([packet[7], packet[8]]);
        if status & MORE_RESULTS == 0 {
            return Ok(());
        }
    }
}
