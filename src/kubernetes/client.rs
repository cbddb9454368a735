//! How the API server is reached: one client for every command.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::{Client, Config};

use super::call::ApiClient;

/// Who we are in `managedFields`. The API server takes it from the User-Agent where a request names no field manager.
pub const FIELD_MANAGER: &str = "paceline";

/// How long connecting may take, in seconds. An API server that is there accepts within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may wait for an answer. Longer than the 295 s for which a watch may have nothing to say, so
/// that it only ends watches whose connection is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(310);

/// A client that names this program and its version in each request. Shorter time-outs of `config` stay.
pub fn client(mut config: Config) -> kube::Result<ApiClient> {
    let shorter = |given: Option<Duration>, ours: Duration| Some(given.map_or(ours, |given| given.min(ours)));
    config.connect_timeout = shorter(config.connect_timeout, CONNECT_TIMEOUT);
    config.read_timeout = shorter(config.read_timeout, READ_TIMEOUT);
    // The time for which a pooled connection was idle is not the API server's.
    config.reset_reader_on_write = true;
    let agent = HeaderValue::from_static(concat!("paceline/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    Ok(Client::try_from(config)?.into())
}
