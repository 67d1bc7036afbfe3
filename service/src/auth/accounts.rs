//! Who is known, as the file says: looked up by token or certificate.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use sluicegate_transport::tls::PeerCertificate;
use tokio_util::sync::CancellationToken;

use super::{
    certificates::KnownBy,
    principal::{Principal, Proof},
    scope::Scopes,
    token::{Token, TokenDigest, TokenId},
    token_file::{Content, TokenEntry},
};
use crate::model::PrincipalName;

/// One token, or one kind of certificate.
#[derive(Clone, Debug)]
pub struct Account {
    principal: Arc<Principal>,
    /// None of certificates.
    digest: Option<TokenDigest>,
    expires: Option<DateTime<Utc>>,
    revoked: bool,
}

/// Why a token is not good. For the log and the metrics: its sender is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unknown,
    Revoked,
    Expired,
}

impl Account {
    fn new(name: &str, proof: Proof, scopes: &Scopes) -> Result<Self, String> {
        if scopes.is_empty() {
            return Err(format!("{name} has no scopes"));
        }
        Ok(Self {
            principal: Arc::new(Principal {
                name: PrincipalName::parse(name)?,
                proof,
                scopes: scopes.clone(),
                ended: CancellationToken::new(),
            }),
            digest: None,
            expires: None,
            revoked: false,
        })
    }

    fn of_token(entry: &TokenEntry) -> Result<(TokenId, Self), String> {
        let id: TokenId = entry.id.parse()?;
        let account = Self {
            digest: Some(entry.sha256.parse()?),
            expires: entry.expires.map(|at| at.0),
            revoked: entry.revoked.is_some(),
            ..Self::new(&entry.principal, Proof::Token(id.clone()), &entry.scopes)?
        };
        Ok((id, account))
    }

    fn fault(&self, now: DateTime<Utc>) -> Option<Fault> {
        match self.expires {
            _ if self.revoked => Some(Fault::Revoked),
            Some(expires) if expires <= now => Some(Fault::Expired),
            _ => None,
        }
    }

    /// Whether what was let in as the other may go on as this.
    fn goes_on(&self, other: &Self) -> bool {
        let same_secret = match (&self.digest, &other.digest) {
            (Some(own), Some(other)) => own.is(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_secret
            && !self.revoked
            && self.principal.name == other.principal.name
            && self.principal.scopes == other.principal.scopes
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    tokens: HashMap<TokenId, Account>,
    certificates: HashMap<KnownBy, Account>,
}

impl Accounts {
    pub(super) fn new(content: &Content) -> Result<Self, String> {
        let mut accounts = Self::default();
        for (number, entry) in (1..).zip(&content.tokens) {
            let of_entry = |reason| format!("token {number}: {reason}");
            let (id, account) = Account::of_token(entry).map_err(of_entry)?;
            if accounts.tokens.insert(id, account).is_some() {
                return Err(of_entry("its id is there twice".to_owned()));
            }
        }
        for (number, entry) in (1..).zip(&content.certificates) {
            let of_entry = |reason| format!("certificate {number}: {reason}");
            let known_by = entry.known_by().map_err(of_entry)?;
            let (KnownBy::Subject(name) | KnownBy::Name(name)) = &known_by;
            let proof = Proof::Certificate(name.clone());
            let account = Account::new(&entry.principal, proof, &entry.scopes).map_err(of_entry)?;
            if accounts.certificates.insert(known_by, account).is_some() {
                return Err(of_entry("it is there twice".to_owned()));
            }
        }
        Ok(accounts)
    }

    /// Takes the place of others: what they let in goes on if nothing has changed for it, and ends otherwise.
    pub(super) fn succeed(&mut self, earlier: &Self) {
        fn carry<K: Eq + std::hash::Hash>(
            ours: &mut HashMap<K, Account>,
            earlier: &HashMap<K, Account>,
        ) {
            for (key, before) in earlier {
                match ours.get_mut(key) {
                    Some(now) if now.goes_on(before) => {
                        Arc::make_mut(&mut now.principal).ended = before.principal.ended.clone();
                    }
                    _ => before.principal.ended.cancel(),
                }
            }
        }
        carry(&mut self.tokens, &earlier.tokens);
        carry(&mut self.certificates, &earlier.certificates);
    }

    /// Ends what was let in by tokens that have expired meanwhile.
    pub(super) fn expire(&self, now: DateTime<Utc>) {
        let expired = |account: &&Account| account.fault(now).is_some();
        for account in self.tokens.values().filter(expired) {
            account.principal.ended.cancel();
        }
    }

    /// How many tokens are good.
    pub(super) fn good(&self, now: DateTime<Utc>) -> usize {
        let good = |account: &&Account| account.fault(now).is_none();
        self.tokens.values().filter(good).count()
    }

    pub(super) fn by_token(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<&Arc<Principal>, Fault> {
        let account = self.tokens.get(token.id());
        let known = account.and_then(|account| account.digest.as_ref());
        // An unknown id takes as long as a wrong secret.
        let same = known.unwrap_or(&TokenDigest::NONE).is(&token.digest());
        let account = account.filter(|_| same).ok_or(Fault::Unknown)?;
        match account.fault(now) {
            None => Ok(&account.principal),
            Some(fault) => Err(fault),
        }
    }

    /// The first of the certificate's subject and names that is known.
    pub(super) fn by_certificate(&self, certificate: &PeerCertificate) -> Option<&Arc<Principal>> {
        let subject = KnownBy::Subject(certificate.subject.clone());
        let names = certificate.names.iter().cloned().map(KnownBy::Name);
        std::iter::once(subject)
            .chain(names)
            .find_map(|known_by| self.certificates.get(&known_by))
            .map(|account| &account.principal)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::token_file::Instant;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn entry(token: &Token, scopes: &str) -> TokenEntry {
        TokenEntry {
            id: token.id().to_string(),
            principal: "press-4".to_owned(),
            scopes: Scopes::new(vec![scopes.parse().unwrap()]),
            sha256: token.digest().to_hex(),
            created: None,
            expires: None,
            revoked: None,
        }
    }

    fn accounts(tokens: Vec<TokenEntry>) -> Accounts {
        Accounts::new(&Content {
            tokens,
            ..Content::default()
        })
        .unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_is_revoked_or_has_expired() {
        let (token, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let later = NOW + Duration::from_secs(60);
        let mut entry = entry(&token, "read");
        entry.expires = Some(Instant(later));
        let known = accounts(vec![entry.clone()]);
        assert_eq!(
            known.by_token(&token, NOW).unwrap().name.as_str(),
            "press-4"
        );
        assert_eq!(known.by_token(&token, later).unwrap_err(), Fault::Expired);
        assert_eq!(known.by_token(&other, NOW).unwrap_err(), Fault::Unknown);
        assert_eq!((known.good(NOW), known.good(later)), (1, 0));
        entry.revoked = Some(Instant(NOW));
        let known = accounts(vec![entry]);
        assert_eq!(known.by_token(&token, NOW).unwrap_err(), Fault::Revoked);
    }

    #[test]
    fn what_is_open_ends_when_its_token_is_gone_revoked_expired_or_has_other_scopes() {
        let [stays, goes, changes, expires, revoked] = [(); 5].map(|()| Token::generate().unwrap());
        let later = NOW + Duration::from_secs(60);
        let mut expiring = entry(&expires, "read");
        expiring.expires = Some(Instant(later));
        let before = accounts(vec![
            entry(&stays, "read"),
            entry(&goes, "read"),
            entry(&changes, "read"),
            expiring.clone(),
            entry(&revoked, "read"),
        ]);
        let open = |token: &Token| before.by_token(token, NOW).unwrap().ended.clone();
        let ended = [&stays, &goes, &changes, &expires, &revoked].map(open);
        let mut gone = entry(&revoked, "read");
        gone.revoked = Some(Instant(NOW));
        let mut now = accounts(vec![
            entry(&stays, "read"),
            entry(&changes, "write"),
            expiring,
            gone,
        ]);
        now.succeed(&before);
        let is_ended = || ended.clone().map(|ended| ended.is_cancelled());
        assert_eq!(is_ended(), [false, true, true, false, true]);
        assert!(!now.by_token(&changes, NOW).unwrap().ended.is_cancelled());
        now.expire(later);
        assert_eq!(is_ended(), [false, true, true, true, true]);
    }

    #[test]
    fn a_certificate_is_known_by_its_subject_or_one_of_its_names() {
        let text = "\
certificates:
- {subject: 'CN=press-4, O=Plant', principal: press-4, scopes: ['ingest:plant/']}
- {name: desk.example, principal: desk, scopes: [read]}
";
        let content: Content = serde_norway::from_str(text).unwrap();
        let known = Accounts::new(&content).unwrap();
        let find = |subject: &str, names: &[&str]| {
            let certificate = PeerCertificate {
                subject: subject.to_owned(),
                names: names.iter().map(|&name| name.to_owned()).collect(),
            };
            let found = known.by_certificate(&certificate);
            found.map(|principal| principal.name.to_string())
        };
        assert_eq!(find("CN=press-4, O=Plant", &[]).as_deref(), Some("press-4"));
        assert_eq!(
            find("CN=x", &["a", "desk.example"]).as_deref(),
            Some("desk")
        );
        assert_eq!(find("CN=press-4", &["press-4"]), None);
        assert_eq!(find("desk.example", &["CN=press-4, O=Plant"]), None);
    }
}
