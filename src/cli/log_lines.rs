//! The lines of the log: each event is one line, and no name in it does anything to a terminal.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::core::{is_hidden, printable_text};

/// The message and the fields of a line for people, with all values escaped.
pub(super) fn text_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(text_field).delimited(" ")
}

fn text_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = printable_text(&value);
    match field.name() {
        "message" => write!(writer, "{value}"),
        // Italic, and dim, where the terminal has that.
        name if writer.has_ansi_escapes() => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

/// Writes lines of JSON. Characters that are not seen in a terminal become JSON's escapes, so a program reads the names as
/// they are.
#[derive(Debug)]
pub(super) struct JsonWriter<W>(pub(super) W);

impl<W: Write> Write for JsonWriter<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(&String::from_utf8_lossy(text)).as_bytes())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Escapes what can be within texts only: outside of them JSON has no such characters but line breaks.
fn escaped(json: &str) -> Cow<'_, str> {
    let is_wrong = |c: char| is_hidden(c) && c != '\n';
    if !json.contains(is_wrong) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_wrong(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, Registry, fmt};

    use super::*;

    /// A name that forges a line, clears the screen, and turns the direction of what follows.
    const HOSTILE: &str = "a\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{202e}<b>\u{9b}2J\u{e0041}\u{7f}";
    const SHOWN: &str = "a\\n2026-01-01T00:00:00Z ERROR forged\\u{1b}[2J\\u{202e}<b>\\u{9b}2J\\u{e0041}\\u{7f}";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn log(layer: impl Layer<Registry> + Send + Sync + 'static, written: &Written) -> String {
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::warn!(shown = %HOSTILE, text = HOSTILE, lag = 5_u64, missing = None::<u64>, "Read {HOSTILE}.");
        });
        String::from_utf8(written.0.lock().expect("not poisoned").clone()).expect("text")
    }

    #[test]
    fn an_event_is_one_line_for_people_whatever_is_in_it() {
        for is_ansi in [false, true] {
            let written = Written::default();
            let layer = fmt::layer().with_writer(written.clone()).with_ansi(is_ansi).fmt_fields(text_fields());
            let line = log(layer, &written);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let plain = ["\u{1b}[0m", "\u{1b}[2m", "\u{1b}[3m", "\u{1b}[33m"];
            let line = plain.iter().fold(line, |line, own| line.replace(own, ""));
            assert!(!line.trim_end_matches('\n').contains(is_hidden), "{line:?}");
            let fields = format!(": Read {SHOWN}. shown={SHOWN} text=\"{SHOWN}\" lag=5\n");
            assert!(line.ends_with(&fields), "{line}\n{fields}");
        }
    }

    #[test]
    fn a_program_reads_the_names_as_they_are() {
        let written = Written::default();
        let writer = written.clone();
        let layer = fmt::layer().json().flatten_event(true).with_writer(move || JsonWriter(writer.clone()));
        let line = log(layer, &written);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.trim_end_matches('\n').contains(is_hidden), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&read["shown"], &read["text"], &read["lag"]), (&HOSTILE.into(), &HOSTILE.into(), &5.into()));
    }
}
