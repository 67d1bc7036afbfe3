//! What a spool has to know besides its segments. It lies in two places of one file that are written by turns: whatever moment
//! the power goes in, one of them is whole, and a full disk has room for both.
//!
//! What is let go of stands here before its segment is removed.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use super::{
    bytes::{Fields, put_u32, put_u64},
    error::{SpoolError, failed},
    folder::{Folder, private},
    position::{Identity, Place},
    segment::SourceMark,
};

const MAGIC: &[u8; 8] = b"SGSTATE1";
const SLOT_BYTES: usize = 4_096;
/// Dropped ranges that are told apart; more of them would not fit beside the rest.
pub(super) const MOST_GAPS: usize = 16;

/// Records that were dropped, and never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first_record: u64,
    pub(super) last_record: u64,
    /// How many readings were ever taken before and up to the end of them.
    pub(super) first_reading: u64,
    pub(super) last_reading: u64,
}

/// Where the stream stood when the spool began to send to it, as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    /// The stream's position, in readings.
    pub(super) seq: u64,
    /// Behind this record the spool began.
    pub(super) record: u64,
    /// Checksum of the source position that was found, which another one had left, or nobody.
    pub(super) found_crc: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Everything up to here is stored by the service, and its segments are gone.
    pub(super) released: Place,
    /// First record of the last segment that may have been sent from; 0 before the first. What is sent is never dropped:
    /// the service may have it.
    pub(super) sent: u64,
    /// Where the source stood when the segment that knew it was removed.
    pub(super) source: SourceMark,
    /// Readings that were ever dropped because the spool was full.
    pub(super) dropped: u64,
    /// Readings that were ever left out because they could not be read back.
    pub(super) damaged: u64,
    /// Up to this record that has been counted.
    pub(super) damaged_through: u64,
    /// Until the service has told of a position of this spool.
    pub(super) anchor: Option<Anchor>,
    /// Whether it ever has.
    pub(super) is_known: bool,
    /// In order. Each lies behind what was sent by the time it came to be.
    pub(super) gaps: Vec<Gap>,
}

impl State {
    fn encode(&self, identity: Identity, generation: u64) -> Vec<u8> {
        let mut rest = identity.0.to_vec();
        put_u64(&mut rest, generation);
        for number in [
            self.released.session,
            self.released.record,
            self.released.reading,
            self.sent,
            self.dropped,
            self.damaged,
            self.damaged_through,
        ] {
            put_u64(&mut rest, number);
        }
        self.source.put(&mut rest);
        let anchor = self.anchor.unwrap_or(Anchor {
            seq: 0,
            record: 0,
            found_crc: 0,
        });
        put_u32(&mut rest, self.is_known.into());
        put_u32(&mut rest, self.anchor.is_some().into());
        put_u64(&mut rest, anchor.seq);
        put_u64(&mut rest, anchor.record);
        put_u32(&mut rest, anchor.found_crc);
        put_u32(&mut rest, self.gaps.len() as u32);
        for gap in &self.gaps {
            put_u64(&mut rest, gap.first_record);
            put_u64(&mut rest, gap.last_record);
            put_u64(&mut rest, gap.first_reading);
            put_u64(&mut rest, gap.last_reading);
        }
        rest.resize(SLOT_BYTES - 12, 0);
        let mut slot = MAGIC.to_vec();
        put_u32(&mut slot, crc32fast::hash(&rest));
        slot.extend_from_slice(&rest);
        slot
    }

    /// The state in a slot, and its generation. None for a torn slot, and for one of another spool.
    fn decode(slot: &[u8], identity: Identity) -> Option<(Self, u64)> {
        let mut fields = Fields(slot);
        let is_state = &fields.array::<8>()? == MAGIC;
        let is_whole = fields.u32()? == crc32fast::hash(fields.0);
        let is_ours = fields.array()? == identity.0;
        if !(is_state && is_whole && is_ours) {
            return None;
        }
        let generation = fields.u64()?;
        let mut state = Self {
            released: Place {
                session: fields.u64()?,
                record: fields.u64()?,
                reading: fields.u64()?,
            },
            sent: fields.u64()?,
            dropped: fields.u64()?,
            damaged: fields.u64()?,
            damaged_through: fields.u64()?,
            source: SourceMark::read(&mut fields)?,
            is_known: fields.u32()? == 1,
            ..Self::default()
        };
        let has_anchor = fields.u32()? == 1;
        let anchor = Anchor {
            seq: fields.u64()?,
            record: fields.u64()?,
            found_crc: fields.u32()?,
        };
        state.anchor = has_anchor.then_some(anchor);
        for _ in 0..fields.u32()? {
            state.gaps.push(Gap {
                first_record: fields.u64()?,
                last_record: fields.u64()?,
                first_reading: fields.u64()?,
                last_reading: fields.u64()?,
            });
        }
        Some((state, generation))
    }
}

/// The state on the disk.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    file: File,
    identity: Identity,
    generation: u64,
    state: State,
}

impl StateFile {
    /// Makes the file of a new spool.
    pub(super) fn create(folder: &Folder) -> Result<Self, SpoolError> {
        let path = folder.state();
        let file = private(&path).map_err(failed("create", &path))?;
        let mut made = Self {
            path,
            file,
            identity: folder.identity(),
            generation: 0,
            state: State::default(),
        };
        // Both places have their room on the disk from now on.
        made.write()?;
        made.write()?;
        Ok(made)
    }

    pub(super) fn open(folder: &Folder) -> Result<Self, SpoolError> {
        let path = folder.state();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(&path);
        let file = file.map_err(failed("open", &path))?;
        let newest = (0..2)
            .filter_map(|slot| {
                let mut bytes = vec![0; SLOT_BYTES];
                file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64)
                    .ok()?;
                State::decode(&bytes, folder.identity())
            })
            .max_by_key(|(_, generation)| *generation);
        let Some((state, generation)) = newest else {
            return Err(SpoolError::Folder {
                folder: folder.path().to_owned(),
                reason: "has a file \"state\" of which neither half can be read: what was let go of is not known, so \
                         restore the file, or take another folder"
                    .to_owned(),
            });
        };
        Ok(Self {
            path,
            file,
            identity: folder.identity(),
            generation,
            state,
        })
    }

    pub(super) fn get(&self) -> &State {
        &self.state
    }

    /// Changes the state, and has it on the disk. After an error it is as it was.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), SpoolError> {
        let before = self.state.clone();
        change(&mut self.state);
        if self.state == before {
            return Ok(());
        }
        self.write().inspect_err(|_| self.state = before)
    }

    fn write(&mut self) -> Result<(), SpoolError> {
        let generation = self.generation + 1;
        let slot = self.state.encode(self.identity, generation);
        let at = generation % 2 * SLOT_BYTES as u64;
        self.file
            .write_all_at(&slot, at)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))?;
        self.generation = generation;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_state_fits_its_slot_and_is_read_as_it_was_written() {
        let identity = Identity::random();
        let gap = Gap {
            first_record: 1,
            last_record: 2,
            first_reading: 3,
            last_reading: 4,
        };
        let state = State {
            released: Place {
                session: 9,
                record: 8,
                reading: 7,
            },
            sent: 6,
            source: SourceMark {
                position: vec![b'x'; 1_024],
                reading: 5,
            },
            dropped: 4,
            damaged: 3,
            damaged_through: 2,
            anchor: Some(Anchor {
                seq: 1,
                record: 2,
                found_crc: 3,
            }),
            is_known: true,
            gaps: vec![gap; MOST_GAPS],
        };
        let slot = state.encode(identity, 77);
        assert_eq!(slot.len(), SLOT_BYTES);
        assert_eq!(State::decode(&slot, identity), Some((state, 77)));
        assert_eq!(State::decode(&slot, Identity::random()), None);
    }

    #[test]
    fn a_state_that_was_torn_is_the_one_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), "s").unwrap();
        let mut file = StateFile::create(&folder).unwrap();
        for sent in 1..=9_u64 {
            let whole = std::fs::read(folder.state()).unwrap();
            file.change(|state| state.sent = sent).unwrap();
            let written = std::fs::read(folder.state()).unwrap();
            for torn_at in (0..whole.len()).step_by(97) {
                // The beginning of what was written, and the rest of what was there.
                let torn = [&written[..torn_at], &whole[torn_at..]].concat();
                std::fs::write(folder.state(), torn).unwrap();
                let found = StateFile::open(&folder).unwrap().get().sent;
                assert!(found == sent || found == sent - 1, "{found} at {torn_at}");
            }
            std::fs::write(folder.state(), written).unwrap();
        }
    }
}
