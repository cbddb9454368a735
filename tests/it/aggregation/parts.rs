//! What follows the Secret and the APIService, started as the controller starts it, and stopped with the test.

use std::time::Duration;

use kube::Client;
use paceline::kubernetes::{Election, Leadership, LeaseCandidate};
use paceline::serve::external_metrics::{
    Lifetimes, Registration, SecretSettings, ServedCertificate, ServiceName, follow_api_service, follow_secret,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{unique, wait_for};

/// The longest that a test waits for something that takes milliseconds on an idle machine.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// How long a test looks on whether nothing happens.
pub(super) const A_WHILE: Duration = Duration::from_secs(2);

/// The names that the tests use.
pub(super) const SERVICE: &str = "external-metrics";
pub(super) const SECRET: &str = "external-metrics-tls";

/// One replica of the controller, as far as it goes here.
pub(super) struct Replica {
    pub(super) certificate: ServedCertificate,
    pub(super) ca_bundle: watch::Receiver<Option<String>>,
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
        let settings = SecretSettings {
            namespace: namespace.to_owned(),
            name: SECRET.to_owned(),
            service: service.clone(),
            lifetimes,
        };
        let certificate = ServedCertificate::default();
        let (bundle, ca_bundle) = watch::channel(None);
        let (registered, registration) = watch::channel(Registration::default());
        tokio::spawn(follow_secret(
            client.clone().into(),
            settings,
            leadership.clone(),
            registration.clone(),
            certificate.clone(),
            bundle,
            stop.clone(),
        ));
        let (leads, bundles) = (leadership.clone(), ca_bundle.clone());
        tokio::spawn(follow_api_service(client.clone().into(), service, bundles, leads, registered, stop.clone()));
        Self { certificate, ca_bundle, registration, leadership, _stop: stop.drop_guard() }
    }

    /// The certificate that it serves with now.
    pub(super) fn chain(&self) -> Option<String> {
        self.certificate.pair().map(|pair| pair.certificate_chain_pem)
    }

    /// The certificate once there is one.
    pub(super) async fn wait_for_chain(&self) -> String {
        wait_for("a certificate", SOON, || async { self.chain().ok_or("there is none") }).await
    }
}

fn election(client: Client, namespace: &str) -> (Election, Leadership) {
    let candidate =
        LeaseCandidate { namespace: namespace.to_owned(), lease: "paceline".to_owned(), identity: unique("replica") };
    Election::new(client.into(), candidate)
}

/// The leadership of one that never leads.
pub(super) fn follows(client: Client, namespace: &str) -> Leadership {
    election(client, namespace).1
}

/// The Service of a namespace.
pub(super) fn service(namespace: &str) -> ServiceName {
    ServiceName { namespace: namespace.to_owned(), name: SERVICE.to_owned() }
}
