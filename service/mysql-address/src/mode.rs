use std::{fmt, str::FromStr};

/// What is asked of TLS, with the names of the servers' own clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// None.
    Disabled,
    /// Where the server has it; whose server it is, is not asked.
    #[default]
    Preferred,
    /// Always; whose server it is, is not asked.
    Required,
    /// The certificate has to be signed by a known authority, for whatever name.
    VerifyCa,
    /// And for the name in the address.
    VerifyIdentity,
}

impl SslMode {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::Disabled, "disabled"),
        (Self::Preferred, "preferred"),
        (Self::Required, "required"),
        (Self::VerifyCa, "verify-ca"),
        (Self::VerifyIdentity, "verify-identity"),
    ];

    /// Whether a server has to prove that it is the right one.
    #[must_use]
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }

    pub(crate) fn demands_tls(self) -> bool {
        self.verifies() || self == Self::Required
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(mode, _)| mode == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for SslMode {
    type Err = String;

    /// As in an address, or as the servers' own clients write it: `VERIFY_CA`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_lowercase().replace('_', "-");
        let named = Self::NAMES.iter().find(|(_, name)| *name == text);
        named.map(|&(mode, _)| mode).ok_or_else(|| {
            "must be disabled, preferred, required, verify-ca or verify-identity".to_owned()
        })
    }
}
