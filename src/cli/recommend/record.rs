//! Keeping what is seen, for `replay`: the configuration first, then each observation as soon as it is there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value};

use super::subjects::Subject;
use crate::cli::WrongInput;
use crate::core::{Observation, Pause, Workload};
use crate::kubernetes::scaledconsumer::resource::{PAUSED, PAUSED_REPLICAS};
use crate::replay::{Asked, Config, Recorder};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    recorder: Recorder<File>,
}

/// Begins a file, where one is asked for, for the one subject that there is.
pub(super) fn open(path: Option<&Path>, subjects: &[Subject], poll: Duration) -> anyhow::Result<Option<Record>> {
    let Some(path) = path else { return Ok(None) };
    let [subject] = subjects else {
        let count = subjects.len();
        let why = format!("--record keeps one group, and there are {count} ScaledConsumers; name one of them");
        return Err(WrongInput(why).into());
    };
    let file = File::create(path).map_err(|error| WrongInput(format!("Can't write {}: {error}", path.display())))?;
    let recorder = Recorder::begin(file, &config(subject, poll)?).with_context(|| cant_write(path))?;
    Ok(Some(Record { path: path.to_owned(), recorder }))
}

impl Record {
    pub(super) fn note(&mut self, seen: &Observation, workload: &Workload) -> anyhow::Result<()> {
        self.recorder.note(seen, workload).with_context(|| cant_write(&self.path))
    }
}

fn cant_write(path: &Path) -> String {
    format!("Can't write {}", path.display())
}

fn config(subject: &Subject, poll: Duration) -> anyhow::Result<Config> {
    let asked = match &subject.spec {
        None => Asked::Policy(Box::new(subject.policy.clone())),
        Some(spec) => Asked::Spec {
            spec: serde_json::from_value(serde_json::to_value(&**spec)?)?,
            annotations: annotations(subject.policy.pause),
        },
    };
    Ok(Config { consumer_group: subject.query.group.clone(), poll, asked })
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
