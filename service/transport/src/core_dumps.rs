//! What is left of a program that crashes: no file with its memory, in which there are keys, tokens and passwords.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Turns them off for this process and for those that it starts, such as an embedded database, and for good: the limit can
/// be raised again by root only. A kernel that hands dumps to a program (`kernel.core_pattern` with a `|`) leaves it to that
/// to heed the limit, as systemd-coredump does.
pub fn turn_off() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Nobody needs a right to lower a limit: only a filter of system calls can be in the way.
    if let Err(reason) = setrlimit(Resource::Core, none) {
        eprintln!("core dumps cannot be turned off, and may have secrets in them: {reason}");
    }
}
