//! What one ScaledConsumer scales: a workload by its `/scale`, or a connector by Connect's REST API.

use super::connector::ConnectorHandle;
use crate::connect::ConnectorError;
use crate::core::{Replicas, Workload};
use crate::kubernetes::{Leadership, ScaleError, WorkloadHandle};
use crate::registry::TargetError;

/// What is scaled.
pub(super) enum ScaledTarget {
    /// By its `/scale`.
    Workload(Box<WorkloadHandle>),
    /// By the REST API of the workers that run it.
    Connector(Box<ConnectorHandle>),
}

/// Why replicas were not written.
#[derive(Debug)]
pub(super) enum NotScaled {
    /// Another client changed them first.
    Changed,
    /// They are written later: it was refused before, or something must come first.
    Postponed(TargetError),
    /// It failed.
    Failed(TargetError),
}

impl ScaledTarget {
    /// The replicas as last seen.
    pub(super) async fn read(&mut self) -> Result<Workload, TargetError> {
        match self {
            Self::Workload(handle) => handle.read().await.map_err(|error| of_scale(&error)),
            Self::Connector(handle) => Box::pin(handle.read()).await.map_err(|error| of_connector(&error)),
        }
    }

    /// Sets the replicas if they are `from` right before. `Ok(false)`: this controller does not lead.
    pub(super) async fn write(
        &mut self,
        from: Replicas,
        to: Replicas,
        leadership: &Leadership,
    ) -> Result<bool, NotScaled> {
        match self {
            Self::Workload(handle) => handle.write(from, to, leadership).await.map_err(|error| match error {
                ScaleError::Conflict(_) => NotScaled::Changed,
                ScaleError::Postponed(_) => NotScaled::Postponed(of_scale(&error)),
                error => NotScaled::Failed(of_scale(&error)),
            }),
            Self::Connector(handle) => handle.write(from, to, leadership).await.map_err(|(error, waits)| match error {
                ConnectorError::Changed { .. } => NotScaled::Changed,
                error if waits => NotScaled::Postponed(of_connector(&error)),
                error => NotScaled::Failed(of_connector(&error)),
            }),
        }
    }

    /// Returns when the replicas have changed since the last read, where that is seen before the next poll. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Workload(handle) => handle.changed().await,
            Self::Connector(_) => std::future::pending().await,
        }
    }

    /// Who set the replicas last, other than this program; `None` if unknown.
    pub(super) async fn last_writer(&self) -> Option<String> {
        match self {
            Self::Workload(handle) => handle.last_writer().await,
            Self::Connector(_) => None,
        }
    }
}

fn of_scale(error: &ScaleError) -> TargetError {
    TargetError { reason: error.name(), message: error.to_string() }
}

fn of_connector(error: &ConnectorError) -> TargetError {
    TargetError { reason: error.name(), message: error.to_string() }
}
