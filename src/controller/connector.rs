//! A connector of Kafka Connect as what is scaled: its tasks are read at intervals, and set right after they were read.

use std::time::Duration;

use tokio::time::Instant;

use super::credentials::ClusterSecrets;
use crate::connect::{ConnectorApi, ConnectorError, ConnectorState};
use crate::core::{Replicas, Workload};
use crate::kafka::{AddressPolicy, EndpointSettings};
use crate::kubernetes::Leadership;
use crate::kubernetes::scaledconsumer::ConnectRef;

/// Least time between two reads of a connector. A read takes two requests.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// How long the last read counts while the workers rebalance, a connection breaks, or tasks have no worker: each change of
/// `tasks.max` does that to them for a few seconds.
const LAST_READ_COUNTS: Duration = Duration::from_secs(15);
/// How long nothing is written after a refusal, which a user must act on.
const BACK_OFF: Duration = Duration::from_secs(60);

/// Where a connector is, and the Secrets for it.
pub(crate) struct ConnectorSource {
    name: String,
    connect: ConnectRef,
    policy: AddressPolicy,
    secrets: ClusterSecrets,
}

impl ConnectorSource {
    /// `policy`: which addresses the workers may have.
    pub(crate) fn new(name: &str, connect: &ConnectRef, policy: AddressPolicy, secrets: ClusterSecrets) -> Self {
        Self { name: name.to_owned(), connect: connect.clone(), policy, secrets }
    }

    /// Reads the connector, with the Secrets as they are now.
    pub(crate) async fn read(&self) -> Result<ConnectorState, ConnectorError> {
        self.api()?.read().await
    }

    fn api(&self) -> Result<ConnectorApi, ConnectorError> {
        let login = self.secrets.login().map_err(ConnectorError::Unusable)?;
        let authority = self.secrets.authority().map_err(ConnectorError::Unusable)?;
        let workers = EndpointSettings {
            url: &self.connect.url,
            policy: &self.policy,
            login: login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())),
            authority: authority.as_deref(),
        };
        ConnectorApi::new(&workers, &self.name)
    }
}

/// One connector that is scaled.
pub(super) struct ConnectorHandle {
    source: ConnectorSource,
    /// The last read, and when.
    last: Option<(Instant, Workload)>,
    /// Since when reads fail.
    failing_since: Option<Instant>,
    /// A refused write, and until when none is tried.
    refused: Option<(Instant, ConnectorError)>,
}

impl ConnectorHandle {
    pub(super) fn new(source: ConnectorSource) -> Self {
        Self { source, last: None, failing_since: None, refused: None }
    }

    /// The connector as a workload whose replicas are tasks, not older than [`READ_INTERVAL`] unless its workers are busy.
    pub(super) async fn read(&mut self) -> Result<Workload, ConnectorError> {
        if let (Some((at, workload)), None) = (&self.last, self.failing_since)
            && at.elapsed() < READ_INTERVAL
        {
            return Ok(*workload);
        }
        let read = match self.source.read().await {
            Ok(state) => state.obstacle().map_or_else(|| Ok(state.workload()), Err),
            Err(error) => Err(error),
        };
        match read {
            Ok(workload) => {
                (self.last, self.failing_since) = (Some((Instant::now(), workload)), None);
                Ok(workload)
            }
            Err(error) => {
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                let counts = error.is_usual_for_seconds() && since.elapsed() < LAST_READ_COUNTS;
                self.last.filter(|_| counts).map(|(_, workload)| workload).ok_or(error)
            }
        }
    }

    /// Sets the tasks if a read right before shows `from` and nothing speaks against it. `Ok(false)`: this controller does
    /// not lead. The error's second half: whether it was refused before, or only waits.
    pub(super) async fn write(
        &mut self,
        from: Replicas,
        to: Replicas,
        leadership: &Leadership,
    ) -> Result<bool, (ConnectorError, bool)> {
        if !leadership.may_write() {
            return Ok(false);
        }
        if let Some((until, error)) = &self.refused
            && Instant::now() < *until
        {
            return Err((error.clone(), true));
        }
        self.refused = None;
        let written = Box::pin(self.write_live(from, to, leadership)).await;
        written.map_err(|error| {
            let waits = matches!(
                error,
                ConnectorError::Rebalancing { .. }
                    | ConnectorError::NotRunning { .. }
                    | ConnectorError::TasksFailed { .. }
                    | ConnectorError::TasksUnassigned { .. }
            );
            if matches!(error, ConnectorError::Refused { .. } | ConnectorError::Unauthorized { .. }) {
                self.refused = Some((Instant::now() + BACK_OFF, error.clone()));
            }
            (error, waits)
        })
    }

    async fn write_live(
        &mut self,
        from: Replicas,
        to: Replicas,
        leadership: &Leadership,
    ) -> Result<bool, ConnectorError> {
        let api = self.source.api()?;
        let state = api.read().await?;
        if let Some(obstacle) = state.obstacle() {
            return Err(obstacle);
        }
        if state.tasks_max != from.0 {
            self.last = Some((Instant::now(), state.workload()));
            return Err(ConnectorError::Changed { name: self.source.name.clone(), now: state.tasks_max, from: from.0 });
        }
        let written = api.set_tasks(from, to, || leadership.may_write()).await?;
        if written {
            // Another worker may show the old number for a moment.
            self.last = Some((Instant::now(), Workload { spec: to, ..state.workload() }));
        }
        Ok(written)
    }
}
