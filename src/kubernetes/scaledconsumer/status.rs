//! Writes a ScaledConsumer's status, only the fields that differ from what the API server has. The caller decides when.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use crate::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerStatus};
use crate::kubernetes::{ApiClient, CallError, FIELD_MANAGER, Key, Lane, Leadership};

/// A merge patch: the fields of `after` that differ from `before`, and null for those that are gone. The memory is
/// excluded, because it is written separately.
pub fn difference(before: &ScaledConsumerStatus, after: &ScaledConsumerStatus) -> Map<String, Value> {
    let (mut before, mut changed) = (fields(before), fields(after));
    changed.retain(|name, value| before.remove(name).as_ref() != Some(value));
    changed.extend(before.into_iter().map(|(name, _)| (name, Value::Null)));
    changed
}

fn fields(status: &ScaledConsumerStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(mut fields)) => {
            fields.remove("memory");
            fields
        }
        _ => Map::new(),
    }
}

/// Writes fields of a status if this controller leads; `None` if it does not.
pub async fn write_status(
    client: &ApiClient,
    key: &Key,
    fields: Map<String, Value>,
    leadership: &Leadership,
) -> Result<Option<()>, CallError> {
    let api: Api<ScaledConsumer> = Api::namespaced(client.kube.clone(), &key.namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "status": fields }));
    let request = api.patch_status(&key.name, &params, &patch);
    client.write(Lane::Status, || leadership.may_write(), request).await.map(|written| written.map(drop))
}
