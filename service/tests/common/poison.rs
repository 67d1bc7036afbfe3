//! Texts that do harm where they are not escaped.

/// Texts that a field separator, an escape or a character set could damage.
pub(crate) fn poison() -> Vec<String> {
    let texts = [
        "tab\there",
        "new\nline",
        "carriage\rreturn",
        "\r\n",
        "back\\slash",
        "trailing backslash\\",
        "trailing two\\\\",
        "\\",
        "\\N",
        "\\n",
        "\\0",
        "N",
        "NULL",
        "\0",
        "nul\0inside",
        "'single' \"double\" `back`",
        "\"",
        "'",
        ",;|",
        "%s%n",
        " outer blanks ",
        "\u{1a}ctrl-z",
        "\u{8}backspace",
        "\u{feff}bom",
        "é",
        "e\u{301}",
        "日本語",
        "🌡️ 21 °C",
        "\u{10ffff}",
        "\u{fffd}",
        "-- comment",
        "\\\t\\\n\\",
    ];
    let mut texts: Vec<String> = texts.map(str::to_owned).into();
    texts.push("🌡".repeat(50));
    texts.push("\\".repeat(50));
    texts.push("\t".repeat(50));
    texts
}
