//! A short fuzzing without a fuzzer: the inputs that one has found before, and mutations of them.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// Mutations of one target.
const MUTATIONS: usize = 100_000;

/// Calls the target with every input that is kept for it, and with mutations of them, the same ones each time.
///
/// # Panics
/// When the target does, having said for which input, or when nothing is kept for it.
pub fn replay(target: &str, call: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let kept =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = kept.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let inputs: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect();
    assert!(!inputs.is_empty(), "{}: nothing is kept", folder.display());
    for input in &inputs {
        try_out(call, input);
    }
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..MUTATIONS {
        let mut input = inputs[random.random_range(0..inputs.len())].clone();
        for _ in 0..random.random_range(1..4) {
            mutate(&mut input, &inputs, &mut random);
        }
        try_out(call, &input);
    }
}

fn try_out(call: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| call(input))) {
        eprintln!("by this input: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    match random.random_range(0..5) {
        0 => input.truncate(at),
        1 => input.insert(at, random.random()),
        2 => {
            let end = random.random_range(at..=input.len());
            input.drain(at..end);
        }
        3 => {
            let other = &others[random.random_range(0..others.len())];
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len().min(from + 64));
            input.splice(at..at, other[from..to].iter().copied());
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
    }
}
