use super::*;

fn spec(yaml: &str) -> WorkloadSpec {
    let patterns: Patterns = serde_norway::from_str(yaml).unwrap();
    patterns.check().unwrap();
    WorkloadSpec {
        patterns,
        connections: 1,
        start_us: 1_000_000,
        step_us: 5.0,
    }
}

fn make(spec: &WorkloadSpec, connection: u16, count: usize) -> Vec<Made> {
    let mut workload = Workload::new(spec, connection);
    (0..count).map(|_| workload.next()).collect()
}

#[test]
fn the_same_seed_makes_the_same_readings() {
    for values in ["walk", "uniform", "normal", "sine", "constant"] {
        let spec = spec(&format!(
            "{{values: {values}, seed: 7, late: 0.1, duplicates: 0.1}}"
        ));
        assert_eq!(make(&spec, 0, 500), make(&spec, 0, 500));
    }
    assert_ne!(make(&spec("seed: 1"), 0, 50), make(&spec("seed: 2"), 0, 50));
}

#[test]
fn timestamps_advance_at_the_pace_of_the_rate() {
    let mut spec = spec("seed: 1");
    (spec.connections, spec.step_us) = (2, 1_000.0);
    let times = |made: &[Made]| {
        made.iter()
            .map(|made| made.timestamp_us)
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&make(&spec, 1, 3)), [1_001_000, 1_003_000, 1_005_000]);
    let mut workload = Workload::new(&spec, 1);
    workload.next();
    workload.set_clock(9_000_000, 10.0);
    let made = [workload.next(), workload.next()];
    assert_eq!(times(&made), [9_000_010, 9_000_030]);
}

#[test]
fn every_series_belongs_to_one_connection() {
    let mut spec = spec("series: 2001");
    spec.connections = 3;
    let mut ids: Vec<String> = (0..3)
        .flat_map(|connection| Workload::new(&spec, connection).series().to_vec())
        .map(|series| format!("{}/{}", series.id1, series.id2))
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2001);
    assert_eq!(ids[2000], "2/sensor-002000");
    spec.patterns.series = 2;
    assert_eq!(Workload::new(&spec, 2).series()[0].id2, "sensor-000000");
}

#[test]
fn every_id_pair_measures_every_type_by_weight() {
    let spec = spec("{id1: '1..2', id2: 'a,b', types: ['rain:3', wind]}");
    let workload = Workload::new(&spec, 0);
    let made = make(&spec, 0, 16);
    let names = made.iter().map(|made| &workload.series()[made.series]);
    let of_pair = |id1, id2: &str| {
        let same = |series: &&SeriesSpec| series.id1 == id1 && series.id2 == id2;
        names
            .clone()
            .filter(same)
            .map(|series| series.sensor_type.as_str())
            .collect::<Vec<_>>()
    };
    for (id1, id2) in [(1, "a"), (1, "b"), (2, "a"), (2, "b")] {
        let types = of_pair(id1, id2);
        assert_eq!(types.len(), 4);
        assert_eq!(types.iter().filter(|name| **name == "rain").count(), 3);
    }
}

/// Within 5 % of it, which is more than chance does to these counts with these seeds.
fn is_about(counted: usize, of: usize, wanted: f64) {
    let share = counted as f64 / of as f64;
    assert!(
        (share / wanted - 1.0).abs() < 0.05,
        "a share of {share} instead of {wanted}"
    );
}

#[test]
fn every_disturbance_reaches_its_share_of_the_readings_that_are_sent() {
    const COUNT: usize = 200_000;
    for (late, out_of_order, duplicates, bad) in [
        (0.05, 0.05, 0.05, 0.05),
        (0.01, 0.02, 0.04, 0.08),
        (0.0, 0.5, 0.0, 0.0),
        (0.0, 0.0, 0.5, 0.0),
        (0.5, 0.1, 0.1, 0.1),
        (1.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 1.0),
    ] {
        let yaml = format!(
            "{{values: constant, late: {late}, out_of_order: {out_of_order}, duplicates: {duplicates}, bad: {bad}}}"
        );
        let mut made = make(&spec(&yaml), 0, COUNT);
        let bads = made.iter().filter(|made| made.bad).count();
        // Every reading has a series and a time of its own, but for resends.
        let same = |a: &Made, b: &Made| !a.bad && a == b;
        made.dedup_by(|a, b| same(a, b));
        let resent = COUNT - made.len();
        let due = |place: usize| 1_000_000 + place as i64 * 5;
        let on_time = made.iter().enumerate().filter(|(_, made)| !made.bad);
        let off = on_time.map(|(place, made)| made.timestamp_us - due(place));
        let (mut swapped, mut belated) = (0, 0);
        for off in off {
            match off {
                0 | 5 => {}
                -5 => swapped += 1,
                ..0 => belated += 1,
                _ => panic!("{off}"),
            }
        }
        for (counted, wanted) in [
            (belated, late),
            (swapped, out_of_order),
            (resent, duplicates),
            (bads, bad),
        ] {
            match wanted > 0.0 {
                true => is_about(counted, COUNT, wanted),
                false => assert_eq!(counted, 0, "{yaml}"),
            }
        }
    }
}

#[test]
fn late_readings_are_late_by_up_to_the_time_that_is_set() {
    let made = make(&spec("{late: 1, late_by: 1h}"), 0, 20_000);
    let late = made
        .iter()
        .enumerate()
        .map(|(place, made)| 1_000_000 + place as i64 * 5 - made.timestamp_us);
    assert!(late.clone().all(|late| (1..=3_600_000_000).contains(&late)));
    assert!(late.max() > Some(3_500_000_000));
}

#[test]
fn a_swap_loses_no_time() {
    let made = make(&spec("out_of_order: 0.1"), 0, 20_000);
    let mut times: Vec<_> = made[..19_998]
        .iter()
        .map(|made| made.timestamp_us)
        .collect();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), 19_998);
}

#[test]
fn bad_readings_are_bad_in_every_way() {
    let made = make(&spec("bad: 0.1"), 0, 20_000);
    is_about(
        made.iter().filter(|made| made.value.is_nan()).count(),
        20_000,
        0.02,
    );
    is_about(
        made.iter().filter(|made| made.value.is_infinite()).count(),
        20_000,
        0.02,
    );
    is_about(
        made.iter()
            .filter(|made| made.timestamp_us >= FAR_FUTURE_US)
            .count(),
        20_000,
        0.02,
    );
    is_about(
        made.iter().filter(|made| made.series >= 1_000).count(),
        20_000,
        0.04,
    );
}

#[test]
fn a_shuffle_moves_readings_within_its_windows_and_loses_none() {
    let mut spec = spec("{seed: 3, shuffle_within: 10ms, series: 7}");
    spec.connections = 2;
    // A window has 10 ms / (2 x 5 us) readings of each connection.
    let times: Vec<i64> = make(&spec, 1, 5_000)
        .iter()
        .map(|made| made.timestamp_us)
        .collect();
    for (number, window) in times.chunks(1_000).enumerate() {
        let first = 1_000_005 + number as i64 * 10_000;
        let mut sorted = window.to_vec();
        sorted.sort_unstable();
        let expected: Vec<i64> = (0..1_000).map(|place| first + place * 10).collect();
        assert_eq!(sorted, expected);
        let back = window.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((400..600).contains(&back), "{back} steps back of 1,000");
    }
    assert!(
        times[..1_000]
            .iter()
            .zip(&times[1_000..2_000])
            .any(|(a, b)| b - a != 10_000)
    );
}

#[test]
fn values_have_the_distribution_of_their_type() {
    let yaml = "{id1: 0, id2: a, types: ['c=constant:3.5', 'u=uniform:10:30', 'n=normal:-5:2', 'w=walk:20:0.5', \
                's=sine:-1:1:60']}";
    let mut spec = spec(yaml);
    spec.step_us = 1_000_000.0;
    let made = make(&spec, 0, 100_000);
    let of = |series: usize| -> Vec<f64> {
        let same = made.iter().filter(|made| made.series == series);
        same.map(|made| made.value).collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let deviation = |values: &[f64]| {
        let middle = mean(values);
        mean(
            &values
                .iter()
                .map(|value| (value - middle).powi(2))
                .collect::<Vec<_>>(),
        )
        .sqrt()
    };
    let near = |value: f64, wanted: f64, by: f64| {
        assert!((value - wanted).abs() <= by, "{value} is not {wanted}")
    };
    assert!(of(0).iter().all(|value| *value == 3.5));

    let uniform = of(1);
    assert!(uniform.iter().all(|value| (10.0..=30.0).contains(value)));
    near(mean(&uniform), 20.0, 0.2);
    near(deviation(&uniform), 20.0 / 12_f64.sqrt(), 0.1);

    let normal = of(2);
    near(mean(&normal), -5.0, 0.1);
    near(deviation(&normal), 2.0, 0.1);
    let within = normal
        .iter()
        .filter(|value| (**value + 5.0).abs() < 2.0)
        .count();
    is_about(within, normal.len(), 0.683);

    let walk = of(3);
    assert!((walk[0] - 20.0).abs() <= 0.5);
    // Half a step more for the rounding and the pull to the middle.
    assert!(walk.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 0.6));
    assert!(deviation(&walk) > 1.0);

    // One reading of each type in five seconds: twelve in a turn.
    let sine = of(4);
    assert!(sine.iter().all(|value| (-1.0..=1.0).contains(value)));
    near(mean(&sine), 0.0, 0.01);
    near(deviation(&sine), 0.5_f64.sqrt(), 0.01);
    assert!(
        sine.windows(13)
            .all(|turn| (turn[0] - turn[12]).abs() < 0.02)
    );
}
