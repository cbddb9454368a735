//! Every property that a user may set: one row each. docs/kafka-settings.md shows this table; a test keeps the two
//! equal.

use super::kind::ValueKind;

/// A property that a user may set.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct Property {
    /// librdkafka's name, or our own where librdkafka has none.
    pub(in crate::kafka) name: &'static str,
    /// Other names of it.
    pub(in crate::kafka) aliases: &'static [&'static str],
    /// How its value is written.
    pub(in crate::kafka) kind: ValueKind,
    /// Its default, in words.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the docs, which a test holds to this table"))]
    pub(in crate::kafka) default: &'static str,
    /// What it does.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the docs, which a test holds to this table"))]
    pub(in crate::kafka) meaning: &'static str,
}

const fn row(name: &'static str, kind: ValueKind, default: &'static str, meaning: &'static str) -> Property {
    Property { name, aliases: &[], kind, default, meaning }
}

const fn also(aliases: &'static [&'static str], property: Property) -> Property {
    Property { aliases, ..property }
}

/// The SASL mechanisms there are.
pub(in crate::kafka) const MECHANISMS: &[&str] =
    &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"];
const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// A day, the largest age that makes sense.
const DAY_MS: u64 = 86_400_000;

/// All of them, by subject.
pub(in crate::kafka) const PROPERTIES: &[Property] = &[
    row("client.id", ValueKind::Text, "paceline", "The name that brokers log, and that quotas go by."),
    row("security.protocol", ValueKind::Choice(PROTOCOLS), "PLAINTEXT", "Whether TLS (SSL) and SASL are spoken."),
    // TLS
    row(
        "ssl.ca.location",
        ValueKind::Path,
        "the system's authorities, else Mozilla's",
        "A file or a folder with the authorities (PEM) that may sign the brokers' certificates.",
    ),
    row("ssl.ca.pem", ValueKind::Pem, "", "The same as text."),
    row(
        "ssl.certificate.location",
        ValueKind::Path,
        "",
        "The client's certificate, followed by intermediate ones (PEM).",
    ),
    row("ssl.certificate.pem", ValueKind::Pem, "", "The same as text."),
    row("ssl.key.location", ValueKind::Path, "", "The client's private key (PEM)."),
    row("ssl.key.pem", ValueKind::SecretPem, "", "The same as text."),
    row("ssl.key.password", ValueKind::Secret, "", "The password of an encrypted private key (PKCS#8)."),
    row("ssl.crl.location", ValueKind::Path, "", "A file with certificate revocation lists (PEM)."),
    row(
        "ssl.endpoint.identification.algorithm",
        ValueKind::Choice(&["https", "none"]),
        "https",
        "Whether a broker's certificate must have the broker's host name. `none` is warned about.",
    ),
    row(
        "enable.ssl.certificate.verification",
        ValueKind::Truth,
        "true",
        "Whether a broker's certificate is checked at all. `false` is warned about.",
    ),
    // SASL
    also(
        &["sasl.mechanisms"],
        row("sasl.mechanism", ValueKind::Choice(MECHANISMS), "", "How the client authenticates."),
    ),
    row("sasl.username", ValueKind::Text, "", "The user, for PLAIN and SCRAM."),
    row("sasl.password", ValueKind::Secret, "", "The password, for PLAIN and SCRAM."),
    row(
        "sasl.oauthbearer.method",
        ValueKind::Choice(&["default", "oidc"]),
        "default",
        "Where the token is from: `default` is sasl.oauthbearer.token.file, `oidc` requests it from a token endpoint.",
    ),
    row(
        "sasl.oauthbearer.token.file",
        ValueKind::Path,
        "",
        "A file with the token, read for every authentication. (Not a property of librdkafka.)",
    ),
    row("sasl.oauthbearer.token.endpoint.url", ValueKind::Url, "", "The token endpoint's URL, for `oidc`."),
    also(
        &["sasl.oauthbearer.client.credentials.client.id"],
        row("sasl.oauthbearer.client.id", ValueKind::Text, "", "The client's name at the token endpoint."),
    ),
    also(
        &["sasl.oauthbearer.client.credentials.client.secret"],
        row("sasl.oauthbearer.client.secret", ValueKind::Secret, "", "The client's secret at the token endpoint."),
    ),
    row("sasl.oauthbearer.scope", ValueKind::Text, "", "The scope that `oidc` requests."),
    row(
        "sasl.oauthbearer.extensions",
        ValueKind::Text,
        "",
        "What is sent along with the token, as name=value,name=value: Confluent Cloud's logicalCluster and identityPoolId.",
    ),
    row(
        "sasl.oauthbearer.grant.type",
        ValueKind::Choice(&["client_credentials"]),
        "client_credentials",
        "How `oidc` requests a token.",
    ),
    row(
        "sasl.oauthbearer.metadata.authentication.type",
        ValueKind::Choice(&["none"]),
        "none",
        "Whether a cloud's metadata service gives the token.",
    ),
    row("https.ca.location", ValueKind::Path, "the system's", "As ssl.ca.location, for the token endpoint."),
    row("https.ca.pem", ValueKind::Pem, "", "The same as text."),
    row(
        "aws.region",
        ValueKind::Text,
        "the one in the broker's host name, else AWS_REGION",
        "The region of the MSK cluster, for AWS_MSK_IAM. (Not a property of librdkafka.)",
    ),
    // Connections
    row(
        "socket.timeout.ms",
        ValueKind::Milliseconds { least: 10, most: 300_000 },
        "",
        "How long a broker may take to answer, where the cluster has no requestTimeout; at most its deadline.",
    ),
    row(
        "socket.connection.setup.timeout.ms",
        ValueKind::Milliseconds { least: 1_000, most: 300_000 },
        "the requestTimeout, at least 1000",
        "How long a connection may take to come up, TLS and SASL included.",
    ),
    row("socket.keepalive.enable", ValueKind::Truth, "true", "TCP keep-alives."),
    row(
        "broker.address.family",
        ValueKind::Choice(&["any", "v4", "v6"]),
        "any",
        "Which IP addresses are connected to.",
    ),
    row(
        "client.dns.lookup",
        ValueKind::Choice(&["use_all_dns_ips"]),
        "use_all_dns_ips",
        "Every address that a name has is tried.",
    ),
    row(
        "reconnect.backoff.ms",
        ValueKind::Milliseconds { least: 0, most: 3_600_000 },
        "100",
        "How long after a failure the first new attempt waits.",
    ),
    row(
        "reconnect.backoff.max.ms",
        ValueKind::Milliseconds { least: 0, most: 3_600_000 },
        "5000",
        "The longest such wait; it doubles up to here.",
    ),
    row(
        "connections.max.idle.ms",
        ValueKind::Milliseconds { least: 0, most: 2_147_483_647 },
        "180000",
        "When an unused connection is not used again but made anew; 0 is never.",
    ),
    row(
        "receive.message.max.bytes",
        ValueKind::Bytes { least: 1_000_000, most: 256 << 20 },
        "67108864",
        "The largest answer that is read.",
    ),
    row(
        "metadata.max.age.ms",
        ValueKind::Milliseconds { least: 1_000, most: DAY_MS },
        "120000",
        "When brokers and topics are looked up again though nothing has failed.",
    ),
];
