//! What payloads of any source hold: HTTP bodies, messages of brokers, files. One mapping says for all of them where the fields
//! of a reading come from.
//!
//! It waits for nothing and reads no file, so that every door can use it, and a mapping can be tried out before it is in use.
//!
//! ```
//! use std::sync::Arc;
//! use sluicegate_decode::{Context, Decoder, Limits, Mapping};
//!
//! let mut decoder = Decoder::new(Arc::new(Mapping::line_protocol()), Limits::default());
//! let context = Context { arrival_us: 1_795_771_800_000_000, ..Context::default() };
//! let mut message = decoder.message(&context)?;
//! let counts = message.whole(b"boiler,id1=4,id2=BOILER temperature=81.5", |outcome| match outcome {
//!     Ok(reading) => assert_eq!(reading.sensor_type.text, "boiler.temperature"),
//!     Err(fault) => panic!("{fault}"),
//! });
//! assert_eq!(counts.readings, 1);
//! # Ok::<(), sluicegate_decode::Fault>(())
//! ```

mod assembly;
mod checks;
mod csv;
mod decoder;
mod fault;
mod fields;
mod influx;
mod json;
mod lines;
mod mapping;
mod name;
mod number;
mod pointer;
mod reading;
mod record;
mod settings;
mod tags;
mod time;
mod topic;
mod trial;

pub use self::{
    decoder::{Context, Decoder, Message, Piece},
    fault::{Fault, Field, Position},
    lines::{Line, LineBuffer},
    mapping::{Mapping, MappingError},
    name::Limits,
    reading::{Counts, Name, Reading, SeriesTags},
    settings::{Column, Format, MappingSettings, Scalar, Source, TimeSource},
    time::{Precision, TimeUnit},
    trial::{Trial, TriedReading, try_out},
};
