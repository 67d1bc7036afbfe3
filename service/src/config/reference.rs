//! Every setting in words, for the book: made of what the command line and the defaults know, so that it says nothing else.

use std::fmt::Write as _;

use clap::Args as _;
use serde_norway::Value;

use super::{Config, Settings};

const HEAD: &str = "\
# Configuration

Every setting of `sluicegate serve`, as `sluicegate settings` prints them. Each is

- a flag: `ingest.lanes` is `--ingest-lanes`;
- a variable in the environment: `SLUICEGATE_INGEST_LANES`;
- a key in a YAML file that `--config FILE` or `SLUICEGATE_CONFIG` names, where those with a dot stand in groups:

```yaml file=sluicegate.yaml
layout: partitioned
ingest:
  lanes: 4
  budget_bytes: 134217728
partitions:
  retention: 30d
```

Flags win over the environment, and that over the file; what none of them has is at its default. A name that is none, and a value
out of range, are refused at the start with a sentence that names them (exit status 2):

```sh
sluicegate config --config sluicegate.yaml --ingest-lanes 2 | grep -A 1 '^ingest:'
```
```text
ingest:
  lanes: 2
```

```sh exit=2
SLUICEGATE_INGEST_LAINS=4 sluicegate config
```

`sluicegate config` prints the configuration in effect, with passwords masked. `true` and `false` are written out, also behind flags.
";

/// One setting.
struct Setting {
    /// As the file has it, such as `ingest.lanes`.
    key: String,
    /// What stands behind the flag, such as `N`.
    value: String,
    /// Empty where there is none.
    default: String,
    about: String,
}

/// All settings as a page in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut group = None;
    for setting in all() {
        let of = setting.key.split_once('.').map(|(group, _)| group);
        if group != Some(of.map(str::to_owned)) {
            let title = of.map_or_else(|| "General".to_owned(), |of| format!("`{of}`"));
            // Writing to a text does not fail.
            let _ = write!(
                page,
                "\n## {title}\n\n| Key | Value | Default | What it does |\n|---|---|---|---|\n"
            );
            group = Some(of.map(str::to_owned));
        }
        let Setting {
            key,
            value,
            default,
            about,
        } = setting;
        let _ = writeln!(
            page,
            "| `{key}` | {} | {} | {} |",
            code(&value),
            code(&default),
            about.replace('|', "\\|")
        );
    }
    page
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('|', "\\|")),
    }
}

/// In the order of the configuration.
fn all() -> Vec<Setting> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let flags: Vec<&clap::Arg> = command.get_arguments().collect();
    let described = |key: &String| {
        let flag = key.replace(['.', '_'], "-");
        let arg = flags.iter().find(|arg| arg.get_long() == Some(&*flag))?;
        Some(describe(key, arg))
    };
    keys().iter().filter_map(described).collect()
}

fn describe(key: &str, arg: &clap::Arg) -> Setting {
    let help = arg
        .get_long_help()
        .or(arg.get_help())
        .map_or_else(String::new, ToString::to_string);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (about, default) = match help.rsplit_once(" [default: ") {
        Some((about, default)) => (about.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let possible = arg.get_possible_values();
    let value = match possible.as_slice() {
        [] => arg
            .get_value_names()
            .map(|names| names.join(" "))
            .unwrap_or_default(),
        several => several
            .iter()
            .map(clap::builder::PossibleValue::get_name)
            .collect::<Vec<_>>()
            .join("|"),
    };
    Setting {
        key: key.to_owned(),
        value,
        default,
        about,
    }
}

/// The keys of the file, groups written out.
fn keys() -> Vec<String> {
    defaults().into_iter().map(|(key, _)| key).collect()
}

/// Each key with what it has when nobody says anything.
fn defaults() -> Vec<(String, Value)> {
    let config = Config::merge(Settings::default(), Settings::default());
    let value = config
        .ok()
        .and_then(|config| serde_norway::to_value(config).ok());
    let mut found = Vec::new();
    if let Some(Value::Mapping(fields)) = value {
        flatten("", fields, &mut found);
    }
    found
}

fn flatten(prefix: &str, fields: serde_norway::Mapping, found: &mut Vec<(String, Value)>) {
    // Those without a group first, as a file has them.
    let (groups, plain): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|(_, value)| matches!(value, Value::Mapping(_)));
    for (key, value) in plain.into_iter().chain(groups) {
        let key = format!("{prefix}{}", key.as_str().unwrap_or_default());
        match value {
            Value::Mapping(fields) => flatten(&format!("{key}."), fields, found),
            value => found.push((key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::ConfigError;

    /// `sluicegate settings > docs/configuration.md` writes it again.
    #[test]
    fn the_book_has_every_setting_as_it_is() {
        let book = include_str!("../../../docs/configuration.md");
        assert_eq!(
            book,
            reference(),
            "run: sluicegate settings > docs/configuration.md"
        );
    }

    #[test]
    fn every_flag_is_a_key_and_a_variable() {
        let command = Settings::augment_args(clap::Command::new("settings"));
        let flags: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|arg| arg.get_long().map(str::to_owned))
            .collect();
        let keys: BTreeSet<String> = keys()
            .iter()
            .map(|key| key.replace(['.', '_'], "-"))
            .collect();
        assert_eq!(flags, keys);
        for arg in command.get_arguments() {
            let flag = arg.get_long().unwrap();
            let variable = arg
                .get_env()
                .map(|name| name.to_string_lossy().into_owned());
            let expected = format!("SLUICEGATE_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(variable, Some(expected));
        }
    }

    #[test]
    fn the_default_in_words_is_the_default() {
        // What the machine or chance decides.
        let varying = ["ingest.lanes", "instance"];
        for (setting, (key, value)) in all().iter().zip(defaults()) {
            let effective = match &value {
                Value::Null => String::new(),
                Value::Sequence(items) if items.is_empty() => "none".to_owned(),
                Value::String(text) => text.clone(),
                other => serde_norway::to_string(other).unwrap().trim().to_owned(),
            };
            let told = &setting.default;
            assert_eq!(setting.key, key);
            match value {
                _ if varying.contains(&&*key) => assert!(!told.is_empty(), "{key}"),
                // Absent: what happens then stands in the words, if it is anything.
                Value::Null => {}
                _ => assert!(is_same(told, &effective), "{key}: {told}, {effective}"),
            }
        }
    }

    /// 1 and 1.0 are.
    fn is_same(told: &str, effective: &str) -> bool {
        let number = |text: &str| text.parse::<f64>().ok();
        told == effective || number(told).is_some_and(|told| number(effective) == Some(told))
    }

    #[test]
    fn the_range_in_words_is_the_one_that_is_checked() {
        let mut ranges = 0;
        for Setting { key, about, .. } in all() {
            for extreme in [
                "0",
                "2000000000",
                "4294967295",
                "18446744073709551615",
                "0.000001",
            ] {
                let Some(must) = refusal(&key, extreme) else {
                    continue;
                };
                let range = must.replace("at least", "from");
                assert!(about.contains(&range), "{key} must be {must}, but: {about}");
                ranges += 1;
            }
        }
        assert!(ranges > 30, "{ranges}");
    }

    /// What a value must be instead, if it is one of the right kind and out of range.
    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        let yaml = match key.split_once('.') {
            Some((group, name)) => format!("{group}:\n  {name}: {value}\n"),
            None => format!("{key}: {value}\n"),
        };
        let settings: Settings = serde_norway::from_str(&yaml).ok()?;
        let config = Config::merge(settings, Settings::default()).ok()?;
        match config.check() {
            Err(ConfigError::Value { key: of, must, .. }) if of == key => Some(must),
            _ => None,
        }
    }
}
