//! How the transaction of a load begins.

use std::collections::BTreeMap;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{
        answers, connection::SILENCE_LIMIT_S, error::explain, ledger::quote, series::Numbers,
        shape::Shape,
    },
    Loader,
};
use crate::{
    model::{Epoch, Seq, StreamId, StreamPosition},
    repository::{LoadBatch, RepositoryError},
};

/// What a transaction found when it began.
pub(super) struct Begun {
    pub(super) ledger: BTreeMap<StreamId, StreamPosition>,
    pub(super) shape: Shape,
    /// Whether the numbers of the batch's series are those of the table.
    pub(super) proven: bool,
    /// How long the shortest buckets of rollups are, microseconds; 0 where there are none.
    pub(super) every_us: i64,
}

impl Loader {
    /// Begins the transaction, locks the ledger rows of the lane and of every stream in the batch, and asks what the table
    /// is like, and whether the numbers are its own.
    pub(super) async fn begin(
        &self,
        conn: &mut Conn,
        batch: &dyn LoadBatch,
        numbers: Option<&Numbers>,
    ) -> Result<Begun, RepositoryError> {
        let streams = batch.parts().iter().filter_map(|part| part.stream.as_ref());
        let by_name: BTreeMap<&str, &StreamId> = streams
            .map(|(stream, _)| (stream.as_str(), stream))
            .chain([(self.lane.as_str(), &self.lane)])
            .collect();
        let names: Vec<String> = by_name.keys().map(|name| quote(name)).collect();
        let proof = numbers.filter(|_| self.series.is_some());
        let proof = proof.map(|numbers| numbers.proof);
        // FORCE INDEX: a small table would be scanned, and that would wait for the rows of other lanes.
        let sql = format!(
            "SET wait_timeout = {SILENCE_LIMIT_S}; START TRANSACTION; SELECT stream_id, epoch, committed_seq FROM ingest_streams FORCE INDEX (PRIMARY) \
             WHERE stream_id IN ({}) FOR UPDATE; {}{}",
            names.join(","),
            self.table.question,
            proof.map_or_else(String::new, |proof| format!("; {}", proof.question()))
        );
        let most_bytes = names.len() * answers::LEDGER_ROW_BYTES;
        let mut results = conn.query_iter(sql).await.map_err(explain)?;
        for _without_rows in ["SET", "START TRANSACTION"] {
            results
                .for_each(|_: mysql_async::Row| ())
                .await
                .map_err(explain)?;
        }
        let rows: Vec<(String, u64, u64)> = answers::rows(&mut results, most_bytes)
            .await
            .map_err(explain)?;
        let mut shape = Shape::of(results.columns_ref());
        let (proven, every_s) = match proof {
            None => (true, 0),
            Some(proof) => {
                results
                    .for_each(|_: mysql_async::Row| ())
                    .await
                    .map_err(explain)?;
                shape = shape.and(Shape::of(results.columns_ref()));
                proof.looked(&mut results).await?
            }
        };
        results.drop_result().await.map_err(explain)?;
        let found = rows.into_iter().filter_map(|(name, epoch, committed_seq)| {
            let stream = (*by_name.get(name.as_str())?).clone();
            let position = StreamPosition {
                epoch: Epoch(epoch),
                committed_seq: Seq(committed_seq),
            };
            Some((stream, position))
        });
        Ok(Begun {
            ledger: found.collect(),
            shape,
            proven,
            every_us: i64::from(every_s) * 1_000_000,
        })
    }
}
