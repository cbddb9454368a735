//! What the page is made from: the registry, a clock, and what this controller does.

use std::sync::Arc;
use std::time::Duration;

use super::access::PageAccess;
use crate::kubernetes::Key;
use crate::registry::{Entry, Registry};
use crate::serve::external_metrics::ServedCertificate;

/// What the page shows.
pub struct PageSources {
    /// What is known of every ScaledConsumer.
    pub registry: Registry,
    /// The time on the observations' clock.
    pub now: fn() -> Duration,
    /// What this controller does with decisions.
    pub role: Box<dyn Fn() -> ControllerRole + Send + Sync>,
    /// Who may see it.
    pub access: PageAccess,
    /// The certificate that it is served with; without TLS where there is none.
    pub certificate: Option<ServedCertificate>,
    /// The brokers to name in the command that decides dry, where no configuration has the cluster's name.
    pub bootstrap_servers: Option<String>,
}

/// What a controller does with decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerRole {
    /// It holds the Lease, and writes.
    Leader {
        /// Its name in the Lease; `None` without an election.
        name: Option<String>,
    },
    /// Another one holds the Lease.
    Follower {
        /// The other one's name in the Lease, where it is known.
        leader: Option<String>,
    },
    /// It is the demo, and starts processes.
    Demo {
        /// How many seconds its clock shows in one.
        speed: u32,
    },
}

impl PageSources {
    /// The time now.
    pub(super) fn time(&self) -> Duration {
        (self.now)()
    }

    /// What is known of one.
    pub(super) fn entry(&self, namespace: String, name: String) -> Option<Arc<Entry>> {
        self.registry.get(&Key { namespace, name })
    }
}
