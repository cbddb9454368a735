//! `paceline replay`: observations in as JSON lines, decisions out. Each decision is written before the next line is read,
//! so that another program can drive the engine over a pipe.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::outcome::{Outcome, WrongInput};
use crate::core::{Engine, Observation, Policy, Unknown};
use crate::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerSpec, validate};
use crate::replay::{Config, ObservationReader, PolicySource, ReadError, write_decision};

const EXAMPLES: &str = "Examples:
  Decide again on what was recorded:
    paceline recommend --bootstrap-servers localhost:9092 --group orders --current 3 --record orders.jsonl
    paceline replay orders.jsonl
  Drive the engine from a program of your own: write a line, read a line
    my-simulator | paceline replay";

/// What `replay` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArguments {
    /// JSON lines: the configuration first, then observations. Without it, or with `-`, they come from stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: &ReplayArguments) -> anyhow::Result<Outcome> {
    match arguments.file.as_deref().filter(|file| *file != Path::new("-")) {
        None => replay("<stdin>", std::io::stdin().lock()),
        Some(file) => {
            let name = file.display().to_string();
            let open = File::open(file).map_err(|error| WrongInput(format!("Can't read {name}: {error}")))?;
            replay(&name, BufReader::new(open))
        }
    }
}

fn replay(name: &str, input: impl BufRead) -> anyhow::Result<Outcome> {
    let mut reader = ObservationReader::new(input);
    let config = reader.config().map_err(|error| with_name(name, error))?;
    let mut engine = Engine::new(policy(&config).map_err(|why| WrongInput(format!("{name}:1: {why}")))?);
    let mut seen = Observation::failed(&config.consumer_group, Duration::ZERO, Unknown::NotReadYet);
    let (mut output, mut line) = (std::io::stdout().lock(), Vec::new());
    while let Some(workload) = reader.next(&mut seen).map_err(|error| with_name(name, error))? {
        let decision = engine.observe(&seen, workload);
        line.clear();
        write_decision(&decision, &mut line)?;
        match output.write_all(&line).and_then(|()| output.flush()) {
            Ok(()) => {}
            // A reader that went away (`| head`) is no error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error).context("Can't write to stdout"),
        }
    }
    Ok(Outcome::Fine)
}

fn with_name(name: &str, error: ReadError) -> anyhow::Error {
    match error {
        ReadError::Malformed { line, wrong } => WrongInput(format!("{name}:{line}: {wrong}")).into(),
        ReadError::Io(error) => anyhow::Error::new(error).context(format!("Can't read {name}")),
    }
}

/// The policy of the first line. The error names the field.
fn policy(config: &Config) -> Result<Policy, String> {
    match &config.policy {
        PolicySource::Policy(policy) => Ok((**policy).clone()),
        PolicySource::Spec { spec, annotations } => of_spec(config, spec, annotations),
    }
}

fn of_spec(config: &Config, spec: &Map<String, Value>, annotations: &Map<String, Value>) -> Result<Policy, String> {
    let object = serde_json::json!({ "spec": spec, "annotations": annotations });
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let SpecObject { spec, annotations } =
        serde_path_to_error::deserialize(serde_ignored::Deserializer::new(&object, &mut note))
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
    if let Some(field) = unknown.first() {
        return Err(format!("{field}: unknown field"));
    }
    let mut object = ScaledConsumer::new("replay", spec);
    object.metadata.annotations = Some(annotations);
    let validated = validate(&object).map_err(|invalid| invalid.to_string())?;
    let Some(source) = validated.sources.only() else {
        return Err("spec.sources: a recording has one source; give it as spec.kafka, with its policy".to_owned());
    };
    Ok(Policy { max_observation_gap: config.max_observation_gap(), ..source.policy.clone() })
}

#[derive(Deserialize)]
struct SpecObject {
    spec: ScaledConsumerSpec,
    annotations: BTreeMap<String, String>,
}
