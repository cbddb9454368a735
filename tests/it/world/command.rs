//! Paceline as a command that ends by itself: what it printed and how it ended.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// Its stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON: {error}: {self:?}"))
    }
}

/// Paceline with these arguments, without any settings of whoever runs the tests.
pub(crate) fn paceline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["RUST_LOG", "PACELINE_LOG_FORMAT", "PACELINE_BOOTSTRAP_SERVERS", "PACELINE_CONFIG"] {
        command.env_remove(name);
    }
    command.env("KUBECONFIG", "/nowhere").env_remove("KUBERNETES_SERVICE_HOST").env("HOME", "/nowhere");
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    run_with_stdin(command, "")
}

/// Runs a command to its end, with something to read.
pub(crate) fn run_with_stdin(command: &mut Command, stdin: &str) -> Ended {
    let start = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("paceline starts");
    // A command that reads nothing may have closed it already.
    let _ = child.stdin.take().expect("its stdin is a pipe").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("its output can be read");
    let text = |bytes| String::from_utf8(bytes).expect("the output is text");
    Ended {
        code: output.status.code().expect("it was not killed"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        took: start.elapsed(),
    }
}
