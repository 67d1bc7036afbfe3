//! Payloads to the readings of a message.

use std::{collections::VecDeque, sync::Arc};

use sluicegate_decode::{Context, Counts, Decoder, Limits, Mapping, Piece, Position};

use super::{
    payload::{Feed, Payload},
    protobuf,
};
use crate::{
    config::{PayloadSettings, Protobuf, SourceSettings},
    model::{Field, LongName, Origin, PayloadContext, ReadBy, Undecoded},
    usecase::ingest::{
        Ingest, Readings,
        decoded::{Decoded, room_bytes},
    },
};

/// A payload whose readings cannot take more than this is not counted beforehand, bytes.
const SMALL_ROOM_BYTES: usize = 1 << 20;
/// A payload may take so much of the memory for readings: one part in so many.
const PAYLOAD_SHARE: u32 = 4;
/// The least that a payload takes, which may become a fault.
const FAULT_OUTCOMES: usize = 1;

/// How payloads of a source are read.
#[derive(Clone, Debug)]
pub(super) enum ReaderPlan {
    Mapping(Arc<Mapping>),
    Protobuf(Protobuf),
}

impl ReaderPlan {
    /// None where the settings do not say it, or not rightly.
    pub(super) fn of(settings: &SourceSettings) -> Option<Self> {
        match settings.payload()? {
            PayloadSettings::Mapping(mapping) => {
                Some(Self::Mapping(Arc::new(Mapping::new(mapping).ok()?)))
            }
            PayloadSettings::Protobuf(message) => Some(Self::Protobuf(message)),
        }
    }

    /// The headers that are looked at.
    pub(super) fn headers(&self) -> Vec<String> {
        match self {
            Self::Mapping(mapping) => mapping.headers().map(str::to_owned).collect(),
            Self::Protobuf(_) => Vec::new(),
        }
    }
}

/// A payload that is to be read, and what it takes.
pub(super) struct Weighed<M> {
    payload: Payload<M>,
    /// Memory from when it is read until it is settled, bytes.
    pub(super) room_bytes: usize,
    /// It becomes a fault.
    is_too_large: bool,
}

impl<M> Weighed<M> {
    /// How long it is, bytes.
    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }
}

/// What became of a payload.
pub(super) struct Taken<M> {
    /// Readings and faults in it.
    pub(super) outcomes: u64,
    /// It could not be decoded, or not all of it.
    pub(super) is_faulty: bool,
    pub(super) mark: M,
}

/// What was made of some payloads.
pub(super) struct Read<M> {
    pub(super) readings: Readings,
    pub(super) long_names: Vec<LongName>,
    pub(super) payloads: Vec<Taken<M>>,
    pub(super) faults: u64,
    /// Values that are no numbers.
    pub(super) left_out: u64,
}

/// Reads payloads of one feed.
pub(super) struct Reader {
    way: Way,
    /// The name of the source.
    source: String,
    /// The most that a payload may take, bytes.
    max_room_bytes: usize,
}

enum Way {
    Mapping(Box<Decoder>),
    Protobuf(Protobuf),
}

impl Reader {
    pub(super) fn new(plan: &ReaderPlan, source: &str, ingest: &Ingest) -> Self {
        let limits = ingest.facts().limits;
        let names = Limits {
            sensor_type_chars: limits.sensor_type_max_chars,
            id2_chars: limits.id2_max_chars,
        };
        let share = ingest.admission().budget_bytes() / PAYLOAD_SHARE;
        Self {
            way: match plan {
                ReaderPlan::Mapping(mapping) => {
                    Way::Mapping(Box::new(Decoder::new(mapping.clone(), names)))
                }
                ReaderPlan::Protobuf(message) => Way::Protobuf(*message),
            },
            source: source.to_owned(),
            max_room_bytes: share as usize,
        }
    }

    /// Whether each payload is a message of its own: its series are not those of the next one.
    pub(super) fn reads_one_at_a_time(&self) -> bool {
        matches!(
            self.way,
            Way::Protobuf(Protobuf::SensorBatch | Protobuf::ColumnBatch)
        )
    }

    /// Says what a payload takes.
    pub(super) fn weigh<M>(&mut self, payload: Payload<M>) -> Weighed<M> {
        // A fault keeps the beginning alone.
        let kept_bytes = payload.len().min(Origin::PAYLOAD_BYTES);
        let context_bytes = context_bytes(&payload);
        let fault_bytes = room_bytes(kept_bytes, 0, FAULT_OUTCOMES) + context_bytes;
        let needed = self.needed_bytes(&payload);
        let is_too_large = needed.is_some_and(|bytes| bytes > self.max_room_bytes);
        Weighed {
            room_bytes: match needed {
                Some(bytes) if !is_too_large => (bytes + context_bytes).max(fault_bytes),
                _ => fault_bytes,
            },
            is_too_large,
            payload,
        }
    }

    /// None for what is no payload of this kind.
    fn needed_bytes<M>(&mut self, payload: &Payload<M>) -> Option<usize> {
        let bytes = payload.bytes.as_deref()?;
        match &mut self.way {
            Way::Protobuf(message) => protobuf::weigh(*message, bytes).ok(),
            Way::Mapping(decoder) => {
                let most = decoder.format().most_outcomes(bytes) + 1;
                let needed = room_bytes(bytes.len(), 0, most);
                if needed <= SMALL_ROOM_BYTES {
                    return Some(needed);
                }
                let headers = headers(payload);
                let mut message = decoder.message(&context(payload, &headers)).ok()?;
                let Counts {
                    readings, faults, ..
                } = message.whole(bytes, |_| {});
                Some(room_bytes(bytes.len(), readings as usize, faults as usize))
            }
        }
    }

    /// Reads as many of the payloads as one message can have, and takes them out.
    pub(super) fn read<F: Feed>(
        &mut self,
        payloads: &mut VecDeque<Weighed<F::Mark>>,
        feed: &F,
    ) -> Read<F::Mark> {
        match &self.way {
            Way::Mapping(_) => self.read_mapped(payloads, feed),
            Way::Protobuf(Protobuf::SensorReading) => self.read_rows(payloads, feed),
            Way::Protobuf(_) => self.read_batch(payloads, feed),
        }
    }

    fn read_mapped<F: Feed>(
        &mut self,
        payloads: &mut VecDeque<Weighed<F::Mark>>,
        feed: &F,
    ) -> Read<F::Mark> {
        let mut gathering = Gathering::new(feed, &self.source);
        for weighed in payloads.drain(..) {
            let Weighed {
                payload,
                is_too_large,
                ..
            } = weighed;
            let Way::Mapping(decoder) = &mut self.way else {
                break;
            };
            let Some(bytes) = payload.bytes.as_deref() else {
                gathering.done(payload.mark);
                continue;
            };
            if is_too_large {
                gathering.fault(&payload, too_large(self.max_room_bytes));
                continue;
            }
            let headers = headers(&payload);
            match decoder.message(&context(&payload, &headers)) {
                Err(fault) => gathering.mapped_fault(&payload, whole(bytes), &fault),
                Ok(mut message) => {
                    let counts = message.whole_in_pieces(bytes, |outcome| match outcome {
                        Ok(reading) => gathering.decoded.push(&reading),
                        Err((fault, piece)) => gathering.mapped_fault(&payload, piece, &fault),
                    });
                    gathering.left_out += counts.left_out;
                }
            }
            gathering.done(payload.mark);
        }
        gathering.finish()
    }

    /// Readings that come one by one, up to what is none.
    fn read_rows<F: Feed>(
        &mut self,
        payloads: &mut VecDeque<Weighed<F::Mark>>,
        feed: &F,
    ) -> Read<F::Mark> {
        let (mut rows, mut marks) = (Vec::with_capacity(payloads.len()), Vec::new());
        while let Some(weighed) = payloads.front() {
            let payload = &weighed.payload;
            let read = payload
                .bytes
                .as_deref()
                .map(|bytes| match weighed.is_too_large {
                    true => Err(too_large(self.max_room_bytes)),
                    false => protobuf::read_one(bytes),
                });
            match read.transpose() {
                Err(_) if !marks.is_empty() => break,
                Err(reason) => return faulty(payloads, feed, &self.source, reason),
                Ok(row) => {
                    marks.push(Taken {
                        outcomes: u64::from(row.is_some()),
                        is_faulty: false,
                        mark: payload.mark,
                    });
                    rows.extend(row);
                    payloads.pop_front();
                }
            }
        }
        Read {
            readings: Readings::Rows(rows),
            long_names: Vec::new(),
            payloads: marks,
            faults: 0,
            left_out: 0,
        }
    }

    fn read_batch<F: Feed>(
        &mut self,
        payloads: &mut VecDeque<Weighed<F::Mark>>,
        feed: &F,
    ) -> Read<F::Mark> {
        let Way::Protobuf(of) = self.way else {
            return Gathering::new(feed, &self.source).finish();
        };
        let Some(Weighed {
            payload,
            is_too_large,
            ..
        }) = payloads.front()
        else {
            return Gathering::new(feed, &self.source).finish();
        };
        let read = match payload.bytes.as_deref() {
            None => Ok(Readings::Rows(Vec::new())),
            Some(_) if *is_too_large => Err(too_large(self.max_room_bytes)),
            Some(bytes) => protobuf::read(of, bytes),
        };
        match read {
            Err(reason) => faulty(payloads, feed, &self.source, reason),
            Ok(readings) => {
                let mark = payload.mark;
                payloads.pop_front();
                Read {
                    payloads: vec![Taken {
                        outcomes: readings.len() as u64,
                        is_faulty: false,
                        mark,
                    }],
                    readings,
                    long_names: Vec::new(),
                    faults: 0,
                    left_out: 0,
                }
            }
        }
    }
}

/// Readings of payloads that are being put together.
struct Gathering<'a, F: Feed> {
    feed: &'a F,
    /// The name of the source.
    source: &'a str,
    /// Of the payload at hand, once it has a fault.
    context: Option<PayloadContext>,
    decoded: Decoded,
    payloads: Vec<Taken<F::Mark>>,
    faults: u64,
    /// Of the payloads before: outcomes, and faults among them.
    before: (usize, u64),
    left_out: u64,
}

impl<'a, F: Feed> Gathering<'a, F> {
    fn new(feed: &'a F, source: &'a str) -> Self {
        Self {
            feed,
            source,
            context: None,
            decoded: Decoded::default(),
            payloads: Vec::new(),
            faults: 0,
            before: (0, 0),
            left_out: 0,
        }
    }

    fn mapped_fault(
        &mut self,
        payload: &Payload<F::Mark>,
        piece: Piece<'_>,
        fault: &sluicegate_decode::Fault,
    ) {
        let place = self.feed.place(payload);
        let place = match fault.position {
            Position::Message => place,
            position => format!("{place}, {position}"),
        };
        self.faults += 1;
        let origin = Origin::of(&place, piece, self.context(payload));
        self.decoded.push_fault(fault, origin);
    }

    fn context(&mut self, payload: &Payload<F::Mark>) -> &PayloadContext {
        self.context.get_or_insert_with(|| {
            PayloadContext::of(&ReadBy {
                source: Some(self.source.to_owned()),
                topic: Some(payload.topic.clone()),
                headers: payload.headers.clone(),
                arrival_us: payload.arrival_us,
                ..ReadBy::default()
            })
        })
    }

    fn fault(&mut self, payload: &Payload<F::Mark>, reason: String) {
        let place = self.feed.place(payload);
        let bytes = payload.bytes.as_deref().unwrap_or_default();
        self.faults += 1;
        let origin = Origin::of(&place, whole(bytes), self.context(payload));
        self.decoded.push_undecoded(Undecoded {
            field: Field::Payload,
            reason,
            value: None,
            origin,
        });
        self.done(payload.mark);
    }

    /// All of a payload was taken.
    fn done(&mut self, mark: F::Mark) {
        let now = (self.decoded.len(), self.faults);
        self.payloads.push(Taken {
            outcomes: (now.0 - self.before.0) as u64,
            is_faulty: now.1 > self.before.1,
            mark,
        });
        self.before = now;
        self.context = None;
    }

    fn finish(self) -> Read<F::Mark> {
        let (readings, long_names) = self.decoded.finish();
        Read {
            readings,
            long_names,
            payloads: self.payloads,
            faults: self.faults,
            left_out: self.left_out,
        }
    }
}

/// The first payload as one that cannot be read.
fn faulty<F: Feed>(
    payloads: &mut VecDeque<Weighed<F::Mark>>,
    feed: &F,
    source: &str,
    reason: String,
) -> Read<F::Mark> {
    let mut gathering = Gathering::new(feed, source);
    if let Some(Weighed { payload, .. }) = payloads.pop_front() {
        gathering.fault(&payload, reason);
    }
    gathering.finish()
}

fn too_large(max_bytes: usize) -> String {
    format!(
        "the readings of the payload take more than {max_bytes} bytes, a quarter of ingest.budget_bytes: send them in parts"
    )
}

/// What is kept of a payload beside its bytes, if it has a fault.
fn context_bytes<M>(payload: &Payload<M>) -> usize {
    const NAMES_AND_TIMES_BYTES: usize = 256;
    let headers = payload.headers.iter();
    let headers: usize = headers.map(|(name, text)| name.len() + text.len()).sum();
    (NAMES_AND_TIMES_BYTES + payload.topic.len() + headers).min(PayloadContext::MAX_BYTES)
}

fn whole(bytes: &[u8]) -> Piece<'_> {
    Piece {
        bytes,
        position: Position::Message,
        is_whole: true,
    }
}

fn headers<M>(payload: &Payload<M>) -> Vec<(&str, &str)> {
    let headers = payload.headers.iter();
    headers.map(|(name, text)| (&**name, &**text)).collect()
}

fn context<'a, M>(payload: &'a Payload<M>, headers: &'a [(&'a str, &'a str)]) -> Context<'a> {
    Context {
        topic: Some(&payload.topic),
        headers,
        arrival_us: payload.arrival_us,
        precision: None,
    }
}
