//! What a host is: an IP address, a name, or neither.

use std::net::IpAddr;

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An IP address; IPv4-mapped IPv6 addresses as IPv4.
    Ip(IpAddr),
    /// A host name, lower case, without a trailing dot.
    Name(String),
    /// Neither.
    Invalid,
}

impl Host {
    pub(super) fn new(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Self::Ip(ip.to_canonical());
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_host_name(&name) { Self::Name(name) } else { Self::Invalid }
    }
}

/// Whether it is a host name (RFC 1123, and "_", which names in Kubernetes and Compose have). Names whose last label is
/// a number are refused: resolvers accept `2130706433` and `127.1` as IPv4 addresses (WHATWG URL, "ends in a number").
pub(super) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inside = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inside)
    };
    let is_number = |label: &str| {
        let digits = label.strip_prefix("0x").unwrap_or(label);
        let hexadecimal = label.starts_with("0x") && digits.bytes().all(|c| c.is_ascii_hexdigit());
        hexadecimal || label.bytes().all(|c| c.is_ascii_digit())
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !is_number(last)
}
