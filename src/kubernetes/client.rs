//! The client of the API server that every command uses.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::client::ClientBuilder;

use super::call::ApiClient;
use super::reachability::Reachability;

/// The field manager of our writes. The API server derives one from the User-Agent where a request names none.
pub const FIELD_MANAGER: &str = "paceline";

/// Time-out of connecting. A reachable API server accepts within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may wait for data. The API server sends a bookmark to each watch about once a minute, so one that
/// is silent for longer is dead; it is retried from where it was.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// A client that sends this program's name and version as its User-Agent. Shorter time-outs in `config` are kept.
pub fn client(mut config: Config) -> kube::Result<ApiClient> {
    let shorter = |given: Option<Duration>, ours: Duration| Some(given.map_or(ours, |given| given.min(ours)));
    config.connect_timeout = shorter(config.connect_timeout, CONNECT_TIMEOUT);
    config.read_timeout = shorter(config.read_timeout, READ_TIMEOUT);
    // The time for which a pooled connection was idle does not count as waiting for an answer.
    config.reset_reader_on_write = true;
    let agent = HeaderValue::from_static(concat!("paceline/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let reachability = Reachability::new(&config.cluster_url);
    Ok(ClientBuilder::try_from(config)?.with_layer(&reachability).build().into())
}
