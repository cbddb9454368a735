//! ScaledConsumers from the files that a command names.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::outcome::WrongInput;
use crate::kubernetes::scaledconsumer::manifest::{API_VERSION, KIND, Manifests, parse};
use crate::yaml::{Invalid, Source};

/// Reads files; `-` is stdin.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Manifests> {
    let mut all = Manifests::default();
    let mut problems = Vec::new();
    for file in files {
        match parse(&open(file)?) {
            Ok(Manifests { consumers, places, notes }) => {
                all.consumers.extend(consumers);
                all.places.extend(places);
                all.notes.extend(notes);
            }
            Err(Invalid(more)) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(Invalid(problems).into());
    }
    if all.consumers.is_empty() {
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let why = format!(
            "No {KIND} in {}; a manifest starts with\n  apiVersion: {API_VERSION}\n  kind: {KIND}",
            names.join(", ")
        );
        return Err(WrongInput([all.notes, vec![why]].concat().join("\n")).into());
    }
    Ok(all)
}

fn open(file: &Path) -> anyhow::Result<Source> {
    if file == Path::new("-") {
        return Source::from_reader("<stdin>".to_owned(), std::io::stdin().lock()).context("Can't read stdin");
    }
    Source::read(file)
        .map_err(|error| WrongInput(format!("Can't read the manifest {}: {error}", file.display())).into())
}
