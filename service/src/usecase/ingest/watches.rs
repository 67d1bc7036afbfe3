//! Who watches series as their readings are committed.
//!
//! Of each series a watcher is handed the newest reading since it last looked, and how many there were: whoever is slow gets fewer, and
//! takes no more memory for it. A lane tells of a batch here once it is committed, and waits for nobody.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    model::{IdPair, Series},
    repository::Noted,
};

/// A pair that is watched, and which of its types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedPair {
    pub pair: IdPair,
    /// None: all that there are.
    pub sensor_types: Option<Vec<String>>,
}

/// The newest reading of a series since somebody last looked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fresh {
    pub sensor_value: f64,
    pub timestamp_us: i64,
    /// 0 where the table gives ids by itself.
    pub id: i64,
    /// Of so many.
    pub readings: u64,
}

impl Fresh {
    /// Takes one in that came later.
    fn take(&mut self, other: Self) {
        let readings = self.readings + other.readings;
        if (other.timestamp_us, other.id) >= (self.timestamp_us, self.id) {
            *self = other;
        }
        self.readings = readings;
    }
}

/// What a watcher has not seen yet.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    pub fresh: HashMap<Series, Fresh>,
    /// Readings may have come of which nothing stands here: who wants to know has to read the table.
    pub missed: bool,
    /// Readings that were there before may have been changed or removed.
    pub changed: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && !self.missed && !self.changed
    }
}

/// The rows of a batch that are in the table now.
pub(crate) trait CommittedRows {
    /// How many series its rows are of.
    fn series_count(&self) -> u32;
    /// Id1, id2 and sensor type of one of them.
    fn series(&self, index: u32) -> (i32, &str, &str);
    /// Its number; 0 where it has none.
    fn number(&self, _index: u32) -> u32 {
        0
    }
    /// That the batch is noted to be merged into the rollups, where there are any.
    fn noted(&self) -> Option<&Noted> {
        None
    }
    /// Visits the rows in the order in which they were loaded, each with its series. False when it is not known which they are.
    fn visit(&self, row: impl FnMut(u32, Fresh)) -> bool;
}

#[derive(Debug)]
struct Watcher {
    /// Series of which it takes news at once.
    series_max: AtomicUsize,
    news: Mutex<News>,
    some: Notify,
}

impl Watcher {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, (id1, id2, sensor_type): (i32, &str, &str), fresh: Fresh) {
        let mut news = self.news();
        let series = Series {
            id1,
            id2: id2.to_owned(),
            sensor_type: sensor_type.to_owned(),
        };
        let is_full = news.fresh.len() >= self.series_max.load(Ordering::Relaxed);
        match news.fresh.get_mut(&series) {
            Some(known) => known.take(fresh),
            // A producer may make types without end.
            None if is_full => news.missed = true,
            None => {
                news.fresh.insert(series, fresh);
            }
        }
        drop(news);
        self.some.notify_one();
    }

    fn miss(&self) {
        self.news().missed = true;
        self.some.notify_one();
    }

    fn change(&self) {
        self.news().changed = true;
        self.some.notify_one();
    }
}

#[derive(Debug)]
struct Interest {
    sensor_types: Option<Vec<String>>,
    watcher: Arc<Watcher>,
}

impl Interest {
    fn is_of(&self, sensor_type: &str) -> bool {
        let types = self.sensor_types.as_ref();
        types.is_none_or(|types| types.iter().any(|one| one == sensor_type))
    }
}

/// Watchers by the names that they watch.
type ByName = HashMap<i32, HashMap<String, Vec<Interest>>>;

/// All who watch.
#[derive(Debug, Default)]
pub struct Watches {
    /// Looked at before anything else: most of the time nobody watches.
    watchers: AtomicUsize,
    by_name: RwLock<ByName>,
}

impl Watches {
    fn by_name(&self) -> RwLockReadGuard<'_, ByName> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many watch now.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Watches these from now on, with news of at most `series_max` series at a time.
    #[must_use]
    pub fn watch(self: &Arc<Self>, watched: Vec<WatchedPair>, series_max: usize) -> Watch {
        let watcher = Arc::new(Watcher {
            series_max: AtomicUsize::new(series_max),
            news: Mutex::default(),
            some: Notify::new(),
        });
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let mut watch = Watch {
            watches: self.clone(),
            watcher,
            pairs: Vec::with_capacity(watched.len()),
        };
        watch.add(watched);
        watch
    }

    /// Tells those who watch these pairs, or any, that readings were changed.
    pub(super) fn change(&self, pairs: Option<&[IdPair]>) {
        if self.watchers() == 0 {
            return;
        }
        let by_name = self.by_name();
        let tell = |interests: &[Interest]| interests.iter().for_each(|one| one.watcher.change());
        match pairs {
            None => by_name
                .values()
                .flat_map(HashMap::values)
                .for_each(|it| tell(it)),
            Some(pairs) => {
                let interests = |pair: &IdPair| by_name.get(&pair.id1)?.get(&pair.id2);
                pairs.iter().filter_map(interests).for_each(|it| tell(it));
            }
        }
    }

    /// Hands what a committed batch brings to those who watch it.
    pub(crate) fn tell(&self, batch: &impl CommittedRows) {
        if self.watchers() == 0 {
            return;
        }
        let by_name = self.by_name();
        let interests = |index: u32| {
            let (id1, id2, _) = batch.series(index);
            by_name.get(&id1)?.get(id2)
        };
        // Of each series its place among those that are watched.
        let mut places = vec![None; batch.series_count() as usize];
        let mut found = Vec::new();
        for index in 0..batch.series_count() {
            if interests(index).is_some() {
                places[index as usize] = Some(found.len());
                found.push((index, None::<Fresh>));
            }
        }
        if found.is_empty() {
            return;
        }
        let is_known = batch.visit(|series, one| {
            if let Some(place) = places[series as usize] {
                match &mut found[place].1 {
                    Some(fresh) => fresh.take(one),
                    none => *none = Some(one),
                }
            }
        });
        for (index, fresh) in found {
            let series = batch.series(index);
            let watching = interests(index).into_iter().flatten();
            for Interest { watcher, .. } in watching.filter(|one| one.is_of(series.2)) {
                match fresh {
                    _ if !is_known => watcher.miss(),
                    Some(fresh) => watcher.take(series, fresh),
                    None => {}
                }
            }
        }
    }
}

/// Somebody who watches, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    watches: Arc<Watches>,
    watcher: Arc<Watcher>,
    pairs: Vec<IdPair>,
}

impl Watch {
    /// Watches these, too.
    pub fn add(&mut self, watched: Vec<WatchedPair>) {
        let by_name = self.watches.by_name.write();
        let mut by_name = by_name.unwrap_or_else(PoisonError::into_inner);
        for WatchedPair { pair, sensor_types } in watched {
            let of_id1 = by_name.entry(pair.id1).or_default();
            of_id1.entry(pair.id2.clone()).or_default().push(Interest {
                sensor_types,
                watcher: self.watcher.clone(),
            });
            self.pairs.push(pair);
        }
    }

    /// Takes news of so many series at a time from now on.
    pub fn allow(&self, series_max: usize) {
        self.watcher.series_max.store(series_max, Ordering::Relaxed);
    }

    /// What has come since it was last asked.
    #[must_use]
    pub fn take(&self) -> News {
        std::mem::take(&mut *self.watcher.news())
    }

    /// What has come since it was last asked; waits until there is something. Whoever stops waiting loses nothing.
    pub async fn news(&self) -> News {
        loop {
            let some = self.watcher.some.notified();
            let news = self.take();
            if !news.is_empty() {
                return news;
            }
            some.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut by_name = self
            .watches
            .by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for IdPair { id1, id2 } in &self.pairs {
            let Some(of_id1) = by_name.get_mut(id1) else {
                continue;
            };
            if let Some(interests) = of_id1.get_mut(id2) {
                interests.retain(|one| !Arc::ptr_eq(&one.watcher, &self.watcher));
                if interests.is_empty() {
                    of_id1.remove(id2);
                }
            }
            if of_id1.is_empty() {
                by_name.remove(id1);
            }
        }
        drop(by_name);
        self.watches.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Series, value and time of each row; None where it is not known which were stored.
    struct Batch(
        Vec<(i32, &'static str, &'static str)>,
        Option<Vec<(u32, f64, i64)>>,
    );

    impl CommittedRows for Batch {
        fn series_count(&self) -> u32 {
            self.0.len() as u32
        }

        fn series(&self, index: u32) -> (i32, &str, &str) {
            self.0[index as usize]
        }

        fn visit(&self, mut row: impl FnMut(u32, Fresh)) -> bool {
            for &(series, sensor_value, timestamp_us) in self.1.iter().flatten() {
                let one = Fresh {
                    sensor_value,
                    timestamp_us,
                    id: 0,
                    readings: 1,
                };
                row(series, one);
            }
            self.1.is_some()
        }
    }

    fn watched(id1: i32, id2: &str, types: Option<&[&str]>) -> WatchedPair {
        let owned = |types: &[&str]| types.iter().map(|&one| one.to_owned()).collect();
        WatchedPair {
            pair: IdPair {
                id1,
                id2: id2.to_owned(),
            },
            sensor_types: types.map(owned),
        }
    }

    /// What somebody has not seen yet: id2, type, value, time and count.
    fn seen(watch: &Watch) -> Vec<(String, String, f64, i64, u64)> {
        let news = watch.news().now_or_never().unwrap_or_default();
        assert!(!news.missed);
        let row = |(series, fresh): (Series, Fresh)| {
            (
                series.id2,
                series.sensor_type,
                fresh.sensor_value,
                fresh.timestamp_us,
                fresh.readings,
            )
        };
        let mut rows: Vec<_> = news.fresh.into_iter().map(row).collect();
        rows.sort_by(|one, two| (&one.0, &one.1).cmp(&(&two.0, &two.1)));
        rows
    }

    const SERIES: [(i32, &str, &str); 4] =
        [(1, "a", "t"), (1, "b", "t"), (1, "a", "p"), (2, "a", "t")];

    #[test]
    fn each_watcher_gets_the_newest_of_what_it_watches_and_how_many_there_were() {
        let watches = Arc::<Watches>::default();
        let all_of_a = watches.watch(vec![watched(1, "a", None)], 9);
        let some = watches.watch(
            vec![watched(1, "a", Some(&["p"])), watched(1, "b", None)],
            9,
        );
        let rows = vec![
            (0, 1.0, 10),
            (2, 2.0, 5),
            (0, 3.0, 12),
            (3, 4.0, 20),
            (0, 5.0, 11),
        ];
        watches.tell(&Batch(SERIES.to_vec(), Some(rows)));
        watches.tell(&Batch(vec![(1, "b", "t")], Some(vec![(0, 9.0, 1)])));
        let row = |id2: &str, sensor_type: &str, value, at, count| {
            (id2.to_owned(), sensor_type.to_owned(), value, at, count)
        };
        assert_eq!(
            seen(&all_of_a),
            [row("a", "p", 2.0, 5, 1), row("a", "t", 3.0, 12, 3)]
        );
        assert_eq!(
            seen(&some),
            [row("a", "p", 2.0, 5, 1), row("b", "t", 9.0, 1, 1)]
        );
        assert_eq!(seen(&some), []);
        // Of two at the same time the one that came later; an older one only counts.
        for (value, at) in [(1.0, 7), (2.0, 7), (3.0, 6)] {
            watches.tell(&Batch(SERIES.to_vec(), Some(vec![(0, value, at)])));
        }
        assert_eq!(seen(&all_of_a), [row("a", "t", 2.0, 7, 3)]);
    }

    #[test]
    fn what_is_not_known_or_has_no_room_is_said_to_be_missed() {
        let watches = Arc::<Watches>::default();
        let watch = watches.watch(vec![watched(1, "a", None)], 1);
        let other = watches.watch(vec![watched(7, "z", None)], 1);
        watches.tell(&Batch(SERIES.to_vec(), None));
        let news = watch.news().now_or_never().expect("news");
        assert_eq!(
            news,
            News {
                missed: true,
                ..News::default()
            }
        );
        watches.tell(&Batch(
            SERIES.to_vec(),
            Some(vec![(0, 1.0, 1), (2, 1.0, 1)]),
        ));
        let news = watch.news().now_or_never().expect("news");
        assert_eq!((news.fresh.len(), news.missed), (1, true));
        assert_eq!(other.news().now_or_never(), None);
    }

    #[test]
    fn who_watches_what_was_changed_reads_it_again() {
        let watches = Arc::<Watches>::default();
        let a = watches.watch(vec![watched(1, "a", Some(&["t"]))], 9);
        let b = watches.watch(vec![watched(1, "b", None)], 9);
        let changed = |watch: &Watch| watch.news().now_or_never().map(|news| news.changed);
        let pair = |id2: &str| IdPair {
            id1: 1,
            id2: id2.to_owned(),
        };
        watches.change(Some(&[pair("a"), pair("z")]));
        assert_eq!((changed(&a), changed(&b)), (Some(true), None));
        watches.change(None);
        assert_eq!((changed(&a), changed(&b)), (Some(true), Some(true)));
    }

    #[test]
    fn nothing_is_left_of_those_who_go() {
        let watches = Arc::<Watches>::default();
        let one = watches.watch(vec![watched(1, "a", None), watched(1, "b", None)], 9);
        let two = watches.watch(vec![watched(1, "a", None)], 9);
        drop(one);
        assert_eq!(watches.watchers(), 1);
        watches.tell(&Batch(
            SERIES.to_vec(),
            Some(vec![(0, 1.0, 1), (1, 1.0, 1)]),
        ));
        assert_eq!(seen(&two).len(), 1);
        drop(two);
        assert_eq!((watches.watchers(), watches.by_name().len()), (0, 0));
    }
}
