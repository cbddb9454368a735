//! The objects that `paceline doctor` checks, listed once.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::ListParams;
use kube::{Api, Resource};

use crate::kubernetes::hpa::Autoscalers;
use crate::kubernetes::scaledconsumer::ScaledConsumer;
use crate::kubernetes::{ApiClient, CallError, Lane};

/// The ScaledConsumers of these namespaces, of all where there are none, that the label selector selects.
pub async fn scaled_consumers(
    client: &ApiClient,
    namespaces: &[String],
    selector: Option<&str>,
) -> Result<Vec<ScaledConsumer>, CallError> {
    let parameters = selector.map_or_else(ListParams::default, |selector| ListParams::default().labels(selector));
    let mut all = Vec::new();
    for api in apis::<ScaledConsumer>(client, namespaces) {
        all.extend(client.call(Lane::Other, api.list(&parameters)).await?.items);
    }
    Ok(all)
}

/// The HorizontalPodAutoscalers of these namespaces, of all where there are none.
pub async fn autoscalers(client: &ApiClient, namespaces: &[String]) -> Result<Autoscalers, CallError> {
    let known = Autoscalers::default();
    for api in apis::<HorizontalPodAutoscaler>(client, namespaces) {
        let list = client.call(Lane::Other, api.list(&ListParams::default())).await?;
        list.items.iter().for_each(|object| known.apply(object));
    }
    Ok(known)
}

/// One for each namespace, or one for all.
fn apis<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(
    client: &ApiClient,
    namespaces: &[String],
) -> Vec<Api<K>> {
    if namespaces.is_empty() {
        return vec![Api::all(client.kube.clone())];
    }
    namespaces.iter().map(|namespace| Api::namespaced(client.kube.clone(), namespace)).collect()
}
