//! `paceline crd`: the definition of the ScaledConsumer, for `kubectl apply -f -`.

use super::outcome::Outcome;
use super::output::print;
use crate::kubernetes::scaledconsumer::crd_yaml;

pub(super) const EXAMPLES: &str = "Examples:
  Before the controller is installed, or upgraded:
    paceline crd | kubectl apply --server-side -f -";

pub(super) fn run() -> anyhow::Result<Outcome> {
    print(&crd_yaml())?;
    Ok(Outcome::Fine)
}
