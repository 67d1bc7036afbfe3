use super::*;

fn rules() -> TimeRules {
    TimeRules {
        unit: None,
        format: None,
        zone: Zone::Assumed,
        ambiguous: Ambiguous::Earlier,
        decimal: None,
    }
}

fn read(text: &str, rules: &TimeRules) -> Result<(i64, Vec<Remark>), String> {
    let mut clock = Clock::new(rules);
    let us = clock.read(text)?;
    Ok((us, clock.remarks().to_vec()))
}

const US: i64 = 1_262_307_600_000_000; // 2010-01-01T01:00:00Z

#[test]
fn a_time_is_read_in_every_form() {
    let utc = vec![Remark::AssumedUtc];
    for (text, us, remarks) in [
        ("2010-01-01T01:00:00", US, utc.clone()),
        ("2010-01-01 01:00:00.000025", US + 25, utc.clone()),
        ("2010-01-01 01:00:00,000025", US + 25, utc.clone()),
        ("2010-01-01T01:00", US, utc.clone()),
        ("2010-01-01", US - 3_600_000_000, utc),
        ("2010-01-01T01:00:00Z", US, vec![]),
        ("2010-01-01 01:00:00Z", US, vec![]),
        ("2010-01-01 01:00:00 UTC", US, vec![]),
        ("2010-01-01T03:00:00+02:00", US, vec![]),
        ("2010-01-01 03:00:00+0200", US, vec![]),
        ("2010-01-01 03:00:00+02", US, vec![]),
        ("2010-01-01T01:00:00.0000001Z", US, vec![Remark::Cut]),
        (
            "2009-12-31T23:59:60Z",
            US - 3_600_000_000,
            vec![Remark::Leap],
        ),
        ("1262307600000", US, vec![]),
        ("1262307600000.5", US + 500, vec![]),
        ("1262307600000.0001", US, vec![Remark::Cut]),
    ] {
        assert_eq!(read(text, &rules()), Ok((us, remarks)), "{text}");
    }
    for wrong in [
        "",
        "1st of May",
        "2010-02-30T01:00:00",
        "2010-01-01T24:01:00Z",
        "1.2e12",
        "0x12",
        "1262307600000.",
    ] {
        assert!(read(wrong, &rules()).is_err(), "{wrong}");
    }
}

#[test]
fn a_number_has_the_unit_that_is_named() {
    for (unit, text) in [
        (UnitFlag::S, "1262307600"),
        (UnitFlag::S, "1262307600.000000"),
        (UnitFlag::Ms, "1262307600000"),
        (UnitFlag::Us, "1262307600000000"),
        (UnitFlag::Ns, "1262307600000000000"),
    ] {
        let named = TimeRules {
            unit: Some(unit),
            ..rules()
        };
        assert_eq!(read(text, &named), Ok((US, vec![])), "{text}");
        assert!(read("-0.5", &named).is_ok(), "{unit:?}");
    }
    let seconds = TimeRules {
        unit: Some(UnitFlag::S),
        decimal: Some(Decimal::Comma),
        ..rules()
    };
    assert_eq!(read("-0,000001", &seconds), Ok((-1, vec![])));
    assert_eq!(read("-0,0000015", &seconds), Ok((-2, vec![Remark::Cut])));
    assert!(read("99999999999999999999", &seconds).is_err());
}

#[test]
fn without_a_unit_a_number_has_to_be_plausible_as_milliseconds() {
    for (text, part) in [
        (
            "1262307600",
            "as seconds 2010-01-01T01:00:00Z: say --time-unit s ",
        ),
        ("1262307600000000", "--time-unit us "),
        ("1262307600000000000", "--time-unit ns "),
        ("20100101", "--time-format '%Y%m%d'"),
        ("201001010100", "--time-format '%Y%m%d%H%M'"),
        ("20100101010000", "--time-format '%Y%m%d%H%M%S'"),
        ("1000", "1970-01-01T00:00:01Z: say --time-unit ms"),
        ("126230760000", "1974-01-01T00:06:00Z: say --time-unit ms"),
    ] {
        let reason = read(text, &rules()).unwrap_err();
        assert!(reason.contains(part), "{text}: {reason}");
    }
}

#[test]
fn a_unit_that_is_found_out_is_that_of_the_whole_file() {
    let auto = TimeRules {
        unit: Some(UnitFlag::Auto),
        ..rules()
    };
    let mut clock = Clock::new(&auto);
    assert_eq!(clock.read("1262307600"), Ok(US));
    assert_eq!(clock.remarks(), [Remark::Unit(Unit::Seconds)]);
    assert_eq!(clock.read("1262307601"), Ok(US + 1_000_000));
    assert_eq!(clock.remarks(), []);
    let reason = clock.read("1262307602000").unwrap_err();
    assert!(reason.contains("milliseconds, but"), "{reason}");
    assert!(clock.read("5").unwrap_err().contains("--time-unit"));
}

#[test]
fn an_offset_moves_only_times_without_one() {
    let west = TimeRules {
        zone: Zone::Offset(FixedOffset::west_opt(8 * 3600).unwrap()),
        ..rules()
    };
    assert_eq!(read("2009-12-31T17:00:00", &west), Ok((US, vec![])));
    assert_eq!(read("2010-01-01T01:00:00Z", &west), Ok((US, vec![])));
}

#[test]
fn a_zone_knows_which_times_are_missing_and_which_come_twice() {
    let berlin = |ambiguous| TimeRules {
        zone: Zone::Named(chrono_tz::Europe::Berlin),
        ambiguous,
        ..rules()
    };
    let earlier = berlin(Ambiguous::Earlier);
    assert_eq!(read("2010-01-01 02:00:00", &earlier), Ok((US, vec![])));
    let reason = read("2026-03-29 02:30:00", &earlier).unwrap_err();
    assert!(
        reason.contains("does not exist in Europe/Berlin"),
        "{reason}"
    );
    let first = 1_792_888_200_000_000; // 2026-10-25T00:30:00Z
    let twice = "2026-10-25 02:30:00";
    assert_eq!(read(twice, &earlier), Ok((first, vec![Remark::Twice])));
    let later = read(twice, &berlin(Ambiguous::Later)).unwrap();
    assert_eq!(later.0, first + 3_600_000_000);
    let reason = read(twice, &berlin(Ambiguous::Refuse)).unwrap_err();
    assert!(reason.contains("--ambiguous"), "{reason}");
}

#[test]
fn a_format_reads_what_it_writes() {
    let with = |format: &str| TimeRules {
        format: Some(format.parse().unwrap()),
        ..rules()
    };
    for (format, text) in [
        ("%d.%m.%Y %H:%M", "01.01.2010 01:00"),
        ("%Y%m%dT%H%M%S%z", "20100101T020000+0100"),
        ("%s", "1262307600"),
        ("%m/%d/%Y %I:%M:%S %p", "01/01/2010 01:00:00 AM"),
    ] {
        assert_eq!(read(text, &with(format)).unwrap().0, US, "{format}");
    }
    let date = read("2010/01/01", &with("%Y/%m/%d")).unwrap();
    assert_eq!(date.0, US - 3_600_000_000);
    let reason = read("1.1.", &with("%d.%m.%Y")).unwrap_err();
    assert!(reason.contains("--time-format '%d.%m.%Y'"), "{reason}");
    for wrong in ["%H:%M", "%Q", "%d.%m", ""] {
        assert!(wrong.parse::<TimeFormat>().is_err(), "{wrong}");
    }
}
