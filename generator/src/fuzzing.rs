//! What reads the files of strangers, as a function that a fuzzer calls with anything.

/// A CSV file, behind a letter that says how it is written.
///
/// # Panics
/// When it is read differently the second time, or a mistake is said to be where the file has nothing.
pub fn csv(data: &[u8]) {
    crate::replay::fuzzing::csv(data);
}

#[cfg(test)]
mod tests {
    #[test]
    fn csv_files_are_read_or_refused() {
        sluicegate::fuzzing::replay("csv", super::csv);
    }
}
