//! How the API server is reached: one client for every command, and which names may go into a request's path.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::client::ClientBuilder;

use super::call::ApiClient;
use super::reachability::Reachability;

/// Who we are in `managedFields`. The API server takes it from the User-Agent where a request names no field manager.
pub const FIELD_MANAGER: &str = "paceline";

/// How long connecting may take, in seconds. An API server that is there accepts within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may wait for an answer. Longer than the 295 s for which a watch may have nothing to say, so
/// that it only ends watches whose connection is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(310);
/// The longest name of an object (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

/// A client that names this program and its version in each request. Shorter time-outs of `config` stay.
pub fn client(mut config: Config) -> kube::Result<ApiClient> {
    let shorter = |given: Option<Duration>, ours: Duration| Some(given.map_or(ours, |given| given.min(ours)));
    config.connect_timeout = shorter(config.connect_timeout, CONNECT_TIMEOUT);
    config.read_timeout = shorter(config.read_timeout, READ_TIMEOUT);
    // The time for which a pooled connection was idle is not the API server's.
    config.reset_reader_on_write = true;
    let agent = HeaderValue::from_static(concat!("paceline/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let reachability = Reachability::new(&config.cluster_url);
    Ok(ClientBuilder::try_from(config)?.with_layer(&reachability).build().into())
}

/// A text that must not go into a request's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid name in Kubernetes; use letters, digits, '-' and '.'")]
pub struct InvalidName(String);

/// Gives the name back if it is safe in a request's path. `kube` puts names there as they are, so that one with `?`, `/`
/// or `..` in it would be a request for something else.
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
    fn only_names_that_mean_themselves_go_into_a_path() {
        for name in ["orders", "orders-v2.shop", "Deployment", "v1beta1", "system:node", "a_b"] {
            assert_eq!(path_segment(name), Ok(name));
        }
        let long = "a".repeat(254);
        for name in ["", ".", "..", "w?", "../x", "a/b", "a%2fb", "a#b", "a b", "a\\b", "ö", "a\n", "a;b", &long] {
            assert!(path_segment(name).is_err(), "{name:?}");
        }
    }
}
