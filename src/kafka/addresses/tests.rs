//! Tables of what is one address, what fits a pattern, and what is refused all the same.

use super::*;

fn policy(patterns: &[&str]) -> AddressPolicy {
    let patterns = patterns.iter().map(|pattern| pattern.parse().expect("a pattern")).collect();
    AddressPolicy::only(patterns, vec![ip("10.96.0.1"), ip("fd00:96::1")])
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

#[test]
fn forms_of_one_cluster_are_one() {
    let rows = [
        ("a:9092", "a:9092"),
        (" A:9092 ", "a:9092"),
        ("b:9092,a:9092", "a:9092,b:9092"),
        ("a:9092, a.:9092 ,A:9092", "a:9092"),
        ("a:09092", "a:9092"),
        ("[FD00::0:1]:9092", "[fd00::1]:9092"),
        ("[::ffff:10.0.0.1]:9092,10.0.0.1:9092", "10.0.0.1:9092"),
        ("kafka_0.svc.:1,", "kafka_0.svc:1"),
    ];
    for (servers, expected) in rows {
        let all: Vec<_> = canonical(servers).expect(servers).iter().map(ToString::to_string).collect();
        assert_eq!(all.join(","), expected, "{servers}");
    }
}

#[test]
fn a_number_that_the_resolver_would_take_for_an_address_is_no_host_name() {
    for host in ["127.1", "2852039166", "0xa9fea9fe", "a..b", "10.0.0.256", "evil.0x7f"] {
        let error = canonical(&format!("{host}:9092")).expect_err(host);
        assert!(error.contains("which is no host name"), "{host}: {error}");
        assert!(policy(&["*:9092", "*.*:9092"]).check_name(host, 9092).is_err(), "{host}");
    }
}

#[test]
fn a_star_is_one_label_or_a_part_of_one_and_never_crosses_a_dot() {
    let rows = [
        ("a:9092", "a", 9092, true),
        ("a:9092", "A.", 9092, true),
        ("a:9092", "a", 9093, false),
        ("a:*", "a", 9093, true),
        ("*:9092", "a", 9092, true),
        ("*:9092", "a.b", 9092, false),
        ("*:9092", "10.0.0.1", 9092, false),
        ("*.kafka.svc:9092", "x.kafka.svc", 9092, true),
        ("*.kafka.svc:9092", "kafka.svc", 9092, false),
        ("*.kafka.svc:9092", ".kafka.svc", 9092, false),
        ("*.kafka.svc:9092", "x.y.kafka.svc", 9092, false),
        ("*.kafka.svc:9092", "x.kafka.svc.evil.com", 9092, false),
        ("kafka-*.svc:9092", "kafka-2.svc", 9092, true),
        ("kafka-*.svc:9092", "KAFKA-2.SVC", 9092, true),
        ("kafka-*.svc:9092", "kafka-.svc", 9092, false),
        ("kafka-*.svc:9092", "kafka-2.evil.svc", 9092, false),
        ("*-kafka.svc:9092", "a-kafka.svc", 9092, true),
        ("b-*-kafka.svc:9092", "b-1-kafka.svc", 9092, true),
        ("b-*-kafka.svc:9092", "b-kafka.svc", 9092, false),
        ("10.0.*.*:9092", "10.0.7.9", 9092, true),
        ("10.0.*.*:9092", "::ffff:10.0.7.9", 9092, true),
        ("10.0.*.*:9092", "10.1.7.9", 9092, false),
        ("10.0.*.*:9092", "10.0.evil.com", 9092, false),
        ("10.0.*.*:9092", "10.0.0.1.nip.io", 9092, false),
        ("10.0.0.1:9092", "10.0.0.1", 9092, true),
        ("10.0.0.1:9092", "10.0.0.1.evil.com", 9092, false),
        ("10.0.0.1:9092", "167772161", 9092, false),
        ("[fd00::1]:9092", "fd00::1", 9092, true),
        ("[fd00::1]:9092", "[fd00:0::1]", 9092, true),
        ("[fd00::1]:9092", "fd00::2", 9092, false),
    ];
    for (pattern, host, port, expected) in rows {
        let result = policy(&[pattern]).check_name(host, port);
        assert_eq!(result.is_ok(), expected, "{pattern} {host}:{port}: {result:?}");
    }
}

#[test]
fn a_pattern_that_can_not_mean_what_it_says_is_refused() {
    let rows = [
        ("kafka", "has no port"),
        ("kafka:0", "has no valid port"),
        ("kafka:9092x", "has no valid port"),
        ("10.0.*:9092", "an IPv4 address, which has four"),
        ("10.0.0.256:9092", "an IPv4 address, which has four"),
        ("10.0.0.*.*:9092", "an IPv4 address, which has four"),
        ("a-*-*.svc:9092", "several * in one label"),
        ("*..svc:9092", "no valid host"),
        ("[fd00::*]:9092", "no valid host"),
        ("kafka://a:9092", "leave out all up to ://"),
        ("me:hunter2@a:9092", "sasl.username and sasl.password"),
        ("", "has no port"),
    ];
    for (pattern, expected) in rows {
        let error = pattern.parse::<AddressPattern>().expect_err(pattern);
        assert!(error.contains(expected) && !error.contains("hunter2"), "{pattern}: {error}");
    }
}

#[test]
fn a_name_that_leads_to_this_machine_the_metadata_service_or_the_api_server_is_refused() {
    let names = policy(&["*.kafka.svc:9092", "127.0.0.*:9092", "10.*.*.*:9092"]);
    let rows = [
        ("10.0.0.1", None),
        ("8.8.8.8", None),
        ("fd00::1", None),
        ("127.0.0.1", Some("a loopback address")),
        ("127.9.9.9", Some("a loopback address")),
        ("::1", Some("a loopback address")),
        ("::ffff:127.0.0.1", Some("a loopback address")),
        ("64:ff9b::7f00:1", Some("a loopback address")),
        ("::7f00:1", Some("a loopback address")),
        ("169.254.169.254", Some("a link-local address")),
        ("::ffff:169.254.169.254", Some("a link-local address")),
        ("2002:a9fe:a9fe::1", Some("a link-local address")),
        ("fe80::1", Some("a link-local address")),
        ("fd00:ec2::254", Some("metadata service")),
        ("100.100.100.200", Some("metadata service")),
        ("0.0.0.0", Some("an unspecified address")),
        ("::", Some("an unspecified address")),
        ("0.1.2.3", Some("an unspecified address")),
        ("224.0.0.1", Some("a multicast address")),
        ("ff02::1", Some("a multicast address")),
        ("255.255.255.255", Some("a broadcast address")),
        ("10.96.0.1", Some("the Kubernetes API server")),
        ("::ffff:10.96.0.1", Some("the Kubernetes API server")),
        ("fd00:96::1", Some("the Kubernetes API server")),
    ];
    for (address, kind) in rows {
        let result = names.check_ip("k.kafka.svc", ip(address), 9092);
        match kind {
            None => assert_eq!(result, Ok(()), "{address}"),
            Some(kind) => {
                let error = result.expect_err(address);
                let place = "allowBootstrapServers in the controller's configuration";
                assert!(error.contains(kind) && error.contains(place), "{address}: {error}");
                assert!(error.starts_with("\"k.kafka.svc:9092\" leads to "), "{address}: {error}");
            }
        }
    }
    // As an address the same is refused, though a pattern with a star fits.
    for literal in ["127.0.0.1", "10.96.0.1"] {
        let error = names.check_name(literal, 9092).expect_err(literal);
        assert!(error.contains("is refused") && error.contains(&format!("add \"{literal}:9092\"")), "{error}");
    }
}

#[test]
fn an_address_that_a_pattern_has_itself_is_meant() {
    let literal = policy(&["127.0.0.1:*", "10.96.0.1:9092", "[::1]:9092", "localhost:*"]);
    for (host, address, port, expected) in [
        ("localhost", "127.0.0.1", 1, true),
        ("localhost", "::ffff:127.0.0.1", 1, true),
        ("localhost", "127.0.0.2", 1, false),
        ("localhost", "::1", 9092, true),
        ("localhost", "::1", 9093, false),
        ("localhost", "10.96.0.1", 9092, true),
        ("localhost", "10.96.0.1", 443, false),
    ] {
        assert_eq!(literal.check_ip(host, ip(address), port).is_ok(), expected, "{host} {address} {port}");
    }
    assert_eq!(literal.check_name("127.0.0.1", 5), Ok(()));
}

#[test]
fn without_a_list_everything_is_allowed() {
    let policy = AddressPolicy::default();
    assert_eq!(policy.check_name("anything", 1), Ok(()));
    assert_eq!(policy.check_ip("anything", ip("169.254.169.254"), 80), Ok(()));
}

#[test]
fn texts_from_others_are_shown_without_control_characters() {
    let error = policy(&[]).check_name("a\u{1b}[2Jb\n", 1).expect_err("no name");
    assert!(!error.contains(char::is_control), "{error:?}");
    let error = policy(&[]).check_name(&"x".repeat(100_000), 1).expect_err("no name");
    assert!(error.len() < 500);
}
