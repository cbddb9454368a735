//! A cluster's section `authentication`: which Secrets its credentials come from. What they may hold is not known here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Check;

/// The Secrets that a cluster's credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Who the controller is to the brokers.
    pub secret: Option<SecretRef>,
    /// The authority that brokers' certificates are checked against.
    pub authority: Option<SecretRef>,
}

/// A Secret of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Its namespace; the controller's own where absent.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawAuthentication {
    secret_ref: Option<RawSecretRef>,
    ca_secret_ref: Option<RawSecretRef>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RawSecretRef {
    namespace: Option<String>,
    name: String,
}

impl Check<'_> {
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
        Authentication {
            secret: raw.secret_ref.map(|raw| self.secret_ref(&format!("{at}.secretRef"), raw)),
            authority: raw.ca_secret_ref.map(|raw| self.secret_ref(&format!("{at}.caSecretRef"), raw)),
        }
    }

    fn secret_ref(&mut self, at: &str, raw: RawSecretRef) -> SecretRef {
        let names = [("name", Some(&raw.name)), ("namespace", raw.namespace.as_ref())];
        for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name?))) {
            if !is_object_name(name) {
                let why =
                    "is no name: lower-case letters, digits, \"-\" and \".\", and none of the last two at either end";
                self.wrong(&format!("{at}.{field}"), format!("{name:?} {why}"));
            }
        }
        SecretRef { namespace: raw.namespace, name: raw.name }
    }
}

/// Whether it can be an object's name (RFC 1123 subdomain): it goes into a request's path.
fn is_object_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
