//! Who may see which ScaledConsumers: those whom the API server lets read them. Its answers are kept for a short time and
//! in a bounded number; of a token only the hash is kept.
//!
//! Architecture invariant: where the API server can't be asked, nothing is shown.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt, stream};
use moka::future::Cache;
use ring::digest::{SHA256, digest};
use tracing::warn;

use super::proxy::TrustedProxy;
use crate::kubernetes::{ApiClient, CallError, LastError, ReadVerb, UserIdentity, may_read, review_token};
use crate::registry::Registry;
use crate::serve::accept::ConnectionPeer;

/// How long an answer of the API server counts: a right that is taken away ends within this time.
const ANSWER_LIFETIME: Duration = Duration::from_secs(30);
/// Tokens of which the answer is kept: many more than people look at the page within [`ANSWER_LIFETIME`]. 1 MiB or so.
const MAX_TOKENS: u64 = 1_000;
/// Rights of which the answer is kept: 200 people's with 100 namespaces each. 4 MiB or so.
const MAX_RIGHTS: u64 = 20_000;
/// Time-out of all reviews of one request. What was answered in time is kept, so another attempt gets further.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(8);
/// Reviews that one request has under way at once.
const REVIEWS_AT_ONCE: usize = 4;
/// How long a stream of events lasts. Then the browser connects again, with its token, and is reviewed again.
const STREAM_LIFETIME: Duration = Duration::from_secs(60);
/// Bytes of a token at most: browsers keep no larger cookie.
const MAX_TOKEN_BYTES: usize = 3_800;
/// The cookie with the token of somebody who has signed in on the page.
pub(super) const COOKIE: &str = "paceline-token";

/// The SHA-256 of a token or a user.
type Sha256 = [u8; 32];

/// Who may see the page.
#[derive(Clone)]
pub enum PageAccess {
    /// Everybody who reaches it: for loopback addresses only.
    Everyone,
    /// Those whom the API server lets read ScaledConsumers, and of these what it lets them read.
    Reviewed(Arc<AccessReview>),
}

/// Asks the API server, and keeps its answers for a while.
pub struct AccessReview {
    client: ApiClient,
    /// The audiences that a token must be for, the API server's own where there are none; `None`: no token is accepted.
    audiences: Option<Vec<String>>,
    proxy: Option<TrustedProxy>,
    tokens: Cache<Sha256, Option<Arc<UserIdentity>>>,
    rights: Cache<RightKey, bool>,
    last_error: Mutex<LastError>,
}

#[derive(PartialEq, Eq, Hash)]
struct RightKey {
    user: Sha256,
    verb: ReadVerb,
    namespace: String,
    name: String,
}

/// Who looks at the page.
#[derive(Clone)]
pub(super) enum Viewer {
    /// Somebody, where everybody may see everything.
    Anyone,
    /// A user of the cluster.
    User(Arc<ReviewedUser>),
}

/// A user of the cluster, and what tells their rights.
pub(super) struct ReviewedUser {
    identity: Arc<UserIdentity>,
    hash: Sha256,
    review: Arc<AccessReview>,
    /// Whether they have signed in on the page.
    has_cookie: bool,
}

/// What a viewer may list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    /// All namespaces.
    Everything,
    /// These namespaces.
    Namespaces(BTreeSet<String>),
}

/// Why nothing is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AccessError {
    /// It is not known who asks, in a sentence.
    Unauthenticated(&'static str),
    /// They have no right to it, in a sentence.
    Forbidden(String),
    /// The API server can't be asked.
    Unavailable,
}

impl AccessReview {
    /// `audiences`: those that a token must be for, the API server's own where there are none; `None`: no token is
    /// accepted.
    pub fn new(client: ApiClient, audiences: Option<Vec<String>>, proxy: Option<TrustedProxy>) -> Self {
        Self {
            client,
            audiences,
            proxy,
            tokens: Cache::builder().max_capacity(MAX_TOKENS).time_to_live(ANSWER_LIFETIME).build(),
            rights: Cache::builder().max_capacity(MAX_RIGHTS).time_to_live(ANSWER_LIFETIME).build(),
            last_error: Mutex::default(),
        }
    }

    /// The audiences that a token must be for; `None` where no token is accepted.
    pub(super) fn audiences(&self) -> Option<&[String]> {
        self.audiences.as_deref()
    }

    /// The proxy that may say who somebody is.
    pub(super) fn proxy(&self) -> Option<&TrustedProxy> {
        self.proxy.as_ref()
    }

    /// Who has sent a request.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        peer: &ConnectionPeer,
        headers: &HeaderMap,
    ) -> Result<Viewer, AccessError> {
        if let Some(proxy) = self.proxy.as_ref().filter(|proxy| proxy.is(peer))
            && let Some(user) = proxy.user(headers)
        {
            return Ok(self.viewer(Arc::new(user), false));
        }
        let (token, has_cookie) = match (bearer(headers), cookie(headers)) {
            (Some(token), _) => (token, false),
            (None, Some(token)) => (token, true),
            (None, None) => return Err(AccessError::Unauthenticated("No token was sent.")),
        };
        Ok(self.viewer(self.check_token(token).await?, has_cookie))
    }

    /// Whose a token is.
    pub(super) async fn check_token(&self, token: &str) -> Result<Arc<UserIdentity>, AccessError> {
        let Some(audiences) = &self.audiences else {
            return Err(AccessError::Unauthenticated("Tokens are not accepted here."));
        };
        // As RFC 6750 has it, which is what a cookie may hold as well.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !token.bytes().all(is_allowed) {
            return Err(AccessError::Unauthenticated("This is not a token, or it is too long."));
        }
        let review = async { review_token(&self.client, token, audiences).await.map(|user| user.map(Arc::new)) };
        let reviewed = tokio::time::timeout(REVIEW_TIMEOUT, self.tokens.try_get_with(hash(token.as_bytes()), review));
        let reviewed = reviewed.await;
        if matches!(reviewed, Ok(Ok(_))) {
            self.available();
        }
        match reviewed {
            Ok(Ok(Some(user))) => Ok(user),
            Ok(Ok(None)) => Err(AccessError::Unauthenticated(
                "The token is not valid: it may have expired, or be for something else.",
            )),
            Ok(Err(error)) => Err(self.unavailable(&error)),
            Err(_) => Err(self.unavailable(&CallError::TimedOut(REVIEW_TIMEOUT))),
        }
    }

    fn viewer(self: &Arc<Self>, identity: Arc<UserIdentity>, has_cookie: bool) -> Viewer {
        let hash = hash(&serde_json::to_vec(&*identity).expect("texts can always be written"));
        Viewer::User(Arc::new(ReviewedUser { identity, hash, review: Arc::clone(self), has_cookie }))
    }

    fn available(&self) {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn unavailable(&self, error: &CallError) -> AccessError {
        let error = error.to_string();
        if self.last_error.lock().unwrap_or_else(PoisonError::into_inner).is_new(&error) {
            warn!(error, "The API server can't be asked who may see the page, so nothing is shown.");
        }
        AccessError::Unavailable
    }
}

impl ReviewedUser {
    async fn may(&self, verb: ReadVerb, namespace: &str, name: &str) -> Result<bool, AccessError> {
        let key = RightKey { user: self.hash, verb, namespace: namespace.to_owned(), name: name.to_owned() };
        let review = may_read(&self.review.client, &self.identity, verb, namespace, name);
        let reviewed = self.review.rights.try_get_with(key, review).await;
        reviewed.inspect(|_| self.review.available()).map_err(|error| self.review.unavailable(&error))
    }

    async fn visible(&self, registry: &Registry) -> Result<Visibility, AccessError> {
        if self.may(ReadVerb::List, "", "").await? {
            return Ok(Visibility::Everything);
        }
        let all: BTreeSet<String> = registry.entries().iter().map(|entry| entry.key.namespace.clone()).collect();
        let reviews = stream::iter(all).map(|namespace| async {
            let may = self.may(ReadVerb::List, &namespace, "").await?;
            Ok::<_, AccessError>(may.then_some(namespace))
        });
        let allowed: Vec<Option<String>> = reviews.buffer_unordered(REVIEWS_AT_ONCE).try_collect().await?;
        let allowed: BTreeSet<String> = allowed.into_iter().flatten().collect();
        if allowed.is_empty() {
            return Err(AccessError::Forbidden(format!(
                "{} may not list ScaledConsumers in any namespace that has some.",
                self.identity.name
            )));
        }
        Ok(Visibility::Namespaces(allowed))
    }

    async fn within<T>(&self, review: impl Future<Output = Result<T, AccessError>>) -> Result<T, AccessError> {
        let timed_out = |_| Err(self.review.unavailable(&CallError::TimedOut(REVIEW_TIMEOUT)));
        tokio::time::timeout(REVIEW_TIMEOUT, review).await.unwrap_or_else(timed_out)
    }
}

impl Viewer {
    /// The namespaces whose ScaledConsumers they may list.
    pub(super) async fn visible(&self, registry: &Registry) -> Result<Visibility, AccessError> {
        match self {
            Self::Anyone => Ok(Visibility::Everything),
            Self::User(user) => user.within(user.visible(registry)).await,
        }
    }

    /// Whether they may read one. The answer does not depend on whether it is there.
    pub(super) async fn check_read(&self, namespace: &str, name: &str) -> Result<(), AccessError> {
        let Self::User(user) = self else { return Ok(()) };
        if user.within(user.may(ReadVerb::Get, namespace, name)).await? {
            return Ok(());
        }
        let user = &user.identity.name;
        Err(AccessError::Forbidden(format!("{user} may not get ScaledConsumer {name} in namespace {namespace}.")))
    }

    /// How long a stream of events to them lasts; `None` for as long as they like.
    pub(super) fn stream_lifetime(&self) -> Option<Duration> {
        matches!(self, Self::User(_)).then_some(STREAM_LIFETIME)
    }

    /// Their name; `None` where it is not asked for.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::User(user) => Some(&user.identity.name),
        }
    }

    /// Whether they can sign out.
    pub(super) fn has_cookie(&self) -> bool {
        matches!(self, Self::User(user) if user.has_cookie)
    }
}

impl Visibility {
    /// Whether the ScaledConsumers of a namespace may be listed.
    pub(super) fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}

impl AccessError {
    /// The status of its answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthenticated(why) => f.write_str(why),
            Self::Forbidden(why) => f.write_str(why),
            Self::Unavailable => f.write_str(
                "The API server can't be asked who may see this page, so nothing is shown. Try again in a moment; the controller's log has the cause.",
            ),
        }
    }
}

/// What a handler answers; `sign_in.rs` makes a page or JSON of it.
impl IntoResponse for AccessError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The token of `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of somebody who has signed in.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token)
}

fn hash(bytes: &[u8]) -> Sha256 {
    let mut hash = Sha256::default();
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::Client;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn however_many_tokens_are_sent_a_bounded_number_is_remembered() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            let answer = json!({"metadata": {}, "spec": {}, "status": {"authenticated": false}}).to_string();
            Ok::<_, Infallible>(http::Response::new(kube::client::Body::from(answer.into_bytes())))
        });
        let client = Client::new(service, "default");
        let review = AccessReview::new(client.into(), Some(Vec::new()), None);
        for number in 0..3 * MAX_TOKENS {
            let refused = review.check_token(&format!("token-{number}")).await;
            assert!(matches!(refused, Err(AccessError::Unauthenticated(_))), "{refused:?}");
        }
        review.tokens.run_pending_tasks().await;
        assert!(review.tokens.entry_count() <= MAX_TOKENS, "{}", review.tokens.entry_count());
    }

    #[test]
    fn a_token_comes_from_the_header_or_from_the_cookie_of_its_name() {
        type Row<'a> = (&'a [(header::HeaderName, &'static str)], Option<&'a str>, Option<&'a str>);
        let rows: [Row<'_>; 6] = [
            (&[], None, None),
            (&[(header::AUTHORIZATION, "bearer a.b")], Some("a.b"), None),
            (&[(header::AUTHORIZATION, "Basic YTpi")], None, None),
            (&[(header::AUTHORIZATION, "Bearer")], None, None),
            (&[(header::COOKIE, "x=1;paceline-token=a.b==; y=2")], None, Some("a.b==")),
            (&[(header::COOKIE, "not-paceline-token=a")], None, None),
        ];
        for (sent, of_header, of_cookie) in rows {
            let headers: HeaderMap =
                sent.iter().map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value))).collect();
            assert_eq!((bearer(&headers), cookie(&headers)), (of_header, of_cookie), "{sent:?}");
        }
    }
}
