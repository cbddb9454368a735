//! The brokers of one cluster: one connection to each that is needed, made on first use and again after it is lost.
//! Knows back-off, the order in which brokers are tried, and advertised addresses; knows nothing of what is requested.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::broker::{BrokerConnection, Traffic};
use super::certificates::{CertificateExpiry, CertificateOwner};
use super::connect_error::{ConnectError, rounded};
use super::errors::RequestError;
use super::handshake;
use super::options::ConnectionOptions;
use super::settings::{ClusterSettings, SettingsError};
use super::tls::Tls;
use super::wire::MetadataBroker;
use crate::core::{Address, format_duration};

/// The most brokers of one cluster. The largest known clusters have a few hundred.
const MAX_BROKERS: usize = 1_000;
/// The most connections of one cluster at once; a connection costs a descriptor and some 10 KiB.
const MAX_CONNECTIONS: usize = 300;
/// The most brokers that are tried when any of them will do.
const MAX_CANDIDATES: usize = 8;
/// The wait for one of them before the next is tried concurrently.
const CONNECT_STAGGER: Duration = Duration::from_millis(300);
/// A connection that lasted for less counts as a failed attempt, so that a port that accepts and closes is not flooded
/// with connections.
const MIN_CONNECTION_LIFE: Duration = Duration::from_secs(1);
/// Time-out of reading the files of settings, which may be on a network volume. The read goes on in the background.
const FILE_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two checks of files and Secrets for changes.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// All brokers of a cluster.
pub(super) struct Brokers {
    settings: ClusterSettings,
    options: Mutex<CurrentOptions>,
    bootstrap: Vec<Address>,
    /// The addresses that the cluster advertises, by broker id.
    advertised: Mutex<HashMap<i32, Address>>,
    slots: Mutex<HashMap<Address, Arc<BrokerSlot>>>,
    /// The broker that answered last: tried first when any broker will do.
    preferred: Mutex<Option<Address>>,
    /// The broker that accepted a connection and did not answer: tried last.
    silent: Mutex<Option<Address>>,
    pub(super) traffic: Arc<Traffic>,
}

struct CurrentOptions {
    current: Arc<ConnectionOptions>,
    looked_at: Instant,
    /// Why the current files or Secrets can't be used.
    fault: Option<String>,
    /// A read of files that still runs.
    reading: Option<JoinHandle<Result<ConnectionOptions, SettingsError>>>,
}

impl CurrentOptions {
    /// Records why new values can't be used, and logs it once.
    fn fail(&mut self, fault: String) {
        if self.fault.as_ref() != Some(&fault) {
            tracing::warn!(fault, "New settings of a Kafka cluster can't be used; the last good ones stay in use.");
            self.fault = Some(fault);
        }
    }
}

/// One address: its connection, and the state of attempts.
#[derive(Default)]
struct BrokerSlot {
    // A tokio mutex: it is held across an attempt, so that there is one at a time.
    state: tokio::sync::Mutex<BrokerSlotState>,
}

#[derive(Default)]
struct BrokerSlotState {
    live: Option<LiveConnection>,
    failures: u32,
    /// No attempt before this.
    not_before: Option<Instant>,
    last_error: Option<ConnectError>,
}

#[derive(Clone)]
struct LiveConnection {
    broker: Arc<BrokerConnection>,
    options: Arc<ConnectionOptions>,
}

impl Brokers {
    pub(super) fn new(settings: &ClusterSettings) -> Result<Self, SettingsError> {
        let options = settings.connection_options()?;
        options.warn(&settings.name);
        let bootstrap = settings.bootstrap_addresses()?;
        Ok(Self {
            settings: settings.clone(),
            options: Mutex::new(CurrentOptions {
                current: Arc::new(options),
                looked_at: Instant::now(),
                fault: None,
                reading: None,
            }),
            bootstrap,
            advertised: Mutex::default(),
            slots: Mutex::default(),
            preferred: Mutex::default(),
            silent: Mutex::default(),
            traffic: Arc::default(),
        })
    }

    /// The options in use.
    pub(super) fn options(&self) -> Arc<ConnectionOptions> {
        Arc::clone(&lock(&self.options).current)
    }

    /// Why the files or Secrets can't be used as they are now. Until they can, the last good values stay in use.
    fn fault(&self) -> Option<String> {
        lock(&self.options).fault.clone()
    }

    /// Reads files and Secrets again, unless that was done within [`REFRESH_INTERVAL`]. New connections use the new
    /// values; old ones stay in use until a new one is established.
    pub(super) async fn refresh_options(&self, at_once: bool) {
        let changes = self.settings.source.is_some() || self.options().from_files;
        if !changes || (!at_once && lock(&self.options).looked_at.elapsed() < REFRESH_INTERVAL) {
            return;
        }
        let reading = lock(&self.options).reading.take();
        let mut reading = reading.unwrap_or_else(|| {
            let settings = self.settings.clone();
            tokio::task::spawn_blocking(move || settings.connection_options())
        });
        let read = tokio::time::timeout(FILE_READ_TIMEOUT, &mut reading).await;
        let mut options = lock(&self.options);
        options.looked_at = Instant::now();
        match read {
            Ok(Ok(Ok(new))) => {
                options.fault = None;
                if new != *options.current {
                    tracing::info!(cluster = self.settings.name, "The credentials have changed; connecting anew.");
                    options.current = Arc::new(new);
                }
            }
            Ok(Ok(Err(error))) => options.fail(error.to_string()),
            // The read panicked; the values stay as they are.
            Ok(Err(_panicked)) => {}
            Err(_) => {
                let error = self.settings.error("the volume with the files of its settings does not answer".to_owned());
                options.fail(error.to_string());
                // One read at a time, however long it takes.
                options.reading = Some(reading);
            }
        }
    }

    /// Sets the addresses that brokers advertise.
    pub(super) fn set_advertised(&self, brokers: &[MetadataBroker<'_>]) {
        let address = |broker: &MetadataBroker<'_>| {
            let port = u16::try_from(broker.port).ok().filter(|port| *port > 0)?;
            (!broker.host.is_empty()).then(|| (broker.id, Address { host: broker.host.clone().into_owned(), port }))
        };
        let mut advertised = lock(&self.advertised);
        // A response without brokers says nothing about addresses.
        let new: HashMap<i32, Address> = brokers.iter().take(MAX_BROKERS).filter_map(address).collect();
        if !new.is_empty() {
            *advertised = new;
            let known = advertised.values().chain(&self.bootstrap);
            let known: std::collections::HashSet<&Address> = known.collect();
            lock(&self.slots).retain(|address, _| known.contains(address));
        }
    }

    /// Adds one broker's address, from a response about a coordinator.
    pub(super) fn add_advertised(&self, id: i32, host: &str, port: i32) {
        let mut advertised = lock(&self.advertised);
        if let Ok(port @ 1..) = u16::try_from(port)
            && !host.is_empty()
            && (advertised.len() < MAX_BROKERS || advertised.contains_key(&id))
        {
            advertised.insert(id, Address { host: host.to_owned(), port });
        }
    }

    /// The connection to a broker.
    pub(super) async fn node(&self, id: i32, until: Instant) -> Result<Arc<BrokerConnection>, ConnectError> {
        let Some(address) = lock(&self.advertised).get(&id).cloned() else {
            return Err(ConnectError::Unreachable(format!(
                "broker {id} is not among the first {MAX_BROKERS} of the cluster's metadata"
            )));
        };
        let is_new_name = !self.bootstrap.contains(&address);
        self.connection(&address, until).await.map_err(|error| match error {
            ConnectError::Unreachable(text) if is_new_name => ConnectError::Unreachable(format!(
                "a broker answered, and broker {id} has the advertised listener {address}, but: {text}"
            )),
            ConnectError::TimedOut(after) if is_new_name => ConnectError::Unreachable(format!(
                "a broker answered, and broker {id} has the advertised listener {address}, but nothing answers there within {}",
                format_duration(rounded(after))
            )),
            other => other,
        })
    }

    /// A connection to any broker: the one that answered last, else others, some concurrently.
    pub(super) async fn any(&self, until: Instant) -> Result<Arc<BrokerConnection>, ConnectError> {
        let began = Instant::now();
        let left = || until.saturating_duration_since(Instant::now());
        let mut waiting = self.candidates().into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut worst: Option<ConnectError> = None;
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(async move { (self.connection(&address, until).await, address) });
            }
            let stagger = if waiting.len() > 0 { CONNECT_STAGGER.min(left()) } else { left() };
            match tokio::time::timeout(stagger, attempts.next()).await {
                Ok(Some((Ok(broker), address))) => {
                    *lock(&self.preferred) = Some(address);
                    return Ok(broker);
                }
                Ok(Some((Err(error), _))) => {
                    worst = Some(match worst {
                        Some(known) => known.or(error),
                        None => error,
                    });
                }
                Ok(None) if waiting.len() == 0 => break,
                Err(_) if left().is_zero() => break,
                Ok(None) | Err(_) => {}
            }
        }
        Err(match worst {
            Some(ConnectError::Unreachable(text)) => {
                ConnectError::Unreachable(format!("no broker could be reached ({text})"))
            }
            Some(other) => other,
            None => ConnectError::TimedOut(began.elapsed()),
        })
    }

    /// Records that a broker did not answer: others are tried first when any broker will do.
    pub(super) fn deprioritize(&self, broker: &BrokerConnection) {
        *lock(&self.silent) = Some(broker.address.clone());
    }

    /// Whether more than one address is known.
    pub(super) fn has_several(&self) -> bool {
        self.candidates().len() > 1
    }

    /// The addresses to try when any broker will do, in this order.
    fn candidates(&self) -> Vec<Address> {
        let mut others: Vec<Address> = lock(&self.advertised).values().chain(&self.bootstrap).cloned().collect();
        fastrand::shuffle(&mut others);
        let first = lock(&self.preferred).clone();
        let silent = lock(&self.silent).clone();
        let connected: Vec<Address> = {
            let slots = lock(&self.slots);
            let is_connected = |address: &&Address| slots.get(*address).is_some_and(|slot| slot.is_connected());
            others.iter().filter(is_connected).cloned().collect()
        };
        // A bootstrap address is always among them: all advertised addresses may be gone or wrong.
        let bootstrap = fastrand::choice(&self.bootstrap).cloned();
        let mut chosen: Vec<Address> = Vec::with_capacity(MAX_CANDIDATES);
        for address in first.into_iter().chain(connected).chain(bootstrap).chain(others) {
            if chosen.len() < MAX_CANDIDATES && !chosen.contains(&address) {
                chosen.push(address);
            }
        }
        // A stable sort: the order of the others stays.
        chosen.sort_by_key(|address| Some(address) == silent.as_ref());
        chosen
    }

    async fn connection(&self, address: &Address, until: Instant) -> Result<Arc<BrokerConnection>, ConnectError> {
        let began = Instant::now();
        let slot = self.slot(address)?;
        let Ok(mut state) = tokio::time::timeout_at(until, slot.state.lock()).await else {
            return Err(ConnectError::TimedOut(began.elapsed()));
        };
        let options = self.options();
        if let Some(live) = state.usable(&options) {
            return match self.renew_session(&live, address, until).await {
                Ok(()) => Ok(live.broker),
                Err(error) => {
                    live.broker.close(error.clone());
                    Err(self.failed(&mut state, error))
                }
            };
        }
        if let Some(error) = state.backing_off() {
            // A connection with the old credentials is better than none.
            return state.open_connection().map_or(Err(error), |live| Ok(live.broker));
        }
        let policy = &self.settings.addresses;
        // On the heap: the future is large, and many may wait at once.
        match Box::pin(handshake::connect(address, &options, policy, &self.traffic, until)).await {
            Ok(broker) => {
                let broker = Arc::new(broker);
                state.live = Some(LiveConnection { broker: Arc::clone(&broker), options });
                state.failures = 0;
                state.not_before = None;
                Ok(broker)
            }
            Err(error) => {
                self.traffic.count_error(&RequestError::Connection(error.clone()));
                if matches!(error, ConnectError::Security(_)) {
                    // The credentials may have been changed because of this.
                    self.refresh_options(true).await;
                }
                let error = match (error, self.fault()) {
                    (ConnectError::Security(text), Some(fault)) => ConnectError::Security(format!("{text}; {fault}")),
                    (error, _) => error,
                };
                let error = self.failed(&mut state, error);
                state.open_connection().map_or(Err(error), |live| Ok(live.broker))
            }
        }
    }

    async fn renew_session(
        &self,
        live: &LiveConnection,
        address: &Address,
        until: Instant,
    ) -> Result<(), ConnectError> {
        match &live.options.sasl {
            Some(sasl) if live.broker.is_session_due() => {
                Box::pin(handshake::authenticate(&live.broker, sasl, &address.host, until)).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Records a failure, and when the next attempt may be made.
    fn failed(&self, state: &mut BrokerSlotState, error: ConnectError) -> ConnectError {
        let options = self.options();
        state.failures = state.failures.saturating_add(1);
        let doubled = options.reconnect_backoff.saturating_mul(1 << state.failures.min(16).saturating_sub(1));
        // Each cycle may try each address: the back-off is at most half of the poll interval.
        let longest = options.reconnect_backoff_max.min(self.settings.poll_interval / 2);
        let pause = doubled.min(longest).mul_f64(0.75 + fastrand::f64() * 0.25);
        state.not_before = Some(Instant::now() + pause);
        state.last_error = Some(error.clone());
        error
    }

    fn slot(&self, address: &Address) -> Result<Arc<BrokerSlot>, ConnectError> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(address) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MAX_CONNECTIONS {
            slots.retain(|_, slot| slot.is_connected());
        }
        if slots.len() >= MAX_CONNECTIONS {
            return Err(ConnectError::Unreachable(format!(
                "the cluster needs connections to more than {MAX_CONNECTIONS} brokers"
            )));
        }
        Ok(Arc::clone(slots.entry(address.clone()).or_default()))
    }

    /// Open connections.
    pub(super) fn connections(&self) -> usize {
        lock(&self.slots).values().filter(|slot| slot.is_connected()).count()
    }

    /// When the certificates of the open connections expire: each broker's, and the earliest of the client's and the
    /// authorities'.
    pub(super) fn certificates(&self) -> Vec<CertificateExpiry> {
        let mut all = Vec::new();
        let expiry = |what, subject: String, not_after| CertificateExpiry { what, subject, not_after };
        let client = self.options().tls.as_ref().and_then(Tls::client_certificate_expiry);
        all.extend(client.map(|at| expiry(CertificateOwner::Client, "the client's certificate".to_owned(), at)));
        let slots: Vec<(Address, Arc<BrokerSlot>)> = {
            let slots = lock(&self.slots);
            slots.iter().map(|(address, slot)| (address.clone(), Arc::clone(slot))).collect()
        };
        for (address, slot) in slots {
            let Ok(state) = slot.state.try_lock() else { continue };
            let Some(certificates) = state.live.as_ref().and_then(|live| live.broker.certificates) else { continue };
            all.extend(certificates.leaf.map(|at| expiry(CertificateOwner::Broker, address.to_string(), at)));
            let authority = format!("the authority of {address}");
            all.extend(certificates.authority.map(|at| expiry(CertificateOwner::Authority, authority, at)));
        }
        all
    }

    /// The brokers that the metadata names, by id.
    pub(super) fn ids(&self) -> Vec<i32> {
        lock(&self.advertised).keys().copied().collect()
    }
}

impl BrokerSlot {
    fn is_connected(&self) -> bool {
        // A locked slot has an attempt in progress, and is kept.
        self.state.try_lock().map_or(true, |mut state| state.open_connection().is_some())
    }
}

impl BrokerSlotState {
    /// The connection, if it is open.
    fn open_connection(&mut self) -> Option<LiveConnection> {
        let live = self.live.clone()?;
        let Some(reason) = live.broker.closed() else { return Some(live) };
        self.live = None;
        // A connection that we closed because a response timed out does not count against a new attempt.
        let is_ours = matches!(reason, ConnectError::TimedOut(_));
        if live.broker.since.elapsed() < MIN_CONNECTION_LIFE && !is_ours {
            self.failures = self.failures.saturating_add(1);
            self.not_before = Some(Instant::now() + MIN_CONNECTION_LIFE / 2);
            self.last_error = Some(reason);
        }
        None
    }

    /// The connection, if it is open, was made with these options, and has not been idle for longer than they allow.
    fn usable(&mut self, options: &Arc<ConnectionOptions>) -> Option<LiveConnection> {
        let live = self.open_connection()?;
        let rested = options.max_idle.is_some_and(|most| live.broker.idle() > most);
        (!rested && Arc::ptr_eq(&live.options, options)).then_some(live)
    }

    fn backing_off(&self) -> Option<ConnectError> {
        let not_before = self.not_before?;
        (Instant::now() < not_before).then(|| self.last_error.clone()).flatten()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values behind these locks are replaced or inserted whole, so a panic elsewhere leaves no partial change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
