//! `paceline validate`: what is wrong with manifests, as the API server would say it, with file, line and field.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::manifests;
use super::outcome::Outcome;
use super::output::{Output, print, print_problem};
use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::manifest::Manifests;
use crate::yaml::Problem;

const EXAMPLES: &str = "Examples:
  A file, or all files of a folder:
    paceline validate orders.yaml
    paceline validate manifests/
  What Helm or kustomize makes:
    helm template shop | paceline validate -
  What is in the cluster:
    kubectl get scaledconsumers -A -o yaml | paceline validate -";

/// What `validate` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ValidateArguments {
    /// Manifests, or folders of them; `-` reads stdin. Documents of other kinds are passed over.
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct ValidationReport<'a> {
    /// ScaledConsumers without a problem.
    valid: usize,
    problems: Vec<ProblemReport<'a>>,
}

#[derive(Debug, Serialize)]
struct ProblemReport<'a> {
    file: &'a str,
    line: Option<usize>,
    field: &'a str,
    message: &'a str,
}

pub(super) fn run(arguments: &ValidateArguments) -> anyhow::Result<Outcome> {
    let (found, mut problems) = manifests::read_all(&arguments.paths);
    let found = if problems.is_empty() { manifests::some(found, &arguments.paths)? } else { found };
    let repeated = repeated(&found);
    let valid = found.consumers.len() - repeated.len();
    problems.extend(repeated);
    match arguments.output {
        Output::Table => {
            found.notes.iter().for_each(|note| eprintln!("note: {note}"));
            problems.iter().for_each(print_problem);
            print(&(summary(valid, problems.len()) + "\n"))?;
        }
        Output::Json => {
            let problems = problems.iter().map(|Problem { file, line, field, message, excerpt: _ }| ProblemReport {
                file,
                line: *line,
                field,
                message,
            });
            let report = ValidationReport { valid, problems: problems.collect() };
            print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        }
    }
    Ok(if problems.is_empty() { Outcome::Fine } else { Outcome::Invalid })
}

/// The ScaledConsumers with the name of an earlier one: applied, the later one replaces it.
fn repeated(found: &Manifests) -> Vec<Problem> {
    let mut first: BTreeMap<Key, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (consumer, place) in found.consumers.iter().zip(&found.places) {
        let key = consumer.key();
        let Some(before) = first.get(&key) else {
            first.insert(key, place);
            continue;
        };
        let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
        problems.push(Problem {
            file: file.to_owned(),
            line: line.parse().ok(),
            field: "metadata.name".to_owned(),
            message: format!(
                "ScaledConsumer \"{}\" in namespace \"{}\" is defined at {before} already; rename or remove one of the two",
                key.name, key.namespace
            ),
            excerpt: None,
        });
    }
    problems
}

fn summary(valid: usize, problems: usize) -> String {
    let fine = match valid {
        0 => "No ScaledConsumer is valid".to_owned(),
        1 => "1 ScaledConsumer is valid".to_owned(),
        count => format!("{count} ScaledConsumers are valid"),
    };
    match problems {
        0 => format!("{fine}."),
        1 => format!("{fine}; 1 problem was found."),
        count => format!("{fine}; {count} problems were found."),
    }
}
