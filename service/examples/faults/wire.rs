//! A TCP proxy that behaves like a bad network: it resets, stalls, throttles, delays and slices what passes, in both
//! directions, and cuts connections after so many bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// What happens to everything that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Weather {
    #[default]
    Fair,
    /// Nothing passes, and nobody is told.
    Stalled,
    /// At most so many bytes per second and direction.
    Throttled(u64),
    /// Everything arrives so much later.
    Delayed(Duration),
    /// Every byte travels alone.
    Sliced,
    /// A connection is reset after so many bytes in this weather, both directions counted.
    CutAfter(u64),
}

/// A proxy on a port of its own.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    target: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    /// Cancelled to reset every open connection.
    connections: Mutex<CancellationToken>,
    resets: AtomicU64,
    cuts: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    pub(crate) async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let wire = Self {
            port: listener.local_addr()?.port(),
            state: Arc::new(State {
                target: Mutex::new(target),
                weather: watch::Sender::new(Weather::Fair),
                connections: Mutex::default(),
                resets: AtomicU64::new(0),
                cuts: AtomicU64::new(0),
            }),
        };
        let state = wire.state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move { state.connect(client).await });
            }
        });
        Ok(wire)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// New connections go there.
    pub(crate) fn point_to(&self, target: SocketAddr) {
        *lock(&self.state.target) = target;
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.state.weather.send_replace(weather);
    }

    /// Resets every open connection.
    pub(crate) fn reset(&self) {
        std::mem::take(&mut *lock(&self.state.connections)).cancel();
    }

    /// Connections that were cut by `Weather::CutAfter` so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Connections that were reset so far, those that were cut included.
    pub(crate) fn resets(&self) -> u64 {
        self.state.resets.load(Ordering::SeqCst)
    }
}

impl State {
    async fn connect(self: Arc<Self>, client: TcpStream) {
        let token = lock(&self.connections).clone();
        let target = *lock(&self.target);
        // A target that is away ends the connection, as a reset does.
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        let passed = AtomicU64::new(0);
        let cut = CancellationToken::new();
        let (mut client, mut server) = (client, server);
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let is_reset = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let there = self.pass(from_client, to_server, &passed, &cut);
            let back = self.pass(from_server, to_client, &passed, &cut);
            tokio::select! {
                () = token.cancelled() => true,
                () = cut.cancelled() => true,
                // What breaks on one side is broken on the other.
                _ = async { tokio::try_join!(there, back) } => false,
            }
        };
        if is_reset {
            // Closing then sends RST, and what was not delivered is gone.
            let _ = (client.set_zero_linger(), server.set_zero_linger());
            self.resets.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Copies one direction until its end, and hands the end on.
    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        passed: &AtomicU64,
        cut: &CancellationToken,
    ) -> std::io::Result<()> {
        let mut weather = self.weather.subscribe();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            let bytes = &buffer[..count];
            let now = *weather.borrow_and_update();
            match now {
                Weather::Fair => to.write_all(bytes).await?,
                Weather::Stalled => {
                    let _ = weather.wait_for(|now| *now != Weather::Stalled).await;
                    to.write_all(bytes).await?;
                }
                Weather::Throttled(per_second) => {
                    for part in bytes.chunks(1024) {
                        sleep(Duration::from_secs_f64(
                            part.len() as f64 / per_second as f64,
                        ))
                        .await;
                        to.write_all(part).await?;
                    }
                }
                Weather::Delayed(by) => {
                    sleep(by).await;
                    to.write_all(bytes).await?;
                }
                Weather::Sliced => {
                    for byte in bytes.chunks(1) {
                        to.write_all(byte).await?;
                    }
                }
                Weather::CutAfter(limit) => {
                    let before = passed.fetch_add(count as u64, Ordering::SeqCst);
                    let rest = usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX);
                    to.write_all(&bytes[..count.min(rest)]).await?;
                    if count >= rest {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        cut.cancel();
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }
}
