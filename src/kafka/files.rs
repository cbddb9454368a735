//! Files that properties name, bounded in size, with a digest of their contents.

use std::io::Read;

use ring::digest::{Context, SHA256};

use super::properties::{ParsedProperties, PropertyError};

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
