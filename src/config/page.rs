//! The configuration's section `page`: where the page and its JSON are served.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawPage {
    listen: Option<String>,
}

/// Whether the page may be served at an address: only this machine may reach it, because it has no authentication.
pub(crate) fn check_page_address(address: SocketAddr) -> Result<(), String> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "{address} is not a loopback address, and the page has no authentication; write for example \"127.0.0.1:8484\", and reach it with kubectl port-forward"
    ))
}

impl RawPage {
    /// The address, or what is wrong with it. `others`: where something else is served.
    pub(super) fn address(&self, others: [Option<SocketAddr>; 2]) -> Result<Option<SocketAddr>, String> {
        let Some(text) = &self.listen else { return Ok(None) };
        let Ok(listen) = text.parse() else {
            return Err(format!("\"{text}\" is no address to listen on; write for example \"127.0.0.1:8484\""));
        };
        check_page_address(listen)?;
        if listen.port() != 0 && others.iter().flatten().any(|other| other.port() == listen.port()) {
            return Err("is a port that something else is served on; it needs one of its own".to_owned());
        }
        Ok(Some(listen))
    }
}
