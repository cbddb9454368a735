//! A terminal for a program to draw on, and what it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::process::Process;

/// A terminal with a program on it.
pub(crate) struct Terminal {
    pub(crate) process: Process,
    pty: OpenptyResult,
    written: Arc<Mutex<Written>>,
}

/// What the program has written so far.
struct Written {
    bytes: Vec<u8>,
    parser: vt100::Parser,
}

impl Terminal {
    /// Starts a program on a terminal of so many lines and columns.
    pub(crate) fn start(name: &str, command: &mut Command, (lines, columns): (u16, u16)) -> Self {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let process = Process::start_on_terminal(name, command.env("TERM", "xterm-256color"), &pty.slave).unwrap();
        let [lines, columns] = [lines, columns].map(|count| NonZero::new(count).unwrap());
        let written = Written { bytes: Vec::new(), parser: vt100::Parser::new(lines, columns, 0) };
        let written = Arc::new(Mutex::new(written));
        let (into, mut master) = (Arc::clone(&written), File::from(pty.master.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = master.read(&mut buffer) {
                let mut into = into.lock().unwrap();
                into.bytes.extend(&buffer[..read]);
                into.parser.process(&buffer[..read]);
            }
        });
        Self { process, pty, written }
    }

    /// All that was written, with its escapes.
    pub(crate) fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap().bytes).into_owned()
    }

    /// What it shows now.
    pub(crate) fn screen(&self) -> vt100::Screen {
        self.written.lock().unwrap().parser.screen().clone()
    }

    /// How it treats what is typed.
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&self.pty.slave).unwrap()
    }

    pub(crate) fn type_in(&self, keys: &str) {
        File::from(self.pty.master.try_clone().unwrap()).write_all(keys.as_bytes()).unwrap();
    }
}
