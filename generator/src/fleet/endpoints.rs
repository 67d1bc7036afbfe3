//! Which generators are meant.

use std::{path::Path, str::FromStr};

use crate::error::Error;

/// Most generators of one fleet.
const MAX_ENDPOINTS: usize = 1_000;

/// One item of `--endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// `HOST:PORT`, each.
    Addresses(Vec<String>),
    /// A file with one item per line.
    File(String),
}

impl FromStr for Endpoints {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(file) = text.strip_prefix('@') {
            return Ok(Self::File(file.to_owned()));
        }
        let wrong = || {
            format!(
                "{text:?} is no generator: expected 9000, 9000-9009, HOST:PORT, HOST:PORT-PORT or @FILE"
            )
        };
        let address = text
            .strip_prefix("http://")
            .unwrap_or(text)
            .trim_end_matches('/');
        let (host, ports) = match address.rsplit_once(':') {
            Some((host, ports)) => (host, ports),
            None => ("127.0.0.1", address),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last && !host.is_empty() => {
                Ok(Self::Addresses(
                    (first..=last)
                        .map(|port| format!("{host}:{port}"))
                        .collect(),
                ))
            }
            _ => Err(wrong()),
        }
    }
}

/// All addresses, each once and in order.
pub(super) fn resolve(items: &[Endpoints]) -> Result<Vec<String>, Error> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |addresses: &[String]| {
        for address in addresses {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
    };
    for item in items {
        match item {
            Endpoints::Addresses(addresses) => add(addresses),
            Endpoints::File(file) => read(Path::new(file))?
                .iter()
                .for_each(|addresses| add(addresses)),
        }
    }
    match (1..=MAX_ENDPOINTS).contains(&all.len()) {
        true => Ok(all),
        false => Err(Error::Usage(format!(
            "a fleet has 1 to {MAX_ENDPOINTS} generators"
        ))),
    }
}

fn read(path: &Path) -> Result<Vec<Vec<String>>, Error> {
    let failed = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match line.parse() {
            Ok(Endpoints::Addresses(addresses)) => all.push(addresses),
            Ok(Endpoints::File(_)) => {
                return Err(failed(format!(
                    "line {}: a file cannot name a file",
                    number + 1
                )));
            }
            Err(reason) => return Err(failed(format!("line {}: {reason}", number + 1))),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(items: &[&str]) -> Result<Vec<String>, Error> {
        let items: Vec<Endpoints> = items.iter().map(|item| item.parse().unwrap()).collect();
        resolve(&items)
    }

    #[test]
    fn ports_ranges_hosts_and_files_name_generators() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet");
        std::fs::write(&file, "# the lab\nlab:9000-9001\n\n9002 # here\n").unwrap();
        let file = format!("@{}", file.display());
        assert_eq!(
            all(&["9000-9002", "http://lab:9000/", &file]).unwrap(),
            [
                "127.0.0.1:9000",
                "127.0.0.1:9001",
                "127.0.0.1:9002",
                "lab:9000",
                "lab:9001"
            ]
        );
        for wrong in ["", "x", "0", "9001-9000", ":9000", "lab:", "70000"] {
            assert!(wrong.parse::<Endpoints>().is_err(), "{wrong}");
        }
        assert!(all(&["@nowhere"]).is_err());
    }
}
