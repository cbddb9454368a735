//! How a command ended, and which failures are the user's input.

use crate::config::ConfigurationError;
use crate::yaml::Invalid;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Fine,
    /// Part of the work failed; what failed has been printed.
    Partly,
    /// What the user gave is wrong; what is wrong has been printed.
    Invalid,
    /// `--fail-on` found what it names.
    Found,
}

/// What the user gave is wrong in a way that clap can't see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct WrongInput(pub(super) String);

/// Whether the user's input is the cause.
pub(super) fn is_input(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<WrongInput>() || cause.is::<Invalid>() || cause.is::<ConfigurationError>())
}
