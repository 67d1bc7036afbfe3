//! The calls that one principal may have open, so that it does not take the places of all others.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tonic::Status;

use super::status;
use crate::model::PrincipalName;

/// Who has calls open, and how many. Its clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    open: Arc<Mutex<HashMap<PrincipalName, usize>>>,
    /// None: as many as there is place for.
    most: Option<usize>,
}

/// A call of a principal, for as long as it is open.
#[derive(Debug)]
pub(super) struct Share {
    of: Shares,
    name: PrincipalName,
}

impl Shares {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PrincipalName, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more call, or says what it is answered. None where nobody counts.
    pub(super) fn take(&self, name: Option<&PrincipalName>) -> Result<Option<Share>, Status> {
        let Some((most, name)) = self.most.zip(name) else {
            return Ok(None);
        };
        let mut all = self.lock();
        let open = all.entry(name.clone()).or_default();
        if *open >= most {
            return Err(status::too_many_calls_of_principal(most));
        }
        *open += 1;
        Ok(Some(Share {
            of: self.clone(),
            name: name.clone(),
        }))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.of.lock().entry(self.name.clone()) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_principal_has_so_many_and_others_have_theirs() {
        let shares = Shares::new(Some(2));
        let name = |name| PrincipalName::parse(name).unwrap();
        let (press, mill) = (name("press-4"), name("mill-1"));
        let open: Vec<_> = (0..2).map(|_| shares.take(Some(&press)).unwrap()).collect();
        let refused = shares.take(Some(&press)).unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(shares.take(Some(&mill)).unwrap().is_some());
        assert!(shares.take(None).unwrap().is_none());
        drop(open);
        assert!(shares.lock().is_empty(), "nobody is kept who has none");
        assert!(shares.take(Some(&press)).is_ok());
    }
}
