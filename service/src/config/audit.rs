//! Settings under `audit:`.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::audit::AuditTarget;

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditOverrides {
    /// Where changes are told: who updated or deleted what, how many rows, from where; a line of JSON for each. A file, which
    /// nobody but its owner may read (mode 600) and which is opened anew when it was moved away, or - for the standard output.
    /// While it cannot be opened, changes are refused [default: none]
    #[arg(
        long = "audit-file",
        env = "SLUICEGATE_AUDIT_FILE",
        value_name = "FILE|-"
    )]
    pub file: Option<AuditTarget>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct AuditConfig {
    /// None: changes are not told.
    pub file: Option<AuditTarget>,
}

impl AuditConfig {
    pub(super) fn merge(given: AuditOverrides, file: AuditOverrides) -> Self {
        Self {
            file: given.file.or(file.file),
        }
    }
}
