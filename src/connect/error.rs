//! Why a connector can't be read or changed, for people: what is wrong, and what to do.

/// Why a connector can't be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectorError {
    /// A setting can't be used; a sentence that names it.
    #[error("{0}")]
    Unusable(String),
    /// No worker answers, or one answers that it can't.
    #[error("Kafka Connect at {url} can't be reached: {why}; tasks.max stays as it is until it can")]
    Unreachable {
        /// The workers.
        url: String,
        /// Why.
        why: String,
    },
    /// It refuses the user.
    #[error(
        "Kafka Connect at {url} refuses the request ({status}); spec.connect.secretRef names the Secret with the user name and the password"
    )]
    Unauthorized {
        /// The workers.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// The workers rebalance.
    #[error("Kafka Connect at {url} is rebalancing and refuses requests (409); waiting until it has ended")]
    Rebalancing {
        /// The workers.
        url: String,
    },
    /// Something else than Connect's REST API answers.
    #[error("Kafka Connect at {url} can't be read: {why}; correct spec.connect.url")]
    Unreadable {
        /// The workers.
        url: String,
        /// Why.
        why: String,
    },
    /// There is no such connector.
    #[error("Kafka Connect at {url} has no connector \"{name}\"; create it, or correct spec.scaleTargetRef.name")]
    NotFound {
        /// The workers.
        url: String,
        /// The connector.
        name: String,
    },
    /// It writes to Kafka instead of reading from it.
    #[error("connector \"{name}\" is a source, which has no consumer group; name a sink in spec.scaleTargetRef")]
    IsSource {
        /// The connector.
        name: String,
    },
    /// The number of tasks can't be read.
    #[error("tasks.max of connector \"{name}\" is not a whole number above 0; write one into its configuration")]
    NoTasksMax {
        /// The connector.
        name: String,
    },
    /// It does not run.
    #[error("the connector is {state}, so more tasks read nothing; {}", todo(.state))]
    NotRunning {
        /// As a word in a sentence.
        state: &'static str,
    },
    /// Tasks have failed.
    #[error(
        "{failed} of {all} tasks have failed, and other numbers of tasks don't repair them; read the trace of task {first} in GET /connectors/NAME/status, then POST /connectors/NAME/restart?includeTasks=true&onlyFailed=true"
    )]
    TasksFailed {
        /// How many.
        failed: usize,
        /// How many there are.
        all: usize,
        /// The first one's number.
        first: u32,
    },
    /// Tasks have no worker.
    #[error("{}; Kafka Connect waits for their worker to come back (scheduled.rebalance.max.delay.ms) before another gets them, and more tasks don't help", without_worker(.unassigned, .all))]
    TasksUnassigned {
        /// How many; 0 where only the connector itself has none.
        unassigned: usize,
        /// How many there are.
        all: usize,
    },
    /// The configuration with the new number is refused.
    #[error(
        "Kafka Connect at {url} refuses the new tasks.max{}; PUT /connector-plugins/CLASS/config/validate says what is wrong with the connector's configuration",
        .status.map(|status| format!(" ({status})")).unwrap_or_default()
    )]
    Refused {
        /// The workers.
        url: String,
        /// The answer's status; nothing where no request was sent.
        status: Option<u16>,
    },
    /// Somebody changed it in between.
    #[error("connector \"{name}\" has {now} tasks now, not {from}")]
    Changed {
        /// The connector.
        name: String,
        /// Its `tasks.max`.
        now: u32,
        /// What it was.
        from: u32,
    },
}

fn todo(state: &str) -> &'static str {
    if state == "failed" {
        "read its trace in GET /connectors/NAME/status, then POST /connectors/NAME/restart"
    } else {
        "PUT /connectors/NAME/resume starts it again"
    }
}

fn without_worker(tasks: &usize, all: &usize) -> String {
    match tasks {
        0 => "the connector has no worker".to_owned(),
        1 => format!("1 of {all} tasks has no worker"),
        _ => format!("{tasks} of {all} tasks have no worker"),
    }
}

impl ConnectorError {
    /// A short name for conditions, in the CamelCase of Kubernetes' reasons.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Unusable(_) => "ConnectUnusable",
            Self::Unreachable { .. } => "ConnectUnreachable",
            Self::Unauthorized { .. } => "ConnectUnauthorized",
            Self::Rebalancing { .. } => "ConnectRebalancing",
            Self::Unreadable { .. } => "ConnectUnreadable",
            Self::NotFound { .. } | Self::IsSource { .. } => "ConnectorNotFound",
            Self::NoTasksMax { .. } | Self::Refused { .. } | Self::Changed { .. } => "ConnectorRefused",
            Self::NotRunning { .. } => "ConnectorNotRunning",
            Self::TasksFailed { .. } => "TasksFailed",
            Self::TasksUnassigned { .. } => "TasksUnassigned",
        }
    }

    /// Whether it is usual for a few seconds, as in each rebalance.
    pub(crate) fn is_usual_for_seconds(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Rebalancing { .. } | Self::TasksUnassigned { .. } => true,
            Self::Unusable(_)
            | Self::Unauthorized { .. }
            | Self::Unreadable { .. }
            | Self::NotFound { .. }
            | Self::IsSource { .. }
            | Self::NoTasksMax { .. }
            | Self::NotRunning { .. }
            | Self::TasksFailed { .. }
            | Self::Refused { .. }
            | Self::Changed { .. } => false,
        }
    }
}
