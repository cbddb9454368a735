//! `--record`: the file that keeps what is observed, for `replay`. It is opened once there is something to write, so that a
//! mistyped name or a cluster that can't be reached costs no file, and a file that exists is replaced only where that is
//! asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};

use super::target::GroupTarget;
use crate::cli::outcome::WrongInput;
use crate::core::{Observation, Pause, Workload};
use crate::kafka::ClusterSettings;
use crate::kubernetes::scaledconsumer::{PAUSED, PAUSED_REPLICAS, ScaledConsumerSpec};
use crate::replay::{Config, ObservationReader, ObservationRecorder, PolicySource};

/// Deadline of a poll: enough for ten answers in a row from brokers that take a second each.
const POLL_TIMEOUT: Duration = Duration::from_secs(20);

/// The time that a poll may take: at a terminal a slow answer is better than none.
pub(super) fn deadline(settings: &ClusterSettings) -> Duration {
    settings.deadline.max(POLL_TIMEOUT)
}

/// A recording, and whether its file has been begun.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    /// Whether an earlier recording is replaced.
    replaces: bool,
    config: Config,
    recorder: Option<ObservationRecorder<WholeLines>>,
    failure: RecordingFailure,
}

/// Why a recording ended early; empty while it has not. The recommendation is printed all the same.
pub(super) type RecordingFailure = Arc<OnceLock<String>>;

impl Recording {
    /// Checks that one group can be recorded into the file, and touches no file.
    pub(super) fn prepare(
        path: &Path,
        replaces: bool,
        targets: &[GroupTarget],
        poll: Duration,
    ) -> anyhow::Result<Self> {
        let [target] = targets else {
            let count = targets.len();
            let is_one_consumer =
                targets.iter().all(|it| (&it.namespace, &it.name) == (&targets[0].namespace, &targets[0].name));
            let why = if is_one_consumer && count > 0 {
                format!(
                    "--record keeps one source, and ScaledConsumer \"{}\" has {count}; choose one with --source",
                    targets[0].name
                )
            } else {
                format!("--record keeps one group, and there are {count} ScaledConsumers; name one of them")
            };
            return Err(WrongInput(why).into());
        };
        check_file(path, replaces)?;
        let (path, failure) = (path.to_owned(), RecordingFailure::default());
        Ok(Self { path, replaces, config: config(target, poll)?, recorder: None, failure })
    }

    /// Where the failure to write is found afterwards.
    pub(super) fn failure(&self) -> RecordingFailure {
        Arc::clone(&self.failure)
    }

    /// Writes an observation. After a failure nothing more is written.
    pub(super) fn write(&mut self, observation: &Observation, workload: &Workload) {
        let is_begun = self.recorder.is_some();
        if self.failure.get().is_some() || (!is_begun && observation.failure.is_some()) {
            return;
        }
        if let Err(error) = self.try_write(observation, workload) {
            let what = if is_begun { "; what was recorded before is kept" } else { "" };
            // It is set here only, and once.
            let _ = self.failure.set(format!("Can't write {}: {error}{what}", self.path.display()));
        }
    }

    fn try_write(&mut self, observation: &Observation, workload: &Workload) -> io::Result<()> {
        let recorder = match &mut self.recorder {
            Some(recorder) => recorder,
            None => {
                let file = open(&self.path, self.replaces)?;
                self.recorder.insert(ObservationRecorder::begin(WholeLines { file, length: 0 }, &self.config)?)
            }
        };
        recorder.write_observation(observation, workload)
    }
}

/// A file that holds whole lines only, even after a write that failed half-way.
#[derive(Debug)]
struct WholeLines {
    file: File,
    length: u64,
}

impl Write for WholeLines {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.file.write_all(line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(line.len())
            }
            Err(error) => {
                // The first error is the one to report. A pipe or a device has no length.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens the file to write from its beginning. What is no regular file, such as a pipe, has nothing to lose.
fn open(path: &Path, replaces: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => options.open(path),
        Ok(_) if replaces => options.truncate(true).open(path),
        // It was not there when it was checked.
        Ok(_) | Err(_) => options.create_new(true).open(path),
    }
}

/// A file that exists is replaced only where that is asked for, and only if it is a recording.
fn check_file(path: &Path, replaces: bool) -> Result<(), WrongInput> {
    let wrong = |why: String| WrongInput(format!("--record {}: {why}", path.display()));
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(wrong("is a folder; name a file".to_owned())),
        Ok(metadata) if metadata.is_file() && !replaces => {
            Err(wrong("exists; name another file, or replace it with --force".to_owned()))
        }
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
            let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
            let is_recording = ObservationReader::new(BufReader::new(file)).config().is_ok();
            let why = || wrong("exists and is not a recording; name another file".to_owned());
            if is_recording { Ok(()) } else { Err(why()) }
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_none_or(Path::is_dir) { Ok(()) } else { Err(wrong("its folder does not exist".to_owned())) }
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn config(target: &GroupTarget, poll: Duration) -> anyhow::Result<Config> {
    let policy = match &target.spec {
        None => PolicySource::Policy(Box::new(target.policy.clone())),
        Some(spec) => PolicySource::Spec {
            spec: serde_json::from_value(serde_json::to_value(match target.source.as_deref() {
                Some(source) => spec.of_source(source),
                None => ScaledConsumerSpec::clone(spec),
            })?)?,
            annotations: annotations(target.policy.pause),
        },
    };
    let deadline = deadline(&target.cluster);
    Ok(Config { consumer_group: target.query.group.clone(), poll, deadline, policy })
}

/// The annotations that make this pause.
fn annotations(pause: Option<Pause>) -> Map<String, Value> {
    let annotation = match pause {
        None => None,
        Some(Pause::AsIs) => Some((PAUSED, "true".to_owned())),
        Some(Pause::At(replicas)) => Some((PAUSED_REPLICAS, replicas.0.to_string())),
    };
    annotation.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}
