//! `paceline crd`: the definition of the ScaledConsumer, for `kubectl apply -f -`.

use super::Outcome;
use crate::kubernetes::scaledconsumer::crd_yaml;

pub(super) fn run() -> anyhow::Result<Outcome> {
    super::print(&crd_yaml())?;
    Ok(Outcome::Fine)
}
