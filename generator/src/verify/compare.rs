//! A part of both sides, reading by reading.

use rustc_hash::FxHashMap;

use super::{
    report::{Example, Verdict, VerifyReport},
    row::Row,
    slices::Part,
};
use crate::journal::{Entry, Fate, Journal};

/// Numbers for pairs of ids and for sensor types.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pairs: FxHashMap<i32, FxHashMap<String, u32>>,
    names: Vec<(i32, String)>,
    types: FxHashMap<String, u32>,
    type_names: Vec<String>,
}

impl Ids {
    /// The pairs that the journals' runs sent.
    pub(super) fn of(journals: &[Journal]) -> Self {
        let mut ids = Self::default();
        for series in journals.iter().flat_map(Journal::series) {
            let number = u32::try_from(ids.names.len()).unwrap_or(u32::MAX);
            let of_id1 = ids.pairs.entry(series.id1).or_default();
            if !of_id1.contains_key(&series.id2) {
                of_id1.insert(series.id2.clone(), number);
                ids.names.push((series.id1, series.id2));
            }
        }
        ids
    }

    /// `None` for ids that no run sent.
    pub(super) fn pair(&self, id1: i32, id2: &str) -> Option<u32> {
        self.pairs.get(&id1)?.get(id2).copied()
    }

    fn sensor_type(&mut self, name: &str) -> u32 {
        if let Some(number) = self.types.get(name) {
            return *number;
        }
        let number = u32::try_from(self.type_names.len()).unwrap_or(u32::MAX);
        self.types.insert(name.to_owned(), number);
        self.type_names.push(name.to_owned());
        number
    }
}

/// Ordered so that all of one pair and time come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    pair: u32,
    at_us: i64,
    sensor_type: u32,
    bits: u64,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Stored,
    Open,
    Found,
}

#[derive(Debug)]
pub(super) struct Comparison<'a> {
    ids: &'a mut Ids,
    part: &'a Part,
    items: Vec<Item>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(ids: &'a mut Ids, part: &'a Part) -> Self {
        Self {
            ids,
            part,
            items: Vec::new(),
        }
    }

    pub(super) fn sent(&mut self, entry: &Entry<'_>, at_us: i64) {
        let side = match entry.fate {
            Fate::Stored => Side::Stored,
            Fate::Open => Side::Open,
            Fate::Rejected => return,
        };
        let series = entry.series;
        self.add(
            series.id1,
            &series.id2,
            &series.sensor_type,
            at_us,
            entry.made.value,
            side,
        );
    }

    pub(super) fn found(&mut self, row: Row<'_>) {
        self.add(
            row.id1,
            row.id2,
            row.sensor_type,
            row.timestamp_us,
            row.value,
            Side::Found,
        );
    }

    fn add(&mut self, id1: i32, id2: &str, sensor_type: &str, at_us: i64, value: f64, side: Side) {
        let Some(pair) = self
            .ids
            .pair(id1, id2)
            .filter(|pair| self.part.contains_pair(*pair))
        else {
            return;
        };
        self.items.push(Item {
            pair,
            at_us,
            sensor_type: self.ids.sensor_type(sensor_type),
            // The two zeros are one value.
            bits: (value + 0.0).to_bits(),
            side,
        });
    }

    pub(super) fn judge(mut self, report: &mut VerifyReport) {
        self.items.sort_unstable();
        for group in self
            .items
            .chunk_by(|a, b| (a.pair, a.at_us) == (b.pair, b.at_us))
        {
            self.judge_group(group, report);
        }
    }

    /// One pair at one time. Equal readings settle each other; what is left on both sides is altered.
    fn judge_group(&self, group: &[Item], report: &mut VerifyReport) {
        let (mut missing, mut unstored, mut extra) = (Vec::new(), Vec::new(), Vec::new());
        for same in group.chunk_by(|a, b| (a.sensor_type, a.bits) == (b.sensor_type, b.bits)) {
            let count = |side| same.iter().filter(|item| item.side == side).count();
            let (stored, open, found) =
                (count(Side::Stored), count(Side::Open), count(Side::Found));
            let item = same[0];
            missing.extend(std::iter::repeat_n(item, stored.saturating_sub(found)));
            unstored.extend(std::iter::repeat_n(
                item,
                open.saturating_sub(found.saturating_sub(stored)),
            ));
            let beyond = found.saturating_sub(stored + open);
            match stored + open > 0 {
                true => {
                    for _ in 0..beyond {
                        let example =
                            || self.example(Verdict::Duplicated, Some(&item), Some(&item));
                        report.judge(Verdict::Duplicated, example);
                    }
                }
                false => extra.extend(std::iter::repeat_n(item, beyond)),
            }
        }
        let mut missing = missing.into_iter();
        let mut unstored = unstored.into_iter();
        for found in extra {
            let sent = missing.next().or_else(|| unstored.next());
            let verdict = match sent {
                Some(_) => Verdict::Altered,
                None => Verdict::Unexpected,
            };
            report.judge(verdict, || {
                self.example(verdict, sent.as_ref(), Some(&found))
            });
        }
        for item in missing {
            report.judge(Verdict::Lost, || {
                self.example(Verdict::Lost, Some(&item), None)
            });
        }
    }

    fn example(&self, verdict: Verdict, sent: Option<&Item>, found: Option<&Item>) -> Example {
        let describe = |item: &Item| {
            let name = &self.ids.type_names[item.sensor_type as usize];
            format!("{name} {}", f64::from_bits(item.bits))
        };
        let (pair, timestamp_us) = sent
            .or(found)
            .map_or((0, 0), |item| (item.pair, item.at_us));
        let (id1, id2) = self.ids.names[pair as usize].clone();
        Example {
            verdict,
            id1,
            id2,
            timestamp_us,
            sent: sent.map(describe),
            found: found.map(describe),
        }
    }
}
