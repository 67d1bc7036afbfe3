//! How a message of any door comes in (P4): it is announced, its bytes arrive in the place that is there for them, it
//! is weighed, and then there is room to decode it.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    IngestError,
    admission::{Admission, Arrival, Patience, Room},
};

/// Where the messages of a call come from.
pub trait Arrivals: Send {
    type Message: Send;
    /// Why a door ends a call: by its own reasons, or by those of ingestion.
    type Error: From<IngestError> + Send;

    /// Waits until a message begins, and says how many bytes of it are still to come. None when the producer is done,
    /// or has cancelled: the two cannot be told apart. Dropping the future loses nothing.
    fn announced(&mut self) -> impl Future<Output = Result<Option<usize>, Self::Error>> + Send;

    /// Takes in the rest of the announced message, and says what it takes in memory once it is decoded, bytes.
    fn arrived(
        &mut self,
        arrival: &Arrival,
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send;

    /// Decodes the message that has arrived, into the room that is there for it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&mut self, room: &Room) -> Result<Self::Message, Self::Error>;
}

/// Takes in the message that was announced.
///
/// # Errors
/// When it cannot be read, when there is no room for it, and when it takes longer than `deadline` to arrive once there
/// is room: a message that stalls would keep that from others.
pub async fn receive<A: Arrivals>(
    arrivals: &mut A,
    missing_bytes: usize,
    admission: &Admission,
    patience: Patience,
    deadline: Duration,
) -> Result<(A::Message, Room), A::Error> {
    let announced = Instant::now();
    let arrival = admission.arrival(missing_bytes, patience).await?;
    let waited = announced.elapsed();
    let arrived = tokio::time::timeout(deadline, arrivals.arrived(&arrival)).await;
    let needed_bytes = match arrived {
        Ok(arrived) => arrived?,
        Err(_) => return Err(IngestError::MessageDeadline { deadline }.into()),
    };
    let arrived = Instant::now();
    let room = admission.room(needed_bytes, patience).await?;
    admission.note_wait(waited + arrived.elapsed());
    let message = arrivals.read(&room)?;
    Ok((message, room))
}
