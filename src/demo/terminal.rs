//! The terminal while the demo draws on it: taken over at the start, and given back however the demo ends.

use std::io::IsTerminal;
use std::panic::{set_hook, take_hook};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use ratatui::{DefaultTerminal, Frame};
use tokio_util::sync::CancellationToken;

use super::stderr::KeptStderr;

/// How soon the reader of keys notices that the demo has ended.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// The terminal, taken over until this is dropped.
pub(super) struct DemoTerminal {
    terminal: DefaultTerminal,
    stderr: KeptStderr,
    has_panicked: Arc<AtomicBool>,
    /// Ended by a key, a panic, or the end of the demo.
    end: CancellationToken,
}

impl DemoTerminal {
    /// Takes the terminal over. Nothing where stdout is none, or one that can't be drawn on. Ctrl-C and q cancel `end`, as a
    /// panic of any thread does.
    pub(super) fn enter(end: &CancellationToken) -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        if is_dumb || !std::io::stdout().is_terminal() {
            return None;
        }
        // Has a panic give the terminal back before its message is printed.
        let terminal = ratatui::try_init().ok()?;
        let Ok(stderr) = KeptStderr::begin() else {
            ratatui::restore();
            return None;
        };
        let has_panicked = Arc::<AtomicBool>::default();
        let (print, kept, panicked, ended) = (take_hook(), stderr.clone(), Arc::clone(&has_panicked), end.clone());
        set_hook(Box::new(move |panic| {
            kept.put_back();
            print(panic);
            panicked.store(true, Ordering::Relaxed);
            ended.cancel();
        }));
        let until = end.clone();
        // It waits for keys, and never longer than a moment.
        std::thread::spawn(move || read_keys(&until));
        Some(Self { terminal, stderr, has_panicked, end: end.clone() })
    }

    /// Draws on it, in its present size.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> std::io::Result<()> {
        self.terminal.draw(render).map(drop)
    }

    /// Whether a thread has panicked since.
    pub(super) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Relaxed)
    }

    /// The newest line that was written to stderr meanwhile.
    pub(super) fn newest_log_line(&self) -> Option<String> {
        self.stderr.newest()
    }
}

impl Drop for DemoTerminal {
    fn drop(&mut self) {
        self.end.cancel();
        ratatui::restore();
        self.stderr.put_back();
        drop(take_hook());
        for line in self.stderr.take() {
            eprintln!("{line}");
        }
    }
}

/// Reads keys until the demo ends. The terminal reports Ctrl-C as a key while it is taken over.
fn read_keys(end: &CancellationToken) {
    while !end.is_cancelled() {
        match poll(KEY_WAIT) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(event) = read() else { return };
        let Event::Key(key) = event else { continue };
        let is_end = match key.code {
            KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
            KeyCode::Char('q') | KeyCode::Esc => true,
            _ => false,
        };
        if is_end && key.kind == KeyEventKind::Press {
            end.cancel();
        }
    }
}
