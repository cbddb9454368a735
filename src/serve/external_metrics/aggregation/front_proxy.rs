//! Whom the API server's front proxy is known by: ConfigMap kube-system/extension-apiserver-authentication, as the API
//! server keeps it (k8s.io/apiserver, authentication/request/headerrequest). It reads, and believes nobody: that is the
//! business of whoever serves.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::kubernetes::single::{self, Complaint, Unwatchable, replace};

/// Which ConfigMap says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Default for Source {
    fn default() -> Self {
        Self { namespace: "kube-system".to_owned(), name: "extension-apiserver-authentication".to_owned() }
    }
}

/// Whom the front proxy is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxy {
    /// The authorities that sign its client certificate, as PEM.
    pub client_ca_pem: String,
    /// The common names that its certificate may have; any where empty.
    pub allowed_names: Vec<String>,
    /// The headers that name the user, the first that is there counts. At least one.
    pub username_headers: Vec<String>,
    /// The headers that name the user's groups.
    pub group_headers: Vec<String>,
    /// How the headers begin that say more of the user.
    pub extra_header_prefixes: Vec<String>,
}

/// Why a ConfigMap does not say whom to believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The API server runs without a front proxy.
    #[error("it has no requestheader-client-ca-file; start the API server with --requestheader-client-ca-file")]
    NoAuthority,
    /// The API server names no header.
    #[error(
        "requestheader-username-headers names no header; start the API server with --requestheader-username-headers"
    )]
    NoUsernameHeader,
    /// A list that is none.
    #[error("{key} is no JSON list of texts: {why}")]
    NoList {
        /// The entry.
        key: &'static str,
        /// Why.
        why: String,
    },
}

/// Follows the ConfigMap until `stop`. A change is delivered at once. When it can no longer be read or used, what was
/// delivered last stays: the API server goes on as well.
pub async fn follow(client: Client, source: Source, known: watch::Sender<Option<FrontProxy>>, stop: CancellationToken) {
    let api: Api<ConfigMap> = Api::namespaced(client, &source.namespace);
    let mut objects = single::follow(api, &source.name);
    let mut follower = Follower { source, known, complaint: Complaint::default() };
    loop {
        let seen = tokio::select! {
            () = stop.cancelled() => return,
            seen = objects.next() => seen,
        };
        match seen {
            Some(Ok(Some(object))) => follower.take(&object),
            Some(Ok(None)) => follower.miss(),
            Some(Err(error)) => follower.complain(&error),
            None => return,
        }
    }
}

/// What the ConfigMap says.
pub fn parse(object: &ConfigMap) -> Result<FrontProxy, Unusable> {
    let text = |key: &str| object.data.as_ref().and_then(|data| data.get(key)).map_or("", |text| text.trim());
    let list = |key: &'static str| match text(key) {
        "" => Ok(Vec::new()),
        text => serde_json::from_str(text).map_err(|error| Unusable::NoList { key, why: error.to_string() }),
    };
    let client_ca_pem = text("requestheader-client-ca-file");
    if client_ca_pem.is_empty() {
        return Err(Unusable::NoAuthority);
    }
    let username_headers: Vec<String> = list("requestheader-username-headers")?;
    if username_headers.is_empty() {
        return Err(Unusable::NoUsernameHeader);
    }
    Ok(FrontProxy {
        client_ca_pem: client_ca_pem.to_owned(),
        allowed_names: list("requestheader-allowed-names")?,
        username_headers,
        group_headers: list("requestheader-group-headers")?,
        extra_header_prefixes: list("requestheader-extra-headers-prefix")?,
    })
}

struct Follower {
    source: Source,
    known: watch::Sender<Option<FrontProxy>>,
    complaint: Complaint,
}

impl Follower {
    fn take(&mut self, object: &ConfigMap) {
        let Source { namespace, name } = &self.source;
        match parse(object) {
            Ok(new) => {
                self.complaint.settled();
                if self.known.send_if_modified(|known| replace(known, new)) {
                    info!(namespace, name, "The API server's front proxy is known by this ConfigMap.");
                }
            }
            Err(why) => {
                if self.complaint.is_new(&why.to_string()) {
                    let kept = self.known.borrow().is_some();
                    error!(
                        namespace,
                        name, %why, kept,
                        "The ConfigMap does not say whom to believe; what was known stays, and where nothing was, every request for external metrics is refused."
                    );
                }
            }
        }
    }

    fn miss(&mut self) {
        let Source { namespace, name } = &self.source;
        if self.complaint.is_new("missing") {
            let kept = self.known.borrow().is_some();
            error!(
                namespace,
                name,
                kept,
                "There is no such ConfigMap, so the API server's front proxy can't be told from anybody else; the API server writes it when it runs with --requestheader-client-ca-file."
            );
        }
    }

    fn complain(&mut self, error: &Unwatchable) {
        if !self.complaint.is_new(&error.to_string()) {
            return;
        }
        let Source { namespace, name } = &self.source;
        match error {
            Unwatchable::Refused(why) => error!(
                namespace,
                name,
                why,
                "Not allowed to read the ConfigMap that says whom to believe; bind the controller's ServiceAccount to Role extension-apiserver-authentication-reader in that namespace."
            ),
            Unwatchable::Other(why) => {
                warn!(namespace, name, why, "The ConfigMap that says whom to believe can't be read; trying again.");
            }
        }
    }
}
