//! The pages that both programs show at `/`. They are made of JavaScript by `scripts/page.sh`, which needs npm; cargo embeds
//! what that has built, and nothing else of npm's is needed to build or to run a program.

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What a page may do: load what comes from here, ask whom it came from, and nothing else. No script and no style in the text,
/// so that nothing that was stored can become one.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Of files: their names have a hash of what is in them.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Of the page itself, which names those files: whoever has it asks each time whether it is still the same.
const NOT_UNASKED: &str = "no-cache";

/// The page itself.
pub const INDEX: &str = "index.html";

/// Whose page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Service,
    Generator,
}

/// A file of a page.
#[derive(Clone, Copy, Debug)]
pub struct File {
    pub content_type: &'static str,
    /// How long a browser may keep it.
    pub cache_control: &'static str,
    pub bytes: &'static [u8],
}

impl Program {
    fn files(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            Self::Service => SERVICE,
            Self::Generator => GENERATOR,
        }
    }

    /// Whether the page was there when the program was built.
    #[must_use]
    pub fn has_page(self) -> bool {
        !self.files().is_empty()
    }

    /// What stands at `/`: the page, or one that says what is missing.
    #[must_use]
    pub fn index(self) -> File {
        let missing: &[u8] = match self {
            Self::Service => include_bytes!("missing-service.html"),
            Self::Generator => include_bytes!("missing-generator.html"),
        };
        File {
            content_type: content_type(INDEX),
            cache_control: NOT_UNASKED,
            bytes: self.find(INDEX).unwrap_or(missing),
        }
    }

    /// A file by its name.
    #[must_use]
    pub fn file(self, name: &str) -> Option<File> {
        if name == INDEX {
            return Some(self.index());
        }
        Some(File {
            content_type: content_type(name),
            cache_control: FOR_EVER,
            bytes: self.find(name)?,
        })
    }

    fn find(self, name: &str) -> Option<&'static [u8]> {
        let found = self.files().iter().find(|(file, _)| *file == name);
        found.map(|(_, bytes)| *bytes)
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_something_to_show_whether_its_page_was_built_or_not() {
        for program in [Program::Service, Program::Generator] {
            let index = program.index();
            let text = std::str::from_utf8(index.bytes).expect("UTF-8");
            assert!(text.contains("<title>"), "{program:?}");
            assert_eq!(index.content_type, "text/html; charset=utf-8");
            assert!(program.file("../Cargo.toml").is_none());
        }
    }

    #[test]
    fn a_page_names_only_files_that_there_are() {
        for program in [Program::Service, Program::Generator] {
            let text = String::from_utf8_lossy(program.index().bytes).into_owned();
            for part in text.split("\"/page/").skip(1) {
                let name = part.split('"').next().unwrap_or_default();
                assert!(program.file(name).is_some(), "{program:?}: {name}");
            }
        }
    }
}
