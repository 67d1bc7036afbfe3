//! A configuration file to begin with: every setting with what it means and its default, behind `#`.

use std::fmt::Write as _;

use clap::Args as _;
use serde_norway::{Mapping, Value};

use super::{Config, ConfigError, Settings};

const HEAD: &str = "\
# Settings of Sluicegate. Each stands here with its default, behind a #. To change one, take away its #, and of a setting
# in a group that of the group's name as well:
#
#     ingest:
#       linger_ms: 5
#
# A setting can also stand in the environment (SLUICEGATE_INGEST_LINGER_MS) or among the flags (--ingest-linger-ms). Flags
# win over the environment, and that over this file. `sluicegate config --config FILE` says what is in effect, or what is
# wrong.
";

/// What stands for a setting whose default is nothing, chance or a figure of the machine.
const EXAMPLES: [(&str, &str); 10] = [
    (
        "database_url",
        "mysql://user:password@127.0.0.1:3306/sluicegate",
    ),
    (
        "manage_database_url",
        "mysql://manager:password@127.0.0.1:3306/sluicegate",
    ),
    ("embedded_db", "/var/lib/sluicegate/database"),
    ("embedded_db_bin", "/usr/sbin/mariadbd"),
    ("table", "measurements"),
    ("columns", "sensor_value=temp,ts=measured_at"),
    ("instance", "gate-1"),
    ("ready_file", "/run/sluicegate/ready.json"),
    ("ingest.lanes", "4"),
    ("telemetry.otlp_endpoint", "http://127.0.0.1:4317"),
];
const MAX_COLUMNS: usize = 110;

/// The file.
///
/// # Errors
/// Never, as long as the defaults are possible values.
pub fn template() -> Result<String, ConfigError> {
    let defaults = Config::merge(Settings::default(), Settings::default())?;
    let Ok(Value::Mapping(defaults)) = serde_norway::to_value(&defaults) else {
        return Ok(HEAD.to_owned());
    };
    let settings = Settings::augment_args(clap::Command::new("settings"));
    let mut text = HEAD.to_owned();
    write_group(&mut text, &settings, "", &defaults);
    Ok(text)
}

/// The settings of a group; those at the top have none.
fn write_group(text: &mut String, settings: &clap::Command, group: &str, defaults: &Mapping) {
    let indent = if group.is_empty() { "" } else { "  " };
    for (key, value) in defaults {
        let Some(key) = key.as_str() else { continue };
        if let Value::Mapping(members) = value {
            let _ = write!(text, "\n#{key}:\n");
            write_group(text, settings, key, members);
            continue;
        }
        let name = match group {
            "" => key.to_owned(),
            group => format!("{group}.{key}"),
        };
        if group.is_empty() {
            text.push('\n');
        }
        for line in wrapped(&meaning(settings, &name), MAX_COLUMNS - 2 - indent.len()) {
            let _ = writeln!(text, "{indent}# {line}");
        }
        let _ = writeln!(text, "{indent}#{key}: {}", shown(&name, value));
    }
}

/// What help says of a setting. The default stands in the line below, unless it is none that could.
fn meaning(settings: &clap::Command, name: &str) -> String {
    let flag = name.replace(['.', '_'], "-");
    let help = settings
        .get_arguments()
        .find(|argument| argument.get_long() == Some(&flag))
        .and_then(clap::Arg::get_help)
        .map(ToString::to_string)
        .unwrap_or_default();
    match help.rsplit_once(" [") {
        Some((meaning, default))
            if example(name).is_none() || !default.starts_with("default: ") =>
        {
            meaning.to_owned()
        }
        _ => help,
    }
}

fn example(name: &str) -> Option<&'static str> {
    EXAMPLES
        .iter()
        .find_map(|&(setting, value)| (setting == name).then_some(value))
}

fn shown(name: &str, value: &Value) -> String {
    if let Some(example) = example(name) {
        return example.to_owned();
    }
    let value = serde_norway::to_string(value).unwrap_or_default();
    value.trim_end().to_owned()
}

fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = lines.last().is_some_and(|line| {
            !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns
        });
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::read_file;

    /// As the packages install it: `cargo run -p sluicegate -- config --template > service/packaging/sluicegate.yaml`
    const INSTALLED: &str = include_str!("../../packaging/sluicegate.yaml");

    fn arguments() -> Vec<clap::Arg> {
        let settings = Settings::augment_args(clap::Command::new("settings"));
        settings.get_arguments().cloned().collect()
    }

    /// Each setting's value in a mapping, by its flag.
    fn by_flag(mapping: &Mapping) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for (key, value) in mapping {
            let key = key.as_str().unwrap().replace('_', "-");
            match value {
                Value::Mapping(members) => {
                    let members = by_flag(members).into_iter();
                    found.extend(members.map(|(name, value)| (format!("{key}-{name}"), value)));
                }
                value => drop(found.insert(key, value.clone())),
            }
        }
        found
    }

    /// The template without its head, and with all settings in force.
    fn in_force() -> String {
        let template = template().unwrap();
        let settings = template.strip_prefix(HEAD).unwrap();
        let is_prose = |line: &&str| line.trim_start().starts_with("# ");
        let lines = settings.lines().filter(|line| !is_prose(line));
        let lines: Vec<_> = lines.map(|line| line.replacen('#', "", 1)).collect();
        lines.join("\n")
    }

    #[test]
    fn the_file_that_is_installed_is_the_template() {
        for (number, (current, installed)) in template()
            .unwrap()
            .lines()
            .zip(INSTALLED.lines())
            .enumerate()
        {
            assert_eq!(
                current,
                installed,
                "line {} of service/packaging/sluicegate.yaml",
                number + 1
            );
        }
        assert_eq!(template().unwrap(), INSTALLED);
    }

    #[test]
    fn as_it_is_installed_it_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), INSTALLED).unwrap();
        let fixed = Settings {
            instance: Some("gate-1".to_owned()),
            ..Settings::default()
        };
        let shown = |file| serde_norway::to_string(&Config::resolve(fixed.clone(), file).unwrap());
        assert_eq!(shown(Some(file.path())).unwrap(), shown(None).unwrap());
    }

    #[test]
    fn it_has_every_setting_once_and_each_can_be_read_back() {
        let text = in_force();
        let Value::Mapping(settings) = serde_norway::from_str(&text).unwrap() else {
            panic!("no mapping: {text}");
        };
        let flags: Vec<_> = by_flag(&settings).into_keys().collect();
        let mut known: Vec<_> = arguments()
            .iter()
            .map(|it| it.get_long().unwrap().to_owned())
            .collect();
        known.sort_unstable();
        assert_eq!(flags, known);
        let file = tempfile::NamedTempFile::new().unwrap();
        // Of the two databases one.
        let without: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("embedded_db:"))
            .collect();
        std::fs::write(file.path(), without.join("\n")).unwrap();
        read_file(file.path()).unwrap();
        let config = Config::resolve(Settings::default(), Some(file.path())).unwrap();
        assert_eq!(config.ingest.lanes, 4);
    }

    #[test]
    fn the_defaults_that_help_names_are_those_in_force() {
        let defaults = Config::merge(Settings::default(), Settings::default()).unwrap();
        let Ok(Value::Mapping(defaults)) = serde_norway::to_value(&defaults) else {
            panic!("no mapping");
        };
        let examples = EXAMPLES.map(|(name, _)| name.replace(['.', '_'], "-"));
        let mut compared = 0;
        for (flag, value) in by_flag(&defaults) {
            let argument = arguments()
                .into_iter()
                .find(|it| it.get_long() == Some(&flag))
                .unwrap();
            let help = argument.get_help().unwrap().to_string();
            if examples.contains(&flag) {
                continue;
            }
            let said = help
                .rsplit_once("[default: ")
                .map(|(_, default)| default.trim_end_matches(']'));
            let value = match serde_norway::to_string(&value).unwrap().trim() {
                "[]" | "null" => "none".to_owned(),
                // Help has no decimals where there is nothing in them.
                value => value.strip_suffix(".0").unwrap_or(value).to_owned(),
            };
            assert_eq!(said, Some(value.as_str()), "--{flag}: {help}");
            compared += 1;
        }
        assert!(compared > 30, "{compared}");
    }
}
