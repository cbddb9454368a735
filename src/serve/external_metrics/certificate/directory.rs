//! A serving certificate in files, such as a Secret of cert-manager that is mounted: `tls.crt` and `tls.key` in a
//! directory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{KeyPair, ServedCertificate};

/// Interval of reads of the files. The kubelet itself takes about a minute to update a Secret. A file watch would have
/// to follow the symbolic links that the kubelet swaps.
const INTERVAL: Duration = Duration::from_secs(10);
/// Largest file that is read, in bytes: the size limit of a Secret.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Serves the pair in `directory` as it changes, until `stop`.
pub async fn follow_directory(directory: PathBuf, served: ServedCertificate, stop: CancellationToken) {
    loop {
        read_directory(&directory, &served);
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Reads the files once. Missing files, and files that do not match because they are being written, change nothing.
pub fn read_directory(directory: &Path, served: &ServedCertificate) {
    if let Err(error) = read(directory).and_then(|pair| served.serve(pair).map_err(|error| error.to_string()))
        && served.set_problem(format!("The serving certificate in {} can't be used: {error}.", directory.display()))
    {
        warn!(directory = %directory.display(), error, "The serving certificate can't be used; retrying.");
    }
}

fn read(directory: &Path) -> Result<KeyPair, String> {
    let text = |name: &str| text(&directory.join(name)).map_err(|error| format!("can't read {name}: {error}"));
    Ok(KeyPair { certificate_chain_pem: text("tls.crt")?, private_key_pem: text("tls.key")? })
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
