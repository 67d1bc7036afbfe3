//! Who may have new series, as long as there are not too many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{error::explain_to, metrics::SeriesMetrics},
    proof::LOOKING,
};
use crate::{
    model::{PrincipalName, SeriesBound, SeriesBounds},
    repository::RepositoryError,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// A table that was found full is counted again after so long: series may have been removed.
const FULL_FOR: Duration = Duration::from_secs(60);

/// What is left of the bounds. All lanes of a process share it.
#[derive(Debug)]
pub(in super::super) struct Bounds {
    settings: SeriesBounds,
    metrics: SeriesMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the table was found full.
    full_at: Option<Instant>,
    /// Of those who have had new series within the hour. Nobody is one, too.
    brought: HashMap<Option<PrincipalName>, Hour>,
}

#[derive(Debug)]
struct Hour {
    began: Instant,
    series: u32,
}

/// A place among the series of a step, and whose it is.
type Wanted = (usize, Option<PrincipalName>);

/// Some that may get numbers. What is not used of it when it goes is given back.
pub(super) struct Admission {
    bounds: Arc<Bounds>,
    admitted: Vec<Wanted>,
}

impl Bounds {
    pub(in super::super) fn new(settings: SeriesBounds, metrics: SeriesMetrics) -> Arc<Self> {
        Arc::new(Self {
            settings,
            metrics,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the wanted that are within the bounds as far as it is known without asking, and why others are not.
    pub(super) fn admit(
        self: &Arc<Self>,
        wanted: impl Iterator<Item = Wanted>,
    ) -> (Admission, Vec<(usize, SeriesBound)>) {
        let now = Instant::now();
        let mut state = self.state();
        let is_full = state
            .full_at
            .is_some_and(|at| now.duration_since(at) < FULL_FOR);
        state
            .brought
            .retain(|_, hour| now.duration_since(hour.began) < HOUR);
        let (mut admitted, mut refused) = (Vec::new(), Vec::new());
        for (index, principal) in wanted {
            if is_full {
                refused.push((index, SeriesBound::Max(self.settings.max)));
                continue;
            }
            let hour = state.brought.entry(principal.clone()).or_insert(Hour {
                began: now,
                series: 0,
            });
            if hour.series < self.settings.new_per_hour {
                hour.series += 1;
                admitted.push((index, principal));
            } else {
                let bound = SeriesBound::NewPerHour(self.settings.new_per_hour);
                refused.push((index, bound));
            }
        }
        drop(state);
        let admission = Admission {
            bounds: self.clone(),
            admitted,
        };
        (admission, refused)
    }

    pub(super) fn note_refused(&self, refused: &[(usize, SeriesBound)]) {
        for (_, bound) in refused {
            self.metrics.refused(bound.setting());
        }
    }

    fn give_back(&self, wanted: &[Wanted]) {
        let mut state = self.state();
        for (_, principal) in wanted {
            if let Some(hour) = state.brought.get_mut(principal) {
                hour.series = hour.series.saturating_sub(1);
            }
        }
    }
}

impl Admission {
    /// Leaves those that still want a number, and of these as many as the table has room for. The counter is locked, and
    /// `next` is the number that it gives next.
    pub(super) async fn narrow(
        &mut self,
        conn: &mut Conn,
        next: u64,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, SeriesBound)>, RepositoryError> {
        let all = std::mem::take(&mut self.admitted);
        let (still, known): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(index, _)| is_wanted(*index));
        self.bounds.give_back(&known);
        self.admitted = still;
        let mut refused = self.leave_out_beyond_numbers(next);
        let max = self.bounds.settings.max;
        // Numbers are given one after the other: there are fewer series than numbers.
        if next - 1 + self.admitted.len() as u64 <= u64::from(max) {
            return Ok(refused);
        }
        let counted: Option<u64> = conn
            .query_first("SELECT COUNT(*) FROM series")
            .await
            .map_err(|error| explain_to(LOOKING, error))?;
        let free = u64::from(max).saturating_sub(counted.unwrap_or_default());
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        if free == 0 {
            self.bounds.state().full_at = Some(Instant::now());
        }
        let beyond = self.admitted.split_off(free.min(self.admitted.len()));
        self.bounds.give_back(&beyond);
        refused.extend(
            beyond
                .into_iter()
                .map(|(index, _)| (index, SeriesBound::Max(max))),
        );
        Ok(refused)
    }

    /// A number that readings can have ends somewhere, whatever the settings say.
    fn leave_out_beyond_numbers(&mut self, next: u64) -> Vec<(usize, SeriesBound)> {
        let left = (u64::from(u32::MAX) + 1).saturating_sub(next);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let without_number = self.admitted.split_off(left.min(self.admitted.len()));
        self.bounds.give_back(&without_number);
        let refused = without_number.into_iter();
        refused
            .map(|(index, _)| (index, SeriesBound::Numbers))
            .collect()
    }

    /// Places of those that may get numbers, ascending.
    pub(super) fn places(&self) -> Vec<usize> {
        self.admitted.iter().map(|(index, _)| *index).collect()
    }

    /// They have their numbers for good.
    pub(super) fn keep(&mut self) {
        self.bounds.metrics.given(self.admitted.len());
        self.admitted.clear();
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.bounds.give_back(&self.admitted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(count: usize, principal: &str) -> impl Iterator<Item = Wanted> {
        let principal = PrincipalName::parse(principal).ok();
        (0..count).map(move |index| (index, principal.clone()))
    }

    fn bounds(max: u32, new_per_hour: u32) -> Arc<Bounds> {
        let settings = SeriesBounds { max, new_per_hour };
        Bounds::new(settings, SeriesMetrics::default())
    }

    #[test]
    fn each_principal_has_its_own_hour_and_gets_back_what_it_did_not_use() {
        let bounds = bounds(100, 3);
        let (mut first, refused) = bounds.admit(wanted(2, "one"));
        assert!(refused.is_empty());
        first.keep();
        drop(first);
        let (second, refused) = bounds.admit(wanted(2, "one"));
        assert_eq!(refused, [(1, SeriesBound::NewPerHour(3))]);
        let (_, of_others) = bounds.admit(wanted(3, "two"));
        assert!(of_others.is_empty());
        // Rolled back.
        drop(second);
        let (third, refused) = bounds.admit(wanted(2, "one"));
        assert_eq!((third.places(), refused.len()), (vec![0], 1));
    }

    #[test]
    fn the_last_number_is_given_and_none_behind_it() {
        let bounds = bounds(u32::MAX, 3);
        let last = u64::from(u32::MAX);
        let (mut admission, _) = bounds.admit(wanted(3, "one"));
        let refused = admission.leave_out_beyond_numbers(last - 1);
        assert_eq!(admission.places(), [0, 1]);
        assert_eq!(refused, [(2, SeriesBound::Numbers)]);
        let refused = admission.leave_out_beyond_numbers(last + 1);
        assert_eq!((admission.places(), refused.len()), (vec![], 2));
        // Who got none has used nothing of the hour.
        let (_, refused) = bounds.admit(wanted(3, "one"));
        assert!(refused.is_empty());
    }

    #[test]
    fn a_table_that_was_found_full_lets_nothing_in_for_a_while() {
        let bounds = bounds(7, 1_000);
        bounds.state().full_at = Some(Instant::now());
        let (admission, refused) = bounds.admit(wanted(1, "one"));
        assert!(admission.places().is_empty());
        assert_eq!(refused, [(0, SeriesBound::Max(7))]);
    }
}
