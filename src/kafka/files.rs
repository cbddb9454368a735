//! What properties name or hold: files, bounded in size, with a digest of what was in them; secrets, which nothing shows;
//! and values that begin or end oddly.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::properties::{Fault, Given};

/// A text that nothing shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Arc<str>);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text, for those who need it on the wire.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Reads the files that properties name, and keeps a digest of what was in them.
pub(super) struct Files {
    pub(super) digest: Context,
    pub(super) any: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self { digest: Context::new(&SHA256), any: false }
    }
}

/// The largest file, in bytes: a bundle of every public authority has about 230 KB.
const LARGEST_FILE: u64 = 1 << 20;
/// The most files of a folder that are looked at: a folder of every public authority has about 300.
const MOST_FILES: usize = 1_000;

impl Files {
    /// The bytes of a file. The error does not repeat its name: it is the value of a property.
    pub(super) fn read(&mut self, property: &str, path: &str) -> Result<Vec<u8>, Fault> {
        self.any = true;
        let bytes = read(std::path::Path::new(path)).map_err(|why| Fault::new(property, why))?;
        self.digest.update(&(bytes.len() as u64).to_le_bytes());
        self.digest.update(&bytes);
        Ok(bytes)
    }

    /// The bytes of a file, or of all files of a folder, one after the other, in the order of their names.
    pub(super) fn read_all(&mut self, property: &str, path: &str) -> Result<Vec<u8>, Fault> {
        if !std::path::Path::new(path).is_dir() {
            return self.read(property, path);
        }
        self.any = true;
        let entries = std::fs::read_dir(path).map_err(|why| Fault::new(property, sentence(&why)))?;
        let mut names: Vec<_> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
        names.sort();
        names.truncate(MOST_FILES);
        let mut all = Vec::new();
        for name in names {
            // What can't be read in a folder is no authority; there may be a README.
            let Ok(bytes) = read(&name) else { continue };
            if bytes.windows(10).any(|window| window == b"-----BEGIN") {
                all.extend(bytes);
                all.push(b'\n');
            }
        }
        self.digest.update(&all);
        Ok(all)
    }

    pub(super) fn finish(mut self, given: &Given) -> ring::digest::Digest {
        given.digest(&mut self.digest);
        self.digest.finish()
    }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|why| sentence(&why))?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|why| sentence(&why))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("the file is larger than {} MiB", LARGEST_FILE >> 20));
    }
    Ok(bytes)
}

fn sentence(why: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match why.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "this process may not read the file".to_owned(),
        ErrorKind::IsADirectory => "it is a folder, and must be a file".to_owned(),
        _ => format!("the file can't be read: {why}"),
    }
}

/// What is odd about how a value begins or ends, where it may be why it is refused.
pub(super) fn odd_ending(value: &str) -> Option<&'static str> {
    if value.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if value.ends_with(['\n', '\r']) {
        Some("ends with a line break")
    } else if value.ends_with(char::is_whitespace) {
        Some("ends with a blank")
    } else if value.starts_with(char::is_whitespace) {
        Some("begins with a blank")
    } else if value.len() > 1 && value.starts_with(['"', '\'']) && value.ends_with(['"', '\'']) {
        Some("is in quotation marks")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_endings_are_seen() {
        for (value, expected) in [
            ("hunter2", None),
            ("hunter 2", None),
            ("\u{feff}hunter2", Some("begins with a byte order mark")),
            ("hunter2\n", Some("ends with a line break")),
            ("hunter2\r", Some("ends with a line break")),
            ("hunter2 ", Some("ends with a blank")),
            (" hunter2", Some("begins with a blank")),
            ("\"hunter2\"", Some("is in quotation marks")),
        ] {
            assert_eq!(odd_ending(value), expected, "{value:?}");
        }
    }
}
