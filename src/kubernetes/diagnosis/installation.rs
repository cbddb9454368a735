//! The checks of `paceline doctor` on what is installed: the CRD, the controller, its Lease, its rights.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::unread;
use crate::checks::{CheckResult, Row};
use crate::core::short;
use crate::kubernetes::review::may;
use crate::kubernetes::scaledconsumer::crd;
use crate::kubernetes::{ApiClient, Key, Lane, UserIdentity};

/// The names of the checks, as they are printed.
const INSTALLATION: &str = "installation";
const CRD: &str = "CRD";
const CONTROLLER: &str = "controller";
const LEASE: &str = "Lease";
const RIGHTS: &str = "rights";

/// The label and the ServiceAccount of the controller in the manifests.
const LABEL: &str = "app.kubernetes.io/name=paceline";
const ACCOUNT: &str = "paceline";

/// What the controller needs in each namespace that it watches: API group, resource, subresource, verbs. It is what
/// `manifests/base/rbac.yaml` gives.
const NEEDED: [(&str, &str, &str, &[&str]); 8] = [
    ("paceline.dev", "scaledconsumers", "", &["list", "watch"]),
    ("paceline.dev", "scaledconsumers", "status", &["patch"]),
    ("apps", "deployments", "", &["list", "watch"]),
    ("apps", "deployments", "scale", &["get", "patch"]),
    ("apps", "statefulsets", "", &["list", "watch"]),
    ("apps", "statefulsets", "scale", &["get", "patch"]),
    ("autoscaling", "horizontalpodautoscalers", "", &["list", "watch"]),
    ("events.k8s.io", "events", "", &["create", "patch"]),
];

/// How the controller is configured.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The controller's namespace.
    pub namespace: String,
    /// The Lease; `None` without leader election.
    pub lease: Option<Key>,
    /// The namespaces that it watches; all where empty.
    pub watched: Vec<String>,
    /// Rights that the configuration asks for in addition, each on one object where it has a name.
    pub more_rights: Vec<NeededRight>,
    /// The time of the check.
    pub now: Timestamp,
}

/// A right that the controller needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededRight {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, in the plural.
    pub resource: &'static str,
    /// What may be done.
    pub verb: &'static str,
    /// The namespace; `None` for a resource without one.
    pub namespace: Option<String>,
    /// The object's name; `None` for any.
    pub name: Option<String>,
}

/// Checks what is installed; a row for each part, or one where nothing is.
pub async fn installation(client: &ApiClient, installation: &Installation) -> Vec<Row> {
    let definition = definition(client).await;
    let (controller, account) = controller(client, &installation.namespace).await;
    let lease = lease(client, installation.lease.as_ref(), installation.now).await;
    if [&definition, &controller, &lease].iter().all(|part| matches!(part, FoundPart::Missing(_))) {
        let namespace = &installation.namespace;
        let text = format!(
            "It is not installed: there is no CRD, no controller in namespace \"{namespace}\", and nobody holds its Lease."
        );
        return vec![
            Row::new(INSTALLATION, CheckResult::Failed, text)
                .todo("Install it: kubectl apply --server-side -k manifests; or give its namespace (-n NAMESPACE)."),
        ];
    }
    let leads = matches!(&lease, FoundPart::Row(row) if row.verdict == CheckResult::Ok);
    let controller = match controller {
        // It may run elsewhere: outside of the cluster, or in another namespace.
        FoundPart::Missing(row) if leads => Row { verdict: CheckResult::Warning, ..row },
        part => part.row(),
    };
    vec![definition.row(), controller, lease.row(), rights(client, installation, &account).await]
}

/// Whether the CRD is there, by the rows of [`installation`].
pub fn has_definition(rows: &[Row]) -> bool {
    !rows.iter().any(|row| [INSTALLATION, CRD].contains(&row.check) && row.verdict == CheckResult::Failed)
}

/// The row of a part of an installation.
enum FoundPart {
    Row(Row),
    /// It is not there.
    Missing(Row),
}

impl FoundPart {
    fn row(self) -> Row {
        match self {
            Self::Row(row) | Self::Missing(row) => row,
        }
    }
}

async fn definition(client: &ApiClient) -> FoundPart {
    let wanted = crd();
    let name = wanted.name_any();
    let all: Api<CustomResourceDefinition> = Api::all(client.kube.clone());
    let found = match client.call(Lane::Other, all.get_opt(&name)).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let text = format!("There is no CRD {name}, so there is no ScaledConsumer.");
            let row = Row::new(CRD, CheckResult::Failed, text);
            return FoundPart::Missing(row.todo("Run: paceline crd | kubectl apply --server-side -f -"));
        }
        Err(error) => return FoundPart::Row(unread(CRD, &format!("CRD {name}"), &error)),
    };
    let conditions = found.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if !conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
        let text = format!("The API server does not serve the CRD {name} yet, or can't.");
        let row = Row::new(CRD, CheckResult::Failed, text);
        return FoundPart::Row(row.todo(format!("Look at: kubectl describe crd {name}")));
    }
    let schemas = |crd: &CustomResourceDefinition| {
        crd.spec.versions.iter().map(|version| (version.name.clone(), version.schema.clone())).collect::<Vec<_>>()
    };
    let version = env!("CARGO_PKG_VERSION");
    if schemas(&found) == schemas(&wanted) {
        let text = format!("{name} is there, and is that of paceline {version}.");
        return FoundPart::Row(Row::new(CRD, CheckResult::Ok, text));
    }
    let text = format!("{name} is not that of paceline {version}: fields may be refused or dropped.");
    FoundPart::Row(
        Row::new(CRD, CheckResult::Warning, text)
            .todo("Run this with the controller's own version, or: paceline crd | kubectl apply --server-side -f -"),
    )
}

/// The row, and the ServiceAccount that the controller runs as.
async fn controller(client: &ApiClient, namespace: &str) -> (FoundPart, String) {
    let deployments: Api<Deployment> = Api::namespaced(client.kube.clone(), namespace);
    let list = client.call(Lane::Other, deployments.list(&ListParams::default().labels(LABEL))).await;
    // The label is the pods' in the manifests, and the Deployment has their name.
    let named = client.call(Lane::Other, deployments.get_opt(ACCOUNT)).await;
    let found = match (list, named) {
        (Ok(list), Ok(named)) => list.items.into_iter().next().or(named),
        (Err(error), _) | (_, Err(error)) => {
            let what = format!("the Deployments in namespace \"{namespace}\"");
            return (FoundPart::Row(unread(CONTROLLER, &what, &error)), ACCOUNT.to_owned());
        }
    };
    let Some(found) = found else {
        let text = format!("There is no Deployment \"{ACCOUNT}\" in namespace \"{namespace}\".");
        let row = Row::new(CONTROLLER, CheckResult::Failed, text).todo(
            "Give the controller's namespace (-n NAMESPACE), or install it: kubectl apply --server-side -k manifests",
        );
        return (FoundPart::Missing(row), ACCOUNT.to_owned());
    };
    let pods = found.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let account = pods.and_then(|pods| pods.service_account_name.clone()).unwrap_or_else(|| ACCOUNT.to_owned());
    let image = pods.and_then(|pods| pods.containers.first()?.image.clone()).unwrap_or_default();
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let name = found.name_any();
    let text = format!("Deployment {namespace}/{name} runs {image}; {ready} of {wanted} replicas are ready.");
    let row = if ready == 0 {
        Row::new(CONTROLLER, CheckResult::Failed, text).todo(format!(
            "Look at: kubectl -n {namespace} logs deployment/{name}, and kubectl -n {namespace} get pods"
        ))
    } else if ready < wanted {
        Row::new(CONTROLLER, CheckResult::Failed, text).todo(format!("Look at: kubectl -n {namespace} get pods"))
    } else {
        Row::new(CONTROLLER, CheckResult::Ok, text)
    };
    (FoundPart::Row(row), account)
}

async fn lease(client: &ApiClient, key: Option<&Key>, now: Timestamp) -> FoundPart {
    let Some(Key { namespace, name }) = key else {
        return FoundPart::Row(Row::new(LEASE, CheckResult::Skipped, "Leader election is off: every replica writes."));
    };
    let leases: Api<Lease> = Api::namespaced(client.kube.clone(), namespace);
    let spec = match client.call(Lane::Other, leases.get_opt(name)).await {
        Ok(found) => found.and_then(|lease| lease.spec).unwrap_or_default(),
        Err(error) => return FoundPart::Row(unread(LEASE, &format!("Lease {namespace}/{name}"), &error)),
    };
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, spec.renew_time) else {
        let row = Row::new(LEASE, CheckResult::Failed, format!("Nobody holds the Lease {namespace}/{name}."));
        return FoundPart::Missing(
            row.todo("Where a controller runs, look at its log; without a leader nothing is scaled."),
        );
    };
    let age = now.duration_since(renewed.0).max(SignedDuration::ZERO).unsigned_abs();
    let text = format!("{holder} leads; it renewed the Lease {namespace}/{name} {} ago", short(age));
    let limit = u64::try_from(spec.lease_duration_seconds.unwrap_or(15)).unwrap_or(15);
    if age.as_secs() <= limit {
        return FoundPart::Row(Row::new(LEASE, CheckResult::Ok, format!("{text}.")));
    }
    let text = format!("Nobody leads: {holder} last renewed the Lease {} ago.", short(age));
    FoundPart::Row(
        Row::new(LEASE, CheckResult::Failed, text)
            .todo("Check that the controller runs and may write Leases; without a leader nothing is scaled."),
    )
}

/// Asks the API server, on the controller's behalf, about each right of [`NEEDED`].
async fn rights(client: &ApiClient, installation: &Installation, account: &str) -> Row {
    let own = &installation.namespace;
    let (user, who) = (UserIdentity::of_service_account(own, account), format!("ServiceAccount {own}/{account}"));
    let watched: Vec<Option<&str>> = match installation.watched.as_slice() {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    let lease = |verb| ("coordination.k8s.io", "leases", "", verb);
    let home = installation.lease.as_ref().map(|lease| (lease.namespace.as_str(), lease.name.as_str()));
    let mut missing = BTreeSet::new();
    let mut questions = Vec::new();
    for namespace in watched {
        let needed = NEEDED.iter().flat_map(|(group, resource, subresource, verbs)| {
            verbs.iter().map(move |verb| (*group, *resource, *subresource, *verb))
        });
        questions.extend(needed.map(|right| (namespace, None, right)));
    }
    if let Some((namespace, name)) = home {
        questions.extend(["get", "update"].map(|verb| (Some(namespace), Some(name), lease(verb))));
        questions.push((Some(namespace), None, lease("create")));
    }
    for NeededRight { group, resource, verb, namespace, name } in &installation.more_rights {
        questions.push((namespace.as_deref(), name.as_deref(), (*group, *resource, "", *verb)));
    }
    for (namespace, name, (group, resource, subresource, verb)) in questions {
        let asked = ResourceAttributes {
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: (!subresource.is_empty()).then(|| subresource.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        match may(client, &user, asked).await {
            Ok(true) => {}
            Ok(false) => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                let dot = if group.is_empty() { "" } else { "." };
                let of = name.map_or(String::new(), |name| format!(" {name}"));
                let place = namespace.map_or(String::new(), |namespace| format!(" in {namespace}"));
                missing.insert(format!("{verb} {resource}{slash}{subresource}{dot}{group}{of}{place}"));
            }
            Err(error) => return unread(RIGHTS, &format!("the rights of {who}"), &error),
        }
    }
    if missing.is_empty() {
        return Row::new(RIGHTS, CheckResult::Ok, format!("{who} may do all that the controller needs."));
    }
    let missing: Vec<_> = missing.into_iter().collect();
    Row::new(RIGHTS, CheckResult::Failed, format!("{who} may not {}.", missing.join(", ")))
        .todo("Apply manifests/base/rbac.yaml, or a Role with these rights in each namespace of watchNamespaces; those of the page, of external metrics and of Kafka's Secrets are in manifests/page, manifests/external-metrics and manifests/examples/kafka-secret-role.yaml.")
}
