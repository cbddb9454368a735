//! `paceline version`: which version this is, of which commit, and which version of the CRD it reads and writes.

use clap::Args;
use serde::Serialize;

use super::outcome::Outcome;
use super::output::{Output, print};
use crate::kubernetes::scaledconsumer::manifest::API_VERSION;

const EXAMPLES: &str = "Examples:
  What to write into a bug report:
    paceline version
  The same for a program:
    paceline version -o json";

/// What `version` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VersionArguments {
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// The commit that this was built from. A build says it by an environment variable, so that it needs neither git nor a
/// repository.
const COMMIT: Option<&str> = option_env!("PACELINE_GIT_COMMIT");

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionReport {
    version: &'static str,
    /// Null where the build did not say it.
    git_commit: Option<&'static str>,
    crd_version: &'static str,
}

pub(super) fn run(arguments: &VersionArguments) -> anyhow::Result<Outcome> {
    let report = VersionReport {
        version: env!("CARGO_PKG_VERSION"),
        git_commit: COMMIT.filter(|commit| !commit.is_empty()),
        crd_version: API_VERSION,
    };
    print(&match arguments.output {
        Output::Table => {
            let commit = report.git_commit.map_or(String::new(), |commit| format!(" (commit {commit})"));
            format!("paceline {}{commit}\nScaledConsumer {}\n", report.version, report.crd_version)
        }
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    })?;
    Ok(Outcome::Fine)
}
