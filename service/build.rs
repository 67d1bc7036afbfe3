//! Finds out which commit a program is built from: `SLUICEGATE_COMMIT` where the sources have no history with them, as in
//! a container's build, and git's word otherwise. A build for tests has none, or each commit would build all of them anew.

use std::{env, process::Command};

const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SLUICEGATE_COMMIT");
    let given = env::var("SLUICEGATE_COMMIT").ok();
    let commit = given.filter(|commit| !commit.is_empty()).or_else(|| {
        let is_for_tests = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
        if is_for_tests { None } else { of_git() }
    });
    let commit = commit.unwrap_or_else(|| UNKNOWN.to_owned());
    println!("cargo:rustc-env=SLUICEGATE_COMMIT={commit}");
}

/// The commit that is checked out, where git and its history are there.
fn of_git() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    // It changes with what HEAD says, and with the branch that HEAD names, which may be packed. A path that is not there
    // would count as changed each time.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", name])
            && std::path::Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let done = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(done.stdout).ok()?.trim().to_owned();
    (done.status.success() && !said.is_empty()).then_some(said)
}
