//! A serving certificate in files, such as a mounted Secret of cert-manager's: `tls.crt` and `tls.key` in a directory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::KeyPair;

/// How often the files are looked at. The kubelet itself takes about a minute to bring a changed Secret, and certificates
/// are renewed weeks ahead, so this adds nothing; a watch would have to follow the kubelet's swapped symbolic links.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The largest file that is read, in bytes: as large as a whole Secret can be.
const LARGEST: u64 = 1 << 20;

/// Sends the pair in `directory` at the start and whenever it has changed, until `stop`.
pub async fn follow(directory: PathBuf, pairs: watch::Sender<Option<Arc<KeyPair>>>, stop: CancellationToken) {
    let mut complaint = None;
    loop {
        look(&directory, &pairs, &mut complaint);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Looks once. Files that are not there, or don't fit each other because they are being written, change nothing: they
/// are told once, and looked at again.
pub fn look(directory: &Path, pairs: &watch::Sender<Option<Arc<KeyPair>>>, complaint: &mut Option<String>) {
    let pair = match read(directory) {
        Ok(pair) => pair,
        Err(error) => return complain(directory, error, complaint),
    };
    if pairs.borrow().as_deref() == Some(&pair) {
        *complaint = None;
        return;
    }
    match pair.check() {
        Ok(()) => {
            *complaint = None;
            pairs.send_replace(Some(Arc::new(pair)));
        }
        Err(error) => complain(directory, error.to_string(), complaint),
    }
}

fn read(directory: &Path) -> Result<KeyPair, String> {
    let text = |name: &str| text(&directory.join(name)).map_err(|error| format!("can't read {name}: {error}"));
    Ok(KeyPair { certificate_chain_pem: text("tls.crt")?, private_key_pem: text("tls.key")? })
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn complain(directory: &Path, error: String, complaint: &mut Option<String>) {
    if complaint.as_ref() != Some(&error) {
        warn!(directory = %directory.display(), error, "The serving certificate can't be used; looking again soon.");
        *complaint = Some(error);
    }
}
