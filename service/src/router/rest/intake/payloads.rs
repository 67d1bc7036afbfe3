//! A body as the messages of a conversation: some lines each, or a document.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use chrono::Utc;
use memchr::{memchr, memchr_iter};
use sluicegate_decode::{Context, Counts, Decoder, Format, Limits, LineBuffer, Mapping, Precision};

use super::{
    asked::{Asked, Shape},
    body::{Body, PIECE_BYTES},
    mappings,
    places::{PLACE_BYTES, Places},
};
use crate::{
    model::{Origin, PayloadContext, ReadBy, Seq, StreamHeader},
    router::rest::problem::{Kind, Problem},
    usecase::ingest::{
        IngestError, LongNames,
        admission::{Arrival, Room},
        arrivals::Arrivals,
        conversation::{Message, Sent},
        decoded::{Decoded, room_bytes},
    },
};

/// Why a request brings no more.
#[derive(Debug)]
pub(super) enum Trouble {
    /// With the body, or what stands in it.
    Body(Problem),
    Ingest(IngestError),
}

impl From<IngestError> for Trouble {
    fn from(error: IngestError) -> Self {
        Self::Ingest(error)
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Body(problem)
    }
}

/// What is known of a request while its readings are on their way.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) places: Places,
    pub(super) received: u64,
    /// Values that are no numbers.
    pub(super) left_out: u64,
}

/// The account of a request, which both sides of the conversation keep.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts(Arc<Mutex<Account>>);

impl Accounts {
    pub(super) fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How large its parts may be, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartLimits {
    pub(super) line_bytes: usize,
    pub(super) document_bytes: usize,
    pub(super) names: Limits,
}

/// What decodes the body.
enum Reader {
    Lines(LineBuffer, Decoder),
    /// The first line has not come yet.
    Table(LineBuffer),
    Document(Decoder),
}

/// A body on its way in.
pub(super) struct Payloads {
    /// The place of the readings in a stream, which is told first.
    header: Option<StreamHeader>,
    body: Body,
    /// What is decoded next.
    piece: BytesMut,
    /// What came with it, and is decoded after it.
    rest: BytesMut,
    reader: Reader,
    precision: Option<Precision>,
    /// For what is no reading, to be read once more.
    read_by: PayloadContext,
    /// How many there may be in the line that is not whole yet.
    open_outcomes: usize,
    is_ended: bool,
    /// Whether all that came was handed over.
    is_done: bool,
    next_seq: Seq,
    limits: PartLimits,
    account: Accounts,
    names: LongNames,
}

impl Payloads {
    pub(super) fn new(
        body: Body,
        Asked {
            shape,
            mapping,
            precision,
            ..
        }: Asked,
        header: Option<StreamHeader>,
        limits: PartLimits,
        (account, names): (Accounts, LongNames),
    ) -> Self {
        let decoder = |mapping| Decoder::new(mapping, limits.names);
        let lines = |mapping: &Mapping| LineBuffer::new(mapping, limits.line_bytes);
        let reader = match shape {
            Shape::Lines(mapping) => Reader::Lines(lines(&mapping), decoder(mapping)),
            // Of a table the quotes say nothing of where a line ends.
            Shape::Table => Reader::Table(LineBuffer::unquoted(limits.line_bytes)),
            Shape::Document(mapping) => Reader::Document(decoder(mapping)),
        };
        Self {
            next_seq: header.as_ref().map_or(Seq(1), |header| header.first_seq),
            header,
            body,
            piece: BytesMut::new(),
            rest: BytesMut::new(),
            reader,
            precision,
            read_by: PayloadContext::of(&ReadBy {
                mapping,
                arrival_us: Utc::now().timestamp_micros(),
                precision: precision.map(|it| it.as_parameter().to_owned()),
                ..ReadBy::default()
            }),
            open_outcomes: 0,
            is_ended: false,
            is_done: false,
            limits,
            account,
            names,
        }
    }

    /// Waits for a line to be whole, or for a piece of it.
    async fn some_lines(&mut self) -> Result<(), Trouble> {
        while !self.is_ended
            && self.piece.len() < PIECE_BYTES
            && memchr(b'\n', &self.piece).is_none()
        {
            self.is_ended = !self.body.read(&mut self.piece).await?;
        }
        Ok(())
    }

    /// Takes what is there of the next lines without being waited for.
    fn more_lines(&mut self) -> Result<(), Trouble> {
        while !self.is_ended
            && let Some(more) = self.body.read_now(&mut self.piece)
        {
            self.is_ended = !more?;
        }
        Ok(())
    }

    /// Reads the document on to its end.
    async fn whole_document(&mut self, document: &mut BytesMut) -> Result<(), Trouble> {
        let max_bytes = self.limits.document_bytes;
        let mut piece = std::mem::take(&mut self.piece);
        loop {
            document.extend_from_slice(&piece);
            if document.len() > max_bytes {
                self.body.discard().await;
                return Err(document_too_large(max_bytes).into());
            }
            piece.clear();
            if !self.body.read(&mut piece).await? {
                self.is_ended = true;
                return Ok(());
            }
        }
    }

    /// Leaves in the piece what is decoded next: lines with no more readings and faults than a message should have. Says how
    /// many there can be.
    fn cut(&mut self, format: Format) -> usize {
        let mut outcomes = self.open_outcomes;
        let mut lines = memchr_iter(b'\n', &self.piece);
        let (mut cut, mut begin) = (None, 0);
        while outcomes < MAX_OUTCOMES
            && let Some(end) = lines.next()
        {
            outcomes += format.most_outcomes(&self.piece[begin..=end]);
            begin = end + 1;
            cut = Some(begin);
        }
        let is_whole = lines.next().is_none();
        match cut {
            Some(cut) if !is_whole => {
                self.rest = self.piece.split_off(cut);
                self.open_outcomes = 0;
            }
            _ => {
                self.open_outcomes = format.most_outcomes(&self.piece[begin..]);
                if cut.is_none() {
                    self.open_outcomes += outcomes;
                }
                outcomes += self.open_outcomes;
            }
        }
        outcomes + 1
    }

    /// Reads a document to its end, and counts what is in it.
    async fn arrived_document(&mut self) -> Result<usize, Trouble> {
        let mut document = BytesMut::new();
        self.whole_document(&mut document).await?;
        self.piece = document;
        let context = self.context();
        let Reader::Document(decoder) = &mut self.reader else {
            return Ok(0);
        };
        let mut message = decoder.message(&context).map_err(unreadable)?;
        let Counts {
            readings, faults, ..
        } = message.whole(&self.piece, |_| {});
        let (readings, faults) = (readings as usize, faults as usize);
        let places = (readings + faults) * PLACE_BYTES;
        Ok(room_bytes(self.piece.len(), readings, faults) + places)
    }

    fn context(&self) -> Context<'static> {
        Context {
            arrival_us: Utc::now().timestamp_micros(),
            precision: self.precision,
            ..Context::default()
        }
    }

    fn decode(&mut self) -> Result<Decoded, Problem> {
        let context = self.context();
        let mut taking = Taking {
            decoded: Decoded::default(),
            account: &self.account,
            read_by: &self.read_by,
            next_seq: &mut self.next_seq,
        };
        let piece = std::mem::replace(&mut self.piece, std::mem::take(&mut self.rest));
        let is_last = self.is_ended && self.piece.is_empty();
        if let Reader::Table(lines) = &mut self.reader {
            lines.push(&piece);
            if is_last {
                lines.finish();
            }
            if let Some(mapping) = first_line(lines)? {
                let decoder = Decoder::new(Arc::new(mapping), self.limits.names);
                let lines = std::mem::replace(lines, LineBuffer::unquoted(0));
                self.reader = Reader::Lines(lines, decoder);
            }
        } else if let Reader::Lines(lines, _) = &mut self.reader {
            lines.push(&piece);
            if is_last {
                lines.finish();
            }
        }
        match &mut self.reader {
            Reader::Table(_) => {}
            Reader::Lines(lines, decoder) => {
                // Of what a message of HTTP has, no mapping takes a topic.
                let mut message = decoder.message(&context).map_err(unreadable)?;
                let mut counts = Counts::default();
                while let Some(line) = lines.take() {
                    let piece = message.piece(line);
                    counts += message.line(line, |outcome| {
                        taking.take(outcome.map_err(|fault| (fault, piece)));
                    });
                }
                taking.account.lock().left_out += counts.left_out;
            }
            Reader::Document(decoder) => {
                let mut message = decoder.message(&context).map_err(unreadable)?;
                let counts = message.whole_in_pieces(&piece, |outcome| taking.take(outcome));
                taking.account.lock().left_out += counts.left_out;
            }
        }
        Ok(taking.decoded)
    }
}

/// Readings on their way from the decoder to a message.
struct Taking<'a> {
    decoded: Decoded,
    account: &'a Accounts,
    read_by: &'a PayloadContext,
    next_seq: &'a mut Seq,
}

impl Taking<'_> {
    fn take(
        &mut self,
        outcome: Result<
            sluicegate_decode::Reading<'_>,
            (sluicegate_decode::Fault, sluicegate_decode::Piece<'_>),
        >,
    ) {
        let position = match &outcome {
            Ok(reading) => reading.position,
            Err((fault, _)) => fault.position,
        };
        match &outcome {
            Ok(reading) => self.decoded.push(reading),
            Err((fault, piece)) => {
                let origin = Origin::of(&position.to_string(), *piece, self.read_by);
                self.decoded.push_fault(fault, origin);
            }
        }
        let mut account = self.account.lock();
        account.places.push(*self.next_seq, position);
        account.received += 1;
        *self.next_seq = self.next_seq.plus(1);
    }
}

impl Arrivals for Payloads {
    type Message = Message;
    type Error = Trouble;

    async fn announced(&mut self) -> Result<Option<usize>, Trouble> {
        if self.header.is_some() {
            return Ok(Some(0));
        }
        if self.is_done {
            return Ok(None);
        }
        if !matches!(self.reader, Reader::Document(_)) {
            self.some_lines().await?;
            return Ok(Some(0));
        }
        if self.piece.is_empty() {
            self.is_ended = !self.body.read(&mut self.piece).await?;
        }
        let max_bytes = self.limits.document_bytes;
        let announced = self.body.announced_bytes();
        let announced = announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > max_bytes) {
            self.body.discard().await;
            return Err(document_too_large(max_bytes).into());
        }
        Ok(Some(announced.unwrap_or(max_bytes)))
    }

    async fn arrived(&mut self, _: &Arrival) -> Result<usize, Trouble> {
        if self.header.is_some() {
            return Ok(size_of::<StreamHeader>());
        }
        let format = match &self.reader {
            Reader::Document(_) => return self.arrived_document().await,
            Reader::Table(_) => Format::Csv,
            Reader::Lines(_, decoder) => decoder.format(),
        };
        self.more_lines()?;
        let outcomes = self.cut(format);
        let held_bytes = match &self.reader {
            Reader::Lines(lines, _) | Reader::Table(lines) => lines.held_bytes(),
            Reader::Document(_) => 0,
        };
        // Each could be a fault.
        let payload_bytes = self.piece.len() + held_bytes;
        Ok(room_bytes(payload_bytes, 0, outcomes) + outcomes * PLACE_BYTES)
    }

    fn read(&mut self, _: &Room) -> Result<Message, Trouble> {
        if let Some(header) = self.header.take() {
            return Ok(Message::Header(header));
        }
        self.is_done = self.is_ended && self.rest.is_empty();
        let (readings, long_names) = self.decode()?.finish();
        self.names.keep(long_names);
        Ok(Message::Readings(Sent {
            readings,
            source_position: None,
        }))
    }
}

/// So many readings and faults are enough for a message: as if all were faults they take some megabytes.
const MAX_OUTCOMES: usize = 4_096;

/// The mapping that the first line of a table asks for, once it is there.
fn first_line(lines: &mut LineBuffer) -> Result<Option<Mapping>, Problem> {
    let Some(line) = lines.take() else {
        return Ok(None);
    };
    let text = str::from_utf8(line.bytes).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mapping = mappings::table(text);
    mapping.map(Some).map_err(|reason| {
        Problem::new(
            Kind::MalformedBody,
            format!("Line 1: {reason}. Or use a mapping of rest.mappings."),
        )
    })
}

fn unreadable(fault: sluicegate_decode::Fault) -> Problem {
    Problem::new(Kind::MalformedBody, format!("{fault}."))
}

fn document_too_large(max_bytes: usize) -> Problem {
    Problem::new(
        Kind::BodyTooLarge,
        format!(
            "A document of JSON may have {max_bytes} bytes (rest.max_document_bytes): send it in parts, or line by line as \
             application/x-ndjson."
        ),
    )
}
