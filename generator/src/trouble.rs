//! What goes wrong with the connections of a load: now, and last.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The troubles of all connections.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    known: Mutex<Known>,
    /// Connections in trouble, so that those without any need no lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    /// By the number of the connection.
    now: BTreeMap<u16, String>,
    last: Option<String>,
}

impl Troubles {
    pub(crate) fn note(&self, connection: u16, trouble: &str) {
        let mut known = self.known();
        known.now.insert(connection, trouble.to_owned());
        known.last = Some(trouble.to_owned());
        self.count.store(known.now.len(), Relaxed);
    }

    /// What went wrong with this connection goes well again.
    pub(crate) fn heal(&self, connection: u16) {
        if self.count.load(Relaxed) > 0 {
            let mut known = self.known();
            known.now.remove(&connection);
            self.count.store(known.now.len(), Relaxed);
        }
    }

    /// Connections in trouble.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// What is wrong with the first connection that is in trouble.
    pub(crate) fn first(&self) -> Option<String> {
        self.known().now.values().next().cloned()
    }

    /// The last failure of any connection, whether it has healed or not.
    pub(crate) fn last(&self) -> Option<String> {
        self.known().last.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_heals_only_itself_and_the_last_failure_is_kept() {
        let troubles = Troubles::default();
        troubles.note(1, "one");
        troubles.note(2, "two");
        troubles.heal(1);
        assert_eq!(troubles.first().as_deref(), Some("two"));
        troubles.heal(2);
        troubles.heal(2);
        assert_eq!((troubles.first(), troubles.count()), (None, 0));
        assert_eq!(troubles.last().as_deref(), Some("two"));
    }
}
