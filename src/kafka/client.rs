//! One cluster's client: opened from settings, and listened to for what it complains about.

use std::cell::{Ref, RefCell};

use tracing::debug;

use super::errors::{Complaints, code};
use super::ffi::Client;
use super::messages::{Notice, OpenError};
use super::properties::{Fault, is_secret};
use super::settings::{ClusterSettings, SettingsError};

/// A client and what it has complained about since a broker last answered.
pub(super) struct Handle {
    pub(super) client: Client,
    complaints: RefCell<Complaints>,
    cluster: String,
}

/// More than a cycle ever yields; the rest waits for the next cycle.
const MOST_NOTICES: usize = 1_000;

impl Handle {
    /// Opens a client; it connects in the background.
    pub(super) fn open(settings: &ClusterSettings) -> Result<Self, SettingsError> {
        let cluster = settings.name.clone();
        match Client::open(&settings.all_properties()?) {
            Ok(client) => Ok(Self { client, complaints: RefCell::default(), cluster }),
            // librdkafka's message repeats the value.
            Err(OpenError::Property { name, message }) => {
                let refused = "unknown property, or a value that it does not take".to_owned();
                let message = if is_secret(&name) { refused } else { message };
                Err(SettingsError::Properties { cluster, faults: vec![Fault { property: name, message }] })
            }
            Err(OpenError::Client { message }) => Err(SettingsError::Client { cluster, message }),
        }
    }

    /// Hears what the client has to say. It must be called every cycle: tokens are renewed in it too.
    pub(super) fn listen(&self) {
        for _ in 0..MOST_NOTICES {
            match self.client.next_notice() {
                Some(Notice::Log { level, facility, text }) => {
                    debug!(cluster = self.cluster, level, line = text, "The Kafka client wrote a log line.");
                    // How a connection ended; without this line that is only reported for errors of the network.
                    if facility == "FAIL" {
                        let text = text.split_once("]: ").map_or(text.as_str(), |(_thread, text)| text);
                        self.complaints.borrow_mut().add(code::TRANSPORT, text);
                    }
                }
                Some(Notice::Error { code, text }) => {
                    debug!(cluster = self.cluster, code, line = text, "The Kafka client reported an error.");
                    self.complaints.borrow_mut().add(code, &text);
                }
                None => break,
            }
        }
    }

    /// What the client has complained about.
    pub(super) fn complaints(&self) -> Ref<'_, Complaints> {
        self.complaints.borrow()
    }

    /// A broker has answered: earlier complaints say nothing about now.
    pub(super) fn forget_complaints(&self) {
        self.complaints.borrow_mut().clear();
    }

    /// Puts a new client in place of this one, which forgets what librdkafka has cached.
    pub(super) fn renew(&mut self, settings: &ClusterSettings) -> Result<(), SettingsError> {
        *self = Self::open(settings)?;
        Ok(())
    }
}
