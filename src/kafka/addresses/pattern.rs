//! A pattern of addresses, as the configuration's allow-list has it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::host::{Host, is_host_name};
use crate::core::{quoted_address, without_secrets};

/// One address, or several by `*`: `kafka-0.kafka.svc:9092`, `*.kafka.svc:9092`, `kafka-*.svc:*`, `10.0.*.*:9092`,
/// `[fd00::1]:9092`. A `*` stands for one label of a name, a part of one label, one number of an IPv4 address, or the
/// port; never for a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPattern {
    host: HostPattern,
    /// `None`: any.
    port: Option<u16>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Ip(IpAddr),
    /// The numbers of an IPv4 address; `None`: any number.
    V4([Option<u8>; 4]),
    Name(Vec<Label>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Whole(String),
    /// Prefix and suffix, with at least one character in between.
    Around(String, String),
}

impl AddressPattern {
    /// Whether a name matches; it is lower case and has no trailing dot.
    pub(super) fn fits_name(&self, name: &str, port: u16) -> bool {
        match &self.host {
            HostPattern::Ip(_) | HostPattern::V4(_) => false,
            HostPattern::Name(labels) => {
                self.fits_port(port)
                    && labels.len() == name.split('.').count()
                    && labels.iter().zip(name.split('.')).all(|(pattern, label)| pattern.fits(label))
            }
        }
    }

    /// Whether an IP address matches that was given as such.
    pub(super) fn fits_ip(&self, ip: IpAddr, port: u16) -> bool {
        match (&self.host, ip) {
            (HostPattern::V4(numbers), IpAddr::V4(ip)) => {
                let all = numbers.iter().zip(ip.octets());
                self.fits_port(port) && all.into_iter().all(|(number, octet)| number.is_none_or(|it| it == octet))
            }
            (HostPattern::Ip(_), _) => self.is_ip(ip, port),
            (HostPattern::V4(_), IpAddr::V6(_)) | (HostPattern::Name(_), _) => false,
        }
    }

    /// Whether the pattern is this IP address itself, without a `*`.
    pub(super) fn is_ip(&self, ip: IpAddr, port: u16) -> bool {
        matches!(self.host, HostPattern::Ip(own) if own == ip) && self.fits_port(port)
    }

    fn fits_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for AddressPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        without_secrets(text)?;
        let quoted = quoted_address(text);
        let wrong = |what: &str| {
            Err(format!("{quoted} {what}; write host:port, where * stands for one label: \"*.kafka.svc:9092\""))
        };
        let Some((host, port)) = text.rsplit_once(':') else { return wrong("has no port") };
        let port = match port {
            "*" => None,
            port => match port.parse() {
                Ok(0) | Err(_) => return wrong("has no valid port"),
                Ok(port) => Some(port),
            },
        };
        match host_pattern(host) {
            Ok(host) => Ok(Self { host, port, text: text.to_owned() }),
            Err(what) => wrong(what),
        }
    }
}

fn host_pattern(host: &str) -> Result<HostPattern, &'static str> {
    if let Host::Ip(ip) = Host::new(host) {
        return Ok(HostPattern::Ip(ip));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let labels: Vec<&str> = host.split('.').collect();
    let is_number = |label: &&str| !label.is_empty() && label.bytes().all(|c| c.is_ascii_digit());
    if labels.iter().any(is_number) && labels.iter().all(|label| *label == "*" || is_number(label)) {
        let number = |label: &str| if label == "*" { Ok(None) } else { label.parse().map(Some) };
        let numbers: Result<Vec<_>, _> = labels.into_iter().map(number).collect();
        let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        return numbers
            .map(HostPattern::V4)
            .ok_or("has numbers as an IPv4 address, which has four, each * or at most 255");
    }
    // With a letter in place of each `*` it must be a valid name.
    if !is_host_name(&host.replace('*', "x")) {
        return Err("has no valid host");
    }
    let label = |label: &str| match label.split_once('*') {
        None => Ok(Label::Whole(label.to_owned())),
        Some((_, tail)) if tail.contains('*') => Err("has several * in one label"),
        Some((head, tail)) => Ok(Label::Around(head.to_owned(), tail.to_owned())),
    };
    Ok(HostPattern::Name(labels.into_iter().map(label).collect::<Result<_, _>>()?))
}

impl Label {
    fn fits(&self, label: &str) -> bool {
        match self {
            Self::Whole(own) => own == label,
            Self::Around(head, tail) => {
                label.len() > head.len() + tail.len() && label.starts_with(head) && label.ends_with(tail)
            }
        }
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
