//! What is wrong with a command line, in one sentence that names the flag, or the variable that stands for it.

use std::{env, ffi::OsStr};

use clap::{
    CommandFactory as _,
    error::{ContextKind, ContextValue},
};

use super::Cli;

/// clap's first paragraph; the usage and the hints behind it are in `--help`.
pub(super) fn complaint(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let first = first.join(" ");
    let sentence = first.strip_prefix("error: ").unwrap_or(&first);
    let given: Vec<_> = env::args_os().collect();
    match variable(error, |flag| given.iter().any(|each| is_flag(each, flag))) {
        Some(variable) => format!("{sentence} (from {variable})"),
        None => sentence.to_owned(),
    }
}

/// Where a value came from that is not on the command line.
fn variable(error: &clap::Error, is_given: impl Fn(&str) -> bool) -> Option<String> {
    let ContextValue::String(arg) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    // Such as `--ingest-lanes <N>`.
    let flag = arg.split_whitespace().next()?;
    if is_given(flag) {
        return None;
    }
    let cli = Cli::command();
    let mut args = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    let arg = args.find(|arg| arg.get_long() == flag.strip_prefix("--"))?;
    let name = arg.get_env()?;
    env::var_os(name)?;
    Some(name.to_string_lossy().into_owned())
}

fn is_flag(given: &OsStr, flag: &str) -> bool {
    let given = given.to_string_lossy();
    given
        .strip_prefix(flag)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn of(arguments: &[&str]) -> String {
        let arguments = ["sluicegate"].iter().chain(arguments);
        complaint(&Cli::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn it_is_one_line_that_names_the_flag() {
        let lanes = of(&["serve", "--ingest-lanes=many"]);
        assert!(
            lanes.starts_with("invalid value 'many' for '--ingest-lanes <N>'"),
            "{lanes}"
        );
        let unknown = of(&["serve", "--ingest-lane=2"]);
        assert!(
            unknown.starts_with("unexpected argument '--ingest-lane' found"),
            "{unknown}"
        );
        for complaint in [lanes, unknown] {
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
        }
    }

    #[test]
    fn a_flag_is_told_from_another_that_begins_alike() {
        for (given, is) in [
            ("--rest-addr", true),
            ("--rest-addr=1", true),
            ("--rest-address", false),
            ("rest-addr", false),
        ] {
            assert_eq!(is_flag(OsStr::new(given), "--rest-addr"), is, "{given}");
        }
    }
}
