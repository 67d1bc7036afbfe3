//! Where a stream of a source stands, as the ledger has it.

use std::time::Duration;

use super::{Hub, trouble::Trouble};
use crate::{
    config::OnDataLoss,
    model::{Seq, SourcePosition, StreamHeader, StreamId},
    usecase::{
        ingest::{Caller, OpenedStream},
        sources::SourceState,
    },
};

/// While the ledger does not answer.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// Opens a stream. As long as the ledger does not answer it waits: what is read belongs to us, and nobody else would do better.
pub(super) async fn open(hub: &Hub, stream_id: &StreamId) -> Result<OpenedStream, Trouble> {
    loop {
        let opened = hub.ingest.open_stream(stream_id, &Caller::anybody()).await;
        match opened.map_err(Trouble::from) {
            Ok(opened) => return Ok(opened),
            Err(Trouble::Passing(reason)) => {
                let source = &hub.source;
                if source.stands(SourceState::Waiting, Some(reason.clone())) {
                    tracing::warn!(source = source.name(), %reason, "the source waits");
                }
                tokio::time::sleep(LEDGER_PAUSE).await;
            }
            Err(trouble) => return Err(trouble),
        }
    }
}

/// Where its source stands, as `parse` reads what was kept.
pub(super) fn position<P>(
    opened: &OpenedStream,
    stream_id: &StreamId,
    parse: impl FnOnce(&SourcePosition) -> Option<P>,
) -> Result<Option<P>, Trouble> {
    let Some(mark) = &opened.mark else {
        return Ok(None);
    };
    let foreign = || {
        Trouble::to_mend(format!(
            "the position of the stream {stream_id} is none of this source: another program has written it"
        ))
    };
    parse(&mark.position).ok_or_else(foreign).map(Some)
}

/// What is sent goes on in the stream. `are_others` where what comes next is not what followed the position.
pub(super) fn header(opened: &OpenedStream, stream_id: StreamId, are_others: bool) -> StreamHeader {
    let first_seq = match are_others {
        // Their numbers must not be those of any that are stored.
        true => opened.position.committed_seq.plus(1),
        // What was committed behind the position, of a message that was divided, comes again, and is known by its number.
        false => opened.mark.as_ref().map_or(Seq(0), |mark| mark.seq).plus(1),
    };
    StreamHeader {
        stream_id,
        epoch: opened.position.epoch,
        first_seq,
    }
}

/// Whether to go on although messages are gone, as the setting `key` has it.
pub(super) fn judge(
    hub: &Hub,
    place: &str,
    loss: &str,
    (key, on_data_loss): (&str, OnDataLoss),
) -> Result<(), Trouble> {
    match on_data_loss {
        OnDataLoss::Stop => Err(Trouble::to_mend(format!("{place}: {loss} ({key} is stop)"))),
        OnDataLoss::Continue => {
            let source = hub.source.name();
            tracing::error!(
                source,
                place,
                loss,
                "messages are gone, and the source goes on"
            );
            Ok(())
        }
    }
}
