use super::*;

/// The cells of all records with their lines, or the fault.
fn read(text: &str, dialect: Dialect, buffer: usize) -> Result<Vec<(u64, Vec<String>)>, Fault> {
    let mut reader = dialect.reader(io::BufReader::with_capacity(buffer, text.as_bytes()));
    let mut record = csv::StringRecord::new();
    let mut all = Vec::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {
                let cells = record.iter().map(str::to_owned).collect();
                all.push((reader.get_ref().record_line(), cells));
            }
            Ok(false) => return Ok(all),
            Err(_) => return Err(reader.get_mut().take_fault().expect("a fault")),
        }
    }
}

fn comma(escape: Escape) -> Dialect {
    Dialect {
        delimiter: Delimiter(b','),
        escape,
    }
}

#[test]
fn lines_are_counted_whatever_ends_them_and_however_they_are_cut() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["a,b", "", "1,\"x\ny\"", "  ", "2,z"].join(end);
        for buffer in [1, 2, 3, 64] {
            for text in [text.clone(), format!("{text}{end}")] {
                let records = read(&text, comma(Escape::Double), buffer).unwrap();
                let lines: Vec<u64> = records.iter().map(|(line, _)| *line).collect();
                assert_eq!(lines, [1, 3, 6], "{text:?}");
                assert_eq!(records[1].1, ["1", "x\ny"]);
            }
        }
    }
}

#[test]
fn quotes_mean_what_they_say() {
    let cells = |text: &str, escape| {
        let records = read(text, comma(escape), 2).unwrap();
        records.into_iter().next().unwrap().1
    };
    for (text, expected) in [
        (r#""a,b",c"#, vec!["a,b", "c"]),
        (r#""a ""b""",c"#, vec![r#"a "b""#, "c"]),
        (r#"  " a "  ,c"#, vec![" a ", "c"]),
        (r#"5" pipe,c"#, vec![r#"5" pipe"#, "c"]),
        ("\"\",c", vec!["", "c"]),
    ] {
        assert_eq!(cells(text, Escape::Double), expected, "{text}");
    }
    assert_eq!(
        cells(r#""6\" valve","a\\b",\N"#, Escape::Backslash),
        [r#"6" valve"#, r"a\b", r"\N"]
    );
    assert_eq!(cells(r#""C:\temp",x"#, Escape::Double), [r"C:\temp", "x"]);
}

#[test]
fn what_is_wrongly_quoted_is_refused_where_it_is() {
    for (text, escape, line, cell, part) in [
        ("a,b\n1,\"x\n2,y\n", Escape::Double, 2, 1, "never closes"),
        (
            "a,b\n\"1\"x,y\n",
            Escape::Double,
            2,
            0,
            "behind the closing",
        ),
        (
            "a,b\n\"1\" \"2\",y\n",
            Escape::Double,
            2,
            0,
            "behind the closing",
        ),
        ("a\n\"1\n2\"x\n", Escape::Double, 3, 0, "opened in line 2"),
        (
            "a\n\"6\\\" v\"\n",
            Escape::Double,
            2,
            0,
            "--escape backslash where",
        ),
        (
            "a\n\"C:\\temp\"\n",
            Escape::Backslash,
            2,
            0,
            "escapes nothing",
        ),
        ("a,b\n1,x\0\n", Escape::Double, 2, 1, "NUL"),
    ] {
        for buffer in [1, 3, 64] {
            let fault = read(text, comma(escape), buffer).unwrap_err();
            assert_eq!((fault.line, fault.cell), (line, cell), "{text:?}");
            assert!(fault.reason.contains(part), "{text:?}: {fault:?}");
        }
    }
}

#[test]
fn a_record_without_end_is_not_kept_in_memory() {
    let rest = "x,y\n".repeat(MAX_RECORD_BYTES);
    let fault = read(&format!("a,b\n1,\"{rest}"), comma(Escape::Double), 8_192).unwrap_err();
    assert_eq!((fault.line, fault.cell), (2, 1));
    assert!(fault.reason.contains("does not close within"), "{fault:?}");
    let fault = read(
        &format!("a,b\n1,{}", "x".repeat(2 << 20)),
        comma(Escape::Double),
        8_192,
    );
    assert!(fault.unwrap_err().reason.contains("longer than"));
}

#[test]
fn a_delimiter_is_one_character() {
    assert_eq!(";".parse(), Ok(Delimiter(b';')));
    assert_eq!("tab".parse(), Ok(Delimiter(b'\t')));
    assert_eq!("\\t".parse(), Ok(Delimiter(b'\t')));
    for wrong in ["", ";;", "\"", "\n", "ä"] {
        assert!(wrong.parse::<Delimiter>().is_err(), "{wrong:?}");
    }
}
