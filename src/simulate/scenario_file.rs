//! Reads scenarios. Errors name file, line and field; a scenario that was read is valid.

mod check;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::recorded::{Rates, Trace};
use super::scenario::Scenario;
use crate::yaml::{Invalid, Problem, Source, path};

/// Reads a scenario from its file.
pub fn read(file: &Path) -> Result<Scenario, Invalid> {
    let source = Source::read(file)
        .map_err(|error| Invalid(vec![Problem::of_file(file, None, format!("can't be read: {error}"))]))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&source, &stem, file.parent().unwrap_or(Path::new("")))
}

/// Parses a scenario from text. `name` is used where the text has none; `folder` is the base of relative paths.
pub fn parse(source: &Source, name: &str, folder: &Path) -> Result<Scenario, Invalid> {
    let schema = schemars::schema_for!(Scenario).to_value();
    let documents = source.documents()?;
    let document = documents.first();
    let mut scenario: Scenario = document.map(|it| it.parse(&[], &schema, &[])).transpose()?.unwrap_or_default();
    if scenario.name.is_empty() {
        name.clone_into(&mut scenario.name);
    }
    let length = load(&mut scenario, folder)?;
    if let Some(length) = length.filter(|_| !document.is_some_and(|it| it.has(&path("duration")))) {
        scenario.duration = length;
    }
    // Without a document every value is a default, and those are right.
    document.map_or(Ok(()), |document| check::check(document, &scenario))?;
    Ok(scenario)
}

/// Reads the files that the scenario names; a recording has its own topics. Returns their length in time.
fn load(scenario: &mut Scenario, folder: &Path) -> Result<Option<Duration>, Invalid> {
    let mut length = None;
    if let Some(file) = &scenario.arrival.csv {
        let rates = Rates::read(&folder.join(file))?;
        length = Some(rates.length());
        scenario.rates = Some(Arc::new(rates));
    }
    if let Some(file) = &scenario.arrival.trace {
        let (trace, topics) = Trace::read(&folder.join(file))?;
        length = Some(trace.length());
        (scenario.recording, scenario.topics) = (Some(Arc::new(trace)), topics);
    }
    Ok(length.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}
