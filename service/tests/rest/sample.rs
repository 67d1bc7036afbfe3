//! Readings of whole seconds, so that every layout stores them as they are, and what queries have to find among them.

use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{SensorBatch, SensorReading};

use crate::common::{
    database::Database,
    readings::position,
    service::{Service, take_any_time, with_a_source},
};

/// 2026-01-01T00:00:00Z, in seconds since the Unix epoch.
pub(crate) const START_S: i64 = 1_767_225_600;
/// All readings lie within so many seconds.
pub(crate) const SPAN_S: i64 = 300;
pub(crate) const LAYOUTS: [Layout; 4] = [
    Layout::Seed,
    Layout::Partitioned,
    Layout::Hashed,
    Layout::Series,
];
/// Ids that differ in case, in sign and by a comma only, or are not ASCII.
pub(crate) const PAIRS: [(i32, &str); 6] = [
    (0, "A"),
    (0, "a"),
    (1, "B"),
    (-1, "B"),
    (7, "A, b"),
    (2_147_483_647, "größe\\,🚿"),
];

/// Each second of the span holds one reading or two, out of order; where it is two, they are of one series.
pub(crate) fn readings() -> Vec<SensorReading> {
    let reading = |n: i64| {
        let (id1, id2) = PAIRS[(n * 5 % PAIRS.len() as i64) as usize];
        let sensor_type = if n % 3 == 0 {
            "humidity"
        } else {
            "temperature"
        };
        SensorReading {
            sensor_value: Some(n as f64 / 7.0 - 20.0),
            sensor_type: sensor_type.to_owned(),
            id1,
            id2: id2.to_owned(),
            timestamp_us: Some((START_S + n * 37 % SPAN_S) * 1_000_000),
        }
    };
    (0..420).map(reading).collect()
}

/// A service on a schema of its own with the table in one layout, on the server of `database`.
pub(crate) async fn service(database: &Database, layout: Layout) -> (Database, Service) {
    let database = database.server.schema().await;
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(layout);
        settings.instance = Some("here".to_owned());
        take_any_time(settings);
        with_a_source(settings);
    })
    .await;
    (database, service)
}

/// As `service`, with readings stored in one transaction, so that the ids of one instant follow the order of arrival.
pub(crate) async fn filled(
    database: &Database,
    layout: Layout,
    readings: Vec<SensorReading>,
) -> (Database, Service) {
    let (database, service) = service(database, layout).await;
    store(&service, "sample", readings).await;
    (database, service)
}

/// Stores readings as the stream's next.
pub(crate) async fn store(service: &Service, stream: &str, readings: Vec<SensorReading>) {
    let at = service.open(stream).await;
    let count = readings.len() as u64;
    let batch = SensorBatch {
        readings,
        position: Some(position(stream, at.epoch, at.committed_seq + 1)),
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    assert_eq!(reply.expect("stored").into_inner().committed, count);
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// Seconds after the start, half open.
    pub(crate) seconds: Option<(i64, i64)>,
    pub(crate) pairs: Vec<(i32, &'static str)>,
    pub(crate) sensor_type: Option<&'static str>,
    pub(crate) descending: bool,
}

impl Chosen {
    /// `time`, `ids` or `ids-time`.
    pub(crate) fn route(&self) -> &'static str {
        match (self.seconds.is_some(), self.pairs.is_empty()) {
            (true, true) => "time",
            (true, false) => "ids-time",
            _ => "ids",
        }
    }

    /// The selection as a query string, without the order.
    pub(crate) fn selection(&self) -> String {
        let mut parts = Vec::new();
        if let Some((from, to)) = self.seconds {
            let at = |second: i64| (START_S + second) * 1_000;
            parts.push(format!("from_time={}&to_time={}", at(from), at(to)));
        }
        if !self.pairs.is_empty() {
            parts.push(pairs(&self.pairs));
        }
        parts.extend(self.sensor_type.map(|it| format!("sensor_type={it}")));
        parts.join("&")
    }

    pub(crate) fn query(&self) -> String {
        let order = if self.descending { "&order=desc" } else { "" };
        format!("/sensor/{}?{}{order}", self.route(), self.selection())
    }

    fn takes(&self, reading: &SensorReading) -> bool {
        let second = reading.timestamp_us() / 1_000_000 - START_S;
        self.seconds
            .is_none_or(|(from, to)| (from..to).contains(&second))
            && self.sensor_type.is_none_or(|it| it == reading.sensor_type)
    }

    /// The readings in the order of the answer, given all in the order of arrival.
    pub(crate) fn expected(&self, stored: &[SensorReading]) -> Vec<SensorReading> {
        let in_order = |of_leg: &dyn Fn(&SensorReading) -> bool| {
            let found = stored.iter().filter(|it| self.takes(it) && of_leg(it));
            let mut found: Vec<_> = found.cloned().collect();
            found.sort_by_key(|reading| reading.timestamp_us);
            if self.descending {
                found.reverse();
            }
            found
        };
        if self.pairs.is_empty() {
            return in_order(&|_| true);
        }
        let legs = self.pairs.iter();
        legs.flat_map(|pair| in_order(&|it| (it.id1, it.id2.as_str()) == *pair))
            .collect()
    }
}

/// Pairs as parameters.
pub(crate) fn pairs(pairs: &[(i32, &str)]) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let id1: Vec<_> = pairs.iter().map(|(id1, _)| id1.to_string()).collect();
    let escaped = |id2: &str| id2.replace('\\', r"\\").replace(',', r"\,");
    let id2: Vec<_> = pairs.iter().map(|(_, id2)| escaped(id2)).collect();
    let id2 = utf8_percent_encode(&id2.join(","), NON_ALPHANUMERIC).to_string();
    format!("id1={}&id2={id2}", id1.join(","))
}

/// A reading as REST shows it.
pub(crate) fn read(shown: &serde_json::Value) -> SensorReading {
    let text = |name: &str| shown[name].as_str().expect("a text").to_owned();
    let reading = SensorReading {
        sensor_value: Some(shown["sensor_value"].as_f64().expect("a number")),
        sensor_type: text("sensor_type"),
        id1: shown["id1"].as_i64().expect("a number") as i32,
        id2: text("id2"),
        timestamp_us: Some(shown["timestamp_us"].as_i64().expect("a number")),
    };
    let at = chrono::DateTime::parse_from_rfc3339(&text("timestamp")).expect("RFC 3339");
    assert_eq!(at.timestamp_micros(), reading.timestamp_us(), "{shown}");
    reading
}
