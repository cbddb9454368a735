//! The parts of the cluster's side, started as the app starts them, and stopped with the test.

use std::time::Duration;

use kube::Client;
use paceline::kubernetes::lease::{Candidate, LeaderElection, Leadership};
use paceline::serve::external_metrics::aggregation::api_service::{self, Registration, Service};
use paceline::serve::external_metrics::aggregation::certificates::{self, Certificates, Lifetimes, Settings};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::unique;

/// The longest that a test waits for something that takes milliseconds on an idle machine.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// How long a test looks on whether nothing happens.
pub(super) const A_WHILE: Duration = Duration::from_secs(2);

/// The names that the tests use.
pub(super) const SERVICE: &str = "external-metrics";
pub(super) const SECRET: &str = "external-metrics-tls";

/// One replica of the controller, as far as it goes here.
pub(super) struct Replica {
    pub(super) certificates: Certificates,
    pub(super) registration: watch::Receiver<Registration>,
    pub(super) leadership: Leadership,
    _stop: DropGuard,
}

/// Who may write.
#[derive(Clone, Copy)]
pub(super) enum Rank {
    /// It leads without asking.
    Leader,
    /// It never leads.
    Follower,
    /// It takes part in the election for a Lease of the namespace.
    Candidate,
}

impl Replica {
    pub(super) fn start(client: &Client, namespace: &str, rank: Rank, lifetimes: Lifetimes) -> Self {
        let stop = CancellationToken::new();
        let leadership = match rank {
            Rank::Leader => Leadership::always(),
            Rank::Follower => follows(client.clone(), namespace),
            Rank::Candidate => {
                let (election, leadership) = election(client.clone(), namespace);
                tokio::spawn(election.run(stop.clone()));
                leadership
            }
        };
        let service = service(namespace);
        let settings = Settings {
            namespace: namespace.to_owned(),
            secret: SECRET.to_owned(),
            service: service.clone(),
            lifetimes,
        };
        let (delivery, certificates) = certificates::channel();
        let (registered, registration) = watch::channel(Registration::default());
        tokio::spawn(certificates::follow(
            client.clone(),
            settings,
            leadership.clone(),
            registration.clone(),
            delivery,
            stop.clone(),
        ));
        tokio::spawn(api_service::follow(
            client.clone(),
            service,
            certificates.ca_bundle.clone(),
            leadership.clone(),
            registered,
            stop.clone(),
        ));
        Self { certificates, registration, leadership, _stop: stop.drop_guard() }
    }

    /// The certificate that it serves with now.
    pub(super) fn chain(&self) -> Option<String> {
        self.certificates.pair.borrow().as_ref().map(|pair| pair.certificate_chain.clone())
    }

    /// The certificate once there is one.
    pub(super) async fn wait_for_chain(&self) -> String {
        let mut pair = self.certificates.pair.clone();
        let found = tokio::time::timeout(SOON, pair.wait_for(Option::is_some)).await;
        found.expect("a certificate comes").unwrap().as_ref().unwrap().certificate_chain.clone()
    }
}

fn election(client: Client, namespace: &str) -> (LeaderElection, Leadership) {
    let candidate =
        Candidate { namespace: namespace.to_owned(), lease: "paceline".to_owned(), identity: unique("replica") };
    LeaderElection::new(client, candidate)
}

/// The leadership of one that never leads.
pub(super) fn follows(client: Client, namespace: &str) -> Leadership {
    election(client, namespace).1
}

/// The Service of a namespace.
pub(super) fn service(namespace: &str) -> Service {
    Service { namespace: namespace.to_owned(), name: SERVICE.to_owned() }
}
