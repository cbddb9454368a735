//! The pollers: one per Kafka cluster, started when a ScaledConsumer first names it. A cluster has
//! one poller, in whatever form its addresses are given; how many clusters a namespace may give itself is bounded.

pub(super) mod expiry;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::connector::ConnectorSource;
use super::credentials::{ClusterSecrets, Secrets, inline_settings, secret_key, settings_of};
use crate::config::{Authentication, Configuration};
use crate::core::{Address, Observation, max_observation_gap};
use crate::kafka::{AddressPolicy, CYCLE_DURATION_BOUNDS, ClusterSettings, GroupHint, Poller, canonical, now};
use crate::kubernetes::scaledconsumer::{ClusterRef, ConnectRef, InlineCluster, ValidatedSource};
use crate::kubernetes::{ApiClient, Key};
use crate::registry::CertificateWarning;
use crate::serve::metrics::{ClusterPolls, DurationCounts};

/// All pollers, by the cluster's name or, where a ScaledConsumer gives them, its brokers and Secrets.
pub(super) struct Clusters {
    configuration: Configuration,
    /// The controller's namespace.
    own_namespace: String,
    /// Where ScaledConsumers' own clusters may be.
    addresses: AddressPolicy,
    /// Where the workers of connectors may be.
    worker_addresses: AddressPolicy,
    secrets: Secrets,
    /// A std mutex: nothing is awaited while it is held. Bounded by the configuration and by
    /// `maxInlineClustersPerNamespace`.
    pollers: Mutex<BTreeMap<ClusterKey, Polled>>,
    /// Which ScaledConsumer uses which clusters of its own.
    users: Mutex<BTreeMap<Key, BTreeSet<ClusterKey>>>,
    stop: CancellationToken,
}

/// One cluster, with its addresses in canonical form. `Display` is its name in logs, metrics and conditions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ClusterKey {
    Named(String),
    Inline { servers: String, secret: Option<Key>, authority: Option<Key> },
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Inline { servers, secret, authority } => {
                f.write_str(servers)?;
                let secrets = [("Secret", secret), ("CA Secret", authority)];
                for (what, Key { namespace, name }) in
                    secrets.iter().filter_map(|(what, key)| Some((what, key.as_ref()?)))
                {
                    write!(f, " ({what} {namespace}/{name})")?;
                }
                Ok(())
            }
        }
    }
}

struct Polled {
    poller: Poller,
    interval: Duration,
    deadline: Duration,
    /// Whether it was idle at the last check; at the next it is dropped.
    idle: bool,
    /// The certificate that expires soon.
    expiring: watch::Sender<Option<CertificateWarning>>,
}

impl Polled {
    fn is_idle(&self) -> bool {
        self.poller.statistics().subscriptions == 0
    }
}

/// What a source of a ScaledConsumer needs of its cluster.
pub(super) struct Subscription {
    pub(super) observations: watch::Receiver<Option<Arc<Observation>>>,
    /// The time between two polls.
    pub(super) interval: Duration,
    /// The longest time between two observations that still count as consecutive.
    pub(super) max_observation_gap: Duration,
    /// The certificate of the cluster's that expires soon.
    pub(super) expiring: watch::Receiver<Option<CertificateWarning>>,
    /// Reports what the group's decisions wait for.
    pub(super) hint: GroupHint,
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotSubscribed {
    /// A Secret is being read; [`Clusters::credentials_changed`] returns when it has been.
    NotYet,
    /// A sentence for the user.
    Refused(String),
}

impl From<String> for NotSubscribed {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

impl Clusters {
    /// `api_server` are the API server's addresses, which no ScaledConsumer's cluster may have.
    pub(super) fn new(
        configuration: Configuration,
        own_namespace: String,
        api_server: Vec<IpAddr>,
        client: ApiClient,
        stop: CancellationToken,
    ) -> Self {
        let addresses = AddressPolicy::only(configuration.allow_bootstrap_servers.clone(), api_server.clone());
        let workers = configuration.allow_connect_servers.clone();
        let worker_addresses =
            AddressPolicy::only_of("allowConnectServers in the controller's configuration", workers, api_server);
        let secrets = Secrets::new(client, stop.clone());
        let (pollers, users) = (Mutex::default(), Mutex::default());
        Self { configuration, own_namespace, addresses, worker_addresses, secrets, pollers, users, stop }
    }

    /// Subscribes a ScaledConsumer to the groups of its sources; starts the poller of a cluster if it is the first there.
    pub(super) fn subscribe(
        &self,
        consumer: &Key,
        sources: &[ValidatedSource],
    ) -> Result<Vec<Subscription>, NotSubscribed> {
        self.release(consumer);
        let sources = sources.iter().enumerate();
        sources.map(|(i, source)| self.subscribe_source(consumer, &source.path(i), source)).collect()
    }

    /// `path`: where the spec has its Kafka cluster.
    fn subscribe_source(
        &self,
        consumer: &Key,
        path: &str,
        ValidatedSource { cluster, query, .. }: &ValidatedSource,
    ) -> Result<Subscription, NotSubscribed> {
        let key = match cluster {
            ClusterRef::Named(name) => ClusterKey::Named(name.clone()),
            ClusterRef::Inline(inline) => {
                let field = format!("{path}.bootstrapServers");
                let key = self.inline_key(&field, inline)?;
                self.register_user(&field, consumer, &key)?;
                key
            }
        };
        let mut pollers = lock(&self.pollers);
        if !pollers.contains_key(&key) {
            self.drop_unused(&mut pollers);
            let settings = self.settings(path, &key)?;
            let (interval, deadline) = (settings.poll_interval, settings.deadline);
            let poller = Poller::start(settings, now, &self.stop).map_err(|error| error.to_string())?;
            info!(cluster = %key, "Polling a Kafka cluster.");
            let expiring = watch::Sender::new(None);
            pollers.insert(key.clone(), Polled { poller, interval, deadline, idle: false, expiring });
        }
        let polled = pollers.get_mut(&key).ok_or_else(|| "the cluster's poller was not started".to_owned())?;
        polled.idle = false;
        let (interval, deadline) = (polled.interval, polled.deadline);
        let expiring = polled.expiring.subscribe();
        let hint = polled.poller.group_hint(&query.group);
        Ok(Subscription {
            observations: polled.poller.subscribe(query.clone()),
            interval,
            max_observation_gap: max_observation_gap(interval, deadline),
            expiring,
            hint,
        })
    }

    /// Where a ScaledConsumer's connector is, if its workers are allowed, with its Secrets once they have been read.
    pub(super) fn connector(&self, name: &str, connect: &ConnectRef) -> Result<ConnectorSource, NotSubscribed> {
        let Address { host, port } = &connect.url.address;
        self.worker_addresses.check_name(host, *port).map_err(|why| format!("spec.connect.url: {why}"))?;
        let secrets = self.follow(connect.secret.as_ref(), connect.authority.as_ref())?;
        Ok(ConnectorSource::new(name, connect, self.worker_addresses.clone(), secrets))
    }

    /// A ScaledConsumer does not use a cluster any more.
    pub(super) fn release(&self, consumer: &Key) {
        lock(&self.users).remove(consumer);
    }

    /// Returns when a Secret has changed or has been read: a subscription that was refused may succeed now.
    pub(super) async fn credentials_changed(&self) {
        self.secrets.changed().await;
    }

    /// The one key of a ScaledConsumer's own cluster, if its addresses are allowed.
    fn inline_key(
        &self,
        field: &str,
        InlineCluster { servers, secret, authority }: &InlineCluster,
    ) -> Result<ClusterKey, String> {
        let all = canonical(servers).map_err(|why| format!("{field} {why}"))?;
        for address in &all {
            self.addresses.check_name(&address.host, address.port).map_err(|why| format!("{field}: {why}"))?;
        }
        let servers = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Ok(ClusterKey::Inline { servers, secret: secret.clone(), authority: authority.clone() })
    }

    /// Counts a cluster as the ScaledConsumer's, unless its namespace has too many.
    fn register_user(&self, field: &str, consumer: &Key, key: &ClusterKey) -> Result<(), String> {
        let most = self.configuration.max_inline_clusters_per_namespace;
        let mut users = lock(&self.users);
        let first = Key { namespace: consumer.namespace.clone(), name: String::new() };
        let of_namespace = users.range(first..).take_while(|(user, _)| user.namespace == consumer.namespace);
        let in_use: BTreeSet<&ClusterKey> = of_namespace.flat_map(|(_, clusters)| clusters).collect();
        if in_use.len() >= most && !in_use.contains(key) {
            return Err(format!(
                "{field}: the ScaledConsumers of this namespace use {most} Kafka clusters of their own already, which is the most (maxInlineClustersPerNamespace in the controller's configuration); use one of those, or have the cluster named in the configuration"
            ));
        }
        users.entry(consumer.clone()).or_default().insert(key.clone());
        Ok(())
    }

    /// Drops pollers and Secrets that no ScaledConsumer uses any more, so that a ScaledConsumer that changes its addresses
    /// or Secrets all the time has one of each.
    fn drop_unused(&self, pollers: &mut BTreeMap<ClusterKey, Polled>) {
        let users = lock(&self.users);
        let used: BTreeSet<&ClusterKey> = users.values().flatten().collect();
        pollers.retain(|cluster, polled| match cluster {
            ClusterKey::Named(_) => true,
            ClusterKey::Inline { .. } => used.contains(cluster) || !polled.is_idle(),
        });
        let named = self.configuration.clusters.values().map(|cluster| &cluster.authentication);
        let named: Vec<Key> = named
            .flat_map(|it| it.secret.iter().chain(&it.authority))
            .map(|reference| secret_key(reference, &self.own_namespace))
            .collect();
        let mut secrets: BTreeSet<&Key> = named.iter().collect();
        for cluster in used {
            match cluster {
                ClusterKey::Named(_) => {}
                ClusterKey::Inline { secret, authority, .. } => secrets.extend(secret.iter().chain(authority)),
            }
        }
        self.secrets.drop_all_but(&secrets);
    }

    fn settings(&self, path: &str, key: &ClusterKey) -> Result<ClusterSettings, NotSubscribed> {
        match key {
            ClusterKey::Named(name) => {
                let Some(cluster) = self.configuration.clusters.get(name) else {
                    let known: Vec<_> = self.configuration.clusters.keys().map(String::as_str).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(NotSubscribed::Refused(format!(
                        "{path}.cluster: \"{name}\" is not in the controller's configuration, which has {known}"
                    )));
                };
                let key = |reference| secret_key(reference, &self.own_namespace);
                let Authentication { secret, authority } = &cluster.authentication;
                let secrets = self.follow(secret.as_ref().map(key).as_ref(), authority.as_ref().map(key).as_ref())?;
                Ok(settings_of(cluster, secrets))
            }
            ClusterKey::Inline { servers, secret, authority } => {
                let secrets = self.follow(secret.as_ref(), authority.as_ref())?;
                let settings = inline_settings(&key.to_string(), servers, secrets);
                Ok(ClusterSettings { addresses: self.addresses.clone(), ..settings })
            }
        }
    }

    /// Watches a cluster's Secrets.
    fn follow(&self, secret: Option<&Key>, authority: Option<&Key>) -> Result<ClusterSecrets, NotSubscribed> {
        let [secret, authority] = [secret, authority].map(|key| key.map(|key| self.secrets.follow(key)));
        let secrets = ClusterSecrets { secret, authority };
        if secrets.are_read() { Ok(secrets) } else { Err(NotSubscribed::NotYet) }
    }

    /// Drops pollers and Secrets that are unused for the second time in a row, and checks the certificates. Called
    /// periodically.
    pub(super) fn drop_idle(&self) {
        lock(&self.pollers).retain(|cluster, polled| {
            let idle = polled.is_idle();
            let keep = !(idle && polled.idle);
            polled.idle = idle;
            if !keep {
                info!(%cluster, "Stopped polling a Kafka cluster that no ScaledConsumer uses.");
            }
            let certificates = polled.poller.statistics().certificates;
            polled.expiring.send_replace(expiry::warning(&certificates, SystemTime::now()));
            keep
        });
        self.secrets.drop_idle();
    }

    /// How each cluster is polled, for the metrics.
    pub(super) fn polls(&self) -> Vec<ClusterPolls> {
        let pollers = lock(&self.pollers);
        let polls = pollers.iter().map(|(cluster, polled)| {
            let statistics = polled.poller.statistics();
            let certificates = expiry::first_of_each(&statistics.certificates);
            ClusterPolls {
                cluster: cluster.to_string(),
                ended: statistics.cycles,
                failed: statistics.failed_cycles,
                late: statistics.late_cycles,
                partial: statistics.partial.into_iter().collect(),
                durations: DurationCounts {
                    intervals: CYCLE_DURATION_BOUNDS.into_iter().zip(statistics.cycles_by_duration).collect(),
                    count: statistics.cycles,
                    seconds: statistics.cycle_time.as_secs_f64(),
                },
                last_success: statistics.last_success.map(|at| at.as_secs_f64()),
                broker_errors: statistics.broker_errors.into_iter().collect(),
                certificates: certificates.into_iter().map(|(owner, at)| (owner.name(), at)).collect(),
            }
        });
        polls.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
