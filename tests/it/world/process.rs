//! Child processes that always end: with their handle, with the test binary, and even when that is killed with SIGKILL.
//!
//! Each process leads a group of its own. A small shell, the reaper, reads the groups from a pipe that only this binary can write to:
//! the pipe ends when the binary does, and then the reaper kills what is left.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A running process and its group. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = open_log(log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::start_with_own_output(name, command, log)
    }

    /// Starts `command` with only its stderr in `log`: stdout is for the caller to read, from [`Process::child`].
    pub(crate) fn start_with_stdout(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(open_log(log)?);
        Self::start_with_own_output(name, command, log)
    }

    /// Starts `command` on a terminal, which is its stdin, its stdout and its stderr.
    pub(crate) fn start_on_terminal(name: &str, command: &mut Command, terminal: &OwnedFd) -> anyhow::Result<Self> {
        let side = || anyhow::Ok(Stdio::from(terminal.try_clone()?));
        command.stdin(side()?).stdout(side()?).stderr(side()?);
        Self::spawn(name, command, Path::new("what was drawn"))
    }

    fn start_with_own_output(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::spawn(name, command.stdin(Stdio::null()), log)
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let reaper = Reaper::get();
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start {name} ({})", command.get_program().display()))?;
        reaper.tell("start", child.id());
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id, which is its group's as well.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its stdout.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal to the whole group. One that has ended already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// How it ended, or None while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if start.elapsed() > deadline {
                bail!("{} did not end within {deadline:?}; its log: {}", self.name, self.log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and after `grace` SIGKILL. Gives how it ended.
    pub(crate) fn stop(&mut self, grace: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(grace).unwrap_or_else(|_| self.kill())
    }

    /// SIGKILL to the whole group.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a child can be waited for")
    }

    /// An error with the end of its log if it has ended, to stop waiting for something that will never answer.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: {}", self.name, tail(&self.log)),
        }
    }

    /// Resident memory in bytes, as Linux counts it.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that its resident memory has been, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// The seconds of processor time that it has used; 0 once it has ended.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // utime and stime, in the ticks of sysconf(_SC_CLK_TCK), which is 100 on Linux.
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
        Reaper::get().tell("end", self.child.id());
    }
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("can't write {}", path.display()))
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(15)..].join("\n");
    format!("the end of {}:\n{last}", path.display())
}

struct Reaper(Mutex<Child>);

impl Reaper {
    fn get() -> &'static Self {
        static REAPER: OnceLock<Reaper> = OnceLock::new();
        REAPER.get_or_init(|| {
            let child = Command::new("sh")
                .args(["-c", Self::SCRIPT])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // A group of its own: Ctrl-C in the terminal must not end the reaper before its work.
                .process_group(0)
                .spawn()
                .expect("sh can be started");
            Self(Mutex::new(child))
        })
    }

    fn tell(&self, verb: &str, group: u32) {
        let mut reaper = self.0.lock().expect("nothing panics while it holds the pipe");
        let pipe = reaper.stdin.as_mut().expect("its stdin is a pipe");
        writeln!(pipe, "{verb} {group}").expect("the reaper reads until this process ends");
    }

    const SCRIPT: &str = r#"
        groups=" "
        while read -r verb group; do
            case $verb in
                start) groups="$groups$group " ;;
                end) groups="${groups%% $group *} ${groups#* $group }" ;;
            esac
        done
        for group in $groups; do kill -s KILL -- "-$group"; done
    "#;
}
