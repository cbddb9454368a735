//! Addresses as people write them: Kafka's as `host:port`, separated by commas, and those of HTTP servers as
//! `https://host:port`; and what is wrong where they are not.
//!
//! An error repeats an address only where it can hold nothing but a host and a port: a user and a password that were
//! written in front of a host are never shown again.

use std::fmt;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A DNS name or an IP address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, above 0.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// An HTTP server. `Display` writes it as [`http_address`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpAddress {
    /// Whether it is reached over TLS.
    pub encrypted: bool,
    /// Where it listens.
    pub address: Address,
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// Reads `http://host:port` or `https://host:port`. The error is a sentence for whoever wrote it.
pub fn http_address(text: &str) -> Result<HttpAddress, String> {
    const EXAMPLE: &str = "write for example https://connect.kafka.svc:8083";
    if text.contains('@') {
        return Err("has a user or a password in front of an @; leave them out here: a Secret has them".to_owned());
    }
    let (encrypted, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(format!("does not begin with https:// or http://; {EXAMPLE}")),
    };
    if rest.contains(['/', '?', '#']) {
        return Err(format!("has something after host and port; leave it out: {EXAMPLE}"));
    }
    let (host, port) = host_and_port(rest).map_err(|_| format!("has no valid host and port; {EXAMPLE}"))?;
    let port = port.parse().map_err(|_| format!("has no valid port; {EXAMPLE}"))?;
    let read = HttpAddress { encrypted, address: Address { host: host.to_owned(), port } };
    if read.to_string() == text { Ok(read) } else { Err(format!("write it without anything else: {read}")) }
}

/// The most addresses of one list. A client needs two or three of them to find all brokers.
pub const MOST_ADDRESSES: usize = 100;
/// The longest host, in bytes: DNS allows no longer name (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 253;

const EXAMPLE: &str = "write host:port, for example \"kafka-0.kafka.svc:9092\"";

/// The addresses of a list. Empty entries are skipped, as Java's client does, so a comma at the end is fine. The error is
/// a sentence for whoever wrote the list.
pub fn addresses(text: &str) -> Result<Vec<Address>, String> {
    let parts = split(text)?;
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let (host, port) = host_and_port(part)?;
        let port = port.parse().map_err(|_| wrong(part, "has no valid port"))?;
        all.push(Address { host: host.to_owned(), port });
    }
    Ok(all)
}

/// Refuses what can hold a secret in the place of an address: to be called before anything of it is repeated.
pub fn without_secrets(text: &str) -> Result<(), String> {
    if text.contains('@') {
        let fields = "a user and a password are sasl.username and sasl.password";
        return Err(format!("has a user or a password in front of an @; leave them out here: {fields}"));
    }
    if ["${", "$(", "{{", "%("].iter().any(|mark| text.contains(mark)) || text.trim_start().starts_with('$') {
        return Err(format!("has a variable that nothing replaced; {EXAMPLE}"));
    }
    let Some((before, _)) = text.split_once("://") else { return Ok(()) };
    let scheme = before.rsplit(',').next().unwrap_or(before).trim().to_ascii_uppercase();
    Err(match scheme.as_str() {
        "PLAINTEXT" | "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => {
            format!("has a protocol: leave out {scheme}://, it is the property security.protocol")
        }
        _ => format!("has a protocol: leave out all up to ://; {EXAMPLE}"),
    })
}

/// An address for an error: itself where its characters are those of a host and a port.
pub fn quoted_address(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '*');
    let is_shown = text.len() <= LONGEST_HOST && text.chars().all(plain);
    if is_shown { format!("\"{text}\"") } else { "an address".to_owned() }
}

fn split(text: &str) -> Result<Vec<&str>, String> {
    without_secrets(text)?;
    if text.contains(';') {
        return Err("has a semicolon: separate addresses by commas".to_owned());
    }
    if text.contains(['"', '\'']) {
        return Err("has quotation marks inside: leave them out".to_owned());
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(format!("is empty; {EXAMPLE}"));
    }
    if parts.len() > MOST_ADDRESSES {
        return Err(format!("has more than {MOST_ADDRESSES} addresses; two or three brokers are enough to find all"));
    }
    if parts.iter().any(|part| part.contains(char::is_whitespace)) {
        return Err("has a blank inside an address: separate addresses by commas".to_owned());
    }
    Ok(parts)
}

fn host_and_port(part: &str) -> Result<(&str, &str), String> {
    if part.contains('/') {
        return Err(format!("has a path, but a broker has none (ZooKeeper's addresses don't work); {EXAMPLE}"));
    }
    let Some((host, port)) = part.rsplit_once(':') else { return Err(wrong(part, "has no port")) };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) if host.contains(':') && host.chars().all(is_of_ipv6) => host,
        Some(_) => return Err(wrong(part, "has no valid IPv6 address in its brackets")),
        None if host.contains(':') => {
            return Err(wrong(
                part,
                "has several colons; an IPv6 address is written as [::1]:9092, and other addresses",
            ));
        }
        None => host,
    };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > LONGEST_HOST || !host.chars().all(named) {
        return Err(wrong(part, "has no valid host"));
    }
    let valid = port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if valid { Ok((host, port)) } else { Err(wrong(part, "has no valid port")) }
}

fn is_of_ipv6(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, ':' | '.')
}

fn wrong(part: &str, what: &str) -> String {
    format!("{} {what}; {EXAMPLE}", quoted_address(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("a:9092", vec!["a:9092"]),
            ("a:1, b:2", vec!["a:1", "b:2"]),
            ("a:1,", vec!["a:1"]),
            (" a:1 ,, b_c.svc:65535\n", vec!["a:1", "b_c.svc:65535"]),
            ("[::1]:9092,127.0.0.1:1", vec!["[::1]:9092", "127.0.0.1:1"]),
        ] {
            let read: Vec<String> = addresses(text).expect(text).iter().map(ToString::to_string).collect();
            assert_eq!(read, expected, "{text}");
        }
        let long = "a:1,".repeat(MOST_ADDRESSES + 1);
        assert!(addresses(&long).expect_err("too many").contains("more than 100"));
    }

    #[test]
    fn an_http_server_is_a_scheme_a_host_and_a_port() {
        for text in ["https://connect.kafka.svc:8083", "http://a_b:1", "https://[::1]:65535", "http://10.0.0.1:8083"] {
            let read = http_address(text).expect(text);
            assert_eq!((read.to_string().as_str(), read.encrypted), (text, text.starts_with("https")));
        }
        for (text, expected) in [
            ("", "does not begin with https:// or http://"),
            ("connect:8083", "does not begin with"),
            ("ftp://connect:8083", "does not begin with"),
            ("https://connect", "has no valid host and port"),
            ("https://connect:0", "has no valid host and port"),
            ("https://connect:08083", "write it without anything else: https://connect:8083"),
            ("https://:8083", "has no valid host and port"),
            ("https://connect:8083/", "has something after host and port"),
            ("https://connect:8083/hunter2", "has something after host and port"),
            ("https://connect:8083?hunter2", "has something after host and port"),
            ("https://me:hunter2@connect:8083", "a Secret has them"),
            ("https://${hunter2}:8083", "has no valid host and port"),
            ("https://con nect:8083", "has no valid host and port"),
        ] {
            let said = http_address(text).expect_err(text);
            assert!(said.contains(expected) && !said.contains("hunter"), "{text}: {said}");
        }
    }

    #[test]
    fn each_mistake_gets_its_advice_and_no_secret_is_repeated() {
        for (text, expected) in [
            ("", "is empty"),
            (" , ", "is empty"),
            ("broker", "\"broker\" has no port"),
            ("a:9092,b", "\"b\" has no port"),
            ("a:0", "\"a:0\" has no valid port"),
            ("a:70000", "has no valid port"),
            ("a:+1", "has no valid port"),
            (":9092", "has no valid host"),
            ("a:*", "has no valid port"),
            ("::1:9092", "[::1]:9092"),
            ("[x]:1", "IPv6"),
            ("SASL_SSL://h:9096", "leave out SASL_SSL://, it is the property security.protocol"),
            ("a:1,ssl://h:9096", "leave out SSL://"),
            ("hunter2://h:1", "leave out all up to ://"),
            ("a:1;b:2", "separate addresses by commas"),
            ("a:1 b:2", "separate addresses by commas"),
            ("\"a:1\"", "quotation marks"),
            ("${KAFKA}", "a variable that nothing replaced"),
            ("$(KAFKA):1", "a variable that nothing replaced"),
            ("{{ .Values.hunter2 }}", "a variable that nothing replaced"),
            ("me:hunter2@h:1", "sasl.username and sasl.password"),
            ("SASL_SSL://me:hunter,2@h:1", "sasl.username and sasl.password"),
            ("zoo:2181/hunter2", "ZooKeeper"),
            ("hunter2!:9092", "an address has no valid host"),
            ("hunter2=x", "an address has no port"),
        ] {
            let said = addresses(text).expect_err(text);
            assert!(said.contains(expected), "{text}: {said}");
            assert!(!said.contains("hunter"), "{text}: {said}");
        }
    }
}
