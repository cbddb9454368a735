//! The pollers: one per Kafka cluster, started when a ScaledConsumer first names it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{Cluster, Configuration};
use crate::core::{GroupQuery, Observation};
use crate::kafka::{ClusterSettings, Poller, now};
use crate::kubernetes::validate::ClusterRef;
use crate::metrics::{Metrics, Polls};

/// All pollers, by the cluster's name or, where a ScaledConsumer gives them, its brokers.
pub(super) struct Clusters {
    configuration: Configuration,
    /// A std mutex: nothing is awaited while it is held. Bounded by the configuration and its allow-list.
    pollers: Mutex<BTreeMap<String, Polled>>,
    stop: CancellationToken,
}

struct Polled {
    poller: Poller,
    interval: Duration,
    deadline: Duration,
    /// Whether it was idle when last looked at; the second time it is dropped.
    idle: bool,
}

/// What a ScaledConsumer needs of its cluster.
pub(super) struct Subscription {
    pub(super) observations: watch::Receiver<Option<Arc<Observation>>>,
    /// The time between two polls.
    pub(super) interval: Duration,
    /// Observations further apart than this leave a gap.
    pub(super) gap: Duration,
}

/// What Kafka's client needs to know of a configured cluster, its secrets included.
pub fn settings_of(cluster: &Cluster) -> Result<ClusterSettings, String> {
    let mut settings = ClusterSettings::new(&cluster.name, &cluster.bootstrap_servers);
    settings.poll_interval = cluster.poll_interval;
    settings.deadline = cluster.deadline;
    let resolved = cluster.resolved().map_err(|error| error.to_string())?;
    settings.properties = resolved.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    settings.settle_request_timeout(cluster.request_timeout);
    Ok(settings)
}

impl Clusters {
    pub(super) fn new(configuration: Configuration, stop: CancellationToken) -> Self {
        Self { configuration, pollers: Mutex::default(), stop }
    }

    /// Subscribes to a group; starts the cluster's poller if it is the first. The error is a sentence for the user.
    pub(super) fn subscribe(&self, cluster: &ClusterRef, query: GroupQuery) -> Result<Subscription, String> {
        let key = cluster.to_string();
        let mut pollers = self.pollers();
        if !pollers.contains_key(&key) {
            let settings = self.settings(cluster)?;
            let (interval, deadline) = (settings.poll_interval, settings.deadline);
            let poller = Poller::start(settings, now, &self.stop)
                .map_err(|error| format!("Kafka cluster \"{key}\": {error}"))?;
            info!(cluster = key, "Polling a Kafka cluster.");
            pollers.insert(key.clone(), Polled { poller, interval, deadline, idle: false });
        }
        let polled = pollers.get_mut(&key).ok_or("the cluster's poller was not started")?;
        polled.idle = false;
        // Three intervals: one poll that was lost, and one that was late, are no gap.
        let (interval, gap) = (polled.interval, polled.interval * 3 + polled.deadline);
        Ok(Subscription { observations: polled.poller.subscribe(query), interval, gap })
    }

    fn settings(&self, cluster: &ClusterRef) -> Result<ClusterSettings, String> {
        match cluster {
            ClusterRef::Named(name) => {
                let Some(cluster) = self.configuration.clusters.get(name) else {
                    let known: Vec<_> = self.configuration.clusters.keys().map(String::as_str).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(format!(
                        "spec.kafka.cluster: \"{name}\" is not in the controller's configuration, which has {known}"
                    ));
                };
                settings_of(cluster)
            }
            ClusterRef::Inline(servers) => match self.configuration.allow_bootstrap_servers.check(servers) {
                Ok(()) => Ok(ClusterSettings::new(servers, servers)),
                Err(address) => Err(format!(
                    "spec.kafka.bootstrapServers: the controller's configuration does not allow {address} in allowBootstrapServers"
                )),
            },
        }
    }

    /// Drops pollers that nobody has subscribed to since the last look. Called now and then.
    pub(super) fn drop_idle(&self) {
        self.pollers().retain(|cluster, polled| {
            let idle = polled.poller.statistics().subscriptions == 0;
            let keep = !(idle && polled.idle);
            polled.idle = idle;
            if !keep {
                info!(cluster, "Nobody needs this Kafka cluster any more.");
            }
            keep
        });
    }

    /// Brings the metrics of polls up to date.
    pub(super) fn refresh(&self, metrics: &Metrics) {
        for (cluster, polled) in self.pollers().iter() {
            let statistics = polled.poller.statistics();
            let polls = Polls {
                ended: statistics.cycles,
                failed: statistics.failed_cycles,
                late: statistics.late_cycles,
                last_seconds: statistics.last_cycle.map(|cycle| cycle.duration.as_secs_f64()),
            };
            metrics.polled(cluster, polls);
        }
    }

    fn pollers(&self) -> MutexGuard<'_, BTreeMap<String, Polled>> {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
