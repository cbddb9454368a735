//! The configuration's section `page`: where the page and its JSON are served, with which certificate, and to whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::check::ConfigurationCheck;

/// How the page is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// Where.
    pub listen: SocketAddr,
    /// The directory with `tls.crt` and `tls.key`; without TLS where absent.
    pub certificate: Option<PathBuf>,
    /// Who may see it; everybody on this machine where absent.
    pub authentication: Option<PageAuthentication>,
}

/// How the page knows who somebody is. At least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageAuthentication {
    /// The audiences that a token must be for, the API server's own where there are none; `None`: no token is accepted.
    pub token_audiences: Option<Vec<String>>,
    /// The proxy whose headers are believed.
    pub proxy: Option<PageProxy>,
}

/// A proxy that has authenticated its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageProxy {
    /// The addresses that it connects from; any where there are none.
    pub addresses: Vec<IpNet>,
    /// The file with the authorities of its client certificate, and the common names that it may have (any where there are
    /// none); no certificate is needed where absent.
    pub client_ca: Option<(PathBuf, Vec<String>)>,
    /// The header with the user's name.
    pub user_header: HeaderName,
    /// The header with the user's groups.
    pub group_header: HeaderName,
    /// What separates several groups in one header; each header is one group where absent.
    pub group_separator: Option<String>,
}

/// Where the page may be served without authentication.
const EXAMPLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8484);

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawPage {
    listen: Option<String>,
    certificate: Option<RawPageCertificate>,
    authentication: Option<RawPageAuthentication>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RawPageCertificate {
    directory: PathBuf,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RawPageAuthentication {
    tokens: Option<RawPageTokens>,
    proxy: Option<RawPageProxy>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RawPageTokens {
    audiences: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RawPageProxy {
    addresses: Vec<String>,
    client_ca_file: Option<PathBuf>,
    allowed_names: Vec<String>,
    user_header: Option<String>,
    group_header: Option<String>,
    group_separator: Option<String>,
}

/// Whether the page may be served at an address without authentication: only this machine may reach it.
pub(crate) fn check_page_address(address: SocketAddr) -> Result<(), String> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "{address} is not a loopback address, and the page has no authentication; write for example \"127.0.0.1:8484\""
    ))
}

impl ConfigurationCheck<'_> {
    /// `others`: where something else is served.
    pub(super) fn page(&mut self, raw: RawPage, others: [Option<SocketAddr>; 2]) -> Option<PageSettings> {
        let authentication = raw.authentication.map(|raw| self.page_authentication(raw));
        let certificate = raw.certificate.map(|certificate| certificate.directory);
        if let Some(directory) = &certificate {
            self.absolute("page.certificate.directory", directory);
        }
        let proxy = authentication.as_ref().and_then(|authentication| authentication.proxy.as_ref());
        if certificate.is_none() && proxy.is_some_and(|proxy| proxy.client_ca.is_some()) {
            let why =
                "a client certificate is shown over TLS only; set page.certificate, or tell the proxy by its addresses";
            self.wrong("page.authentication.proxy.clientCaFile", why);
        }
        let Some(text) = raw.listen else {
            if certificate.is_some() || authentication.is_some() {
                self.wrong("page", "has no listen, so nothing is served; write for example listen: \"[::]:8484\"");
            }
            return None;
        };
        let listen = self.listen("page.listen", Some(text), EXAMPLE);
        if authentication.is_none()
            && let Err(why) = check_page_address(listen)
        {
            let why = format!("{why} and reach it with kubectl port-forward, or set page.authentication");
            self.wrong("page.listen", why);
        } else if listen.port() != 0 && others.iter().flatten().any(|other| other.port() == listen.port()) {
            self.wrong("page.listen", "is a port that something else is served on; it needs one of its own");
        }
        Some(PageSettings { listen, certificate, authentication })
    }

    fn page_authentication(&mut self, raw: RawPageAuthentication) -> PageAuthentication {
        if raw.tokens.is_none() && raw.proxy.is_none() {
            let why = "has neither tokens nor proxy, so nobody could get in; write tokens: {} to accept tokens of the API server";
            self.wrong("page.authentication", why);
        }
        let audiences = raw.tokens.map(|tokens| tokens.audiences);
        for (i, audience) in audiences.iter().flatten().enumerate() {
            if audience.trim().is_empty() || audience.contains(char::is_whitespace) {
                let field = format!("page.authentication.tokens.audiences[{i}]");
                self.wrong(&field, "must be a name without blanks, such as \"paceline\"");
            }
        }
        PageAuthentication { token_audiences: audiences, proxy: raw.proxy.map(|proxy| self.page_proxy(proxy)) }
    }

    fn page_proxy(&mut self, raw: RawPageProxy) -> PageProxy {
        const FIELD: &str = "page.authentication.proxy";
        if raw.addresses.is_empty() && raw.client_ca_file.is_none() {
            let why = "has neither addresses nor clientCaFile, so anybody could say who they are; tell the proxy by one of them";
            self.wrong(FIELD, why);
        }
        if raw.client_ca_file.is_none() && !raw.allowed_names.is_empty() {
            self.wrong(&format!("{FIELD}.allowedNames"), "are names of a client certificate; set clientCaFile as well");
        }
        if let Some(file) = &raw.client_ca_file {
            self.absolute(&format!("{FIELD}.clientCaFile"), file);
        }
        let mut addresses = Vec::with_capacity(raw.addresses.len());
        for (i, text) in raw.addresses.iter().enumerate() {
            let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            match parsed {
                Ok(range) => addresses.push(range),
                Err(_) => {
                    let why = format!(
                        "\"{text}\" is no address and no range; write for example \"10.0.0.7\" or \"10.0.0.0/16\""
                    );
                    self.wrong(&format!("{FIELD}.addresses[{i}]"), why);
                }
            }
        }
        if raw.group_separator.as_ref().is_some_and(String::is_empty) {
            self.wrong(
                &format!("{FIELD}.groupSeparator"),
                "must be a text such as \",\"; leave it out where each header is one group",
            );
        }
        PageProxy {
            addresses,
            client_ca: raw.client_ca_file.map(|file| (file, raw.allowed_names)),
            user_header: self.header(&format!("{FIELD}.userHeader"), raw.user_header, "x-remote-user"),
            group_header: self.header(&format!("{FIELD}.groupHeader"), raw.group_header, "x-remote-group"),
            group_separator: raw.group_separator.filter(|separator| !separator.is_empty()),
        }
    }

    fn header(&mut self, field: &str, name: Option<String>, default: &'static str) -> HeaderName {
        let default = HeaderName::from_static(default);
        let Some(name) = name else { return default };
        name.parse().unwrap_or_else(|_| {
            self.wrong(field, format!("\"{name}\" is not the name of a header"));
            default
        })
    }
}
