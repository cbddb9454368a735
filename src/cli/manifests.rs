//! ScaledConsumers from the files and folders that a command names.

use std::path::{Path, PathBuf};

use super::outcome::WrongInput;
use super::output::print_problem;
use crate::kubernetes::scaledconsumer::manifest::{self, API_VERSION, KIND, Manifests};
use crate::yaml::{self, Invalid, Problem, Source};

/// Reads files and folders; `-` is stdin. Fails where anything is wrong.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Manifests> {
    let (found, problems) = read_all(paths);
    if !problems.is_empty() {
        return Err(Invalid(problems).into());
    }
    some(found, paths)
}

/// The same where one wrong object does not hide the others: prints what is wrong. Returns whether something is. Fails
/// where nothing is left.
pub(super) fn read_valid(paths: &[PathBuf]) -> anyhow::Result<(Manifests, bool)> {
    let (found, problems) = read_all(paths);
    let is_broken = !problems.is_empty();
    if found.consumers.is_empty() && is_broken {
        return Err(Invalid(problems).into());
    }
    problems.iter().for_each(print_problem);
    Ok((some(found, paths)?, is_broken))
}

/// Reads all there is, with all that is wrong.
pub(super) fn read_all(paths: &[PathBuf]) -> (Manifests, Vec<Problem>) {
    let (mut all, mut problems) = (Manifests::default(), Vec::new());
    for path in paths {
        for source in sources(path) {
            match source {
                Ok(source) => {
                    let (found, more) = manifest::read(&source);
                    all.consumers.extend(found.consumers);
                    all.places.extend(found.places);
                    all.notes.extend(found.notes);
                    problems.extend(more);
                }
                Err(problem) => problems.push(problem),
            }
        }
    }
    (all, problems)
}

/// Fails where there is no ScaledConsumer.
pub(super) fn some(found: Manifests, paths: &[PathBuf]) -> anyhow::Result<Manifests> {
    if !found.consumers.is_empty() {
        return Ok(found);
    }
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let why = format!(
        "No {KIND} in {}; a manifest starts with\n  apiVersion: {API_VERSION}\n  kind: {KIND}",
        names.join(", ")
    );
    Err(WrongInput([found.notes, vec![why]].concat().join("\n")).into())
}

/// What a path stands for: stdin, a file, or all files of a folder.
fn sources(path: &Path) -> Vec<Result<Source, Problem>> {
    let unreadable = |path: &Path, error| Problem::of_file(path, None, format!("can't be read: {error}"));
    if path == Path::new("-") {
        let name = "<stdin>";
        let read = Source::from_reader(name.to_owned(), std::io::stdin().lock());
        return vec![read.map_err(|error| unreadable(Path::new(name), error))];
    }
    let read = |file: &Path| Source::read(file).map_err(|error| unreadable(file, error));
    if !path.is_dir() {
        return vec![read(path)];
    }
    match yaml::files(path) {
        Ok(files) if files.is_empty() => {
            let why = "has no file whose name ends in .yaml, .yml or .json";
            vec![Err(Problem::of_file(path, None, why.to_owned()))]
        }
        Ok(files) => files.iter().map(|file| read(file)).collect(),
        Err(error) => vec![Err(unreadable(path, error))],
    }
}
