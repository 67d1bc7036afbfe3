//! What tables for people look like.

use comfy_table::{Table, presets::ASCII_FULL_CONDENSED};

/// An empty table. Its lines stand right below each other: a rule between all of them would make it twice as high.
pub(crate) fn new() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_FULL_CONDENSED);
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_no_rule_between_lines() {
        let mut table = super::new();
        table.add_row(["sent", "1"]);
        table.add_row(["stored", "1"]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
    }
}
