//! Where the bytes come from: a file, which may be followed, a FIFO, or standard input.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, stdin},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::place::{FilePosition, InputPosition};
use crate::error::Error;

/// Between looks at a file that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// Whether it can be read again.
    pub(super) is_file: bool,
    /// None for a FIFO that is opened once somebody reads it: until another one writes, that would wait.
    file: Option<File>,
    /// None for standard input.
    path: Option<PathBuf>,
    /// Files that come before the one of that name: it was rotated while nobody looked.
    rotated: VecDeque<PathBuf>,
    follows: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// So many readings from there on are in the spool.
    pub(super) skip: u64,
    /// Whether it is the beginning of an input that the spool does not know yet.
    pub(super) is_new: bool,
}

/// What came of a look at the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(usize),
    /// All that there is.
    End,
    /// The text begins anew: the file was rotated, or cut.
    Anew {
        was_cut: bool,
    },
}

impl Input {
    pub(super) fn open(path: &Path, follows: bool) -> Result<Self, Error> {
        let refused = |error: io::Error| Error::Usage(format!("{}: {error}", path.display()));
        if path == Path::new("-") {
            let copy = stdin().as_fd().try_clone_to_owned().map(File::from);
            let file = copy.map_err(refused)?;
            return Ok(Self {
                name: "standard input".to_owned(),
                is_file: file.metadata().map_err(refused)?.is_file(),
                file: Some(file),
                path: None,
                rotated: VecDeque::new(),
                follows,
            });
        }
        let about = fs::metadata(path).map_err(refused)?;
        if about.is_dir() {
            return Err(refused(io::ErrorKind::IsADirectory.into()));
        }
        let file = match about.is_file() {
            true => Some(File::open(path).map_err(refused)?),
            false => None,
        };
        Ok(Self {
            name: path.display().to_string(),
            is_file: about.is_file(),
            file,
            path: Some(path.to_owned()),
            rotated: VecDeque::new(),
            follows,
        })
    }

    /// Where to begin, by what the spool was told last.
    pub(super) fn begin(
        &mut self,
        stands: Option<(&[u8], u64)>,
        has_readings: bool,
        append: bool,
    ) -> Result<Begin, Error> {
        let position = stands.and_then(|(position, _)| InputPosition::read(position));
        let stands = match (&position, stands) {
            // Where the same cannot come again there is nothing to go on at.
            _ if !self.is_file => return Ok(Begin::default()),
            (Some(InputPosition::File(position)), Some((_, skip))) => {
                let name = self.name.clone();
                let refused = |error| Error::Usage(format!("{name}: {error}"));
                if self.find(position).map_err(refused)? {
                    return Ok(Begin {
                        bytes: position.bytes,
                        lines: position.lines,
                        skip,
                        is_new: false,
                    });
                }
                position.describe()
            }
            (Some(InputPosition::Pipe), _) => "in a pipe".to_owned(),
            (None, None) if !has_readings => String::new(),
            _ => "where no forward has brought it".to_owned(),
        };
        if append || stands.is_empty() {
            return Ok(Begin {
                is_new: true,
                ..Begin::default()
            });
        }
        Err(Error::Usage(format!(
            "{}: the spool stands {stands}, and what is here now is not that: nothing is taken. If the file was rotated, forward the \
             rest of it first, by the name that it has now; --append takes this one from its beginning",
            self.name
        )))
    }

    /// Whether this is the file of that position, or one beside it that had its name before: then that one is read first,
    /// and those that came between the two.
    fn find(&mut self, position: &FilePosition) -> io::Result<bool> {
        let (Some(now), Some(path)) = (&self.file, &self.path) else {
            let file = self.file.as_ref();
            return file.map_or(Ok(false), |file| position.is_in(file));
        };
        if position.is_in(now)? {
            return Ok(true);
        }
        let mut rotated = rotated(path)?;
        while let Some(oldest) = rotated.pop_front() {
            let file = File::open(&oldest)?;
            if position.is_in(&file)? {
                eprintln!(
                    "sluicegen: {} was rotated: {} is read first",
                    self.name,
                    oldest.display()
                );
                rotated.push_back(path.clone());
                (self.file, self.rotated) = (Some(file), rotated);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to where to begin.
    pub(super) fn seek(&mut self, bytes: u64) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            // Who follows a FIFO writes to it as well, so that it never ends.
            let mut options = OpenOptions::new();
            let path = self.path.as_deref().unwrap_or(Path::new("-"));
            self.file = Some(options.read(true).write(self.follows).open(path)?);
            return Ok(());
        };
        match self.is_file {
            true => file.seek(SeekFrom::Start(bytes)).map(drop),
            false => Ok(()),
        }
    }

    /// The place behind so many bytes and lines.
    pub(super) fn position(&self, bytes: u64, lines: u64) -> io::Result<InputPosition> {
        match (&self.file, self.is_file) {
            (Some(file), true) => {
                FilePosition::of(&self.name, file, bytes, lines).map(InputPosition::File)
            }
            _ => Ok(InputPosition::Pipe),
        }
    }

    /// Reads what comes next, and waits for it where the input is followed. Blocks.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        loop {
            let Some(file) = &mut self.file else {
                return Ok(Got::End);
            };
            match file.read(buffer) {
                Ok(0) if !self.rotated.is_empty() => {}
                Ok(0) if !(self.follows && self.is_file) => return Ok(Got::End),
                Ok(0) => {}
                Ok(bytes) => return Ok(Got::Bytes(bytes)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(anew) = self.anew()? {
                return Ok(anew);
            }
            wait();
        }
    }

    /// Whether the file was cut, or another one has taken its place.
    fn anew(&mut self) -> io::Result<Option<Got>> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let about = file.metadata()?;
        let at = file.stream_position()?;
        if about.len() < at {
            file.seek(SeekFrom::Start(0))?;
            return Ok(Some(Got::Anew { was_cut: true }));
        }
        if let Some(next) = self.rotated.pop_front() {
            self.file = Some(File::open(next)?);
            return Ok(Some(Got::Anew { was_cut: false }));
        }
        let Some(path) = &self.path else {
            return Ok(None);
        };
        let now = match fs::metadata(path) {
            Ok(now) => now,
            // Between the one and the other.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Whoever wrote to the old one may have done so until now.
        let is_other = (now.ino(), now.dev()) != (about.ino(), about.dev());
        if !is_other || about.len() > at || !now.is_file() {
            return Ok(None);
        }
        self.file = Some(File::open(path)?);
        Ok(Some(Got::Anew { was_cut: false }))
    }
}

/// Files beside this one whose names go on where its own ends, as rotation leaves them, the oldest first.
fn rotated(path: &Path) -> io::Result<VecDeque<PathBuf>> {
    let (Some(folder), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Ok(VecDeque::new());
    };
    let folder = if folder == Path::new("") {
        Path::new(".")
    } else {
        folder
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let goes_on = file_name
            .to_str()
            .and_then(|other| other.strip_prefix(name));
        let about = entry.metadata()?;
        if goes_on.is_some_and(|rest| rest.starts_with(['.', '-'])) && about.is_file() {
            found.push((about.modified()?, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the input is read by a thread of its own, which no task waits for"
)]
fn wait() {
    std::thread::sleep(LOOK_EVERY);
}
