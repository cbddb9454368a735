//! Which addresses the connections of a cluster may go to. Knows addresses, patterns and ranges of IP addresses;
//! resolves no name and opens no connection.
//!
//! Brokers advertise the addresses of other brokers, so a check of the bootstrap addresses alone protects nothing: an
//! allowed broker could make the controller connect anywhere. [`AddressPolicy::check_name`] checks every address,
//! bootstrap or advertised, and [`AddressPolicy::check_ip`] what its name resolves to.

mod host;
mod pattern;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::core::{Address, addresses};

use host::Host;
pub use pattern::AddressPattern;

/// The setting that allows a broker's address.
const BROKERS: &str = "allowBootstrapServers in the controller's configuration";

/// A comma-separated list of addresses in canonical form, whatever the order, the case, blanks and repeats: lower case,
/// no trailing dot, IPv4-mapped IPv6 addresses as IPv4. The error is that of [`crate::core::addresses`], or names a
/// host that is invalid.
pub(crate) fn canonical(bootstrap_servers: &str) -> Result<Vec<Address>, String> {
    let mut all = Vec::new();
    for Address { host, port } in addresses(bootstrap_servers)? {
        match Host::new(&host) {
            Host::Ip(ip) => all.push(Address { host: ip.to_string(), port }),
            Host::Name(host) => all.push(Address { host, port }),
            Host::Invalid => return Err(format!("has {}, which is no host name", shown(&host, port))),
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Which addresses may be connected to. The default allows every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy(Option<Arc<AllowList>>);

#[derive(Debug, PartialEq, Eq)]
struct AllowList {
    /// The setting that the patterns come from, for messages.
    setting: &'static str,
    patterns: Vec<AddressPattern>,
    api_server: Vec<IpAddr>,
}

impl AddressPolicy {
    /// Allows what matches one of the patterns. Still refused are loopback, link-local, unspecified and multicast
    /// addresses, metadata services of clouds, and the API server's addresses, unless a pattern has that IP address
    /// itself.
    pub fn only(patterns: Vec<AddressPattern>, api_server: Vec<IpAddr>) -> Self {
        Self::only_of(BROKERS, patterns, api_server)
    }

    /// The same for other servers than brokers. `setting`: what the patterns come from, for messages.
    pub(crate) fn only_of(setting: &'static str, patterns: Vec<AddressPattern>, api_server: Vec<IpAddr>) -> Self {
        let api_server = api_server.into_iter().map(|ip| ip.to_canonical()).collect();
        Self(Some(Arc::new(AllowList { setting, patterns, api_server })))
    }

    /// Checks by its name alone whether a host may be resolved and connected to. The error is a sentence that says what
    /// is not allowed and where to allow it.
    pub fn check_name(&self, host: &str, port: u16) -> Result<(), String> {
        let Some(allowed) = &self.0 else { return Ok(()) };
        let fits = match Host::new(host) {
            Host::Ip(ip) => {
                return if allowed.patterns.iter().any(|pattern| pattern.fits_ip(ip, port)) {
                    self.check_ip(host, ip, port)
                } else {
                    Err(allowed.refusal(host, port))
                };
            }
            Host::Name(name) => allowed.patterns.iter().any(|pattern| pattern.fits_name(&name, port)),
            Host::Invalid => return Err(format!("{} is no host name", shown(host, port))),
        };
        if fits { Ok(()) } else { Err(allowed.refusal(host, port)) }
    }

    /// Checks whether an IP address may be connected to. `host` is the name that resolved to it, or the address itself.
    /// Call it after [`Self::check_name`], which checks the name.
    pub(super) fn check_ip(&self, host: &str, ip: IpAddr, port: u16) -> Result<(), String> {
        let Some(allowed) = &self.0 else { return Ok(()) };
        let ip = ip.to_canonical();
        let is_api_server = |ip: &IpAddr| allowed.api_server.contains(ip);
        let kind = [Some(ip), embedded(ip)].into_iter().flatten().find_map(|ip| {
            if is_api_server(&ip) { Some("an address of the Kubernetes API server") } else { refused(ip) }
        });
        let Some(kind) = kind else { return Ok(()) };
        if allowed.patterns.iter().any(|pattern| pattern.is_ip(ip, port)) {
            return Ok(());
        }
        let address = Address { host: ip.to_string(), port };
        let subject = match Host::new(host) {
            Host::Ip(_) => format!("\"{address}\" is {kind}"),
            Host::Name(_) | Host::Invalid => format!("{} leads to {ip}, {kind}", shown(host, port)),
        };
        let setting = allowed.setting;
        Err(format!("{subject}, which is refused; if it is intended, add \"{address}\" to {setting}"))
    }
}

impl AllowList {
    fn refusal(&self, host: &str, port: u16) -> String {
        format!("{} is not allowed: it fits no pattern of {}", shown(host, port), self.setting)
    }
}

/// An address from an untrusted source, for messages: bounded, and without control characters.
fn shown(host: &str, port: u16) -> String {
    /// Longer than any valid host name.
    const MAX_LENGTH: usize = 260;
    let host: String = host.chars().take(MAX_LENGTH).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let address = Address { host, port };
    format!("\"{address}\"")
}

/// Metadata services of clouds outside of the link-local range, which hand out credentials: AWS and Google by IPv6,
/// Alibaba, Azure's WireServer.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// The kind of address that neither brokers nor workers have, if it is one.
fn refused(ip: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&ip) {
        return Some("a cloud's metadata service");
    }
    if ip.is_loopback() {
        return Some("a loopback address");
    }
    if ip.is_multicast() {
        return Some("a multicast address");
    }
    match ip {
        // The whole of 0.0.0.0/8 is "this network" (RFC 1122), and Linux connects 0.0.0.0 to the host itself.
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an unspecified address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("a broadcast address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("an unspecified address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The IPv4 address that an IPv6 address embeds: NAT64 (RFC 6052, `64:ff9b::/96`), 6to4 (RFC 3056, `2002::/16`) and the
/// old IPv4-compatible form (`::/96`). Mapped ones (`::ffff:0:0/96`) have been converted to IPv4 already.
fn embedded(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else { return None };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // `::` and `::1` embed nothing.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
