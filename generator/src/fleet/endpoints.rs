//! Which generators are meant.

use std::{path::Path, str::FromStr};

use crate::error::Error;

/// Before the address of a generator whose API speaks TLS.
const TLS: &str = "https://";

/// Most generators of one fleet.
const MAX_ENDPOINTS: usize = 1_000;

/// One item of `--endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// `HOST:PORT`, each, with `https://` before it where that is spoken.
    Addresses(Vec<String>),
    /// `NAME:PORT`: each address that the name has now.
    Name(String),
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
                "{text:?} is no generator: expected 9000, 9000-9009, HOST:PORT, HOST:PORT-PORT, dns:NAME:PORT or @FILE"
            )
        };
        if let Some(name) = text.strip_prefix("dns:") {
            let parts = name.rsplit_once(':');
            let port = parts.and_then(|(host, port)| (!host.is_empty()).then_some(port));
            return match port.map(str::parse::<u16>) {
                Some(Ok(1..)) => Ok(Self::Name(name.to_owned())),
                _ => Err(wrong()),
            };
        }
        let (scheme, address) = match text.strip_prefix(TLS) {
            Some(address) => (TLS, address),
            None => ("", text.strip_prefix("http://").unwrap_or(text)),
        };
        let address = address.trim_end_matches('/');
        let (host, ports) = match address.rsplit_once(':') {
            Some((host, ports)) => (host, ports),
            None => ("127.0.0.1", address),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last && !host.is_empty() => {
                Ok(Self::Addresses(
                    (first..=last)
                        .map(|port| format!("{scheme}{host}:{port}"))
                        .collect(),
                ))
            }
            _ => Err(wrong()),
        }
    }
}

/// All addresses, each once and in order.
pub(super) async fn resolve(items: &[Endpoints]) -> Result<Vec<String>, Error> {
    let mut all: Vec<String> = Vec::new();
    for item in items {
        let in_file = match item {
            Endpoints::File(file) => read(Path::new(file))?,
            item => vec![item.clone()],
        };
        for item in in_file {
            for address in addresses(item).await? {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
        }
    }
    match (1..=MAX_ENDPOINTS).contains(&all.len()) {
        true => Ok(all),
        false => Err(Error::Usage(format!(
            "a fleet has 1 to {MAX_ENDPOINTS} generators"
        ))),
    }
}

async fn addresses(item: Endpoints) -> Result<Vec<String>, Error> {
    match item {
        Endpoints::Addresses(addresses) => Ok(addresses),
        Endpoints::Name(name) => look_up(&name).await,
        Endpoints::File(file) => Err(Error::Usage(format!("@{file}: a file cannot name a file"))),
    }
}

async fn look_up(name: &str) -> Result<Vec<String>, Error> {
    let found = tokio::net::lookup_host(name)
        .await
        .map_err(|error| Error::Fleet(format!("dns:{name} (--endpoints): {error}")))?;
    let mut found: Vec<_> = found.collect();
    found.sort();
    Ok(found.iter().map(ToString::to_string).collect())
}

fn read(path: &Path) -> Result<Vec<Endpoints>, Error> {
    let failed = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let of_line = |reason| failed(format!("line {}: {reason}", number + 1));
        match line.parse() {
            Ok(Endpoints::File(_)) => {
                return Err(of_line("a file cannot name a file".to_owned()));
            }
            Ok(item) => all.push(item),
            Err(reason) => return Err(of_line(reason)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(items: &[&str]) -> Result<Vec<String>, Error> {
        let items: Vec<Endpoints> = items.iter().map(|item| item.parse().unwrap()).collect();
        resolve(&items).await
    }

    #[tokio::test]
    async fn ports_ranges_hosts_and_files_name_generators() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet");
        std::fs::write(&file, "# the lab\nlab:9000-9001\n\n9002 # here\n").unwrap();
        let file = format!("@{}", file.display());
        assert_eq!(
            all(&["9000-9002", "http://lab:9000/", &file])
                .await
                .unwrap(),
            [
                "127.0.0.1:9000",
                "127.0.0.1:9001",
                "127.0.0.1:9002",
                "lab:9000",
                "lab:9001"
            ]
        );
        for wrong in [
            "",
            "x",
            "0",
            "9001-9000",
            ":9000",
            "lab:",
            "70000",
            "dns:",
            "dns:lab",
            "dns::9000",
            "dns:lab:0",
        ] {
            assert!(wrong.parse::<Endpoints>().is_err(), "{wrong}");
        }
        assert!(all(&["@nowhere"]).await.is_err());
    }

    #[tokio::test]
    async fn a_name_stands_for_each_of_its_addresses() {
        let found = all(&["dns:localhost:9000", "9000"]).await.unwrap();
        let of_localhost = ["127.0.0.1:9000", "[::1]:9000"];
        assert!(!found.is_empty());
        assert!(
            found.iter().all(|it| of_localhost.contains(&it.as_str())),
            "{found:?}"
        );
        let error = all(&["dns:no-such-name.invalid:9000"]).await.unwrap_err();
        assert!(
            error.to_string().contains("dns:no-such-name.invalid:9000"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_file_names_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet");
        std::fs::write(&file, "9000\n@others\n").unwrap();
        let error = all(&[&format!("@{}", file.display())]).await.unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
