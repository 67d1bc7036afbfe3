//! What pages in a browser may do here. A page of another name must not get in under a name that its own server points to
//! this host (DNS rebinding), and must change nothing from where it is.

use std::net::IpAddr;

use hyper::{HeaderMap, Method, header, http::uri::Authority};

use crate::http::AskedName;

/// Says what kind of page a request comes from. Browsers send it, and no page can change it.
const FETCH_SITE: &str = "sec-fetch-site";
/// Who asks for these sends an address, or whatever name the cluster has for it.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];
/// A setting that allows every origin.
const ANY: &str = "*";

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody here has this name.
    Name(String),
    /// It is to change something, and comes from a page of another origin.
    Origin,
}

/// Whose pages may do what.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Names that the service answers to, besides addresses and those of this host itself.
    names: Vec<String>,
    /// Origins of other pages that may change something.
    origins: Vec<String>,
}

impl Pages {
    /// Besides addresses, localhost and the name of this host, these names are answered to: `*.example` is what ends in
    /// `.example`, and `*` is everything. Pages of these origins may change something, besides those that come from here.
    #[must_use]
    pub fn new(allowed_hosts: &[String], origins: &[String]) -> Self {
        let own = rustix::system::uname();
        let own = own.nodename().to_string_lossy().into_owned();
        let names = allowed_hosts.iter().chain([&own]);
        Self {
            names: names.map(|name| name.to_ascii_lowercase()).collect(),
            origins: origins.to_vec(),
        }
    }

    /// Whether a request for this path may be answered.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(
        &self,
        path: &str,
        method: &Method,
        name: &AskedName,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if let Some(name) = &name.0
            && !HEALTH.contains(&path)
            && !self.answers_to(name)
        {
            return Err(Refusal::Name(name.clone()));
        }
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        match reads || self.may_change(name, headers) {
            true => Ok(()),
            false => Err(Refusal::Origin),
        }
    }

    fn answers_to(&self, name: &str) -> bool {
        let Ok(name) = name.parse::<Authority>() else {
            return false;
        };
        let host = name.host();
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        // Rebinding needs a name.
        bare.unwrap_or(&host).parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.names.iter().any(|name| match name.strip_prefix('*') {
                // `*.example` is what ends in `.example`, and `*` is everything.
                Some(end) => host.ends_with(end),
                None => *name == host,
            })
    }

    /// Whether a request that is to change something comes from no page, or from one that may.
    fn may_change(&self, name: &AskedName, headers: &HeaderMap) -> bool {
        let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
        let Some(origin) = headers.get(header::ORIGIN) else {
            // `none` is a person at the address bar.
            return matches!(site, None | Some(b"same-origin" | b"none"));
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        if self
            .origins
            .iter()
            .any(|allowed| allowed == origin || allowed == ANY)
        {
            return true;
        }
        is_own(name, origin) && matches!(site, None | Some(b"same-origin"))
    }
}

/// Whether an origin is that of the pages that come from here, such as the Swagger UI.
#[must_use]
pub fn is_own(AskedName(name): &AskedName, origin: &str) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let same = |authority: &str| {
        name.as_ref()
            .is_some_and(|name| name.eq_ignore_ascii_case(authority))
    };
    authority.is_some_and(same)
}

#[cfg(test)]
mod tests {
    use hyper::http::HeaderName;

    use super::*;

    fn pages() -> Pages {
        Pages::new(
            &["Gate.example".to_owned(), "*.svc".to_owned()],
            &["https://desk.example".to_owned()],
        )
    }

    fn asked(path: &str, method: Method, host: &str, sent: &[(&str, &str)]) -> Option<Refusal> {
        let headers = sent
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, value.parse().unwrap())
            })
            .collect();
        let name = AskedName((!host.is_empty()).then(|| host.to_owned()));
        pages().check(path, &method, &name, &headers).err()
    }

    #[test]
    fn a_name_that_is_not_ours_is_not_answered_to() {
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.7",
            "localhost:8080",
            "LOCALHOST",
            "a.localhost",
            "gate.example:443",
            "gate.example.",
            "sluicegate.sensors.svc:8080",
            "",
        ] {
            assert_eq!(
                asked("/sensor/time", Method::GET, host, &[]),
                None,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "gate.example.evil.example:8080",
            "notlocalhost",
            "svc",
            "sluicegate.svc.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "127.0.0.1, evil.example",
            "127.0.0.1@evil.example",
        ] {
            let refused = Some(Refusal::Name(host.to_owned()));
            for (method, path) in [
                (Method::GET, "/sensor/time"),
                (Method::DELETE, "/sensor/delete/time"),
                (Method::GET, "/metrics"),
            ] {
                assert_eq!(asked(path, method, host, &[]), refused, "{host}");
            }
            assert_eq!(asked("/readyz", Method::GET, host, &[]), None);
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let delete = |sent: &[(&str, &str)]| {
            asked(
                "/sensor/delete/time",
                Method::DELETE,
                "127.0.0.1:8080",
                sent,
            )
            .is_none()
        };
        assert!(delete(&[]), "no browser");
        assert!(delete(&[("origin", "http://127.0.0.1:8080")]));
        assert!(delete(&[
            ("origin", "http://127.0.0.1:8080"),
            (FETCH_SITE, "same-origin")
        ]));
        assert!(delete(&[
            ("origin", "https://desk.example"),
            (FETCH_SITE, "cross-site")
        ]));
        assert!(delete(&[(FETCH_SITE, "none")]));
        for sent in [
            &[("origin", "http://127.0.0.1:9090")][..],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "")],
            &[
                ("origin", "http://127.0.0.1:8080"),
                (FETCH_SITE, "same-site"),
            ],
            &[(FETCH_SITE, "cross-site")],
            &[(FETCH_SITE, "same-site")],
            &[(FETCH_SITE, "something new")],
        ] {
            assert!(!delete(sent), "{sent:?}");
            let read = asked("/sensor/time", Method::GET, "127.0.0.1:8080", sent);
            assert_eq!(read, None, "reading is what CORS is for");
        }
    }
}
