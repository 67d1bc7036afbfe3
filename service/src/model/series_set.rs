//! Series, each kept once.

use std::hash::{BuildHasher as _, BuildHasherDefault};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// Some series, found by their names and by their places. The texts of all of them are one.
#[derive(Debug, Default)]
pub struct SeriesSet {
    /// Id2 and sensor type of one after the other.
    text: String,
    entries: Vec<Entry>,
    /// Those that were looked for when they came.
    by_text: HashTable<u32>,
    hasher: BuildHasherDefault<FxHasher>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id1: i32,
    id2_end: u32,
    sensor_type_end: u32,
}

/// Id1, id2 and sensor type of a series.
fn parts<'a>(text: &'a str, entries: &[Entry], index: u32) -> (i32, &'a str, &'a str) {
    let index = index as usize;
    let start = match index {
        0 => 0,
        _ => entries[index - 1].sensor_type_end as usize,
    };
    let entry = entries[index];
    let (id2_end, end) = (entry.id2_end as usize, entry.sensor_type_end as usize);
    (entry.id1, &text[start..id2_end], &text[id2_end..end])
}

impl SeriesSet {
    #[must_use]
    pub fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Id1, id2 and sensor type of a series.
    #[must_use]
    pub fn get(&self, index: u32) -> (i32, &str, &str) {
        parts(&self.text, &self.entries, index)
    }

    /// Appends a series without looking for it.
    pub fn append(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        self.text.push_str(id2);
        let id2_end = self.text.len() as u32;
        self.text.push_str(sensor_type);
        self.entries.push(Entry {
            id1,
            id2_end,
            sensor_type_end: self.text.len() as u32,
        });
        self.len() - 1
    }

    /// The place of a series that was interned.
    #[must_use]
    pub fn find(&self, id1: i32, id2: &str, sensor_type: &str) -> Option<u32> {
        let series = (id1, id2, sensor_type);
        let hash = self.hasher.hash_one(series);
        let found = self.by_text.find(hash, |&index| self.get(index) == series);
        found.copied()
    }

    /// Finds or appends a series.
    pub fn intern(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        let series = (id1, id2, sensor_type);
        let hash = self.hasher.hash_one(series);
        let found = self.by_text.find(hash, |&index| self.get(index) == series);
        if let Some(&index) = found {
            return index;
        }
        let index = self.append(id1, id2, sensor_type);
        let (text, entries, hasher) = (&self.text, &self.entries, &self.hasher);
        self.by_text.insert_unique(hash, index, |&other| {
            hasher.hash_one(parts(text, entries, other))
        });
        index
    }

    /// Memory of texts and places, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.text.len() + self.entries.len() * size_of::<Entry>()
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.by_text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_kept_once_and_read_back_exactly() {
        let mut texts = SeriesSet::default();
        let a = texts.intern(-1, "gate\\7", "tab\tnewline\n");
        let b = texts.intern(-1, "Gate\\7", "tab\tnewline\n");
        assert_ne!(a, b, "case tells ids apart");
        assert_eq!(texts.intern(-1, "gate\\7", "tab\tnewline\n"), a);
        assert_eq!(texts.get(a), (-1, "gate\\7", "tab\tnewline\n"));
        assert_eq!(texts.find(-1, "Gate\\7", "tab\tnewline\n"), Some(b));
        assert_eq!(texts.find(-1, "gate\\7", "tab\tnewline\n "), None);
    }
}
