//! `paceline recommend`

use clap::Args;

use super::Outcome;

/// What `recommend` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
}

pub(super) fn run(_arguments: Arguments) -> anyhow::Result<Outcome> {
    Ok(Outcome::Fine)
}
