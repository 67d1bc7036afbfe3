//! The negative control: services that do not look at the ledger must be found out, where a reply to COMMIT is lost and
//! where a zombie wakes up. It shows that the judge can fail.

use anyhow::{Result, bail, ensure};

use crate::{
    cases::{cuts::Cutting, two_instances},
    database_proxy::Fault,
    lab::Lab,
    outcome::Outcome,
    verdict::{Found, Verdict},
};

const BLIND: [(&str, &str); 1] = [("FAILPOINTS", "ledger-ignored=return")];

const TRIES: u32 = 5;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    ensure!(
        lab.programs.failpoints.is_some(),
        "give a program with failpoints: --failpoints-program"
    );
    // The batch is loaded again over its own ids, so that it is the ledger which has it twice.
    let counted = found_out("a lost reply to COMMIT", lose_replies(lab).await)?;
    let stored = wake_zombies(lab).await?;
    Ok(Outcome::of_verdict(2, Verdict::default())
        .figure("counted_twice_readings", counted as f64)
        .figure("stored_twice_readings", stored as f64))
}

/// Not every zombie has something in its hands that is stored twice. And where the ledger is ignored, a stream may be sent
/// back behind what was acknowledged: its producer then gives up, and such a run ends before the judge looks.
async fn wake_zombies(lab: &mut Lab) -> Result<u64> {
    let moves = lab.scale.times(20, 3);
    let mut tries_left = TRIES;
    loop {
        let moving = two_instances::moving(lab, moves, &BLIND).await;
        tries_left -= 1;
        match found_out("zombies", moving.map(drop)) {
            Err(error) if tries_left > 0 => println!("         once more: {error:#}"),
            settled => return settled,
        }
        std::fs::remove_file(lab.folder.join("moving.journal"))?;
    }
}

async fn lose_replies(lab: &mut Lab) -> Result<()> {
    let mut cutting = Cutting::start(lab, "generator", &BLIND).await?;
    for _ in 0..3 {
        cutting.cut(Fault::AfterCommit).await?;
    }
    cutting.judge(lab).await.map(drop)
}

/// How many readings the judge found twice, as it must.
fn found_out(what: &str, outcome: Result<()>) -> Result<u64> {
    let Err(error) = outcome else {
        bail!("{what}: the judge took services without their ledger for sound ones");
    };
    match error.downcast_ref::<Found>() {
        Some(found) if found.twice > 0 => {
            println!("         {what}: found out, as it must be: {found}");
            Ok(found.twice)
        }
        _ => Err(error.context(format!("{what}: found for another reason"))),
    }
}
