//! Embeds what `scripts/page.sh` has built, where it has. Cargo needs no npm: without it a program has a page that says what is
//! missing.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Each program's page lies in a folder of this name below `dist`.
const PROGRAMS: [&str; 2] = ["service", "generator"];

fn main() {
    let room = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = room.join("dist");
    println!("cargo:rerun-if-changed=build.rs");
    // The folder is always there, or a build without a page would count as changed each time.
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut code = String::new();
    for program in PROGRAMS {
        let files = files(&dist.join(program));
        let name = program.to_uppercase();
        let _ = writeln!(code, "static {name}: &[(&str, &[u8])] = &[");
        for file in files {
            let file_name = file.file_name().unwrap_or_default().to_string_lossy();
            let path = file.display().to_string();
            let _ = writeln!(code, "    ({file_name:?}, include_bytes!({path:?})),");
        }
        code.push_str("];\n");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("files.rs");
    if let Err(error) = fs::write(&out, code) {
        panic!("{}: {error}", out.display());
    }
}

/// The files of a page in the order of their names, or none where there is no whole page.
fn files(folder: &Path) -> Vec<PathBuf> {
    if !folder.join("index.html").is_file() {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}
