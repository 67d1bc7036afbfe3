//! The thread that reads the input: lines become readings, and bad ones are said and counted.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use sluicegate_decode::{Context, Counts, Decoder, Limits, LineBuffer, Mapping};
use tokio::sync::mpsc;

use super::input::{Begin, Got, Input};

/// As much is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// So many bad lines are shown.
const MOST_SHOWN: u64 = 10;
/// Pieces that wait for the spool.
const PIECES_AHEAD: usize = 4;

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owned {
    pub(super) id1: i32,
    pub(super) id2: String,
    pub(super) sensor_type: String,
    pub(super) value: f64,
    pub(super) timestamp_us: i64,
}

/// A piece of the input.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Where the source stands before these readings, if that is new.
    pub(super) before: Option<Vec<u8>>,
    pub(super) readings: Vec<Owned>,
    /// And behind them.
    pub(super) after: Option<Vec<u8>>,
    pub(super) counts: Counts,
}

/// How the input is read.
pub(super) struct Lines {
    pub(super) input: Input,
    pub(super) mapping: Arc<Mapping>,
    pub(super) max_line_bytes: usize,
    pub(super) begin: Begin,
}

/// Why there is no more.
pub(super) type Ended = io::Result<()>;

impl Lines {
    /// Reads until the input ends or nobody takes pieces any more. The thread is not waited for: it may wait for the input.
    pub(super) fn start(self) -> (mpsc::Receiver<Piece>, tokio::sync::oneshot::Receiver<Ended>) {
        let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
        let (end, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let done = Reading::new(self, pieces).run();
            let _ = end.send(done);
        });
        (taken, ended)
    }
}

struct Reading {
    input: Input,
    mapping: Arc<Mapping>,
    decoder: Decoder,
    lines: LineBuffer,
    max_line_bytes: usize,
    /// Before the first line that the buffer has had.
    begin: Begin,
    pieces: mpsc::Sender<Piece>,
    shown: u64,
}

impl Reading {
    fn new(from: Lines, pieces: mpsc::Sender<Piece>) -> Self {
        let Lines {
            input,
            mapping,
            max_line_bytes,
            begin,
        } = from;
        Self {
            lines: LineBuffer::new(&mapping, max_line_bytes).from_line(begin.lines + 1),
            decoder: Decoder::new(Arc::clone(&mapping), Limits::default()),
            input,
            mapping,
            max_line_bytes,
            begin,
            pieces,
            shown: 0,
        }
    }

    fn run(mut self) -> Ended {
        self.input.seek(self.begin.bytes)?;
        if self.begin.is_new && !self.tell_start()? {
            return Ok(());
        }
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match self.input.read(&mut buffer)? {
                Got::Bytes(bytes) => self.lines.push(&buffer[..bytes]),
                Got::End => {
                    self.lines.finish();
                    self.send()?;
                    return Ok(());
                }
                Got::Anew { was_cut } => {
                    self.lines.finish();
                    if !self.send()? || !self.begin_anew(was_cut)? {
                        return Ok(());
                    }
                    continue;
                }
            }
            if !self.send()? {
                return Ok(());
            }
        }
    }

    /// Another file has taken the place of this one, or its text begins anew.
    fn begin_anew(&mut self, was_cut: bool) -> io::Result<bool> {
        let (name, how) = (
            &self.input.name,
            if was_cut { "was cut" } else { "was rotated" },
        );
        eprintln!("sluicegen: {name} {how}: it is read from its beginning");
        self.begin = Begin {
            is_new: true,
            ..Begin::default()
        };
        self.lines = LineBuffer::new(&self.mapping, self.max_line_bytes);
        self.tell_start()
    }

    /// From here on the spool stands in this input.
    fn tell_start(&mut self) -> io::Result<bool> {
        let position = self.input.position(0, 0)?;
        let piece = Piece {
            before: Some(position.to_bytes()),
            ..Piece::default()
        };
        Ok(self.pieces.blocking_send(piece).is_ok())
    }

    /// Decodes all whole lines, and hands their readings over. False when nobody takes them.
    fn send(&mut self) -> io::Result<bool> {
        let mut piece = Piece::default();
        let mut place = None;
        let context = Context {
            arrival_us: now_us(),
            ..Context::default()
        };
        // A mapping of lines has no topic that could be missing.
        let Ok(mut message) = self.decoder.message(&context) else {
            return Err(io::Error::other(
                "the mapping asks for a topic, which lines have none of",
            ));
        };
        let shown = &mut self.shown;
        while let Some(line) = self.lines.take() {
            let is_cut = line.max_bytes.is_some();
            piece.counts += message.line(line, |outcome| match outcome {
                Ok(reading) => piece.readings.push(Owned {
                    id1: reading.id1,
                    id2: reading.id2.text.to_owned(),
                    sensor_type: reading.sensor_type.text.to_owned(),
                    value: reading.sensor_value,
                    timestamp_us: reading.timestamp_us,
                }),
                Err(fault) => {
                    *shown += 1;
                    match *shown {
                        0..=MOST_SHOWN => eprintln!("sluicegen: {fault}: it is skipped"),
                        shown if shown == MOST_SHOWN + 1 => {
                            eprintln!("sluicegen: more bad lines are only counted");
                        }
                        _ => {}
                    }
                }
            });
            if !is_cut {
                place = Some(self.lines.place());
            }
        }
        if let Some((bytes, lines)) = place {
            let position = match self.input.is_file {
                true => self.input.position(self.begin.bytes + bytes, lines)?,
                false => self.input.position(0, 0)?,
            };
            match self.input.is_file {
                true => piece.after = Some(position.to_bytes()),
                // It cannot be read again: what matters is that the spool no longer stands elsewhere.
                false => piece.before = Some(position.to_bytes()),
            }
        }
        let is_empty = piece.readings.is_empty() && piece.counts == Counts::default();
        Ok(is_empty || self.pieces.blocking_send(piece).is_ok())
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
