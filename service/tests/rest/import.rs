//! `sluicegate export` and `import`: files of readings, out of one table and into another.

use std::{path::Path, process::Stdio, time::Duration};

use sluicegate::repository::mysql::Layout;
use tempfile::TempDir;

use crate::{
    common::{
        database::Database,
        on_each_engine,
        program::{command, end_of},
        readings::{self as numbered, assert_same},
        service::Service,
        until,
    },
    sample::{filled, service, store},
};

on_each_engine! {
    what_is_exported_and_imported_is_the_same,
    a_file_is_stored_once_whatever_it_is_called_and_however_often_it_comes,
    an_import_that_was_killed_goes_on_where_it_was,
    of_a_file_that_is_wrong_nothing_is_sent,
    an_export_that_fails_leaves_no_file,
    what_is_rejected_is_shown,
}

const RANGE: [&str; 4] = ["--from", "1971-01-01", "--to", "2200-01-01"];

/// What a command says, and whether it did its work.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn run(arguments: &[&str]) -> Said {
    let mut command = command(arguments);
    command.stdout(Stdio::piped());
    let output = tokio::time::timeout(Duration::from_secs(120), command.output());
    let output = output.await.expect("it ends").expect("it runs");
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

async fn export(service: &Service, file: &Path, more: &[&str]) -> Said {
    let url = format!("http://{}", service.rest);
    let file = file.to_str().expect("UTF-8");
    let words = ["export", "--url", &url, "--out", file];
    run(&[&words, &RANGE[..], more].concat()).await
}

async fn import(service: &Service, file: &Path, more: &[&str]) -> Said {
    let url = format!("http://{}", service.grpc);
    let file = file.to_str().expect("UTF-8");
    run(&[&["import", file, "--url", &url], more].concat()).await
}

async fn what_is_exported_and_imported_is_the_same(database: Database) {
    for layout in [Layout::Partitioned, Layout::Series] {
        let (from, service_of) = filled(&database, layout, numbered::extreme()).await;
        let stored = from.stored().await;
        let folder = TempDir::new().expect("a folder");
        for ending in ["parquet", "arrow", "csv", "ndjson"] {
            let file = folder.path().join(format!("readings.{ending}"));
            let said = export(&service_of, &file, &[]).await;
            assert_eq!(said.code, Some(0), "{said:?}");
            let (into, other) = service(&database, layout).await;
            let said = import(&other, &file, &[]).await;
            assert_eq!(said.code, Some(0), "{said:?}");
            let found = into.stored().await;
            let readings = |of: &[crate::common::database::Stored]| {
                of.iter().map(|row| row.reading.clone()).collect::<Vec<_>>()
            };
            assert_same(&readings(&found), &readings(&stored));
            assert_same(&readings(&found), &numbered::extreme());
            other.close().await;
        }
        service_of.close().await;
    }
}

async fn a_file_is_stored_once_whatever_it_is_called_and_however_often_it_comes(
    database: Database,
) {
    let (_, service_of) =
        filled(&database, Layout::Partitioned, numbered::readings(0..5_000)).await;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a.parquet");
    assert_eq!(export(&service_of, &file, &[]).await.code, Some(0));
    service_of.close().await;
    let (into, service) = service(&database, Layout::Partitioned).await;
    let copy = folder.path().join("b");
    std::fs::copy(&file, &copy).expect("copied");
    let (mut stored, mut streams) = (0, Vec::new());
    for path in [&file, &copy, &file] {
        let said = import(&service, path, &[]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let (_, told) = said
            .stdout
            .split_once(": 5000 readings: ")
            .expect("all of them");
        let (count, rest) = told.split_once(" stored, 0 rejected, ").expect("how many");
        let (before, stream) = rest
            .trim_end()
            .split_once(" settled before; stream ")
            .expect("which");
        let (count, before): (u64, u64) = (
            count.parse().expect("a number"),
            before.parse().expect("a number"),
        );
        assert_eq!((count + before, before), (5_000, stored));
        stored += count;
        streams.push(stream.to_owned());
    }
    assert!(
        streams.iter().all(|stream| *stream == streams[0]),
        "{streams:?}"
    );
    assert!(streams[0].starts_with("import:"), "{streams:?}");
    numbered::assert_stored(&into, 0..5_000).await;
    // A part of it is another stream, and is stored beside it.
    let range = ["--from", "2026-01-01", "--to", "2026-01-01T00:00:00.001Z"];
    let said = import(&service, &file, &range).await;
    assert!(
        said.stdout.contains(": 1000 readings: 1000 stored, "),
        "{said:?}"
    );
    assert_eq!(into.stored().await.len(), 6_000);
    service.close().await;
}

async fn an_import_that_was_killed_goes_on_where_it_was(database: Database) {
    const MANY: u64 = 300_000;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("many.csv");
    let mut text = "id1,id2,sensor_type,sensor_value,timestamp_us\n".to_owned();
    for one in numbered::readings(0..MANY) {
        let (id1, id2, of) = (one.id1, &one.id2, &one.sensor_type);
        let (value, at) = (one.sensor_value(), one.timestamp_us());
        text += &format!("{id1},{id2},{of},{value},{at}\n");
    }
    std::fs::write(&file, text).expect("written");
    let (into, service) = service(&database, Layout::Partitioned).await;
    let url = format!("http://{}", service.grpc);
    let arguments = ["import", file.to_str().expect("UTF-8"), "--url", &url];
    let mut child = command(&arguments).spawn().expect("it runs");
    until("something is committed, or all", async || {
        service.figure("committed").await > 0
    })
    .await;
    child.kill().await.expect("killed");
    let said = import(&service, &file, &[]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    eprintln!("{}", said.stdout);
    assert!(!said.stdout.contains(" 0 settled before"), "{said:?}");
    numbered::assert_stored(&into, 0..MANY).await;
    service.close().await;
}

async fn of_a_file_that_is_wrong_nothing_is_sent(database: Database) {
    let (into, service) = service(&database, Layout::Partitioned).await;
    let folder = TempDir::new().expect("a folder");
    let good = "1,a,t,1.5,1767225600000000\n".repeat(20_000);
    let header = "id1,id2,sensor_type,sensor_value,timestamp_us\n";
    for (name, text, expected) in [
        (
            "value.csv",
            format!("{header}{good}1,a,t,much,1767225600000000\n"),
            "row 20001, column sensor_value: \"much\" must be a finite number",
        ),
        (
            "cut.csv",
            format!("{header}{good}1,a,t,1.5"),
            "its last line has no end: it was cut off",
        ),
        (
            "no.ndjson",
            "{\"id1\":1,\"id2\":7}\n".to_owned(),
            "row 1, column id2: 7 must be a text",
        ),
        (
            "cut.parquet",
            "PAR1 and no more".to_owned(),
            "it was cut off, or is no file of Parquet",
        ),
        (
            "file.arrow",
            "ARROW1 file".to_owned(),
            "write it as a stream of Arrow",
        ),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        let said = import(&service, &file, &[]).await;
        assert_eq!(said.code, Some(2), "{said:?}");
        let begin = format!("sluicegate: {}: ", file.display());
        assert!(said.stderr.starts_with(&begin), "{said:?}");
        assert!(said.stderr.contains(expected), "{said:?}");
    }
    let said = import(&service, &folder.path().join("missing"), &[]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("No such file"), "{said:?}");
    assert!(into.stored().await.is_empty());
    service.close().await;
}

async fn an_export_that_fails_leaves_no_file(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, numbered::readings(0..10)).await;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a.parquet");
    // No series in this layout.
    let said = export(&service, &file, &["--tags", "site:north"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let said = export(&service, &folder.path().join("a"), &[]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("say --format"), "{said:?}");
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0);
    // To the standard output, of one pair.
    let url = format!("http://{}", service.rest);
    let words = [
        "export",
        "--url",
        &url,
        "--format",
        "csv",
        "--ids",
        "-3:gate-0",
    ];
    let said = run(&[&words, &RANGE[..]].concat()).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 3, "{said:?}");
    service.close().await;
    let said = export_of_nobody(&url, &file).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("no service answers"), "{said:?}");
}

async fn export_of_nobody(url: &str, file: &Path) -> crate::common::program::Ended {
    let file = file.to_str().expect("UTF-8");
    let words = ["export", "--url", url, "--out", file];
    end_of(command(&[&words, &RANGE[..]].concat())).await
}

async fn what_is_rejected_is_shown(database: Database) {
    let (into, service) = service(&database, Layout::Partitioned).await;
    store(&service, "other", numbered::readings(0..1)).await;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a.csv");
    let long = "x".repeat(51);
    let text = format!(
        "id1,id2,sensor_type,sensor_value,timestamp_us\n1,a,t,1,1767225600000000\n1,{long},t,1,1767225600000000\n"
    );
    std::fs::write(&file, text).expect("written");
    let said = import(&service, &file, &[]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("a.csv: reading 2: id2: "), "{said:?}");
    assert!(said.stderr.contains("1 readings were rejected"), "{said:?}");
    assert!(
        said.stdout
            .contains(": 2 readings: 1 stored, 1 rejected, 0 settled before"),
        "{said:?}"
    );
    assert_eq!(into.stored().await.len(), 2);
    service.close().await;
}
