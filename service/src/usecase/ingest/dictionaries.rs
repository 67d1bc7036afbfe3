//! The dictionaries of a lane's open calls, held to their budget (P4). A dictionary is kept from message to message;
//! while its message is being appended it is inside of the admission budget, and afterwards inside of this one.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::{columns::ColumnReadings, dictionary::Dictionary, session::Session};
use crate::repository::mysql::KnownSeries;

#[derive(Debug)]
pub(super) struct Dictionaries {
    budget_bytes: usize,
    /// Who tells numbers, where readings have them.
    known: Option<KnownSeries>,
    /// Sum of `counted_bytes`.
    held_bytes: usize,
    of_calls: HashMap<u64, OfCall>,
}

#[derive(Debug)]
struct OfCall {
    session: Weak<Session>,
    dictionary: Dictionary,
    counted_bytes: usize,
    /// There was no room to keep it: no message can extend it.
    lost: bool,
}

impl Dictionaries {
    pub(super) fn new(budget_bytes: usize, known: Option<KnownSeries>) -> Self {
        Self {
            budget_bytes,
            known,
            held_bytes: 0,
            of_calls: HashMap::new(),
        }
    }

    /// Takes over what a message brings of its call's dictionary; None when the message extends one that was not kept.
    pub(super) fn enter(
        &mut self,
        session: &Arc<Session>,
        columns: &mut ColumnReadings,
        batch: u64,
    ) -> Option<&mut Dictionary> {
        let of_call = self
            .of_calls
            .entry(session.number)
            .or_insert_with(|| OfCall {
                session: Arc::downgrade(session),
                dictionary: Dictionary::new(self.known.clone()),
                counted_bytes: 0,
                lost: false,
            });
        if columns.extend_dictionary && of_call.lost {
            return None;
        }
        of_call.lost = false;
        let dictionary = &mut of_call.dictionary;
        if !columns.extend_dictionary {
            dictionary.clear();
        }
        dictionary.extend(&columns.series);
        columns.series = Vec::new();
        dictionary.enter_batch(batch);
        Some(dictionary)
    }

    /// Keeps the call's dictionary for its next message. False when there is no room: it is gone then, and those of
    /// other calls stay.
    pub(super) fn keep(&mut self, session: &Session) -> bool {
        let Some(of_call) = self.of_calls.get_mut(&session.number) else {
            return true;
        };
        let bytes = of_call.dictionary.size_bytes();
        self.held_bytes = self.held_bytes - of_call.counted_bytes + bytes;
        of_call.counted_bytes = bytes;
        if self.held_bytes > self.budget_bytes {
            self.forget_ended_calls();
        }
        if self.held_bytes <= self.budget_bytes {
            return true;
        }
        if let Some(of_call) = self.of_calls.get_mut(&session.number) {
            of_call.dictionary = Dictionary::new(self.known.clone());
            of_call.lost = true;
            self.held_bytes -= std::mem::take(&mut of_call.counted_bytes);
        }
        false
    }

    pub(super) fn forget_ended_calls(&mut self) {
        self.of_calls.retain(|_, of_call| {
            let open = of_call.session.strong_count() > 0;
            if !open {
                self.held_bytes -= of_call.counted_bytes;
            }
            open
        });
    }
}
