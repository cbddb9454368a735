//! The properties that users set, by librdkafka's names. Knows each name, how its value is written and why a name is
//! refused; not which values contradict each other.
//!
//! Invariant: no error holds a value, whatever the property, because a password may have been written into the wrong
//! one.

mod java;
mod kind;
mod refused;
mod table;

use std::collections::BTreeMap;

use kind::PropertyValue;
pub(super) use table::{MECHANISMS, PROPERTIES, Property};

/// A property that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PropertyError {
    /// Its name, or a placeholder where the name may hold a secret.
    pub(crate) property: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl PropertyError {
    pub(super) fn new(property: &str, message: impl Into<String>) -> Self {
        Self { property: property.to_owned(), message: message.into() }
    }
}

/// The parsed values of all properties that a user has set.
#[derive(Clone, Default)]
pub(super) struct ParsedProperties(BTreeMap<&'static str, PropertyValue>);

impl ParsedProperties {
    /// Parses all properties. The error lists every one that is wrong.
    pub(super) fn parse(properties: &BTreeMap<String, String>) -> Result<Self, Vec<PropertyError>> {
        let mut given = Self::default();
        let mut faults = Vec::new();
        for (name, value) in properties {
            match parse(name, value) {
                Ok((property, parsed)) => {
                    if given.0.get(property.name).is_some_and(|other| *other != parsed) {
                        let message = format!("it is another name of {}, which has another value", property.name);
                        faults.push(PropertyError::new(name, message));
                    }
                    given.0.insert(property.name, parsed);
                }
                Err(error) => faults.push(error),
            }
        }
        if faults.is_empty() { Ok(given) } else { Err(faults) }
    }

    /// The names that are set, aliases by their main name.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Adds all names and values to a digest.
    pub(super) fn digest(&self, digest: &mut ring::digest::Context) {
        for (name, value) in &self.0 {
            let value = match value {
                PropertyValue::Truth(truth) => truth.to_string(),
                PropertyValue::Number(number) => number.to_string(),
                PropertyValue::Choice(word) => (*word).to_owned(),
                PropertyValue::Text(text) => text.clone(),
            };
            for part in [name.as_bytes(), value.as_bytes()] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
    }

    fn get(&self, name: &str) -> Option<&PropertyValue> {
        debug_assert!(find(name).is_some(), "{name} is in no table");
        self.0.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of a text, a path, a PEM or a choice.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            PropertyValue::Text(text) => Some(text),
            PropertyValue::Choice(word) => Some(word),
            PropertyValue::Truth(_) | PropertyValue::Number(_) => None,
        }
    }

    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            PropertyValue::Truth(truth) => Some(*truth),
            PropertyValue::Text(_) | PropertyValue::Choice(_) | PropertyValue::Number(_) => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            PropertyValue::Number(number) => Some(*number),
            PropertyValue::Text(_) | PropertyValue::Choice(_) | PropertyValue::Truth(_) => None,
        }
    }
}

/// What is wrong with properties that a user sets.
pub(crate) fn property_errors(properties: &BTreeMap<String, String>) -> Vec<PropertyError> {
    ParsedProperties::parse(properties).err().unwrap_or_default()
}

/// What is wrong with the name of a property whose value is not known yet.
pub(crate) fn property_name_error(name: &str) -> Option<PropertyError> {
    find(name).is_none().then(|| unusable(name, ""))
}

fn parse(name: &str, value: &str) -> Result<(&'static Property, PropertyValue), PropertyError> {
    let property = find(name).ok_or_else(|| unusable(name, value))?;
    match property.kind.parse(value) {
        Ok(parsed) => Ok((property, parsed)),
        // Java switches the check of host names off by an empty value.
        Err(_) if property.name == "ssl.endpoint.identification.algorithm" && value.trim().is_empty() => {
            Err(PropertyError::new(name, "in Java an empty value switches the check off; here that is `none`"))
        }
        Err(why) => Err(PropertyError::new(name, why + value_hint(property.name, value))),
    }
}

fn unusable(name: &str, value: &str) -> PropertyError {
    PropertyError { property: displayed_name(name), message: refusal(name, value) }
}

/// The property with this name or alias.
pub(super) fn find(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name || property.aliases.contains(&name))
}

/// Why a name is not supported, and what to use instead.
fn refusal(name: &str, value: &str) -> String {
    if let Some(answer) = java::answer(name, value) {
        return answer;
    }
    if let Some(reason) = refused::reason(name) {
        return format!("it can't be set: {reason}");
    }
    for prefix in ["consumer.", "producer.", "admin.", "kafka.", "spring.kafka.properties.", "main.consumer."] {
        if let Some(rest) = name.strip_prefix(prefix).filter(|rest| find(rest).is_some()) {
            return format!("unknown property; write it without {prefix} as {rest}");
        }
    }
    match nearest(name) {
        Some(near) => format!("unknown property; did you mean \"{near}\"?"),
        None => "unknown property; docs/kafka-settings.md has all of them".to_owned(),
    }
}

/// A name for error messages. A name that does not look like a property's may be a value in the wrong place, and is not
/// shown.
fn displayed_name(name: &str) -> String {
    // Passwords have digits and capitals, and rarely a dot. The longest name of librdkafka has 49 characters.
    let plain = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_' | '-');
    let is_name = name.len() <= 80 && name.contains('.') && name.chars().all(plain);
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_near = || nearest(name).is_some_and(|near| name.len() <= near.len() + 2) && name.chars().all(of_name);
    if is_name || java::is_known(name) || refused::reason(name).is_some() || is_near() {
        name.to_owned()
    } else {
        format!("({} characters that are no name)", name.chars().count())
    }
}

/// The property with the most similar name.
fn nearest(name: &str) -> Option<&'static str> {
    // The Jaro-Winkler similarity that a swapped, missing or doubled letter keeps, as do `-`, `_` or capitals in place
    // of dots.
    const MIN_SIMILARITY: f64 = 0.88;
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let written = plain(name);
    PROPERTIES
        .iter()
        .flat_map(|property| std::iter::once(&property.name).chain(property.aliases))
        .map(|known| (strsim::jaro_winkler(&written, &plain(known)), *known))
        .filter(|(closeness, _)| *closeness >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Advice on wrong values that are frequent.
fn value_hint(name: &str, value: &str) -> &'static str {
    let value = value.trim().to_ascii_uppercase();
    match (name, value.as_str()) {
        ("sasl.mechanism", "GSSAPI" | "KERBEROS") => {
            "; Kerberos is not built in: use another mechanism, or a listener with client certificates"
        }
        ("sasl.mechanism", "SCRAM" | "SHA512" | "SCRAM_SHA512" | "SCRAM_SHA_512") => "; you may mean SCRAM-SHA-512",
        ("sasl.mechanism", "SHA256" | "SCRAM_SHA256" | "SCRAM_SHA_256") => "; you may mean SCRAM-SHA-256",
        ("sasl.mechanism", "OIDC" | "OAUTH" | "OAUTH2") => {
            "; you may mean OAUTHBEARER with sasl.oauthbearer.method=oidc"
        }
        ("security.protocol", "TLS" | "MTLS") => "; you may mean SSL",
        ("security.protocol", "SASL" | "SASL_TLS") => "; you may mean SASL_SSL",
        ("client.dns.lookup", _) => "; the other value is for Kerberos, which is not built in: leave the property out",
        ("sasl.oauthbearer.grant.type" | "sasl.oauthbearer.metadata.authentication.type", _) => {
            "; other values are not built in: write a token into a file by another program, and name it in sasl.oauthbearer.token.file"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
