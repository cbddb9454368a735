//! Turns the keys of a Secret into properties of the Kafka client. It knows the common layouts (plain property names,
//! Strimzi, cert-manager, basic-auth). The client checks the certificates. No value of a Secret is ever in an error or
//! in `Debug`.
//!
//! Sources of the layouts: Strimzi's user operator (KafkaUserModel: `user.crt`, `user.key`, `ca.crt`, `user.p12`,
//! `user.password`; `password`, `sasl.jaas.config`) and cluster operator (`CLUSTER-cluster-ca-cert`: `ca.crt`,
//! `ca.p12`, `ca.password`), Kubernetes' types kubernetes.io/tls and kubernetes.io/basic-auth, cert-manager (`ca.crt`
//! beside them).

mod watch;

use std::collections::BTreeMap;
use std::fmt;

pub use watch::{SecretContent, SecretState, follow, read};

/// Who names the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The controller's configuration. Any property is allowed.
    Configuration,
    /// A ScaledConsumer. Its author must not read files of the controller, make it call a token endpoint, or use its
    /// identity, so only names, passwords and PEM texts are allowed.
    ScaledConsumer,
}

/// The client properties in a Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretProperties {
    /// Properties that it sets.
    pub properties: BTreeMap<String, String>,
    /// Properties implied by its layout, unless something else sets them.
    pub defaults: BTreeMap<String, String>,
    /// Its keys that are not used, and why not.
    pub unused: BTreeMap<String, &'static str>,
}

impl fmt::Debug for SecretProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretProperties")
            .field("properties", &self.properties.keys())
            .field("defaults", &self.defaults.keys())
            .field("unused", &self.unused)
            .finish()
    }
}

impl SecretProperties {
    /// The keys that are not used, with the reason, as a sentence; empty where all are.
    pub fn unused_text(&self) -> String {
        let all: Vec<_> = self.unused.iter().map(|(key, why)| format!("{key} {why}")).collect();
        listed(&all, "; ")
    }
}

/// The properties that a ScaledConsumer's Secret may set.
const ALLOWED_PROPERTIES: [&str; 11] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
];
/// The mechanisms with a user name and a password. Others would use the controller's own identity.
const ALLOWED_MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

const PROTOCOL: &str = "security.protocol";
const AUTHORITY: &str = "ssl.ca.pem";
const CERTIFICATE: &str = "ssl.certificate.pem";
const KEY: &str = "ssl.key.pem";
const USERNAME: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";
const MECHANISM: &str = "sasl.mechanism";

const PKCS12: &str = "is a PKCS#12 store or its password; the PEM texts beside it are used";
const JKS: &str = "is a Java key store; put PEM texts into the Secret";

/// Reads the properties from a Secret of this name, type and data. The error is a predicate such as "has tls.crt but no
/// tls.key", and names keys only.
pub fn properties_of_secret(
    name: &str,
    kind: &str,
    data: &BTreeMap<String, Vec<u8>>,
    origin: Origin,
) -> Result<SecretProperties, String> {
    let mut reader = Reader { data, origin, from: BTreeMap::new(), found: SecretProperties::default() };
    reader.plain_properties()?;
    reader.pair("user.crt", "user.key")?;
    reader.pair("tls.crt", "tls.key")?;
    reader.authority()?;
    reader.user(name)?;
    reader.explain_unused();
    reader.check(kind)?;
    Ok(reader.found)
}

/// Reads the CA certificates for brokers from a Secret, as PEM: Strimzi's `CLUSTER-cluster-ca-cert`, or any with
/// `ca.crt` or `ssl.ca.pem`. The error is as in [`properties_of_secret`].
pub fn authority_of_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<String, String> {
    if data.contains_key("user.crt") {
        return Err(format!("is that of a Strimzi KafkaUser, whose ca.crt {CLIENTS_AUTHORITY}"));
    }
    let Some((key, bytes)) = ["ca.crt", AUTHORITY].into_iter().find_map(|key| data.get_key_value(key)) else {
        return Err(format!("has no ca.crt; it has {}", names(data.keys())));
    };
    value_of(AUTHORITY, bytes).map_err(|why| format!("has a {key} that {why}"))
}

/// Reads the user name and the password of a server's users from a Secret, as the type kubernetes.io/basic-auth has them.
/// The error is as in [`properties_of_secret`].
pub fn login_of_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<(String, String), String> {
    let value = |key: &str| {
        let bytes = data.get(key).ok_or_else(|| format!("has no {key}; it has {}", names(data.keys())))?;
        value_of(key, bytes).map_err(|why| format!("has a {key} that {why}"))
    };
    Ok((value("username")?, value("password")?))
}

const CLIENTS_AUTHORITY: &str =
    "signs clients, not brokers: name Strimzi's Secret CLUSTER-cluster-ca-cert as caSecretRef";

/// What a Secret and a CA add to the properties `base`: the properties that they set, and implied ones that nothing
/// else sets.
pub fn merge(
    base: &BTreeMap<String, String>,
    secret: Option<SecretProperties>,
    authority: Option<String>,
) -> BTreeMap<String, String> {
    let SecretProperties { properties: mut new, defaults, unused: _ } = secret.unwrap_or_default();
    new.extend(authority.map(|pem| (AUTHORITY.to_owned(), pem)));
    for (key, value) in defaults {
        let others: &[&str] = match key.as_str() {
            AUTHORITY => &["ssl.ca.location"],
            MECHANISM => &["sasl.mechanisms"],
            _ => &[],
        };
        let is_set = |key: &str| base.contains_key(key) || new.contains_key(key);
        if !is_set(&key) && !others.iter().any(|other| is_set(other)) {
            new.insert(key, value);
        }
    }
    if !base.contains_key(PROTOCOL) && !new.contains_key(PROTOCOL) {
        let all = base.iter().chain(&new).map(|(key, value)| (key.clone(), value.clone())).collect();
        new.extend(protocol_for(&all).map(|protocol| (PROTOCOL.to_owned(), protocol.to_owned())));
    }
    new
}

/// The security.protocol that the other properties imply. A user name or a mechanism implies SASL over TLS, so that a
/// password is never sent in plain text by default.
fn protocol_for(properties: &BTreeMap<String, String>) -> Option<&'static str> {
    let has = |key: &str| properties.contains_key(key);
    if has(USERNAME) || has(MECHANISM) || has("sasl.mechanisms") {
        Some("SASL_SSL")
    } else if properties.keys().any(|key| key.starts_with("ssl.")) {
        Some("SSL")
    } else {
        None
    }
}

/// A property's value in a file or a Secret, without one trailing line break. The error completes "a value that …".
pub fn value_of(property: &str, bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte order mark; save it as plain UTF-8");
    }
    if text.trim().is_empty() {
        return Err("is empty");
    }
    if property.ends_with(".pem") {
        return if text.contains("-----BEGIN ") {
            Ok(text.to_owned())
        } else {
            Err("is not PEM text (-----BEGIN …)")
        };
    }
    if text.contains(['\n', '\r']) {
        return Err("has several lines; keep the value alone, with one line break at its end at most");
    }
    if text.contains(char::is_control) {
        return Err("has a control character in it");
    }
    Ok(text.to_owned())
}

struct Reader<'s> {
    data: &'s BTreeMap<String, Vec<u8>>,
    origin: Origin,
    /// The key that set each property.
    from: BTreeMap<&'static str, &'s str>,
    found: SecretProperties,
}

impl<'s> Reader<'s> {
    fn value(&self, key: &str, property: &str) -> Result<Option<String>, String> {
        let Some(bytes) = self.data.get(key) else { return Ok(None) };
        value_of(property, bytes).map(Some).map_err(|why| format!("has a {key} that {why}"))
    }

    /// Sets a property from a key of a layout.
    fn set_from(&mut self, key: &'static str, property: &'static str) -> Result<(), String> {
        let Some(value) = self.value(key, property)? else { return Ok(()) };
        if self.found.properties.contains_key(property) {
            let other = self.from.get(property).copied().unwrap_or(property);
            return Err(format!("has {other} and {key}, which are both {property}; keep one of them"));
        }
        self.from.insert(property, key);
        self.found.properties.insert(property.to_owned(), value);
        Ok(())
    }

    /// Keys that are names of properties.
    fn plain_properties(&mut self) -> Result<(), String> {
        for key in self.data.keys() {
            if key == "sasl.jaas.config" {
                self.found.unused.insert(key.clone(), "is for Java clients; the user name and the password are used");
                continue;
            }
            let is_property = ["sasl.", "ssl.", "security.", "enable.", "client.", "socket."]
                .iter()
                .any(|start| key.starts_with(start));
            if !is_property {
                continue;
            }
            if self.origin == Origin::ScaledConsumer && !ALLOWED_PROPERTIES.contains(&key.as_str()) {
                let why = "is not for a ScaledConsumer to set; name the cluster in the controller's configuration";
                self.found.unused.insert(key.clone(), why);
                continue;
            }
            let value = self.value(key, key)?.unwrap_or_default();
            let is_mechanism = key == MECHANISM || key == "sasl.mechanisms";
            let known = ALLOWED_MECHANISMS.iter().any(|mechanism| mechanism.eq_ignore_ascii_case(&value));
            if is_mechanism && self.origin == Origin::ScaledConsumer && !known {
                let all = ALLOWED_MECHANISMS.join(", ");
                return Err(format!("has a {key} that is none of {all}; others need the controller's configuration"));
            }
            self.found.properties.insert(key.clone(), value);
        }
        Ok(())
    }

    /// A certificate and its key.
    fn pair(&mut self, certificate: &'static str, key: &'static str) -> Result<(), String> {
        match (self.data.contains_key(certificate), self.data.contains_key(key)) {
            (true, false) => Err(format!("has {certificate} but no {key}")),
            (false, true) => Err(format!("has {key} but no {certificate}")),
            (false, false) => Ok(()),
            (true, true) => {
                self.set_from(certificate, CERTIFICATE)?;
                self.set_from(key, KEY)
            }
        }
    }

    /// `ca.crt`: the CA of the brokers, unless it is Strimzi's CA of clients.
    fn authority(&mut self) -> Result<(), String> {
        if self.data.contains_key("user.crt") {
            if self.data.contains_key("ca.crt") {
                self.found.unused.insert("ca.crt".to_owned(), CLIENTS_AUTHORITY);
            }
        } else if let Some(value) = self.value("ca.crt", AUTHORITY)? {
            self.found.defaults.insert(AUTHORITY.to_owned(), value);
        }
        Ok(())
    }

    /// A user's name and password. Strimzi's Secret has the user's name as its own.
    fn user(&mut self, name: &str) -> Result<(), String> {
        self.set_from("username", USERNAME)?;
        self.set_from("password", PASSWORD)?;
        let is_strimzi = self.from.contains_key(PASSWORD) && !self.found.properties.contains_key(USERNAME);
        if is_strimzi {
            self.found.defaults.insert(USERNAME.to_owned(), name.to_owned());
        }
        if self.found.properties.contains_key(PASSWORD) {
            let mechanism = if is_strimzi { "SCRAM-SHA-512" } else { "PLAIN" };
            self.found.defaults.insert(MECHANISM.to_owned(), mechanism.to_owned());
        }
        Ok(())
    }

    fn explain_unused(&mut self) {
        const USED: [&str; 7] = ["user.crt", "user.key", "tls.crt", "tls.key", "ca.crt", "username", "password"];
        for key in self.data.keys() {
            let is_known = USED.contains(&key.as_str())
                || self.found.properties.contains_key(key)
                || self.found.unused.contains_key(key);
            if is_known {
                continue;
            }
            let why = match key.as_str() {
                "user.p12" | "user.password" | "ca.p12" | "ca.password" | "keystore.p12" | "truststore.p12" => PKCS12,
                key if key.ends_with(".jks") => JKS,
                _ => "is not known",
            };
            self.found.unused.insert(key.clone(), why);
        }
    }

    fn check(&self, kind: &str) -> Result<(), String> {
        let properties = &self.found.properties;
        if properties.is_empty() && self.found.defaults.is_empty() {
            let unused = if self.found.unused.is_empty() { "it is empty".to_owned() } else { self.found.unused_text() };
            return Err(format!(
                "(type {kind}) has nothing that can be used ({unused}); put in username and password, tls.crt and tls.key, ca.crt, or names of properties such as sasl.username"
            ));
        }
        // In the configuration the counterpart may be a property or a file.
        let is_whole = |key: &str| {
            self.origin == Origin::Configuration && !self.from.contains_key(key) || !properties.contains_key(key)
        };
        for (one, other) in [(USERNAME, PASSWORD), (PASSWORD, USERNAME), (CERTIFICATE, KEY), (KEY, CERTIFICATE)] {
            let has_other = properties.contains_key(other) || self.found.defaults.contains_key(other);
            if !is_whole(one) && !has_other {
                let key = self.from.get(one).copied().unwrap_or(one);
                return Err(format!("has {key} but nothing for {other}"));
            }
        }
        Ok(())
    }
}

/// The keys as a list for people.
fn names<'k>(keys: impl Iterator<Item = &'k String>) -> String {
    let mut keys: Vec<String> = keys.cloned().collect();
    keys.sort();
    if keys.is_empty() { "no keys".to_owned() } else { listed(&keys, ", ") }
}

/// The first few, because a Secret may have thousands of keys.
fn listed(all: &[String], separator: &str) -> String {
    const SHOWN: usize = 8;
    let shown = all[..all.len().min(SHOWN)].join(separator);
    if all.len() > SHOWN { format!("{shown}{separator}and {} more", all.len() - SHOWN) } else { shown }
}

#[cfg(test)]
mod tests;
