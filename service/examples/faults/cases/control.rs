//! The negative control: services that do not look at the ledger must be found out, where a reply to COMMIT is lost and
//! where a zombie wakes up. It shows that the judge can fail.

use anyhow::{Result, ensure};

use crate::{
    cases::{cuts::Cutting, two_instances},
    database_proxy::Fault,
    judge::{Found, Verdict},
    lab::Lab,
    outcome::Outcome,
};

const BLIND: [(&str, &str); 1] = [("FAILPOINTS", "ledger-ignored=return")];

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    ensure!(
        lab.programs.failpoints.is_some(),
        "give a program with failpoints: --failpoints-program"
    );
    let mut found = found_out("a lost reply to COMMIT", lose_replies(lab).await)?;
    // Not every zombie has something in its hands that is stored twice.
    let moves = lab.scale.times(20, 3);
    let moving = two_instances::moving(lab, moves, &BLIND).await;
    found += found_out("zombies", moving.map(drop))?;
    Ok(Outcome::of_verdict(found, Verdict::default()).figure("services_found_out", found.into()))
}

async fn lose_replies(lab: &mut Lab) -> Result<()> {
    let mut cutting = Cutting::start(lab, &BLIND).await?;
    for _ in 0..3 {
        cutting.cut(Fault::AfterCommit).await?;
    }
    cutting.judge(lab).await.map(drop)
}

/// One that was found out, as every one must be.
fn found_out(what: &str, outcome: Result<()>) -> Result<u32> {
    match outcome {
        Ok(()) => {
            anyhow::bail!("{what}: the judge took services without their ledger for sound ones")
        }
        Err(error) if error.is::<Found>() => {
            println!("         {what}: found out, as it must be: {error:#}");
            Ok(1)
        }
        Err(error) => Err(error),
    }
}
