//! Properties of Java's clients that librdkafka does not have, each with its replacement here. So the file of a Java
//! client can be converted after one run.

const PEM_FROM_STORE: &str = "Java's key stores are not supported, PEM is";
const CLASS: &str = "it names a Java class, and there is no Java in here; leave it out";
const RECORDS: &str = "this client never reads records; leave it out";
const LOGIN: &str = "tokens are renewed at 80 % of their lifetime by themselves; leave it out";
const TIMING: &str = "use the cluster's requestTimeout and deadline, or socket.timeout.ms";
const TLS: &str = "TLS is implemented by rustls, which offers TLS 1.2 and 1.3; leave it out";

pub(super) const ANSWERS: &[(&[&str], &str)] = &[
    (
        &["ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.type"],
        "make PEM of the truststore by `keytool -exportcert -rfc -keystore truststore.jks -alias ALIAS -file ca.pem` (or `openssl pkcs12 -in truststore.p12 -nokeys -out ca.pem`), and set ssl.ca.location to that file",
    ),
    (&["ssl.truststore.certificates"], "use ssl.ca.pem"),
    (
        &["ssl.keystore.type"],
        "make PEM of the keystore by `keytool -importkeystore -srckeystore keystore.jks -destkeystore keystore.p12 -deststoretype PKCS12`, then `openssl pkcs12 -in keystore.p12 -nodes -out client.pem`, and set ssl.certificate.location and ssl.key.location to that file",
    ),
    (&["ssl.keystore.certificate.chain"], "use ssl.certificate.pem"),
    (&["ssl.keystore.key"], "use ssl.key.pem"),
    (&["ssl.enabled.protocols", "ssl.protocol", "ssl.provider", "security.providers"], TLS),
    (
        &[
            "ssl.keymanager.algorithm",
            "ssl.trustmanager.algorithm",
            "ssl.secure.random.implementation",
            "ssl.engine.factory.class",
        ],
        CLASS,
    ),
    (
        &["sasl.login.class", "sasl.login.callback.handler.class"],
        "use sasl.oauthbearer.method=oidc, or sasl.oauthbearer.token.file, or sasl.mechanism=AWS_MSK_IAM for MSK",
    ),
    (&["socket.connection.setup.timeout.max.ms"], "use socket.connection.setup.timeout.ms"),
    (&["default.api.timeout.ms"], TIMING),
    (&["send.buffer.bytes", "receive.buffer.bytes"], "the system chooses the sizes of buffers; leave it out"),
    (&["key.deserializer", "value.deserializer", "key.serializer", "value.serializer"], RECORDS),
    (&["max.poll.records", "fetch.max.wait.ms", "exclude.internal.topics"], RECORDS),
    (&["interceptor.classes", "metric.reporters", "config.providers", "partitioner.class"], CLASS),
    (&["auto.include.jmx.reporter"], "there is no Java in here; leave it out"),
    (&["bootstrap.controllers"], "it has a field of its own for brokers: bootstrapServers, or --bootstrap-servers"),
    // Keys of KEDA's TriggerAuthentication and of other tools.
    (&["username", "user"], "use sasl.username"),
    (&["password"], "use sasl.password"),
    (&["ca", "ca.crt"], "use ssl.ca.pem, or ssl.ca.location for a file"),
    (&["cert", "tls.crt", "user.crt"], "use ssl.certificate.pem, or ssl.certificate.location for a file"),
    (&["key", "tls.key", "user.key"], "use ssl.key.pem, or ssl.key.location for a file"),
    (&["keyPassword"], "use ssl.key.password"),
    (&["sasl"], "use security.protocol and sasl.mechanism"),
    (&["tls"], "use security.protocol=SSL or SASL_SSL"),
    (&["awsRegion"], "use aws.region"),
];

/// Prefixes of names.
pub(super) const PREFIXES: &[(&str, &str)] = &[
    ("sasl.login.", LOGIN),
    ("sasl.oauthbearer.jwks.", "only brokers check tokens; leave it out"),
    ("sasl.oauthbearer.expected.", "only brokers check tokens; leave it out"),
    ("sasl.oauthbearer.jwt.", CLASS),
    (
        "sasl.oauthbearer.assertion.",
        "the client signs no assertions; name a file with a token in sasl.oauthbearer.token.file",
    ),
    (
        "sasl.kerberos.",
        "Kerberos (GSSAPI) is not built in; use another mechanism, or a listener with client certificates",
    ),
    ("schema.registry.", RECORDS),
    ("basic.auth.", RECORDS),
    ("metrics.", "Paceline's own metrics are at /metrics; leave it out"),
    ("share.", RECORDS),
];

/// What replaces a property of Java's clients. `value` is inspected, never repeated.
pub(super) fn answer(name: &str, value: &str) -> Option<String> {
    match name {
        "sasl.jaas.config" => return Some(format!("it is Java's: {}", jaas(value))),
        "sasl.client.callback.handler.class" => return Some(callback(value).to_owned()),
        _ => {}
    }
    if let Some((_, answer)) = ANSWERS.iter().find(|(names, _)| names.contains(&name)) {
        let store = name.contains("store.") && !answer.starts_with("use ");
        return Some(if store { format!("{PEM_FROM_STORE}: {answer}") } else { (*answer).to_owned() });
    }
    PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, answer)| (*answer).to_owned())
}

/// Whether the name is in the list.
pub(super) fn is_known(name: &str) -> bool {
    ANSWERS.iter().any(|(names, _)| names.contains(&name))
}

fn callback(value: &str) -> &'static str {
    if value.contains("IAMClientCallbackHandler") {
        "it is Java's way to sign in to MSK with IAM; use sasl.mechanism=AWS_MSK_IAM, which needs no class"
    } else {
        CLASS
    }
}

/// Which properties replace the options in a JAAS login module's line.
fn jaas(value: &str) -> String {
    let has = |option: &str| {
        value.match_indices(option).any(|(at, _)| {
            let before = value.get(..at).and_then(|text| text.chars().next_back());
            let after = value.get(at + option.len()..).unwrap_or_default().trim_start();
            before.is_none_or(|c| c.is_whitespace() || c == ';') && after.starts_with('=')
        })
    };
    let known = |options: &[(&str, &'static str)]| {
        let held: Vec<_> = options.iter().filter(|(option, _)| has(option)).map(|(_, property)| *property).collect();
        if held.is_empty() { options.iter().map(|(_, property)| *property).collect() } else { held }
    };
    let (mechanism, options): (&str, Vec<&str>) = if value.contains("ScramLoginModule") {
        ("SCRAM-SHA-512 (or SCRAM-SHA-256)", known(&[("username", "sasl.username"), ("password", "sasl.password")]))
    } else if value.contains("PlainLoginModule") {
        ("PLAIN", known(&[("username", "sasl.username"), ("password", "sasl.password")]))
    } else if value.contains("IAMLoginModule") {
        return "it signs in to MSK with IAM; set sasl.mechanism=AWS_MSK_IAM instead, with no further property"
            .to_owned();
    } else if value.contains("OAuthBearerLoginModule") {
        let options = known(&[
            ("clientId", "sasl.oauthbearer.client.id"),
            ("clientSecret", "sasl.oauthbearer.client.secret"),
            ("scope", "sasl.oauthbearer.scope"),
        ]);
        let extensions = value.contains("extension_").then_some("sasl.oauthbearer.extensions");
        let more = ["sasl.oauthbearer.method=oidc", "sasl.oauthbearer.token.endpoint.url"];
        ("OAUTHBEARER", more.into_iter().chain(options).chain(extensions).collect())
    } else if value.contains("Krb5LoginModule") {
        return "it is for Kerberos, which is not built in; use another mechanism, or a listener with client certificates"
            .to_owned();
    } else {
        let any = "sasl.username and sasl.password (for PLAIN and SCRAM), or the properties sasl.oauthbearer.*";
        return format!("set sasl.mechanism, and {any}, instead");
    };
    format!("set sasl.mechanism={mechanism}, {} instead, with what it holds", options.join(", "))
}
