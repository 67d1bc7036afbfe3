//! The connection to the database is cut: after every k-th byte of a load, before COMMIT, between COMMIT and its reply,
//! and after every k-th byte of a connection's life. Batches stay whole, and each is stored once (P2, P3).

use std::net::SocketAddr;

use anyhow::Result;
use rand::Rng as _;

use crate::{
    database_proxy::{Fault, Proxy},
    generator::Generator,
    judge::{hold_stored, partial_rows},
    lab::Lab,
    layout::has_numbers,
    outcome::Outcome,
    process::until,
    stack::{Judged, Stack, end, service_options, settle},
    verdict::hold,
    wire::{Weather, Wire},
};

const LOAD: &str = "--rate 20000 --connections 2 --series 100";
const BATCH_ROWS: &str = "--ingest-max-batch-rows=1000";
const LINGER: &str = "--ingest-linger-ms=50";
/// The first bytes are those of packet headers and of the handshake.
const FIRST_BYTES: u64 = 6;
/// A connection's handshake and session settings, and the beginning of its first load.
const CONNECTION_BYTES: u64 = 6_000;
/// Each look counts the whole table: a part of the cuts has a table of its own, which stays small.
const CUTS_OF_A_PART: usize = 100;

/// Every load has at least so many, with its statements.
fn load_bytes() -> u64 {
    match has_numbers() {
        true => 32_000,
        false => 64_000,
    }
}

/// Where the connection is cut.
#[derive(Clone, Copy)]
enum Cut {
    /// Knows the protocol.
    At(Fault),
    /// After so many bytes of a connection's life.
    AfterBytes(u64),
}

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let commits = lab.scale.times(100, 4);
    let cuts = cuts_of(lab, commits);
    let mut judged = Judged::nothing();
    let (mut looks, mut partial) = (0, 0);
    for (part, cuts) in cuts.chunks(CUTS_OF_A_PART).enumerate() {
        let mut cutting = Cutting::start(lab, &format!("part-{part}"), &[]).await?;
        for cut in cuts {
            match *cut {
                Cut::At(fault) => cutting.cut(fault).await?,
                Cut::AfterBytes(bytes) => cutting.cut_lives(bytes).await?,
            }
        }
        looks += cutting.looks;
        partial += cutting.partial;
        judged.add(&cutting.judge(lab).await?);
    }
    Ok(Outcome::of(u32::try_from(cuts.len())?, judged)
        .figure("partial_batches", f64::from(partial))
        .figure("looks_for_partial_batches", f64::from(looks))
        .figure("commits_unknown", f64::from(commits)))
}

fn cuts_of(lab: &mut Lab, commits: u32) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let loads = lab.scale.times(400, 8);
    for cut in 0..loads {
        let at = match u64::from(cut) {
            first if first < FIRST_BYTES => first,
            later => later * load_bytes() / u64::from(loads),
        };
        cuts.push(Cut::At(Fault::InsideLoad(at)));
    }
    for _ in 0..commits {
        cuts.push(Cut::At(Fault::AfterCommit));
        cuts.push(Cut::At(Fault::BeforeCommit));
    }
    for _ in 0..lab.scale.times(10, 1) {
        cuts.push(Cut::At(Fault::BeforeCommitUnheard));
    }
    let lives = lab.scale.times(100, 6);
    for cut in 0..lives {
        let at = u64::from(cut) * CONNECTION_BYTES / u64::from(lives);
        cuts.push(Cut::AfterBytes(1 + at + lab.rng.random_range(0..40)));
    }
    cuts
}

/// A service whose way to the database is cut on demand, under load.
pub(crate) struct Cutting {
    stack: Stack,
    /// Knows the protocol.
    proxy: Proxy,
    /// Knows bytes.
    wire: Wire,
    generator: Generator,
    /// Without its ledger, for the control: what becomes of that is for the judge to find.
    is_blind: bool,
    /// For rows of half a batch.
    looks: u32,
    /// Looks that saw rows of half a batch.
    partial: u32,
}

impl Cutting {
    /// `name` is the generator's: its journal and its log have it.
    pub(crate) async fn start(
        lab: &mut Lab,
        name: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let schema = lab.server.schema().await?;
        let proxy = Proxy::start(schema.port).await;
        let wire = Wire::start(SocketAddr::from(([127, 0, 0, 1], proxy.port))).await?;
        let url = schema.service_url(wire.port);
        let mut options = service_options(lab, url, &["--ingest-lanes=1", BATCH_ROWS, LINGER]);
        options.with_failpoints(lab, environment);
        let stack = Stack::start_on(schema, options).await?;
        let generator = stack.generator_named(lab, name, LOAD).await?;
        Ok(Self {
            stack,
            proxy,
            wire,
            generator,
            is_blind: !environment.is_empty(),
            looks: 0,
            partial: 0,
        })
    }

    /// Lets one fault happen, and waits until readings are acknowledged again.
    pub(crate) async fn cut(&mut self, fault: Fault) -> Result<()> {
        let before = self.proxy.cuts();
        self.proxy.arm(fault);
        until("the connection is cut", async || {
            Ok(self.proxy.cuts() > before)
        })
        .await?;
        self.look().await?;
        self.generator.progress().await?;
        Ok(())
    }

    /// Closes every connection, and cuts those that are opened then after so many bytes of their lives, until one was.
    async fn cut_lives(&mut self, bytes: u64) -> Result<()> {
        self.wire.reset();
        self.wire.set(Weather::CutAfter(bytes));
        let before = self.wire.cuts();
        until(
            "a connection is cut",
            async || Ok(self.wire.cuts() > before),
        )
        .await?;
        self.wire.set(Weather::Fair);
        self.look().await?;
        self.generator.progress().await?;
        Ok(())
    }

    async fn look(&mut self) -> Result<()> {
        if self.is_blind {
            return Ok(());
        }
        let rows = partial_rows(&self.stack.schema).await?;
        self.looks += 1;
        self.partial += u32::from(rows > 0);
        hold!(rows == 0, "{rows} rows of half a batch are visible");
        Ok(())
    }

    /// Ends it, and says what the judge found.
    pub(crate) async fn judge(self, lab: &Lab) -> Result<Judged> {
        let (schema, service) = (self.stack.schema, self.stack.service);
        let judged = settle(lab, &schema, &[&service], vec![self.generator]).await?;
        hold_stored(&schema, &[&service]).await?;
        end(service).await?;
        schema.drop().await?;
        Ok(judged)
    }
}
