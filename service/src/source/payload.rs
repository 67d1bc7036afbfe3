//! What a source hands out, whatever it is.

use bytes::Bytes;

use super::trouble::Trouble;
use crate::model::SourcePosition;

/// One message of a broker.
#[derive(Clone, Debug)]
pub(super) struct Payload<M> {
    /// None for a message that says that there is nothing, such as a mark of Kafka that a key is gone.
    pub(super) bytes: Option<Bytes>,
    pub(super) topic: String,
    /// Those that the mapping asks for.
    pub(super) headers: Vec<(String, String)>,
    /// Microseconds since the Unix epoch, UTC.
    pub(super) arrival_us: i64,
    /// Its place among those of its feed.
    pub(super) mark: M,
}

impl<M> Payload<M> {
    /// How long it is, bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Bytes::len)
    }
}

/// Hands out the payloads of one stream or queue, in their order.
pub(super) trait Feed: Send {
    /// A place among its payloads.
    type Mark: Copy + Send + Sync + 'static;

    /// Waits for the next payload. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Payload<Self::Mark>, Trouble>> + Send;

    /// The same for what is there already; None when nothing is.
    fn next_now(&mut self) -> Option<Result<Payload<Self::Mark>, Trouble>>;

    /// Where a payload is, for people.
    fn place(&self, payload: &Payload<Self::Mark>) -> String;

    /// Where the feed goes on behind a payload, if a stream can keep that.
    fn position(&self, mark: Self::Mark) -> Option<SourcePosition>;

    /// Hears that a payload could not be decoded, or not all of it. It is in quarantine before it is settled.
    fn is_faulty(&mut self, _: Self::Mark) {}
}
