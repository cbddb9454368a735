//! How objects and workloads are named, and which names may go into a request's path.

use std::fmt;

use kube::{Resource, ResourceExt};

/// The longest name of an object, in bytes (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

/// A namespace and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of an object; its namespace is empty where it has none.
    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

/// The workload that is scaled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetRef {
    /// API group and version, as `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl TargetRef {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind, self.name)
    }
}

/// A workload of the cluster: versions of one API group share their objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadKey {
    /// Its namespace.
    pub namespace: String,
    /// Its API group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl WorkloadKey {
    /// The workload that a reference names in this namespace.
    pub fn of(namespace: &str, target: &TargetRef) -> Self {
        Self {
            namespace: namespace.to_owned(),
            group: target.group().to_owned(),
            kind: target.kind.clone(),
            name: target.name.clone(),
        }
    }
}

/// A text that is not safe in a request's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid name in Kubernetes; use letters, digits, '-' and '.'")]
pub struct InvalidName(String);

/// Returns the name if it is safe in a request's path. `kube` inserts names unescaped, so one with `?`, `/` or `..` in
/// it would address another resource.
pub(crate) fn path_segment(name: &str) -> Result<&str, InvalidName> {
    // What RFC 3986 allows unescaped and Kubernetes allows in some name; RBAC has names with a colon.
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    let is_valid = !matches!(name, "" | "." | "..") && name.len() <= LONGEST_NAME && name.bytes().all(is_safe);
    if is_valid { Ok(name) } else { Err(InvalidName(name.chars().take(LONGEST_NAME).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_special_characters_go_into_a_path() {
        for name in ["orders", "orders-v2.shop", "Deployment", "v1beta1", "system:node", "a_b"] {
            assert_eq!(path_segment(name), Ok(name));
        }
        let long = "a".repeat(254);
        for name in ["", ".", "..", "w?", "../x", "a/b", "a%2fb", "a#b", "a b", "a\\b", "ö", "a\n", "a;b", &long] {
            assert!(path_segment(name).is_err(), "{name:?}");
        }
    }
}
