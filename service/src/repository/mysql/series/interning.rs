//! Asking for numbers, and giving them.
//!
//! ```text
//! SELECT MAX(series_id) FROM readings                     what no series may get, wherever the counter stands
//! START TRANSACTION
//! SELECT … FROM series_generation … LOCK IN SHARE MODE    the table is the one that earlier numbers are of
//! SELECT … FROM JSON_TABLE(…) JOIN series …               those that have a number, or all that are behind the known ones
//! SELECT … FROM id_blocks … FOR UPDATE                    numbers for the others; who comes next waits here
//! LOAD DATA LOCAL INFILE … INTO TABLE series …            from memory
//! UPDATE id_blocks …
//! COMMIT
//! ```
//!
//! Because the counter stays locked until the COMMIT, numbers ascend in the order in which they are committed: that is what the
//! proof rests on.

use std::{fmt::Write as _, ops::Range, sync::Arc};

use bytes::Bytes;
use mysql_async::{Conn, Row, prelude::Queryable as _};

use super::{
    super::{
        answers,
        connection::SILENCE_LIMIT_S,
        error::{explain, explain_to},
        infile::CHUNK_BYTES,
        ledger::quote,
        load,
        tsv::escape_series,
    },
    Bounds, NO_NUMBER, Proof,
    bounds::Admission,
    mirror::{Known, Mirror},
    named::Named,
    proof::{Anchor, FIRST_SEEN_US, LOOKING},
};
use crate::{
    model::{Limits, SeriesBound},
    repository::{RepositoryError, SeriesEra},
};

/// The counter's row.
pub(super) const COUNTER: &str = "series";
/// So many series are looked for by one statement.
const STATEMENT_SERIES: usize = 1_000;
/// So many are read by one.
const PAGE_SERIES: usize = 10_000;
/// To look for one by its name is as much work as to read so many in the order of their numbers.
const READ_PER_LOOK_UP: u64 = 8;
const GIVING: &str = "give series their numbers";

/// The numbers of a step's series, in order.
pub(super) struct Learned {
    pub(super) numbers: Vec<u32>,
    /// Whether any of them was given just now.
    pub(super) were_given: bool,
    /// Indexes of those that a bound does not let in.
    pub(super) refused: Vec<(usize, SeriesBound)>,
    /// Which numbers these are.
    given: Option<Range<u32>>,
    pub(super) proof: Proof,
}

/// Some series whose numbers are not known.
pub(super) struct Step<'a, N> {
    pub(super) named: &'a N,
    pub(super) places: &'a [u32],
    pub(super) limits: &'a Limits,
    pub(super) bounds: &'a Arc<Bounds>,
    /// The table of readings that have the numbers.
    pub(super) used_in: &'static str,
    pub(super) memory: Memory<'a>,
}

/// What is known, since the step's numbers are learned.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub(super) mirror: &'a Mirror,
    pub(super) era: SeriesEra,
}

impl Memory<'_> {
    fn with<T>(self, act: impl FnOnce(&mut Known) -> T) -> Result<T, RepositoryError> {
        self.mirror.with(self.era, act)
    }

    fn proof(self) -> Result<Proof, RepositoryError> {
        self.with(|known| known.proof.unwrap_or_default())
    }
}

impl<N: Named> Step<'_, N> {
    /// Finds the numbers, and gives those that are missing; None when the proof does not hold.
    ///
    /// # Errors
    /// `Data` when the database refuses one of the series: nothing has changed then.
    pub(super) async fn take(&self, conn: &mut Conn) -> Result<Option<Learned>, RepositoryError> {
        let Some(begun) = self.begin(conn, self.memory.proof()?).await? else {
            end(conn, "ROLLBACK").await?;
            return Ok(None);
        };
        match self.learn(conn, begun).await {
            Ok((learned, admission)) => {
                end(conn, "COMMIT").await?;
                if let Some(mut given) = admission {
                    given.keep();
                }
                self.remember(&learned)?;
                self.bounds.note_refused(&learned.refused);
                Ok(Some(learned))
            }
            Err(RepositoryError::Data(reason)) => {
                end(conn, "ROLLBACK").await?;
                Err(RepositoryError::Data(reason))
            }
            Err(other) => Err(other),
        }
    }

    /// Where the counter stands, and the highest number that readings have, if the proof holds.
    async fn begin(&self, conn: &mut Conn, proof: Proof) -> Result<Option<Begun>, RepositoryError> {
        // What readings have is asked for before the transaction, and without waiting for what is being loaded or passing over it
        // row by row: a number that a rollback gives back is not missed. One that falls silent from here on lets go of the counter.
        let sql = format!(
            "SET wait_timeout = {SILENCE_LIMIT_S}; SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; \
             SELECT COALESCE(MAX(series_id), 0) FROM {}; START TRANSACTION; \
             SELECT next_id FROM id_blocks WHERE name = '{COUNTER}'; {}",
            self.used_in,
            proof.question()
        );
        let mut result = conn.query_iter(sql).await.map_err(explain)?;
        for _without_rows in ["SET", "SET TRANSACTION"] {
            result.for_each(|_: Row| ()).await.map_err(explain)?;
        }
        let used: Vec<u64> = answers::rows(&mut result, answers::LEDGER_ROW_BYTES)
            .await
            .map_err(|error| explain_to(LOOKING, error))?;
        // Of START TRANSACTION.
        result.for_each(|_: Row| ()).await.map_err(explain)?;
        let next: Vec<u64> = answers::rows(&mut result, answers::LEDGER_ROW_BYTES)
            .await
            .map_err(explain)?;
        let holds = proof.holds(&mut result).await?;
        result.drop_result().await.map_err(explain)?;
        let next = next.first().copied().ok_or_else(no_counter)?;
        let used = used.first().copied().ok_or_else(strange)?;
        Ok(holds.then_some(Begun { next, used }))
    }

    /// With what it took of the bounds.
    async fn learn(
        &self,
        conn: &mut Conn,
        begun: Begun,
    ) -> Result<(Learned, Option<Admission>), RepositoryError> {
        let mut learned = Learned {
            numbers: vec![NO_NUMBER; self.places.len()],
            were_given: false,
            refused: Vec::new(),
            given: None,
            proof: self.memory.proof()?,
        };
        let is_complete = self.catch_up(conn, begun.next, &mut learned).await?;
        if !is_complete {
            self.look_up(conn, &mut learned).await?;
        }
        if self.missing(&learned).next().is_none() {
            return Ok((learned, None));
        }
        let wanted = self.missing(&learned);
        let wanted = wanted.map(|index| (index, self.named.principal(self.places[index])));
        let (mut admission, refused) = self.bounds.admit(wanted);
        learned.refused = refused;
        if admission.places().is_empty() {
            return Ok((learned, None));
        }
        let first = lock_counter(conn, begun).await?;
        if first.others_were_here {
            let caught_up = is_complete && self.catch_up(conn, first.number, &mut learned).await?;
            if !caught_up {
                self.look_up(conn, &mut learned).await?;
            }
            let numbers = &learned.numbers;
            let is_known = |index: usize| numbers[index] != NO_NUMBER;
            learned.refused.retain(|&(index, _)| !is_known(index));
        }
        let is_wanted = |index: usize| learned.numbers[index] == NO_NUMBER;
        let beyond = admission.narrow(conn, first.number, is_wanted).await?;
        learned.refused.extend(beyond);
        let places = admission.places();
        let given = self.give(conn, first.number, &places, &mut learned).await;
        if given.is_err() {
            // Somebody may have put a series where none was looked for.
            self.memory.with(|known| known.cache.misses_some())?;
        }
        given?;
        Ok((learned, Some(admission)))
    }

    /// They are committed.
    fn remember(&self, learned: &Learned) -> Result<(), RepositoryError> {
        self.memory.with(|known| {
            let cache = &mut known.cache;
            for (&place, &number) in self.places.iter().zip(&learned.numbers) {
                if number != NO_NUMBER {
                    cache.remember(self.named.series(place), number);
                }
            }
            // Right behind those that are all remembered.
            if let Some(given) = &learned.given
                && cache.complete_upto() == given.start.checked_sub(1)
            {
                cache.is_complete_upto(given.end - 1);
            }
            known.proof = Some(learned.proof);
        })
    }

    /// Reads all series behind those that are remembered, where that is less work than to look for those that are wanted; then
    /// whatever is not remembered has no number. Whether it did.
    async fn catch_up(
        &self,
        conn: &mut Conn,
        next: u64,
        learned: &mut Learned,
    ) -> Result<bool, RepositoryError> {
        let memory = self.memory;
        // Whoever has looked for so many that all could have been read for it reads all: it costs twice the best at the most.
        let looked_up = memory.with(|known| known.cache.look_up(self.places.len()))?;
        let most = looked_up * READ_PER_LOOK_UP;
        let mut has_begun = false;
        loop {
            let Some(upto) = memory.with(|known| known.cache.complete_upto())? else {
                return Ok(false);
            };
            if next.saturating_sub(u64::from(upto) + 1) > most && !has_begun {
                return Ok(false);
            }
            has_begun = true;
            let sql = format!(
                "SELECT series_id, id1, id2, sensor_type FROM series WHERE series_id > {upto} \
                 ORDER BY series_id LIMIT {PAGE_SERIES}"
            );
            let rows: Vec<(u32, i32, String, String)> = answers::ask(conn, &sql)
                .await
                .map_err(|error| explain_to(LOOKING, error))?;
            // Of the last one alone: to make an instant a number is the most of the work.
            let last = rows.last().map(|&(number, ..)| number);
            let anchor = match last {
                Some(number) => Some(anchor(conn, number).await?),
                None => None,
            };
            learned.proof = learned.proof.with(anchor);
            memory.with(|known| {
                for (number, id1, id2, sensor_type) in &rows {
                    known.cache.remember((*id1, id2, sensor_type), *number);
                }
                if let Some(anchor) = anchor {
                    known.cache.is_complete_upto(anchor.number);
                }
                known.proof = Some(learned.proof);
            })?;
            if rows.len() < PAGE_SERIES {
                break;
            }
        }
        memory.with(|known| {
            for (&place, number) in self.places.iter().zip(&mut learned.numbers) {
                if *number == NO_NUMBER {
                    let found = known.cache.find(self.named.series(place));
                    *number = found.unwrap_or(NO_NUMBER);
                }
            }
            known.cache.complete_upto().is_some()
        })
    }

    /// Which of the places have no number.
    fn missing<'b>(&self, learned: &'b Learned) -> impl Iterator<Item = usize> + 'b {
        let numbers = learned.numbers.iter().enumerate();
        numbers.filter_map(|(index, &number)| (number == NO_NUMBER).then_some(index))
    }

    /// Asks for the numbers of those that have none yet.
    async fn look_up(&self, conn: &mut Conn, learned: &mut Learned) -> Result<(), RepositoryError> {
        let missing: Vec<usize> = self.missing(learned).collect();
        for indexes in missing.chunks(STATEMENT_SERIES) {
            let found: Vec<(usize, u32, i64)> = answers::ask(conn, &self.question(indexes))
                .await
                .map_err(|error| explain_to(LOOKING, error))?;
            for (ordinal, number, first_seen_us) in found {
                let index = ordinal.checked_sub(1).and_then(|at| indexes.get(at));
                let known = index.and_then(|&index| learned.numbers.get_mut(index));
                *known.ok_or_else(strange)? = number;
                learned.proof = learned.proof.with([Anchor {
                    number,
                    first_seen_us,
                }]);
            }
        }
        Ok(())
    }

    /// The columns pad with blanks: their lengths in bytes make it exact.
    fn question(&self, indexes: &[usize]) -> String {
        let mut names = String::from("[");
        for &index in indexes {
            let separator = if names.len() == 1 { "" } else { "," };
            let series = self.named.series(self.places[index]);
            let series = serde_json::to_string(&series).unwrap_or_default();
            let _ = write!(names, "{separator}{series}");
        }
        names.push(']');
        let (id2_chars, type_chars) =
            (self.limits.id2_max_chars, self.limits.sensor_type_max_chars);
        format!(
            "SELECT wanted.place, series.series_id, {FIRST_SEEN_US} FROM JSON_TABLE({}, '$[*]' COLUMNS (\
             place FOR ORDINALITY, id1 INT PATH '$[0]', \
             id2 VARCHAR({id2_chars}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]', \
             sensor_type VARCHAR({type_chars}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[2]')) AS wanted \
             STRAIGHT_JOIN series FORCE INDEX (by_names) ON series.id1 = wanted.id1 AND series.id2 = wanted.id2 \
             AND series.sensor_type = wanted.sensor_type AND series.id2_bytes = LENGTH(wanted.id2) \
             AND series.sensor_type_bytes = LENGTH(wanted.sensor_type)",
            quote(&names)
        )
    }

    /// Gives numbers to some, beginning with this one.
    async fn give(
        &self,
        conn: &mut Conn,
        first: u64,
        missing: &[usize],
        learned: &mut Learned,
    ) -> Result<(), RepositoryError> {
        if missing.is_empty() {
            return Ok(());
        }
        let behind = first + missing.len() as u64;
        let last = u32::try_from(behind - 1).map_err(|_| strange())?;
        let mut lines = Vec::new();
        for (&index, number) in missing.iter().zip(first as u32..=last) {
            let (id1, id2, sensor_type) = self.named.series(self.places[index]);
            lines.extend_from_slice(number.to_string().as_bytes());
            lines.push(b'\t');
            escape_series(&mut lines, id1, id2, sensor_type);
            lines.push(b'\n');
            learned.numbers[index] = number;
        }
        store(conn, lines, missing.len() as u32).await?;
        let sql = format!("UPDATE id_blocks SET next_id = {behind} WHERE name = '{COUNTER}'");
        conn.query_drop(sql)
            .await
            .map_err(|error| explain_to(GIVING, error))?;
        learned.were_given = true;
        learned.given = last.checked_add(1).map(|end| first as u32..end);
        learned.proof = learned.proof.with([anchor(conn, last).await?]);
        Ok(())
    }
}

/// Stores new series.
async fn store(conn: &mut Conn, lines: Vec<u8>, count: u32) -> Result<(), RepositoryError> {
    let lines = Bytes::from(lines);
    conn.set_infile_handler(async move {
        // In packets that every server takes.
        let chunks = (0..lines.len().div_ceil(CHUNK_BYTES)).map(move |n| {
            let end = lines.len().min((n + 1) * CHUNK_BYTES);
            Ok(lines.slice(n * CHUNK_BYTES..end))
        });
        Ok(Box::pin(futures::stream::iter(chunks)) as _)
    });
    let sql = "LOAD DATA LOCAL INFILE 'series' INTO TABLE series CHARACTER SET utf8mb4 \
               FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' \
               (series_id, id1, id2, sensor_type) SET first_seen = UTC_TIMESTAMP(6), last_seen = UTC_DATE()";
    conn.query_drop(sql)
        .await
        .map_err(|error| explain_to(GIVING, error))?;
    // With LOCAL a name that is there already would be left out, with a warning.
    load::settle(conn, count).await
}

/// The row of a number that is there.
async fn anchor(conn: &mut Conn, number: u32) -> Result<Anchor, RepositoryError> {
    let sql = format!("SELECT {FIRST_SEEN_US} FROM series WHERE series_id = {number}");
    let found: Option<i64> = conn.query_first(sql).await.map_err(explain)?;
    Ok(Anchor {
        number,
        first_seen_us: found.ok_or_else(strange)?,
    })
}

/// What a step found when it began.
#[derive(Clone, Copy)]
struct Begun {
    /// Where the counter stood.
    next: u64,
    /// The highest number that readings had.
    used: u64,
}

/// The next number that may be given.
struct Next {
    number: u64,
    /// Somebody has given numbers since the counter was looked at.
    others_were_here: bool,
}

/// Locks the counter until the transaction ends. The next number is above all that are given and all that readings have,
/// whatever the counter and the table of series were set back to.
async fn lock_counter(conn: &mut Conn, begun: Begun) -> Result<Next, RepositoryError> {
    let sql = format!("SELECT next_id FROM id_blocks WHERE name = '{COUNTER}' FOR UPDATE");
    let next: Option<u64> = conn
        .query_first(sql)
        .await
        .map_err(|error| explain_to(GIVING, error))?;
    let next = next.ok_or_else(no_counter)?;
    let sql = "SELECT COALESCE(MAX(series_id), 0) FROM series";
    let given: Option<u64> = conn
        .query_first(sql)
        .await
        .map_err(|error| explain_to(LOOKING, error))?;
    let given = given.ok_or_else(strange)?;
    Ok(Next {
        number: next.max(given + 1).max(begun.used + 1),
        others_were_here: next != begun.next || given >= next,
    })
}

/// Whether the table takes a series of which nothing could be wrong: with the longest names that it was found to hold.
pub(super) async fn takes_a_probe(
    conn: &mut Conn,
    limits: &Limits,
) -> Result<bool, RepositoryError> {
    let text = |chars: usize| {
        let probe = "sluicegate probe ".chars().chain(std::iter::repeat('.'));
        quote(&probe.take(chars).collect::<String>())
    };
    let (id2, sensor_type) = (
        text(limits.id2_max_chars),
        text(limits.sensor_type_max_chars),
    );
    conn.query_drop(format!(
        "SET wait_timeout = {SILENCE_LIMIT_S}; START TRANSACTION"
    ))
    .await
    .map_err(explain)?;
    let sql = format!(
        "INSERT INTO series (series_id, id1, id2, sensor_type, first_seen) \
         SELECT COALESCE(MAX(series_id), 0) + 1, 0, {id2}, {sensor_type}, UTC_TIMESTAMP(6) FROM series AS known"
    );
    let taken = conn.query_drop(sql).await;
    let taken = taken.map_err(|error| explain_to(GIVING, error));
    match taken {
        Ok(()) => {}
        Err(RepositoryError::Data(_)) => {
            end(conn, "ROLLBACK").await?;
            return Ok(false);
        }
        Err(other) => return Err(other),
    }
    end(conn, "ROLLBACK").await?;
    Ok(true)
}

async fn end(conn: &mut Conn, how: &str) -> Result<(), RepositoryError> {
    let sql = format!("{how}; SET wait_timeout = DEFAULT");
    conn.query_drop(sql).await.map_err(explain)
}

fn strange() -> RepositoryError {
    RepositoryError::Other("the numbers of series do not look as expected".to_owned())
}

fn no_counter() -> RepositoryError {
    let reason = "the counter of series is missing: run `sluicegate migrate`";
    RepositoryError::Setup(reason.to_owned())
}
