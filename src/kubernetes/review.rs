//! Asks the API server who somebody is (TokenReview) and what they may read (SubjectAccessReview). It keeps nothing, and
//! no token gets into a log or an error: requests are sent as text, because the client logs answers that it can't parse,
//! and the answer to a TokenReview has the token in it.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kubernetes::{ApiClient, CallError, Lane};

/// A user of the cluster, as the API server authorizes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserIdentity {
    /// The user's name.
    pub name: String,
    /// Their unique id.
    pub uid: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// What else an authorizer may look at.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserIdentity {
    /// A ServiceAccount, as its tokens are authenticated.
    pub(crate) fn of_service_account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            ..Self::default()
        }
    }

    fn of(user: UserInfo) -> Option<Self> {
        let name = user.username.filter(|name| !name.is_empty())?;
        let (groups, extra) = (user.groups.unwrap_or_default(), user.extra.unwrap_or_default());
        Some(Self { name, uid: user.uid, groups, extra })
    }
}

/// A verb on ScaledConsumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadVerb {
    /// One of them.
    Get,
    /// Those of a namespace, or of all where it is empty.
    List,
}

impl ReadVerb {
    /// Its name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
        }
    }
}

/// Whose a token is; `None` where it is not valid. It must be for one of `audiences`, or for the API server where there
/// are none.
pub async fn review_token(
    client: &ApiClient,
    token: &str,
    audiences: &[String],
) -> Result<Option<UserIdentity>, CallError> {
    let review = TokenReview {
        metadata: ObjectMeta::default(),
        spec: TokenReviewSpec {
            audiences: Some(audiences.to_vec()).filter(|audiences| !audiences.is_empty()),
            token: Some(token.to_owned()),
        },
        status: None,
    };
    let answer: TokenReview = post(client, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await?;
    let Some(status) = answer.status.filter(|status| status.authenticated == Some(true)) else { return Ok(None) };
    // An authenticator that knows no audiences names none; then the token may be for anybody.
    let of_token = status.audiences.unwrap_or_default();
    let is_for_us = audiences.is_empty() || of_token.iter().any(|audience| audiences.contains(audience));
    Ok(status.user.filter(|_| is_for_us).and_then(UserIdentity::of))
}

/// Whether a user may read ScaledConsumers. `namespace`: empty for all. `name`: empty for all of the namespace.
pub async fn may_read(
    client: &ApiClient,
    user: &UserIdentity,
    verb: ReadVerb,
    namespace: &str,
    name: &str,
) -> Result<bool, CallError> {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let asked = ResourceAttributes {
        group: Some("paceline.dev".to_owned()),
        resource: Some("scaledconsumers".to_owned()),
        verb: Some(verb.name().to_owned()),
        namespace: given(namespace),
        name: given(name),
        ..ResourceAttributes::default()
    };
    may(client, user, asked).await
}

/// Whether a user has a right.
pub(crate) async fn may(client: &ApiClient, user: &UserIdentity, asked: ResourceAttributes) -> Result<bool, CallError> {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            resource_attributes: Some(asked),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer: SubjectAccessReview =
        post(client, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}

async fn post<T: Serialize + DeserializeOwned>(client: &ApiClient, path: &str, review: &T) -> Result<T, CallError> {
    let unusable = |_| CallError::Other("the API server's answer to a review can't be read".to_owned());
    let body = serde_json::to_vec(review).map_err(unusable)?;
    let request = http::Request::post(path).header("content-type", "application/json").body(body);
    let request = request.map_err(|error| CallError::Other(error.to_string()))?;
    let answer = client.call(Lane::Reviews, client.kube.request_text(request)).await?;
    serde_json::from_str(&answer).map_err(unusable)
}
