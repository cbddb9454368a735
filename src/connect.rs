//! One connector of a Kafka Connect cluster, by the REST API of its workers: its tasks are read, and `tasks.max` is set.
//! Knows what the API answers, and nothing of why a number is written or what a connector is configured to do.
//!
//! Invariant: no error holds anything of an answer but its status, because a connector's configuration has passwords.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) use error::ConnectorError;

use crate::core::{Replicas, Workload, check_connector_name};
use crate::kafka::{EndpointSettings, HttpEndpoint};

/// Time-out of one request, in seconds. It is that of a request to the API server, well under the lease's duration: a write
/// that begins in time has ended before another controller may write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// The key of a connector's configuration that has the number of its tasks.
const TASKS_MAX: &str = "tasks.max";

/// One connector of a Connect cluster.
#[derive(Debug)]
pub(crate) struct ConnectorApi {
    endpoint: HttpEndpoint,
    url: String,
    name: String,
}

/// A connector as its workers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectorState {
    /// `tasks.max` of its configuration.
    pub(crate) tasks_max: u32,
    /// The state of the connector itself; nothing where it has none yet.
    connector: Option<RunState>,
    /// The tasks that it has configured, with the state of each that has one.
    tasks: BTreeMap<u32, Option<RunState>>,
}

/// The state of a connector or a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum RunState {
    Running,
    Paused,
    Stopped,
    Failed,
    /// Its worker has left, and no other has it yet.
    Unassigned,
    Restarting,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct ConnectorInfo {
    config: Map<String, Value>,
    tasks: Vec<TaskId>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct TaskId {
    task: u32,
}

#[derive(Deserialize)]
struct ConnectorStatus {
    connector: StatusOf,
    tasks: Vec<TaskStatus>,
}

#[derive(Deserialize)]
struct StatusOf {
    state: RunState,
}

#[derive(Deserialize)]
struct TaskStatus {
    id: u32,
    state: RunState,
}

impl ConnectorApi {
    /// Sends nothing yet. The error says which of the settings can't be used.
    pub(crate) fn new(workers: &EndpointSettings<'_>, name: &str) -> Result<Self, ConnectorError> {
        check_connector_name(name).map_err(ConnectorError::Unusable)?;
        let endpoint = HttpEndpoint::new(workers, REQUEST_TIMEOUT)
            .map_err(|why| ConnectorError::Unusable(format!("the ca.crt of spec.connect.caSecretRef: {why}")))?;
        Ok(Self { endpoint, url: workers.url.to_string(), name: name.to_owned() })
    }

    /// Reads the connector and the states of its tasks.
    pub(crate) async fn read(&self) -> Result<ConnectorState, ConnectorError> {
        let info: ConnectorInfo = self.get("").await?;
        if info.kind.as_deref() == Some("source") {
            return Err(ConnectorError::IsSource { name: self.name.clone() });
        }
        let tasks_max = self.tasks_max(&info.config)?;
        let status: Option<ConnectorStatus> = match self.get("/status").await {
            Ok(status) => Some(status),
            // A new connector has no status for a moment.
            Err(ConnectorError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        // The status still has tasks that the configuration no longer has, for a moment.
        let states: BTreeMap<u32, RunState> =
            status.iter().flat_map(|status| &status.tasks).map(|task| (task.id, task.state)).collect();
        let ids: BTreeSet<u32> = info.tasks.iter().map(|task| task.task).collect();
        let tasks = ids.into_iter().map(|id| (id, states.get(&id).copied())).collect();
        Ok(ConnectorState { tasks_max, connector: status.map(|status| status.connector.state), tasks })
    }

    /// Sets `tasks.max`. `from`: what it was right before. `may_write` is called right before each request that writes;
    /// `false`: it returned false, and nothing was written.
    ///
    /// Workers before Kafka 3.8 know no PATCH of a configuration (KIP-477). They get the whole one as it is then, and a change
    /// that somebody makes in between is lost.
    pub(crate) async fn set_tasks(
        &self,
        from: Replicas,
        to: Replicas,
        may_write: impl Fn() -> bool,
    ) -> Result<bool, ConnectorError> {
        if to.0 == 0 {
            return Err(ConnectorError::Refused { url: self.url.clone(), status: None });
        }
        if !may_write() {
            return Ok(false);
        }
        let patch = json!({ TASKS_MAX: to.0.to_string() });
        let (status, _) = self.send(Method::PATCH, "/config", Some(patch.to_string())).await?;
        if !matches!(status, 404 | 405) {
            return self.written(status);
        }
        let mut config: Map<String, Value> = self.get("/config").await?;
        let now = self.tasks_max(&config)?;
        if now != from.0 {
            return Err(ConnectorError::Changed { name: self.name.clone(), now, from: from.0 });
        }
        config.insert(TASKS_MAX.to_owned(), to.0.to_string().into());
        if !may_write() {
            return Ok(false);
        }
        let (status, _) = self.send(Method::PUT, "/config", Some(Value::Object(config).to_string())).await?;
        self.written(status)
    }

    fn written(&self, status: u16) -> Result<bool, ConnectorError> {
        match status {
            200..=299 => Ok(true),
            400 | 422 => Err(ConnectorError::Refused { url: self.url.clone(), status: Some(status) }),
            _ => Err(self.error(status)),
        }
    }

    async fn get<T: DeserializeOwned>(&self, of: &str) -> Result<T, ConnectorError> {
        let (status, body) = self.send(Method::GET, of, None).await?;
        if status != 200 {
            return Err(self.error(status));
        }
        // The parser's own error may repeat what it read.
        serde_json::from_slice(&body).map_err(|_| self.unreadable("its answer is not that of Connect's REST API"))
    }

    async fn send(&self, method: Method, of: &str, body: Option<String>) -> Result<(u16, Vec<u8>), ConnectorError> {
        let path = format!("/connectors/{}{of}", self.name);
        let sent = self.endpoint.send(method, &path, body).await;
        sent.map_err(|why| ConnectorError::Unreachable { url: self.url.clone(), why })
    }

    /// What a status means that is no success.
    fn error(&self, status: u16) -> ConnectorError {
        let url = self.url.clone();
        match status {
            401 | 403 => ConnectorError::Unauthorized { url, status },
            404 => ConnectorError::NotFound { url, name: self.name.clone() },
            409 => ConnectorError::Rebalancing { url },
            300..=399 => self.unreadable(&format!("it answers {status}, a redirect, and none is followed")),
            500..=599 => ConnectorError::Unreachable { url, why: format!("it answers {status}") },
            _ => self.unreadable(&format!("it answers {status}")),
        }
    }

    fn unreadable(&self, why: &str) -> ConnectorError {
        ConnectorError::Unreadable { url: self.url.clone(), why: why.to_owned() }
    }

    /// Connect's own default is 1.
    fn tasks_max(&self, config: &Map<String, Value>) -> Result<u32, ConnectorError> {
        let number = match config.get(TASKS_MAX) {
            None => Some(1),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        number.filter(|number| *number > 0).ok_or_else(|| ConnectorError::NoTasksMax { name: self.name.clone() })
    }
}

impl ConnectorState {
    /// As a workload, whose replicas are tasks: those that are wanted, those that are configured and those that run.
    pub(crate) fn workload(&self) -> Workload {
        let count = |number: usize| Replicas(u32::try_from(number).unwrap_or(u32::MAX));
        Workload {
            spec: Replicas(self.tasks_max),
            actual: Some(count(self.tasks.len())),
            ready: self.connector.map(|_| count(self.count(RunState::Running))),
            ..Workload::default()
        }
    }

    /// Why more or fewer tasks would not help now: the connector was stopped, tasks have failed, or their worker has left.
    pub(crate) fn obstacle(&self) -> Option<ConnectorError> {
        let all = self.tasks.len();
        let stopped = match self.connector {
            Some(RunState::Paused) => Some("paused"),
            Some(RunState::Stopped) => Some("stopped"),
            Some(RunState::Failed) => Some("failed"),
            Some(RunState::Running | RunState::Unassigned | RunState::Restarting | RunState::Other) | None => None,
        };
        if let Some(state) = stopped {
            return Some(ConnectorError::NotRunning { state });
        }
        let failed = self.count(RunState::Failed);
        if failed > 0 {
            let first = self.tasks.iter().find(|(_, state)| **state == Some(RunState::Failed));
            let first = first.map_or(0, |(id, _)| *id);
            return Some(ConnectorError::TasksFailed { failed, all, first });
        }
        let unassigned = self.count(RunState::Unassigned);
        if unassigned > 0 || self.connector == Some(RunState::Unassigned) {
            return Some(ConnectorError::TasksUnassigned { unassigned, all });
        }
        None
    }

    fn count(&self, wanted: RunState) -> usize {
        self.tasks.values().filter(|state| **state == Some(wanted)).count()
    }
}

#[cfg(test)]
mod tests;
