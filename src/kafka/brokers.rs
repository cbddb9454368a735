//! The brokers of one cluster: a connection to each that is needed, made when it is first needed and again when it is lost.
//! Knows back-off, which broker to ask first, and what brokers advertise; knows nothing of what is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::broker::{Broker, Traffic};
use super::certificates::{CertificateExpiry, CertificateOwner};
use super::connect_error::{ConnectError, rounded};
use super::handshake;
use super::options::ConnectionOptions;
use super::settings::{ClusterSettings, SettingsError};
use super::tls::Tls;
use super::wire::MetadataBroker;
use crate::core::{Address, format_duration};

/// Brokers of one cluster that are followed. The largest clusters that are known of have a few hundred.
const MOST_BROKERS: usize = 1_000;
/// Connections of one cluster at once; a connection costs a descriptor and some 10 KiB.
const MOST_CONNECTIONS: usize = 300;
/// Brokers that are tried when any of them will do.
const MOST_CANDIDATES: usize = 8;
/// How long one of them is waited for before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(300);
/// A connection that lasted for less counts as a failed attempt: a port that accepts and closes gets no flood.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long files are waited for: they may be on a volume of the network.
const LONGEST_READ: Duration = Duration::from_secs(1);
/// How often it is looked whether files and Secrets have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// All brokers of a cluster.
pub(super) struct Brokers {
    settings: ClusterSettings,
    options: Mutex<Options>,
    bootstrap: Vec<Address>,
    /// What the cluster's metadata says: by broker id.
    advertised: Mutex<HashMap<i32, Address>>,
    slots: Mutex<HashMap<Address, Arc<Slot>>>,
    /// Who answered last: asked first when any broker will do.
    preferred: Mutex<Option<Address>>,
    /// Who was silent last, though it could be connected to: asked last.
    silent: Mutex<Option<Address>>,
    pub(super) traffic: Arc<Traffic>,
}

struct Options {
    current: Arc<ConnectionOptions>,
    looked_at: Instant,
    /// Why what is there now can't be used.
    fault: Option<String>,
    /// A read of files that is still under way.
    reading: Option<JoinHandle<Result<ConnectionOptions, SettingsError>>>,
}

impl Options {
    /// Notes why new values can't be used, and says so once.
    fn fail(&mut self, fault: String) {
        if self.fault.as_ref() != Some(&fault) {
            tracing::warn!(fault, "New settings of a Kafka cluster can't be used; the last good ones serve on.");
            self.fault = Some(fault);
        }
    }
}

/// One address: its connection, and how attempts go.
#[derive(Default)]
struct Slot {
    // A tokio mutex: an attempt is awaited while it is held, so that there is one at a time.
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    live: Option<Live>,
    failures: u32,
    /// No attempt before.
    not_before: Option<Instant>,
    last_error: Option<ConnectError>,
}

#[derive(Clone)]
struct Live {
    broker: Arc<Broker>,
    options: Arc<ConnectionOptions>,
}

impl Brokers {
    pub(super) fn new(settings: &ClusterSettings) -> Result<Self, SettingsError> {
        let options = settings.connection_options()?;
        options.warn(&settings.name);
        let bootstrap = settings.bootstrap_addresses()?;
        Ok(Self {
            settings: settings.clone(),
            options: Mutex::new(Options {
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

    /// The options in force.
    pub(super) fn options(&self) -> Arc<ConnectionOptions> {
        Arc::clone(&lock(&self.options).current)
    }

    /// Why the files or Secrets can't be used as they are now; then the last good values serve on.
    fn fault(&self) -> Option<String> {
        lock(&self.options).fault.clone()
    }

    /// Reads files and Secrets again, if that was not done lately. New values are used by new connections; the old ones
    /// serve until a new one is there.
    pub(super) async fn refresh_options(&self, at_once: bool) {
        let changes = self.settings.source.is_some() || self.options().from_files;
        if !changes || (!at_once && lock(&self.options).looked_at.elapsed() < LOOK_AGAIN) {
            return;
        }
        let reading = lock(&self.options).reading.take();
        let mut reading = reading.unwrap_or_else(|| {
            let settings = self.settings.clone();
            tokio::task::spawn_blocking(move || settings.connection_options())
        });
        let read = tokio::time::timeout(LONGEST_READ, &mut reading).await;
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
            // A bug; the values stay as they are.
            Ok(Err(_panicked)) => {}
            Err(_) => {
                let cluster = &self.settings.name;
                options
                    .fail(format!("cluster \"{cluster}\": the volume with the files of its settings does not answer"));
                // One at a time, however long it takes.
                options.reading = Some(reading);
            }
        }
    }

    /// Takes note of where the brokers say that they are.
    pub(super) fn advertise(&self, brokers: &[MetadataBroker<'_>]) {
        let address = |broker: &MetadataBroker<'_>| {
            let port = u16::try_from(broker.port).ok().filter(|port| *port > 0)?;
            (!broker.host.is_empty()).then(|| (broker.id, Address { host: broker.host.clone().into_owned(), port }))
        };
        let mut advertised = lock(&self.advertised);
        // An answer without brokers says nothing.
        let new: HashMap<i32, Address> = brokers.iter().take(MOST_BROKERS).filter_map(address).collect();
        if !new.is_empty() {
            *advertised = new;
            let known = advertised.values().chain(&self.bootstrap);
            let known: std::collections::HashSet<&Address> = known.collect();
            lock(&self.slots).retain(|address, _| known.contains(address));
        }
    }

    /// Takes note of one broker, as an answer about a coordinator names it.
    pub(super) fn advertise_one(&self, id: i32, host: &str, port: i32) {
        let mut advertised = lock(&self.advertised);
        if let Ok(port @ 1..) = u16::try_from(port)
            && !host.is_empty()
            && (advertised.len() < MOST_BROKERS || advertised.contains_key(&id))
        {
            advertised.insert(id, Address { host: host.to_owned(), port });
        }
    }

    /// The connection to a broker.
    pub(super) async fn node(&self, id: i32, until: Instant) -> Result<Arc<Broker>, ConnectError> {
        let Some(address) = lock(&self.advertised).get(&id).cloned() else {
            return Err(ConnectError::Unreachable(format!(
                "broker {id} is not among the first {MOST_BROKERS} of the cluster's metadata"
            )));
        };
        let is_new_name = !self.bootstrap.contains(&address);
        self.connection(&address, until).await.map_err(|error| match error {
            ConnectError::Unreachable(text) if is_new_name => ConnectError::Unreachable(format!(
                "a broker answered and says that broker {id} is to be reached as {address} (its advertised listener), but: {text}"
            )),
            ConnectError::TimedOut(after) if is_new_name => ConnectError::Unreachable(format!(
                "a broker answered and says that broker {id} is to be reached as {address} (its advertised listener), but nothing answers there within {}",
                format_duration(rounded(after))
            )),
            other => other,
        })
    }

    /// A connection to any broker: the one that answered last, else others, some beside each other.
    pub(super) async fn any(&self, until: Instant) -> Result<Arc<Broker>, ConnectError> {
        let began = Instant::now();
        let left = || until.saturating_duration_since(Instant::now());
        let mut waiting = self.candidates().into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut worst: Option<ConnectError> = None;
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(async move { (self.connection(&address, until).await, address) });
            }
            let stagger = if waiting.len() > 0 { STAGGER.min(left()) } else { left() };
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

    /// Takes note that a broker did not answer: others come first when any broker will do.
    pub(super) fn ask_last(&self, broker: &Broker) {
        *lock(&self.silent) = Some(broker.address.clone());
    }

    /// Whether more than one address is known.
    pub(super) fn are_several(&self) -> bool {
        self.candidates().len() > 1
    }

    /// Which addresses are tried, in this order, when any broker will do.
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
        // A bootstrap address is always among them: all that was advertised may be gone or wrong.
        let bootstrap = fastrand::choice(&self.bootstrap).cloned();
        let mut chosen: Vec<Address> = Vec::with_capacity(MOST_CANDIDATES);
        for address in first.into_iter().chain(connected).chain(bootstrap).chain(others) {
            if chosen.len() < MOST_CANDIDATES && !chosen.contains(&address) {
                chosen.push(address);
            }
        }
        // The order of the others stays.
        chosen.sort_by_key(|address| Some(address) == silent.as_ref());
        chosen
    }

    async fn connection(&self, address: &Address, until: Instant) -> Result<Arc<Broker>, ConnectError> {
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
            // One that serves with the old credentials is better than none.
            return state.alive().map_or(Err(error), |live| Ok(live.broker));
        }
        let policy = &self.settings.addresses;
        // On the heap: it is large, and many of these futures may wait for their turn.
        match Box::pin(handshake::connect(address, &options, policy, &self.traffic, until)).await {
            Ok(broker) => {
                let broker = Arc::new(broker);
                state.live = Some(Live { broker: Arc::clone(&broker), options });
                state.failures = 0;
                state.not_before = None;
                Ok(broker)
            }
            Err(error) => {
                if matches!(error, ConnectError::Security(_)) {
                    // They may have been changed because of this.
                    self.refresh_options(true).await;
                }
                let error = match (error, self.fault()) {
                    (ConnectError::Security(text), Some(fault)) => ConnectError::Security(format!("{text}; {fault}")),
                    (error, _) => error,
                };
                let error = self.failed(&mut state, error);
                state.alive().map_or(Err(error), |live| Ok(live.broker))
            }
        }
    }

    async fn renew_session(&self, live: &Live, address: &Address, until: Instant) -> Result<(), ConnectError> {
        match &live.options.sasl {
            Some(sasl) if live.broker.is_session_due() => {
                Box::pin(handshake::authenticate(&live.broker, sasl, &address.host, until)).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes a failure, and when the next attempt may be.
    fn failed(&self, state: &mut SlotState, error: ConnectError) -> ConnectError {
        let options = self.options();
        state.failures = state.failures.saturating_add(1);
        let doubled = options.reconnect_backoff.saturating_mul(1 << state.failures.min(16).saturating_sub(1));
        // A cycle finds each address free to try: no back-off outlasts half of the time between two.
        let longest = options.reconnect_backoff_max.min(self.settings.poll_interval / 2);
        let pause = doubled.min(longest).mul_f64(0.75 + fastrand::f64() * 0.25);
        state.not_before = Some(Instant::now() + pause);
        state.last_error = Some(error.clone());
        error
    }

    fn slot(&self, address: &Address) -> Result<Arc<Slot>, ConnectError> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(address) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MOST_CONNECTIONS {
            slots.retain(|_, slot| slot.is_connected());
        }
        if slots.len() >= MOST_CONNECTIONS {
            return Err(ConnectError::Unreachable(format!(
                "the cluster advertises more than {MOST_CONNECTIONS} brokers that would have to be asked"
            )));
        }
        Ok(Arc::clone(slots.entry(address.clone()).or_default()))
    }

    /// Live connections.
    pub(super) fn connections(&self) -> usize {
        lock(&self.slots).values().filter(|slot| slot.is_connected()).count()
    }

    /// When the certificates of the live connections expire: each broker's, and of the client's and the authorities' the
    /// first.
    pub(super) fn certificates(&self) -> Vec<CertificateExpiry> {
        let mut all = Vec::new();
        let expiry = |what, subject: String, not_after| CertificateExpiry { what, subject, not_after };
        let client = self.options().tls.as_ref().and_then(Tls::client_certificate_expiry);
        all.extend(client.map(|at| expiry(CertificateOwner::Client, "the client's certificate".to_owned(), at)));
        let slots: Vec<(Address, Arc<Slot>)> = {
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

impl Slot {
    fn is_connected(&self) -> bool {
        // While it is locked an attempt is under way, and what is attempted is kept.
        self.state.try_lock().map_or(true, |mut state| state.alive().is_some())
    }
}

impl SlotState {
    /// The connection, if it lives.
    fn alive(&mut self) -> Option<Live> {
        let live = self.live.clone()?;
        let Some(reason) = live.broker.closed() else { return Some(live) };
        self.live = None;
        // One that we have closed because an answer did not come says nothing against connecting again.
        let is_ours = matches!(reason, ConnectError::TimedOut(_));
        if live.broker.since.elapsed() < SHORT_LIFE && !is_ours {
            self.failures = self.failures.saturating_add(1);
            self.not_before = Some(Instant::now() + SHORT_LIFE / 2);
            self.last_error = Some(reason);
        }
        None
    }

    /// The connection, if it lives, was made with these options, and has not been idle for longer than they allow.
    fn usable(&mut self, options: &Arc<ConnectionOptions>) -> Option<Live> {
        let live = self.alive()?;
        let rested = options.max_idle.is_some_and(|most| live.broker.idle() > most);
        (!rested && Arc::ptr_eq(&live.options, options)).then_some(live)
    }

    fn backing_off(&self) -> Option<ConnectError> {
        let not_before = self.not_before?;
        (Instant::now() < not_before).then(|| self.last_error.clone()).flatten()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced or inserted whole, so a panic elsewhere leaves nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
