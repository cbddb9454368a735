//! The rights that the controller needs for external metrics in the cluster: these, and no more.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use paceline::serve::external_metrics::{API_SERVICE, Lifetimes};
use serde_json::json;

use super::parts::{Rank, Replica, SECRET, SERVICE, SOON};
use crate::world::api_service::api_service_lock;
use crate::world::control_plane::ControlPlane;
use crate::world::{cluster, wait_for};

const ACCOUNT: &str = "controller";

/// A client as a ServiceAccount that has no rights yet.
pub(super) async fn create_account(cluster: &ControlPlane, namespace: &str) -> Client {
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(ACCOUNT.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    Api::namespaced(cluster.admin(), namespace).create(&PostParams::default(), &account).await.unwrap();
    cluster.service_account(namespace, ACCOUNT).await
}

pub(super) async fn allow(cluster: &ControlPlane, namespace: &str) {
    let (params, admin) = (PostParams::default(), cluster.admin());
    let subjects = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]);
    let role = json!({
        "metadata": {"name": ACCOUNT},
        "rules": [
            // What does not exist yet has no name that a rule could give.
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["list", "watch", "update"]},
        ],
    });
    let binding = |kind: &str| {
        json!({
            "metadata": {"name": if kind == "Role" { ACCOUNT } else { namespace }},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": kind,
                "name": if kind == "Role" { ACCOUNT } else { namespace },
            },
            "subjects": subjects,
        })
    };
    let cluster_role = json!({
        "metadata": {"name": namespace},
        "rules": [{
            "apiGroups": ["apiregistration.k8s.io"],
            "resources": ["apiservices"],
            "resourceNames": [API_SERVICE],
            "verbs": ["list", "watch", "patch"],
        }],
    });
    let roles: Api<Role> = Api::namespaced(admin.clone(), namespace);
    roles.create(&params, &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
    bindings.create(&params, &serde_json::from_value(binding("Role")).unwrap()).await.unwrap();
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    roles.create(&params, &serde_json::from_value(cluster_role).unwrap()).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(admin);
    bindings.create(&params, &serde_json::from_value(binding("ClusterRole")).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_few_verbs_on_objects_by_name_are_enough_to_lead() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("rights").await;
    let client = create_account(cluster, &namespace).await;
    allow(cluster, &namespace).await;
    turn.create(&namespace, SERVICE, 443, json!({})).await;
    let seconds = std::time::Duration::from_secs;
    let lifetimes = Lifetimes { serving: seconds(9), skew: seconds(1), settle: seconds(1) };
    let leader = Replica::start(&client, &namespace, Rank::Leader, lifetimes);
    let first = leader.wait_for_chain().await;
    wait_for("the APIService trusts us", SOON, || async { turn.ca_bundle().await.ok_or("nobody") }).await;
    // What there is it may change as well.
    wait_for("another certificate", SOON, || async {
        if leader.chain().as_ref() == Some(&first) { Err("still the first") } else { Ok(()) }
    })
    .await;
}
