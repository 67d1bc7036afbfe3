//! Why the service rejected readings, in its own words.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Different reasons that are kept; the ones beyond are counted together.
const MAX_REASONS: usize = 20;
const OTHERS: &str = "other reasons";

/// A reason, and how many readings it was given for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// The service's reason.
    #[schema(example = "sensor_value is not a finite number")]
    pub reason: String,
    /// Readings that were rejected for it. The service does not name every reading, so that the sum may be lower than
    /// what it counted.
    pub readings: u64,
}

/// Counts reasons.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<BTreeMap<String, u64>>);

impl Rejections {
    pub(crate) fn add<'a>(&self, reasons: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (field, reason) in reasons {
            // Many reasons begin with the field.
            let reason = match reason.starts_with(field) {
                true => reason.to_owned(),
                false => format!("{field}: {reason}"),
            };
            let known = counts.contains_key(&reason) || counts.len() < MAX_REASONS;
            let reason = if known { reason } else { OTHERS.to_owned() };
            *counts.entry(reason).or_default() += 1;
        }
    }

    /// The most frequent first.
    pub(crate) fn list(&self) -> Vec<Rejection> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<Rejection> = counts
            .iter()
            .map(|(reason, readings)| Rejection {
                reason: reason.clone(),
                readings: *readings,
            })
            .collect();
        list.sort_by_key(|one| std::cmp::Reverse(one.readings));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_bounded() {
        let rejections = Rejections::default();
        let many: Vec<String> = (0..50).map(|number| format!("too {number}")).collect();
        rejections.add(many.iter().map(|reason| ("id2", reason.as_str())));
        rejections.add([("", "no"), ("id2", "too 1"), ("id2", "too 1")].into_iter());
        let list = rejections.list();
        assert_eq!(list.len(), MAX_REASONS + 1);
        assert_eq!((list[0].reason.as_str(), list[0].readings), (OTHERS, 31));
        assert_eq!(
            (list[1].reason.as_str(), list[1].readings),
            ("id2: too 1", 3)
        );
        rejections.add([("id2", "id2 is empty")].into_iter());
        assert_eq!(list.iter().map(|one| one.readings).sum::<u64>(), 53);
    }
}
