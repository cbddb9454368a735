//! A cluster's section `authentication`: which Secrets its credentials come from. What they may hold is not known here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::check::ConfigurationCheck;

/// The Secrets that a cluster's credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// The controller's credentials for the brokers.
    pub secret: Option<SecretRef>,
    /// The authorities that may sign the brokers' certificates.
    pub authority: Option<SecretRef>,
}

/// A Secret of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its namespace; the controller's own where absent.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawAuthentication {
    secret_ref: Option<SecretRef>,
    ca_secret_ref: Option<SecretRef>,
}

impl ConfigurationCheck<'_> {
    /// The section at `at`; `gives` is whether the cluster has a property of its own already.
    pub(super) fn authentication(
        &mut self,
        at: &str,
        raw: RawAuthentication,
        gives: impl Fn(&str) -> bool,
    ) -> Authentication {
        if raw.secret_ref.is_none() && raw.ca_secret_ref.is_none() {
            self.wrong(at, "names no Secret; give secretRef, caSecretRef, or both");
        }
        if let Some(key) = ["ssl.ca.location", "ssl.ca.pem"].into_iter().find(|key| gives(key))
            && raw.ca_secret_ref.is_some()
        {
            self.wrong(&format!("{at}.caSecretRef"), format!("{key} is given as well; keep one of them"));
        }
        for (field, reference) in [("secretRef", &raw.secret_ref), ("caSecretRef", &raw.ca_secret_ref)] {
            let Some(SecretRef { namespace, name }) = reference else { continue };
            self.object_name(&format!("{at}.{field}.name"), name);
            if let Some(namespace) = namespace {
                self.label_name(&format!("{at}.{field}.namespace"), namespace);
            }
        }
        Authentication { secret: raw.secret_ref, authority: raw.ca_secret_ref }
    }
}
