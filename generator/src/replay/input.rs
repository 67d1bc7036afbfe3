//! Where the bytes come from: a file, a pipe or standard input, packed or not, such that they can be read twice.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek as _, SeekFrom, stdin},
    os::fd::AsFd as _,
    path::Path,
};

use flate2::read::MultiGzDecoder;

use crate::error::CsvError;

const BUFFER_BYTES: usize = 64 << 10;
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const GZIP: &[u8] = b"\x1f\x8b";

/// What files begin with that are no CSV, what they are, and what makes them CSV.
const OTHERS: [(&[u8], &str, &str); 8] = [
    (b"\xff\xfe", "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "zstd -dc"),
    (b"\xfd7zXZ", "packed with xz", "xz -dc"),
    (b"BZh", "packed with bzip2", "bzip2 -dc"),
    (b"\x04\x22\x4d\x18", "packed with lz4", "lz4 -dc"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unzip -p"),
    (b"PAR1", "Parquet", "a converter to CSV"),
];

/// The bytes of an input, from which any number of readers may read one after the other.
#[derive(Debug)]
pub(super) struct Input {
    name: String,
    file: File,
    start: u64,
    /// What is appended to a file later is not read: it would not have been checked.
    bytes: u64,
}

/// The text of an input, unpacked and without a byte order mark.
pub(super) type Text = BufReader<Box<dyn Read + Send>>;

impl Input {
    /// Opens a file, or standard input for `-`. What cannot be read twice is kept in a temporary file without a name.
    pub(super) fn open(path: &Path) -> Result<Self, CsvError> {
        let (name, opened) = match path.to_str() {
            Some("-") => {
                let copy = stdin().as_fd().try_clone_to_owned();
                ("standard input".to_owned(), copy.map(File::from))
            }
            _ => (path.display().to_string(), File::open(path)),
        };
        let fail = |error: io::Error| CsvError::of_file(&name, error.to_string());
        let mut file = opened.map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        if about.is_file() && about.len() > 0 {
            let start = file.stream_position().map_err(fail)?;
            let bytes = about.len().saturating_sub(start);
            return Ok(Self {
                name,
                file,
                start,
                bytes,
            });
        }
        let kept = tempfile::tempfile().map_err(|error| {
            let reason = format!("cannot make a temporary file for it in TMPDIR: {error}");
            CsvError::of_file(&name, reason)
        });
        let mut kept = kept?;
        let bytes = io::copy(&mut file, &mut kept).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::StorageFull => {
                    format!("its copy does not fit into TMPDIR: {error}")
                }
                _ => error.to_string(),
            };
            CsvError::of_file(&name, reason)
        })?;
        Ok(Self {
            name,
            file: kept,
            start: 0,
            bytes,
        })
    }

    /// These bytes, as if they came through a pipe.
    #[cfg(feature = "fuzzing")]
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut file = tempfile::tempfile().expect("a temporary file");
        io::Write::write_all(&mut file, bytes).expect("room in it");
        Self {
            name: "input".to_owned(),
            file,
            start: 0,
            bytes: bytes.len() as u64,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads from the beginning. Readers share their place in the file: one at a time.
    pub(super) fn read(&self) -> Result<Text, CsvError> {
        let fail = |error: io::Error| CsvError::of_file(&self.name, error.to_string());
        let mut file = self.file.try_clone().map_err(fail)?;
        file.seek(SeekFrom::Start(self.start)).map_err(fail)?;
        let bytes = BufReader::with_capacity(BUFFER_BYTES, file.take(self.bytes));
        let (head, bytes) = peek(bytes).map_err(fail)?;
        let (head, text): (_, Box<dyn Read + Send>) = match head.starts_with(GZIP) {
            true => {
                let packed = Cursor::new(head).chain(bytes);
                let (head, text) = peek(MultiGzDecoder::new(packed)).map_err(fail)?;
                (head, Box::new(text))
            }
            false => (head, Box::new(bytes)),
        };
        for (mark, is, by) in OTHERS {
            if head.starts_with(mark) {
                let reason = format!("it is {is}, not CSV in UTF-8: pass it through {by}");
                return Err(CsvError::of_file(&self.name, reason));
            }
        }
        let head = head.strip_prefix(UTF_8_MARK).unwrap_or(&head).to_vec();
        let text = Box::new(Cursor::new(head).chain(text));
        Ok(BufReader::with_capacity(BUFFER_BYTES, text))
    }
}

/// The first few bytes, and the rest.
fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, R)> {
    let mut head = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut head)?;
    Ok((head, reader))
}
