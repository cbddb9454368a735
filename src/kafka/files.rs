//! Files that properties name, bounded in size, with a digest of their contents; secrets, which no output shows; and
//! hints at values with stray characters at either end.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::properties::{ParsedProperties, PropertyError};

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Arc<str>);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text, for sending it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Reads the files that properties name, and adds their contents to a digest.
pub(super) struct PropertyFiles {
    pub(super) digest: Context,
    pub(super) any: bool,
}

impl Default for PropertyFiles {
    fn default() -> Self {
        Self { digest: Context::new(&SHA256), any: false }
    }
}

/// The largest file, in bytes: a bundle of all public authorities has about 230 KB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most files of a folder that are read: a folder of all public authorities has about 300.
const MAX_FILES: usize = 1_000;

impl PropertyFiles {
    /// The bytes of a file. The error does not repeat the path, because it is the value of a property.
    pub(super) fn read(&mut self, property: &str, path: &str) -> Result<Vec<u8>, PropertyError> {
        self.any = true;
        let bytes = read(std::path::Path::new(path)).map_err(|why| PropertyError::new(property, why))?;
        self.digest.update(&(bytes.len() as u64).to_le_bytes());
        self.digest.update(&bytes);
        Ok(bytes)
    }

    /// The bytes of a file, or of all files of a folder, in the order of their names.
    pub(super) fn read_all(&mut self, property: &str, path: &str) -> Result<Vec<u8>, PropertyError> {
        if !std::path::Path::new(path).is_dir() {
            return self.read(property, path);
        }
        self.any = true;
        let entries = std::fs::read_dir(path).map_err(|why| PropertyError::new(property, sentence(&why)))?;
        let mut names: Vec<_> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
        names.sort();
        names.truncate(MAX_FILES);
        let mut all = Vec::new();
        for name in names {
            // Other files may be in the folder, such as a README.
            let Ok(bytes) = read(&name) else { continue };
            if bytes.windows(10).any(|window| window == b"-----BEGIN") {
                all.extend(bytes);
                all.push(b'\n');
            }
        }
        self.digest.update(&all);
        Ok(all)
    }

    pub(super) fn finish(mut self, given: &ParsedProperties) -> ring::digest::Digest {
        given.digest(&mut self.digest);
        self.digest.finish()
    }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|why| sentence(&why))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|why| sentence(&why))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20));
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

/// The stray character at either end of a value, which may be why it is refused.
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
