//! What the demo, its workers and libraries write to stderr while the screen is in use: it would end up in the middle of the
//! screen, so it is kept and printed afterwards.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{dup, dup2_stderr, pipe};

/// Lines that are kept: the newest ones, several screens.
const LINES: usize = 200;

/// Stderr, as long as it is not put back. Clones share it.
#[derive(Clone)]
pub(super) struct KeptStderr {
    lines: Arc<Mutex<VecDeque<String>>>,
    original: Arc<Mutex<Option<OwnedFd>>>,
}

impl KeptStderr {
    /// Keeps from now on what is written to stderr, where that is a terminal.
    pub(super) fn begin() -> std::io::Result<Self> {
        let kept = Self { lines: Arc::default(), original: Arc::default() };
        if !std::io::stderr().is_terminal() {
            return Ok(kept);
        }
        let (reader, writer) = pipe()?;
        *kept.original.lock().unwrap_or_else(PoisonError::into_inner) = Some(dup(std::io::stderr())?);
        dup2_stderr(writer)?;
        let lines = Arc::clone(&kept.lines);
        // It ends when the last process that has this stderr ends.
        std::thread::Builder::new().name("demo-stderr".to_owned()).spawn(move || {
            for line in BufReader::new(File::from(reader)).split(b'\n').map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(String::from_utf8_lossy(&line).into_owned());
                if lines.len() > LINES {
                    lines.pop_front();
                }
            }
        })?;
        Ok(kept)
    }

    /// The newest line.
    pub(super) fn newest(&self) -> Option<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// Puts stderr back.
    pub(super) fn put_back(&self) {
        if let Some(original) = self.original.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Where it fails, what follows is not seen, and nothing can be said of it.
            let _ = dup2_stderr(original);
        }
    }

    /// Takes the lines that were kept.
    pub(super) fn take(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}
