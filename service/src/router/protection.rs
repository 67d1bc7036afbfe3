//! What stands before both doors.

use std::sync::Arc;

use sluicegate_transport::tls::Tls;

use crate::{audit::AuditLog, auth::Gate};

/// What stands before both doors, as far as it was asked for.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// None: what is said is said in the clear.
    pub tls: Option<Arc<Tls>>,
    /// None: nobody is asked who they are.
    pub gate: Option<Arc<Gate>>,
    /// Calls that one principal may have open; None: as many as there is place for.
    pub max_open_calls: Option<usize>,
    /// None: changes are not told.
    pub audit: Option<Arc<AuditLog>>,
}
