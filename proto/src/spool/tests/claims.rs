//! What a spool does with torn and damaged files, with folders and streams that do not belong together, and when it is full.

use std::{fs, path::Path};

use super::{
    super::{
        error::SpoolError,
        log::{Appended, Log},
        position::{Identity, Place, SpoolPosition},
        reader::Reader,
        recovery,
        resume::Standing,
    },
    Service, batch, open, options, read_all,
};

#[test]
fn a_record_that_is_torn_at_any_byte_is_cut_off_and_all_before_it_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    for first in [0, 3] {
        log.append(&batch(first..first + 3, true)).unwrap();
    }
    let path = log.path(log.segments.back().unwrap());
    let whole = fs::read(&path).unwrap();
    log.append(&batch(6..9, true)).unwrap();
    let longer = fs::read(&path).unwrap();
    drop(log);
    for torn_at in whole.len()..longer.len() {
        for rubbish in [&b""[..], &[0; 50], b"SGR1", &longer[..100]] {
            fs::write(&path, [&longer[..torn_at], rubbish].concat()).unwrap();
            let mut log = open(folder.path());
            assert_eq!((log.last.record, log.last.reading), (2, 6), "at {torn_at}");
            assert_eq!(
                (log.source.position.as_slice(), log.source.reading),
                (&b"6"[..], 6)
            );
            let cut = torn_at - whole.len() + rubbish.len();
            assert_eq!(log.cut_bytes, cut as u64);
            let begin = log.begin(&Standing::default()).unwrap();
            let read = read_all(&mut log, &mut Reader::new(begin)).unwrap();
            assert_eq!(read.concat_values(), [0, 1, 2, 3, 4, 5]);
        }
    }
}

trait Values {
    fn concat_values(&self) -> Vec<u64>;
}

impl Values for Vec<(Vec<u64>, Place)> {
    fn concat_values(&self) -> Vec<u64> {
        self.iter().flat_map(|(values, _)| values.clone()).collect()
    }
}

/// A spool of some segments with 200 records of 100 readings.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    for record in 0..200 {
        let values = 100 * record..100 * (record + 1);
        log.append(&batch(values, true)).unwrap();
    }
    assert!(log.segments.len() >= 3, "{}", log.segments.len());
    log.close().unwrap();
    folder
}

#[test]
fn flipped_bits_are_an_error_that_names_the_place_or_are_skipped_and_counted() {
    let folder = filled();
    let names: Vec<_> = open(folder.path()).folder.segments().unwrap();
    for name in names {
        for at in [3, 30, 130, 150, 2_000, 5_000] {
            let path = open(folder.path()).folder.segment(name);
            let intact = fs::read(&path).unwrap();
            let papers = fs::read(folder.path().join("state")).unwrap();
            let mut damaged = intact.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let read = |skip| {
                let options = options(folder.path()).skip_damaged(skip);
                let mut log = recovery::open(&options, "gateway")?;
                let begin = log.begin(&Standing::default())?;
                let read = read_all(&mut log, &mut Reader::new(begin))?;
                Ok::<_, SpoolError>((read.concat_values(), log.state().damaged))
            };
            let refused = read(false).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{name:020}.segment, byte ")),
                "{refused}"
            );
            assert!(refused.contains("skip_damaged"), "{refused}");
            let (values, lost) = read(true).unwrap();
            // Without its header a segment is as good, but for who has written it.
            assert_eq!((lost > 0, values.is_sorted()), (at > 100, true));
            assert_eq!(values.len() as u64 + lost, 20_000, "byte {at} of {name}");
            // As it was.
            let _ = fs::remove_file(path.with_extension("damaged"));
            fs::write(&path, intact).unwrap();
            fs::write(folder.path().join("state"), papers).unwrap();
        }
    }
}

#[test]
fn a_folder_has_one_process_one_stream_and_no_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("a/spool");
    let log = open(&spool);
    let refuse = |folder: &Path, stream: &str| {
        let opened = recovery::open(&options(folder), stream);
        opened.map(drop).unwrap_err().to_string()
    };
    assert!(refuse(&spool, "gateway").contains("in use by another process"));
    drop(log);
    assert!(refuse(&spool, "other").contains("is of the stream \"gateway\""));
    assert!(refuse(folder.path(), "gateway").contains("is no spool and not empty"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&spool).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

/// A stream that has all records so far.
fn sent(log: &mut Log, service: &mut Service) {
    let begin = log.begin(&service.standing()).unwrap();
    let mut reader = Reader::new(begin);
    for (values, place) in read_all(log, &mut reader).unwrap() {
        service.store(log.folder.identity(), &values, place, true);
        log.acknowledged(place).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn refusal(log: &mut Log, service: &Service) -> String {
    log.begin(&service.standing()).unwrap_err().to_string()
}

#[test]
fn a_folder_that_came_back_from_an_old_copy_is_refused_even_when_it_has_grown_since() {
    let folder = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let mut service = Service::default();
    let mut log = open(folder.path());
    log.append(&batch(0..10, true)).unwrap();
    sent(&mut log, &mut service);
    copy(folder.path(), old.path());
    for first in [10, 20, 30] {
        log.append(&batch(first..first + 10, true)).unwrap();
    }
    sent(&mut log, &mut service);
    let mut log = open(old.path());
    assert!(refusal(&mut log, &service).contains("restored from an older copy"));
    for first in [10, 20, 30, 40] {
        log.append(&batch(first..first + 10, true)).unwrap();
    }
    assert!(refusal(&mut log, &service).contains("restored from an older copy"));
    // Somebody says that it is to be sent all the same.
    log.adopt_stream = true;
    let begin = log.begin(&service.standing()).unwrap();
    assert_eq!((begin.behind.record, begin.skip), (0, 0));
}

#[test]
fn a_stream_that_stands_elsewhere_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::default();
    let mut log = open(folder.path());
    // Another producer's.
    service.stored.push(1);
    assert!(refusal(&mut log, &service).contains("has 1 readings already"));
    // Of a spool whose folder was deleted.
    let elsewhere = Identity::random();
    service.store(
        elsewhere,
        &[2],
        Place {
            session: 1,
            record: 1,
            reading: 1,
        },
        true,
    );
    assert!(refusal(&mut log, &service).contains("stands in another source than the spool"));
    // A database that was restored, or made anew.
    let mut service = Service::default();
    for first in [0, 10] {
        log.append(&batch(first..first + 10, true)).unwrap();
        sent(&mut log, &mut service);
        log.close().unwrap();
        drop(log);
        log = open(folder.path());
    }
    sent(&mut log, &mut service);
    let (position, _) = service.position.unwrap();
    let earlier = Place {
        record: 1,
        ..position.place
    };
    let earlier = SpoolPosition {
        place: earlier,
        ..position
    };
    service.position = Some((earlier, 10));
    assert!(refusal(&mut log, &service).contains("restored from a backup"));
    assert!(refusal(&mut log, &Service::default()).contains("the database is another one"));
    // Another producer beside this one.
    service.position = Some((position, 20));
    service.stored.push(7);
    assert!(refusal(&mut log, &service).contains("another producer writes to it"));
}

#[test]
fn what_is_on_its_way_is_never_dropped_and_what_is_dropped_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    let begin = log.begin(&Standing::default()).unwrap();
    let mut reader = Reader::new(begin);
    let (mut taken, mut seen, mut dropped) = (0, Vec::new(), 0);
    while dropped < 50_000 {
        let batch = batch(taken..taken + 500, true);
        match log.append(&batch).unwrap() {
            Appended::Durable => taken += 500,
            Appended::Full(reason) => {
                assert!(reason.contains("(max_bytes)"), "{reason}");
                dropped += log.drop_oldest().unwrap().unwrap();
            }
        }
        assert!(log.used_bytes() <= 1 << 20);
        // Nothing is acknowledged: the reader comes only so far.
        let read = read_all(&mut log, &mut reader).unwrap();
        seen.extend(read);
    }
    let (values, places): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    let values = values.concat();
    assert_eq!(values, (0..values.len() as u64).collect::<Vec<_>>());
    assert_eq!(log.state().dropped, dropped);
    let last = *places.last().unwrap();
    drop(log);
    // It all came through but for the acknowledgements.
    let mut log = open(folder.path());
    assert_eq!(log.state().dropped, dropped);
    let position = SpoolPosition {
        identity: log.folder.identity(),
        place: last,
    };
    let standing = Standing {
        committed_seq: values.len() as u64,
        source_seq: Some(values.len() as u64),
        source_position: Some(position.to_string().into_bytes()),
    };
    let begin = log.begin(&standing).unwrap();
    let mut reader = Reader::new(begin);
    let mut rest = Vec::new();
    loop {
        let read = read_all(&mut log, &mut reader).unwrap();
        let Some((_, place)) = read.last() else { break };
        log.acknowledged(*place).unwrap();
        rest.extend(read.concat_values());
    }
    let first = values.len() as u64 + dropped;
    assert_eq!(rest, (first..taken).collect::<Vec<_>>());
    assert_eq!(log.pending(), 0);
}
