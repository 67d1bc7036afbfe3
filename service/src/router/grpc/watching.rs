//! Those who watch: what they ask for, and what they are told until their call ends.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use sluicegate_proto::v1::{
    SeriesPair, WatchReadingsRequest, WatchReadingsResponse, WatchedReading,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    status,
    unread::{Unread, UnreadReply},
};
use crate::{
    model::{IdPair, Selection, fault_of_tag_name, fault_of_tag_value},
    usecase::{
        ingest::{Caller, IngestError},
        live::{INTERVAL_MS, INTERVAL_MS_DEFAULT, Live, Told, Wanted},
    },
};

/// What a call asks for. What is wrong with it is told with the name of the field.
pub(super) fn wanted(request: WatchReadingsRequest) -> Result<Wanted, Status> {
    let WatchReadingsRequest {
        pairs,
        sensor_type,
        tags,
        interval_ms,
        limit,
    } = request;
    if pairs.is_empty() && tags.is_empty() {
        let reason = "pairs is missing: name the series by pairs of id1 and id2, or by tags";
        return Err(status::bad_request("pairs", reason));
    }
    let tags = checked_tags(tags)?;
    Ok(Wanted {
        selection: Selection {
            time: None,
            pairs: (!pairs.is_empty())
                .then(|| checked_pairs(pairs))
                .transpose()?,
            sensor_type: (!sensor_type.is_empty()).then_some(sensor_type),
            tags,
        },
        interval: interval(interval_ms)?,
        limit: (limit > 0).then_some(limit),
    })
}

fn interval(interval_ms: u32) -> Result<Duration, Status> {
    let ms = match interval_ms {
        0 => INTERVAL_MS_DEFAULT,
        ms => ms.into(),
    };
    match INTERVAL_MS.contains(&ms) {
        true => Ok(Duration::from_millis(ms)),
        false => {
            let (from, to) = (INTERVAL_MS.start(), INTERVAL_MS.end());
            let reason = format!("interval_ms is {ms}, and must be {from} to {to}");
            Err(status::bad_request("interval_ms", &reason))
        }
    }
}

/// The pairs in the order given, each once.
fn checked_pairs(pairs: Vec<SeriesPair>) -> Result<Vec<IdPair>, Status> {
    let (count, most) = (pairs.len(), Selection::PAIRS_MAX);
    if count > most {
        let reason = format!("pairs has {count}: watch at most {most}");
        return Err(status::bad_request("pairs", &reason));
    }
    if let Some(place) = pairs.iter().position(|pair| pair.id2.is_empty()) {
        let field = format!("pairs[{place}].id2");
        return Err(status::bad_request(&field, "id2 is empty"));
    }
    let mut seen = HashSet::new();
    let pair = |SeriesPair { id1, id2 }| IdPair { id1, id2 };
    let pairs = pairs.into_iter().map(pair);
    Ok(pairs.filter(|pair| seen.insert(pair.clone())).collect())
}

fn checked_tags(
    tags: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<(String, String)>, Status> {
    let mut tags: Vec<_> = tags.into_iter().collect();
    tags.sort();
    let (count, most) = (tags.len(), Selection::TAGS_MAX);
    if count > most {
        let reason = format!("tags has {count}: select by at most {most}");
        return Err(status::bad_request("tags", &reason));
    }
    let fault = |(name, value): &(String, String)| {
        let fault = fault_of_tag_name(name).or_else(|| fault_of_tag_value(value))?;
        Some(format!("the tag {name:?}: {fault}"))
    };
    match tags.iter().find_map(fault) {
        Some(reason) => Err(status::bad_request("tags", &reason)),
        None => Ok(tags),
    }
}

/// A call that watches.
pub(super) struct Watching {
    pub(super) live: Live,
    pub(super) caller: Caller,
    pub(super) draining: CancellationToken,
    /// How long the client waits at all, and until when.
    pub(super) deadline: Option<(Duration, Instant)>,
    /// Messages that its connection has not taken.
    pub(super) unread: Unread,
    pub(super) _place: OwnedSemaphorePermit,
}

impl Watching {
    /// What it is told. Each message is made once the one before is taken, so that a client which reads slowly gets fewer, and takes
    /// no memory for what it has not read.
    pub(super) fn replies(self) -> BoxStream<'static, Result<WatchReadingsResponse, Status>> {
        let begin = Some((self, None::<UnreadReply>));
        let replies = stream::unfold(begin, |state| async {
            let (mut watching, taken) = state?;
            drop(taken);
            Some(match watching.next().await {
                Ok(told) => {
                    let goes_on = !watching.live.has_heard_enough();
                    let waits = Some(watching.unread.add());
                    (Ok(message(told)), goes_on.then_some((watching, waits)))
                }
                Err(ended) => (Err(ended), None),
            })
        });
        replies.boxed()
    }

    async fn next(&mut self) -> Result<Vec<Told>, Status> {
        let overdue = async {
            match self.deadline {
                Some((_, until)) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.draining.cancelled() => Err(IngestError::Draining.into()),
            () = self.caller.ended() => Err(IngestError::Ended.into()),
            () = overdue => {
                let deadline = self.deadline.map(|(deadline, _)| deadline);
                Err(status::client_deadline(deadline.unwrap_or_default()))
            }
            told = self.live.next() => Ok(told),
        }
    }
}

fn message(told: Vec<Told>) -> WatchReadingsResponse {
    let reading = |told: Told| WatchedReading {
        id1: told.series.id1,
        id2: told.series.id2,
        sensor_type: told.series.sensor_type,
        sensor_value: told.sensor_value,
        timestamp_us: told.timestamp_us,
        count: told.readings,
    };
    WatchReadingsResponse {
        readings: told.into_iter().map(reading).collect(),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn pair(id2: &str) -> SeriesPair {
        SeriesPair {
            id1: 1,
            id2: id2.to_owned(),
        }
    }

    fn of(pairs: Vec<SeriesPair>) -> WatchReadingsRequest {
        WatchReadingsRequest {
            pairs,
            ..WatchReadingsRequest::default()
        }
    }

    #[test]
    fn what_is_wrong_names_the_field() {
        let tags = |count: usize| (0..count).map(|n| (format!("t{n}"), "x".to_owned()));
        let good = of(vec![pair("a")]);
        for (request, field) in [
            (of(vec![]), "pairs"),
            (of(vec![pair("a"), pair("")]), "pairs[1].id2"),
            (
                of((0..1_001).map(|n| pair(&n.to_string())).collect()),
                "pairs",
            ),
            (
                WatchReadingsRequest {
                    interval_ms: 19,
                    ..good.clone()
                },
                "interval_ms",
            ),
            (
                WatchReadingsRequest {
                    interval_ms: 60_001,
                    ..good.clone()
                },
                "interval_ms",
            ),
            (
                WatchReadingsRequest {
                    tags: tags(9).collect(),
                    ..good.clone()
                },
                "tags",
            ),
            (
                WatchReadingsRequest {
                    tags: [("a b".to_owned(), "x".to_owned())].into(),
                    ..good.clone()
                },
                "tags",
            ),
        ] {
            let refused = wanted(request).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
            let details = refused.get_error_details();
            let violations = details.bad_request().unwrap().field_violations.clone();
            assert_eq!(violations[0].field, field, "{refused:?}");
        }
    }

    #[test]
    fn what_is_left_out_has_its_default_and_each_pair_counts_once() {
        let wanted = wanted(of(vec![pair("a"), pair("b"), pair("a")])).unwrap();
        assert_eq!(wanted.selection.pairs.unwrap().len(), 2);
        assert_eq!(wanted.interval, Duration::from_secs(1));
        assert_eq!((wanted.limit, wanted.selection.sensor_type), (None, None));
    }
}
