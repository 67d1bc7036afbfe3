//! Model -> protobuf, and what is asked beside readings.

use sluicegate_proto::v1;

use crate::{
    model::{Epoch, Resumption, ResumptionError, SourceMark},
    usecase::ingest::{IngestError, RejectionNote, conversation::Acknowledgement},
};

pub(super) fn resumption(resume: v1::ResumeStream) -> Result<Resumption, IngestError> {
    Resumption::new(Epoch(resume.held_epoch), Epoch(resume.next_epoch)).map_err(|error| {
        let field = match error {
            ResumptionError::NeverHeld => "resume.held_epoch",
            ResumptionError::Step => "resume.next_epoch",
        };
        IngestError::Malformed {
            field: field.to_owned(),
            reason: error.to_string(),
        }
    })
}

/// A position as it is sent; empty for none.
pub(super) fn source_position(mark: Option<&SourceMark>) -> Vec<u8> {
    mark.map_or_else(Vec::new, |mark| mark.position.as_bytes().to_vec())
}

pub(super) fn acknowledgement(of: Acknowledgement) -> v1::StreamAck {
    let Acknowledgement {
        progress,
        rejections,
        draining,
    } = of;
    v1::StreamAck {
        committed_seq: progress.committed_seq.0,
        committed: progress.committed,
        rejected: progress.rejected,
        duplicate: progress.duplicate,
        draining,
        rejected_readings: rejected(rejections),
        source_position: source_position(progress.mark.as_ref()),
    }
}

pub(super) fn rejected(notes: Vec<RejectionNote>) -> Vec<v1::RejectedReading> {
    let one = |note: RejectionNote| v1::RejectedReading {
        seq: note.seq.0,
        field: note.field.as_str().to_owned(),
        reason: note.reason,
    };
    notes.into_iter().map(one).collect()
}
