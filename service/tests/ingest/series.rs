//! The layout `series`: each name has one number, whatever happens to the table that holds them.

use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, SensorReading, Series};

use crate::common::{
    database::Database,
    on_each_engine,
    proxy::{Fault, Proxy},
    readings::{BASE_US, assert_same, columns, reading, rows},
    service::{AckedCall, Service},
    until,
};

on_each_engine! {
    names_that_differ_in_anything_are_series_of_their_own,
    a_reading_that_is_rejected_makes_no_series,
    a_name_has_one_number_whoever_brings_it_first,
    a_table_that_was_set_back_is_noticed,
    a_table_that_was_emptied_and_filled_by_others_is_noticed,
    numbers_are_not_given_again_although_the_counter_was_set_back,
    numbers_of_readings_are_not_given_again_although_series_and_counter_were_set_back,
    a_series_stays_for_as_long_as_it_has_readings,
    series_that_come_twice_in_a_batch_get_one_number,
    names_that_the_table_no_longer_tells_apart_are_waited_for,
    a_series_that_the_database_refuses_hurts_no_other,
    a_table_that_refuses_all_series_is_waited_for,
    more_series_than_one_transaction_takes_get_their_numbers,
    numbers_that_were_forgotten_are_found_again,
    a_series_that_somebody_put_there_by_hand_is_found,
    numbers_whose_commit_failed_are_not_remembered,
    what_is_read_beyond_the_memory_is_noticed_to_be_of_another_table,
    a_series_is_not_renamed_through_the_view,
    a_table_that_could_have_a_name_twice_is_refused,
}

async fn start(database: &Database) -> Service {
    start_as(database, "one").await
}

async fn start_as(database: &Database, instance: &str) -> Service {
    Service::start_with(database, |settings| {
        settings.layout = Some(Layout::Series);
        settings.instance = Some(instance.to_owned());
    })
    .await
}

/// A reading of that series; its value tells it from others.
fn of(id1: i32, id2: &str, sensor_type: &str, n: u64) -> SensorReading {
    SensorReading {
        id1,
        id2: id2.to_owned(),
        sensor_type: sensor_type.to_owned(),
        ..reading(n)
    }
}

/// Sends readings over a stream of their own, and waits until they are stored.
async fn send(service: &Service, stream: &str, readings: &[SensorReading]) {
    let at = service.open(stream).await;
    let mut call = AckedCall::resume(&mut service.client().await, stream, &at).await;
    call.send(rows(readings.to_vec())).await;
    let ack = call
        .until_acked(at.committed_seq + readings.len() as u64)
        .await;
    assert_eq!(ack.rejected, 0);
    call.finish().await;
}

async fn stored(database: &Database) -> Vec<SensorReading> {
    let stored = database.stored().await.into_iter();
    stored.map(|row| row.reading).collect()
}

/// Each name is there once, and no reading is without one.
async fn assert_names_are_whole(database: &Database) {
    let twice = "(SELECT 1 FROM series GROUP BY id1, HEX(id2), HEX(sensor_type) HAVING COUNT(*) > 1) AS twice";
    assert_eq!(database.count(twice).await, 0);
    let nameless = "sensor_readings WHERE id1 IS NULL";
    assert_eq!(database.count(nameless).await, 0);
}

async fn names_that_differ_in_anything_are_series_of_their_own(database: Database) {
    let service = start(&database).await;
    // The second id may hold neither blanks at its ends nor what controls.
    let texts = [
        "a",
        "A",
        "ä",
        "a\u{308}",
        "a b",
        "\\",
        "\\n",
        "'",
        "\"",
        "[1,\"x\"]",
        "🚿",
        "%",
        "_",
        "ß",
        "ss",
    ];
    let others = [
        "a ", "a  ", " ", "\t", "\n", "\0", "a\0", "\u{7f}", "\u{1}", "\r",
    ];
    let types = [&texts[..], &others[..]].concat();
    let names: Vec<(i32, &str, &str)> = texts
        .iter()
        .flat_map(|&id2| types.iter().map(move |&sensor_type| (id2, sensor_type)))
        .flat_map(|(id2, sensor_type)| [0, -1, i32::MAX].map(|id1| (id1, id2, sensor_type)))
        .collect();
    let sent: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(&(id1, id2, sensor_type), n)| of(id1, id2, sensor_type, n))
        .collect();
    send(&service, "names", &sent).await;
    assert_same(&stored(&database).await, &sent);
    assert_eq!(database.count("series").await, names.len() as u64);
    service.close().await;
    // From the table, not from memory.
    let service = start(&database).await;
    send(&service, "again", &sent).await;
    let twice: Vec<_> = sent.iter().chain(&sent).cloned().collect();
    assert_same(&stored(&database).await, &twice);
    assert_eq!(database.count("series").await, names.len() as u64);
    service.close().await;
}

async fn a_reading_that_is_rejected_makes_no_series(database: Database) {
    let service = start(&database).await;
    let mut bad = of(1, "never seen", "temperature", 2);
    bad.sensor_value = Some(f64::NAN);
    let sent = vec![of(1, "seen", "temperature", 1), bad];
    let at = service.open("bad").await;
    let mut call = AckedCall::resume(&mut service.client().await, "bad", &at).await;
    call.send(rows(sent)).await;
    assert_eq!(call.until_acked(2).await.rejected, 1);
    // A series of a dictionary of which no reading is good.
    let series = |id2: &str| Series {
        id1: 1,
        id2: id2.to_owned(),
        sensor_type: "temperature".to_owned(),
    };
    let batch = ColumnBatch {
        series: vec![series("nor this one"), series("seen"), series("unused")],
        extend_dictionary: false,
        series_index: vec![0, 1],
        sensor_value: vec![f64::INFINITY, 4.0],
        base_timestamp_us: BASE_US,
        timestamp_delta_us: vec![3, 4],
        series_tags: Vec::new(),
    };
    call.send(columns(batch)).await;
    assert_eq!(call.until_acked(4).await.rejected, 2);
    call.finish().await;
    assert_eq!(database.count("series").await, 1);
    assert_eq!(database.count("series WHERE id2 = 'seen'").await, 1);
    service.close().await;
}

async fn a_name_has_one_number_whoever_brings_it_first(database: Database) {
    let services = [
        start_as(&database, "one").await,
        start_as(&database, "two").await,
    ];
    let mut sent = Vec::new();
    for round in 0..10_u64 {
        let new: Vec<Vec<_>> = (0..2)
            .map(|each| {
                (0..300)
                    .map(|n| {
                        let number = 1 + round * 1_000 + each * 300 + n;
                        of(round as i32, &format!("s{n}"), "temperature", number)
                    })
                    .collect()
            })
            .collect();
        let streams = [format!("one-{round}"), format!("two-{round}")];
        futures::future::join(
            send(&services[0], &streams[0], &new[0]),
            send(&services[1], &streams[1], &new[1]),
        )
        .await;
        sent.extend(new.into_iter().flatten());
    }
    assert_names_are_whole(&database).await;
    assert_eq!(database.count("series").await, 3_000);
    assert_same(&stored(&database).await, &sent);
    for service in services {
        service.close().await;
    }
}

/// As a restore from a backup would, in whichever way it puts the rows there.
async fn set_back(database: &Database, made_again: bool) {
    if made_again {
        database.run("CREATE TABLE made_again LIKE series").await;
        let columns = "series_id, id1, id2, sensor_type, first_seen";
        database
            .run(&format!(
                "INSERT INTO made_again ({columns}) SELECT {columns} FROM backup"
            ))
            .await;
        database
            .run("RENAME TABLE series TO lost, made_again TO series")
            .await;
        database.run("DROP TABLE lost").await;
    } else {
        database.run("TRUNCATE TABLE series").await;
        let columns = "series_id, id1, id2, sensor_type, first_seen";
        let sql = format!("INSERT INTO series ({columns}) SELECT {columns} FROM backup");
        database.run(&sql).await;
    }
}

async fn a_table_that_was_set_back_is_noticed(database: Database) {
    for made_again in [false, true] {
        let database = database.server.schema().await;
        let service = start(&database).await;
        send(&service, "before", &[of(1, "kept", "temperature", 1)]).await;
        database
            .run("CREATE TABLE backup AS SELECT series_id, id1, id2, sensor_type, first_seen FROM series")
            .await;
        send(&service, "lost", &[of(1, "lost", "temperature", 2)]).await;
        set_back(&database, made_again).await;
        // Another name first: it must not get the number that readings of the lost one have.
        let other = start_as(&database, "other").await;
        send(&other, "other", &[of(1, "other", "temperature", 3)]).await;
        let sent = [
            of(1, "lost", "temperature", 4),
            of(1, "kept", "temperature", 5),
            of(1, "other", "temperature", 6),
        ];
        send(&service, "after", &sent).await;
        let named = "sensor_readings WHERE id2 = ";
        for (id2, count) in [("'kept'", 2), ("'lost'", 1), ("'other'", 2)] {
            let found = database.count(&format!("{named}{id2}")).await;
            assert_eq!(found, count, "{id2}, made again: {made_again}");
        }
        // Kept, and never taken for one of another series.
        let nameless = "sensor_readings WHERE id1 IS NULL AND sensor_value = 2";
        assert_eq!(database.count(nameless).await, 1);
        other.close().await;
        service.close().await;
    }
}

async fn a_table_that_was_emptied_and_filled_by_others_is_noticed(database: Database) {
    let service = start(&database).await;
    let sent = [
        of(1, "a", "temperature", 1),
        of(1, "b", "temperature", 2),
        of(1, "c", "temperature", 3),
    ];
    send(&service, "first", &sent).await;
    // Everything is gone, the counters, too; and somebody else is there before us, with the names in another order.
    for table in ["readings", "series"] {
        database.run(&format!("TRUNCATE TABLE {table}")).await;
    }
    database
        .run("UPDATE id_blocks SET next_id = 1 WHERE name = 'series'")
        .await;
    let other = start_as(&database, "other").await;
    let theirs = [
        of(1, "c", "temperature", 4),
        of(1, "b", "temperature", 5),
        of(1, "z", "temperature", 6),
        of(1, "a", "temperature", 7),
    ];
    for (one, stream) in theirs.iter().zip(["p", "q", "r", "s"]) {
        send(&other, stream, std::slice::from_ref(one)).await;
    }
    send(&service, "second", &sent).await;
    assert_names_are_whole(&database).await;
    assert_same(&stored(&database).await, theirs.iter().chain(&sent));
    other.close_after_deletes().await;
    service.close_after_deletes().await;
}

async fn numbers_are_not_given_again_although_the_counter_was_set_back(database: Database) {
    let service = start(&database).await;
    send(&service, "first", &[of(1, "a", "temperature", 1)]).await;
    database
        .run("UPDATE id_blocks SET next_id = 1 WHERE name = 'series'")
        .await;
    let second = [of(1, "b", "temperature", 2), of(1, "a", "temperature", 3)];
    send(&service, "second", &second).await;
    assert_names_are_whole(&database).await;
    assert_eq!(database.count("series").await, 2);
    assert_eq!(database.count("sensor_readings WHERE id2 = 'a'").await, 2);
    service.close().await;
}

const POISON: &str = "CREATE TRIGGER poison BEFORE INSERT ON series FOR EACH ROW \
    BEGIN IF NEW.id1 = 666 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no such place'; END IF; END";

async fn a_series_that_the_database_refuses_hurts_no_other(database: Database) {
    let service = start(&database).await;
    database.run(POISON).await;
    let at = service.open("refused").await;
    let mut call = AckedCall::resume(&mut service.client().await, "refused", &at).await;
    let good: Vec<_> = (1..200)
        .map(|n| of(1, &format!("good-{}", n % 40), "temperature", n))
        .collect();
    let bad: Vec<_> = (200..220)
        .map(|n| of(666, &format!("bad-{}", n % 4), "temperature", n))
        .collect();
    let mixed: Vec<_> = good[..100]
        .iter()
        .chain(&bad)
        .chain(&good[100..])
        .cloned()
        .collect();
    call.send(rows(mixed)).await;
    let ack = call.until_acked(219).await;
    assert_eq!((ack.committed, ack.rejected), (199, 20));
    call.finish().await;
    assert_same(&stored(&database).await, &good);
    let quarantined = database.quarantined().await;
    assert_eq!(quarantined.len(), 20);
    assert!(
        quarantined
            .iter()
            .all(|row| row.reason.contains("no such place")),
        "{:?}",
        quarantined[0]
    );
    assert_eq!(database.count("series WHERE id1 = 666").await, 0);
    service.close().await;
}

async fn a_table_that_refuses_all_series_is_waited_for(database: Database) {
    for new in [1, 200] {
        let database = database.server.schema().await;
        let service = start(&database).await;
        send(&service, "before", &[of(1, "known", "temperature", 1)]).await;
        let broken = POISON.replace("NEW.id1 = 666", "TRUE");
        let sent: Vec<_> = (2..2 + new)
            .map(|n| of(2, &format!("new-{n}"), "temperature", n))
            .collect();
        waits(&service, &database, &broken, "DROP TRIGGER poison", sent).await;
        assert_eq!(database.count("series").await, 1 + new);
        service.close().await;
    }
}

/// Readings that come while the table is broken are stored once it is mended, and none goes into quarantine.
async fn waits(
    service: &Service,
    database: &Database,
    broken: &str,
    mended: &str,
    sent: Vec<SensorReading>,
) {
    database.run(broken).await;
    let at = service.open("waits").await;
    let mut call = AckedCall::resume(&mut service.client().await, "waits", &at).await;
    let retries = service.figure("retries").await;
    let count = sent.len() as u64;
    call.send(rows(sent)).await;
    until("it is tried again", || async {
        service.figure("retries").await > retries + 1
    })
    .await;
    assert_eq!(database.count("rejected_readings").await, 0, "{broken}");
    database.run(mended).await;
    assert_eq!(call.until_acked(count).await.rejected, 0);
    call.finish().await;
}

async fn names_that_the_table_no_longer_tells_apart_are_waited_for(database: Database) {
    let service = start(&database).await;
    send(&service, "before", &[of(1, "a", "temperature", 1)]).await;
    let alter = |collation: &str| {
        format!(
            "ALTER TABLE series MODIFY id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL"
        )
    };
    let (broken, mended) = (alter("utf8mb4_general_ci"), alter("utf8mb4_bin"));
    let sent = vec![of(1, "A", "temperature", 2), of(1, "a", "temperature", 3)];
    waits(&service, &database, &broken, &mended, sent).await;
    assert_names_are_whole(&database).await;
    assert_eq!(database.count("series").await, 2);
    service.close().await;
}

async fn numbers_of_readings_are_not_given_again_although_series_and_counter_were_set_back(
    database: Database,
) {
    let service = start(&database).await;
    send(&service, "kept", &[of(1, "kept", "temperature", 1)]).await;
    database
        .run("CREATE TABLE backup AS SELECT series_id, id1, id2, sensor_type, first_seen FROM series")
        .await;
    // Somebody else gives a number that this process has not heard of.
    let other = start_as(&database, "other").await;
    send(&other, "lost", &[of(1, "lost", "temperature", 2)]).await;
    set_back(&database, false).await;
    database
        .run("UPDATE id_blocks SET next_id = 2 WHERE name = 'series'")
        .await;
    send(&service, "new", &[of(1, "new", "temperature", 3)]).await;
    let nameless = "sensor_readings WHERE id1 IS NULL AND sensor_value = 2";
    assert_eq!(database.count(nameless).await, 1);
    assert_eq!(database.count("sensor_readings WHERE id2 = 'new'").await, 1);
    other.close().await;
    service.close().await;
}

async fn a_series_stays_for_as_long_as_it_has_readings(database: Database) {
    let service = start(&database).await;
    let sent = [of(1, "a", "temperature", 1), of(1, "b", "temperature", 2)];
    send(&service, "stays", &sent).await;
    for statement in [
        "DELETE FROM series WHERE id2 = 'a'",
        "REPLACE INTO series (series_id, id1, id2, sensor_type, first_seen) VALUES (1, 7, 'x', 'y', NOW())",
    ] {
        assert!(!database.tries(statement).await, "{statement}");
    }
    // One that has none may go; whoever remembers its number hears of it.
    database
        .run("DELETE FROM readings WHERE series_id = 1")
        .await;
    assert!(
        database
            .tries("DELETE FROM series WHERE series_id = 1")
            .await
    );
    let again = [of(1, "a", "temperature", 3), of(1, "b", "temperature", 4)];
    send(&service, "again", &again).await;
    assert_names_are_whole(&database).await;
    let stored = stored(&database).await;
    assert_same(&stored, sent[1..].iter().chain(&again));
    service.close_after_deletes().await;
}

async fn series_that_come_twice_in_a_batch_get_one_number(database: Database) {
    let service = start(&database).await;
    let at = service.open("twice").await;
    let mut call = AckedCall::resume(&mut service.client().await, "twice", &at).await;
    let series = |id2: &str| Series {
        id1: 1,
        id2: id2.to_owned(),
        sensor_type: "temperature".to_owned(),
    };
    let batch = ColumnBatch {
        series: ["a", "b", "a", "c", "b", "a"].map(series).to_vec(),
        extend_dictionary: false,
        series_index: (0..6).collect(),
        sensor_value: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        base_timestamp_us: BASE_US,
        timestamp_delta_us: (1..7).collect(),
        series_tags: Vec::new(),
    };
    call.send(columns(batch)).await;
    assert_eq!(call.until_acked(6).await.rejected, 0);
    call.finish().await;
    let names: String = stored(&database)
        .await
        .iter()
        .map(|reading| reading.id2.as_str())
        .collect();
    assert_eq!(names, "abacba");
    assert_eq!(database.count("series").await, 3);
    // The first attempt was good: no transaction was taken back.
    assert_eq!(service.figure("retries").await, 0);
    service.close().await;
}

async fn more_series_than_one_transaction_takes_get_their_numbers(database: Database) {
    const SERIES: u32 = 25_000;
    let service = start(&database).await;
    let at = service.open("many").await;
    let mut call = AckedCall::resume(&mut service.client().await, "many", &at).await;
    let batch = || ColumnBatch {
        series: (0..SERIES)
            .map(|n| Series {
                id1: (n % 7) as i32,
                id2: format!("sensor-{n}"),
                sensor_type: "temperature".to_owned(),
            })
            .collect(),
        extend_dictionary: false,
        series_index: (0..SERIES).collect(),
        sensor_value: (0..SERIES).map(f64::from).collect(),
        base_timestamp_us: BASE_US,
        timestamp_delta_us: (0..i64::from(SERIES)).collect(),
        series_tags: Vec::new(),
    };
    call.send(columns(batch())).await;
    call.send(columns(batch())).await;
    call.until_acked(2 * u64::from(SERIES)).await;
    call.finish().await;
    assert_names_are_whole(&database).await;
    assert_eq!(database.count("series").await, u64::from(SERIES));
    let misread = "sensor_readings WHERE id2 <> CONCAT('sensor-', CAST(sensor_value AS SIGNED))";
    assert_eq!(database.count(misread).await, 0);
    service.close().await;
}

async fn numbers_that_were_forgotten_are_found_again(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Series);
        settings.ingest.lanes = Some(1);
        // Room for some thousands of series.
        settings.ingest.series_cache_bytes = Some(1 << 20);
    })
    .await;
    let of_round = |round: u64| -> Vec<SensorReading> {
        (0..10_000)
            .map(|n| {
                let name = format!("sensor-{:0>30}", (n + round * 5_000) % 20_000);
                of(1, &name, "temperature", 1 + round * 10_000 + n)
            })
            .collect()
    };
    let mut sent = Vec::new();
    for round in 0..6 {
        let readings = of_round(round);
        send(&service, &format!("round-{round}"), &readings).await;
        sent.extend(readings);
    }
    assert_names_are_whole(&database).await;
    assert_eq!(database.count("series").await, 20_000);
    assert_same(&stored(&database).await, &sent);
    service.close().await;
}

/// Above the numbers that are known, and among them, where a lane that remembers all has no reason to look.
async fn a_series_that_somebody_put_there_by_hand_is_found(database: Database) {
    let service = start(&database).await;
    let sent = [of(1, "a", "temperature", 1), of(1, "b", "temperature", 2)];
    send(&service, "known", &sent).await;
    let put = |number: u32, id2: &str| {
        format!(
            "INSERT INTO series (series_id, id1, id2, sensor_type, first_seen) \
             VALUES ({number}, 1, '{id2}', 'temperature', UTC_TIMESTAMP(6))"
        )
    };
    database.run(&put(70, "above")).await;
    let sent = [
        of(1, "above", "temperature", 3),
        of(1, "c", "temperature", 4),
    ];
    send(&service, "known", &sent).await;
    database.run(&put(50, "among")).await;
    let sent = [
        of(1, "among", "temperature", 5),
        of(1, "d", "temperature", 6),
    ];
    send(&service, "known", &sent).await;
    for (number, id2) in [(70, "above"), (71, "c"), (50, "among"), (72, "d")] {
        let one = format!(
            "readings JOIN series USING (series_id) WHERE series_id = {number} AND id2 = '{id2}'"
        );
        assert_eq!(database.count(&one).await, 1, "{id2}");
    }
    assert_eq!(database.count("rejected_readings").await, 0);
    assert_names_are_whole(&database).await;
    service.close().await;
}

async fn numbers_whose_commit_failed_are_not_remembered(database: Database) {
    let proxy = Proxy::start(database.tcp_port()).await;
    let url = database.tcp_url(proxy.port);
    let service = Service::start_with(&database, |settings| {
        settings.database_url = Some(url);
        settings.layout = Some(Layout::Series);
        settings.ingest.lanes = Some(1);
    })
    .await;
    send(&service, "cut", &[of(1, "known", "temperature", 1)]).await;
    for (fault, n) in [
        (Fault::BeforeNumbersCommit, 2),
        (Fault::AfterNumbersCommit, 3),
    ] {
        let cuts = proxy.cuts();
        proxy.arm(fault);
        let name = format!("new-{n}");
        send(&service, "cut", &[of(1, &name, "temperature", n)]).await;
        assert_eq!(proxy.cuts(), cuts + 1, "{fault:?} happened");
        let found = format!("sensor_readings WHERE id2 = '{name}' AND sensor_value = {n}");
        assert_eq!(database.count(&found).await, 1, "{fault:?}");
    }
    assert_names_are_whole(&database).await;
    service.close().await;
}

/// Of more series than a lane has memory for it reads a page, and has to notice when somebody puts an older copy in place.
async fn what_is_read_beyond_the_memory_is_noticed_to_be_of_another_table(database: Database) {
    const ALL: u32 = 12_500;
    const KEPT: u32 = 2_000;
    let small = |settings: &mut sluicegate::config::Settings| {
        settings.layout = Some(Layout::Series);
        settings.ingest.lanes = Some(1);
        settings.ingest.series_cache_bytes = Some(1 << 20);
    };
    let name = |number: u32| format!("{number:0>50}");
    Service::start_with(&database, small).await.close().await;
    for first in (1..=ALL).step_by(2_500) {
        let rows = (first..first + 2_500).map(|number| {
            let name = name(number);
            format!("({number}, 99, '{name}', 'temperature', '2026-01-01 00:00:00.{number:0>6}')")
        });
        let rows = rows.collect::<Vec<_>>().join(",");
        let insert = "INSERT INTO series (series_id, id1, id2, sensor_type, first_seen) VALUES ";
        database.run(&format!("{insert}{rows}")).await;
    }
    let counter =
        |next: u32| format!("UPDATE id_blocks SET next_id = {next} WHERE name = 'series'");
    database.run(&counter(ALL + 1)).await;
    let service = Service::start_with(&database, small).await;
    let known = |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers
            .map(|number| of(99, &name(number), "temperature", number.into()))
            .collect()
    };
    send(&service, "beyond", &known(1..1_801)).await;
    for statement in [
        "DROP TRIGGER series_with_readings_stay",
        &format!("DELETE FROM series WHERE series_id > {KEPT}"),
        &counter(KEPT + 1),
    ] {
        database.run(statement).await;
    }
    let new: Vec<_> = (0..1_000)
        .map(|n| of(100, &name(n), "temperature", 100_000 + u64::from(n)))
        .collect();
    send(&service, "beyond", &new).await;
    // Of the end of the page, which the lane still had in memory.
    send(&service, "beyond", &known(9_001..9_501)).await;
    let misread = "sensor_readings WHERE id1 IS NULL OR (id1 = 99 AND CAST(id2 AS UNSIGNED) <> sensor_value) \
                   OR (id1 = 100 AND CAST(id2 AS UNSIGNED) <> sensor_value - 100000)";
    assert_eq!(database.count(misread).await, 0);
    assert_eq!(database.count("sensor_readings").await, 3_300);
    service.close().await;
}

async fn a_series_is_not_renamed_through_the_view(database: Database) {
    let service = start(&database).await;
    let sent = [of(1, "a", "temperature", 1), of(1, "b", "temperature", 2)];
    send(&service, "view", &sent).await;
    for statement in [
        "UPDATE sensor_readings SET sensor_type = 'x' WHERE id2 = 'a'",
        "UPDATE sensor_readings SET id2 = 'a ' WHERE id2 = 'a'",
        "UPDATE series SET id1 = 7",
        "UPDATE series SET series_id = series_id + 100",
        "DELETE FROM sensor_readings",
        "INSERT INTO sensor_readings (id, ts, id1, id2, sensor_type, sensor_value) VALUES (9, NOW(), 1, 'a', 't', 1)",
    ] {
        assert!(!database.tries(statement).await, "{statement}");
    }
    assert_same(&stored(&database).await, &sent);
    service.close().await;
}

async fn a_table_that_could_have_a_name_twice_is_refused(database: Database) {
    let alike = "ALTER TABLE series DROP INDEX by_names, ADD INDEX by_names \
                 (id1, id2, sensor_type, id2_bytes, sensor_type_bytes)";
    let padded =
        "ALTER TABLE series DROP INDEX by_names, ADD UNIQUE INDEX by_names (id1, id2, sensor_type)";
    let other = "ALTER TABLE series ADD UNIQUE INDEX other (id1)";
    for (alter, part) in [
        (alike, "series has no unique index by_names"),
        (padded, "series has no unique index by_names"),
        (other, "series has the unique index other"),
    ] {
        let database = database.server.schema().await;
        start(&database).await.close().await;
        database.run(alter).await;
        let refused = Service::try_start(&database, |_| {}).await;
        let sentence = refused.err().expect("refused");
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}
