//! The checks of `paceline doctor` for external metrics: the APIService, its Service, the serving certificate and the
//! front proxy. It uses the rights of its user and writes nothing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service as CoreService};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::ListParams;

use super::api_service::{NAME, Registration, ServiceName};
use super::certificate::{ParsedCertificate, verify_certificate};
use super::front_proxy::{FrontProxy, FrontProxySource};
use crate::checks::{CheckResult, Row};
use crate::kubernetes::diagnosis::unread;
use crate::kubernetes::{ApiClient, Lane};

/// The names of the checks, as they are printed.
const API_SERVICE: &str = "APIService";
const SERVICE: &str = "Service";
const CERTIFICATE: &str = "certificate";
const FRONT_PROXY: &str = "front proxy";

/// How external metrics are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalMetricsCheck {
    /// Whether they are on; `None` if unknown: then they are on where the APIService is ours.
    pub enabled: Option<bool>,
    /// The Service that the APIService is to name.
    pub service: ServiceName,
    /// The Secret with the certificate, in the controller's namespace; `None` where it is mounted.
    pub secret: Option<String>,
    /// The controller's namespace.
    pub namespace: String,
    /// The time of the check.
    pub now: Timestamp,
}

/// The rows where nothing could be checked.
pub fn skipped(why: &str) -> Vec<Row> {
    [API_SERVICE, SERVICE, CERTIFICATE, FRONT_PROXY].map(|check| Row::new(check, CheckResult::Skipped, why)).into()
}

/// Checks whether HPAs can read Paceline's metrics.
pub async fn check(client: &ApiClient, configured: &ExternalMetricsCheck) -> Vec<Row> {
    let (registration, row) =
        match client.call(Lane::Other, Api::<APIService>::all(client.kube.clone()).get_opt(NAME)).await {
            Ok(object) => {
                let registration = Registration::of(object.as_ref(), &configured.service);
                let row = api_service(&registration, configured.enabled, &configured.service);
                (registration, row)
            }
            Err(error) => (
                Registration::Unreadable(error.to_string()),
                unread(API_SERVICE, &format!("APIService {NAME}"), &error),
            ),
        };
    let mut rows = vec![row];
    if !configured.enabled.unwrap_or(registration.is_ours()) {
        let why = match &registration {
            Registration::Unreadable(_) => "It is not known whether external metrics are on; give --config FILE.",
            Registration::Unknown
            | Registration::Missing
            | Registration::Ours { .. }
            | Registration::OwnedBy { .. } => "External metrics are off.",
        };
        rows.extend(skipped(why).into_iter().skip(1));
        return rows;
    }
    rows.push(service(client, &configured.service).await);
    rows.push(certificate(client, configured, &registration).await);
    rows.push(front_proxy(client).await);
    rows
}

fn api_service(registration: &Registration, enabled: Option<bool>, service: &ServiceName) -> Row {
    let row = |result| Row::new(API_SERVICE, result, registration.to_string());
    match registration {
        Registration::Missing => match enabled {
            Some(true) => row(CheckResult::Failed).todo("Apply the manifests with external metrics, which have it."),
            Some(false) | None => Row::new(
                API_SERVICE,
                CheckResult::Ok,
                format!("There is no APIService {NAME}: the name is free to take."),
            ),
        },
        Registration::Ours { .. } if enabled == Some(false) => {
            let text = format!(
                "APIService {NAME} names Service {service}, but external metrics are off in the configuration, so nothing answers: namespaces can't be deleted meanwhile."
            );
            Row::new(API_SERVICE, CheckResult::Failed, text)
                .todo(format!("Set externalMetrics.enabled: true, or run: kubectl delete apiservice {NAME}"))
        }
        Registration::Ours { available: Some(true), .. } => row(CheckResult::Ok),
        Registration::Ours { available: Some(false), .. } => row(CheckResult::Failed)
            .todo("See the rows below; where they are Ok, check that network policies and firewalls let the API server through to the Service's pods."),
        Registration::Ours { available: None, .. } => row(CheckResult::Warning).todo("Run this again in a minute."),
        Registration::OwnedBy { .. } => row(if enabled == Some(true) { CheckResult::Failed } else { CheckResult::Ok }),
        Registration::Unknown | Registration::Unreadable(_) => row(CheckResult::Skipped),
    }
}

async fn service(client: &ApiClient, service: &ServiceName) -> Row {
    let ServiceName { namespace, name } = service;
    let services: Api<CoreService> = Api::namespaced(client.kube.clone(), namespace);
    let found = match client.call(Lane::Other, services.get_opt(name)).await {
        Ok(Some(found)) => found.spec.unwrap_or_default(),
        Ok(None) => {
            return Row::new(SERVICE, CheckResult::Failed, format!("There is no Service {service}."))
                .todo("Apply the manifests with external metrics, or correct externalMetrics.service.");
        }
        Err(error) => return unread(SERVICE, &format!("Service {service}"), &error),
    };
    if found.type_.as_deref() == Some("ExternalName") {
        let target = found.external_name.unwrap_or_default();
        return Row::new(SERVICE, CheckResult::Ok, format!("{service} is an ExternalName for {target}."));
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client.kube.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    match client.call(Lane::Other, slices.list(&of_service)).await {
        Ok(slices) => match slices.items.iter().map(ready).sum::<usize>() {
            0 => Row::new(SERVICE, CheckResult::Failed, format!("{service} has no ready endpoint."))
                .todo("Check that the controller's pods are Ready, and that the Service's selector fits their labels."),
            1 => Row::new(SERVICE, CheckResult::Ok, format!("{service} has one ready endpoint.")),
            count => Row::new(SERVICE, CheckResult::Ok, format!("{service} has {count} ready endpoints.")),
        },
        Err(error) => unread(SERVICE, &format!("the EndpointSlices of Service {service}"), &error),
    }
}

/// The ready addresses. Without a condition an endpoint counts as ready (KEP-1672).
fn ready(slice: &EndpointSlice) -> usize {
    let endpoints = slice.endpoints.iter();
    let is_ready = |conditions: Option<bool>| conditions.unwrap_or(true);
    let ready = endpoints.filter(|it| is_ready(it.conditions.as_ref().and_then(|conditions| conditions.ready)));
    ready.map(|it| it.addresses.len()).sum()
}

async fn certificate(client: &ApiClient, configured: &ExternalMetricsCheck, registration: &Registration) -> Row {
    let Registration::Ours { ca_bundle, .. } = registration else {
        return Row::new(
            CERTIFICATE,
            CheckResult::Skipped,
            "There is no APIService of Paceline, so it is not verified.",
        );
    };
    let Some(bundle) = ca_bundle else {
        return Row::new(
            CERTIFICATE,
            CheckResult::Failed,
            "The APIService has no caBundle, so the API server does not verify the certificate.",
        )
        .todo(
            "The controller sets it, or cert-manager by the annotation cert-manager.io/inject-ca-from: see their logs.",
        );
    };
    let Some(name) = &configured.secret else {
        return Row::new(
            CERTIFICATE,
            CheckResult::Skipped,
            "The certificate is mounted into the controller, so it can't be checked from here; the caBundle is set.",
        );
    };
    let what = format!("Secret {}/{name}", configured.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.kube.clone(), &configured.namespace);
    match client.call(Lane::Other, secrets.get_opt(name)).await {
        Ok(Some(secret)) => {
            let chain = secret.data.unwrap_or_default().remove("tls.crt").unwrap_or_default();
            check_certificate(&what, &String::from_utf8_lossy(&chain.0), bundle, configured)
        }
        Ok(None) => Row::new(CERTIFICATE, CheckResult::Failed, format!("There is no {what}."))
            .todo("The leader creates it: check that the controller runs, and its log."),
        Err(error) => unread(CERTIFICATE, &what, &error),
    }
}

fn check_certificate(what: &str, chain: &str, bundle: &str, configured: &ExternalMetricsCheck) -> Row {
    let own = match ParsedCertificate::all(chain) {
        Ok(all) if !all.is_empty() => all[0].clone(),
        Ok(_) => {
            return Row::new(CERTIFICATE, CheckResult::Failed, format!("{what} has no certificate in tls.crt."))
                .todo("The leader creates it: check that the controller runs, and its log.");
        }
        Err(why) => {
            return Row::new(CERTIFICATE, CheckResult::Failed, format!("tls.crt of {what} can't be read: {why}."))
                .todo(format!("Delete {what}: the leader creates a new one."));
        }
    };
    let until = own.not_after.strftime("%Y-%m-%d %H:%M UTC");
    if let Err(why) = verify_certificate(chain, bundle, &configured.service.dns_names()[0], configured.now) {
        let text = format!("The APIService does not trust the certificate in {what}: {why} (valid until {until}).");
        return Row::new(CERTIFICATE, CheckResult::Failed, text).todo(
            "The leader sets the APIService's caBundle and renews the certificate: check that it runs, and its log.",
        );
    }
    if own.renewal() < configured.now {
        let text =
            format!("The APIService trusts the certificate in {what}, but its renewal is overdue; it expires {until}.");
        return Row::new(CERTIFICATE, CheckResult::Warning, text)
            .todo("The leader renews it: check that it runs, and its log.");
    }
    Row::new(
        CERTIFICATE,
        CheckResult::Ok,
        format!("The APIService trusts the certificate in {what}, valid until {until}."),
    )
}

async fn front_proxy(client: &ApiClient) -> Row {
    let FrontProxySource { namespace, name } = FrontProxySource::default();
    let what = format!("ConfigMap {namespace}/{name}");
    let maps: Api<ConfigMap> = Api::namespaced(client.kube.clone(), &namespace);
    match client.call(Lane::Other, maps.get_opt(&name)).await {
        Ok(Some(map)) => match FrontProxy::parse(&map) {
            Ok(known) => {
                let names = match known.allowed_names.as_slice() {
                    [] => "any name".to_owned(),
                    names => names.join(" or "),
                };
                Row::new(
                    FRONT_PROXY,
                    CheckResult::Ok,
                    format!("The API server identifies itself by a certificate for {names}."),
                )
            }
            Err(why) => {
                Row::new(FRONT_PROXY, CheckResult::Failed, format!("{what} does not describe a front proxy: {why}."))
                    .todo("Correct the API server's --requestheader flags; it writes the ConfigMap itself.")
            }
        },
        Ok(None) => Row::new(FRONT_PROXY, CheckResult::Failed, format!("There is no {what}."))
            .todo("Start the API server with --requestheader-client-ca-file; it writes the ConfigMap itself."),
        Err(error) => unread(FRONT_PROXY, &what, &error),
    }
}
