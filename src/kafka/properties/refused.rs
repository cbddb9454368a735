//! The properties of librdkafka that have no meaning for this client, each with a reason.

const CONSUMES: &str = "this client never consumes, it only reads offsets; leave it out";
const PRODUCES: &str = "this client never produces; leave it out";
const JOINS: &str = "this client never joins a group; leave it out";
const FUNCTION: &str = "it is a function of librdkafka's programming interface and no setting; leave it out";
const INSIDE: &str = "it is for librdkafka's internals, and Paceline has its own client; leave it out";
const CODE: &str = "it would load foreign code into the controller; leave it out";
const OPENSSL: &str = "it is OpenSSL's; TLS is implemented by rustls, which offers TLS 1.2 and 1.3 with safe cipher suites only; leave it out";
const KERBEROS: &str = "Kerberos (GSSAPI) is not built in; use sasl.mechanism SCRAM-SHA-512 or OAUTHBEARER, or a listener with client certificates";
const KEYSTORE: &str = "PKCS#12 keystores are not read; make PEM of it by `openssl pkcs12 -in keystore.p12 -nodes -out client.pem`, and set ssl.certificate.location and ssl.key.location to that file";
const SIGNED: &str = "the client signs no assertions; write a token into a file by another program, and name it in sasl.oauthbearer.token.file";
const SERVERS: &str = "it has a field of its own: bootstrapServers, or --bootstrap-servers";
const LOG: &str = "the log is the controller's own; use --log-level, such as --log-level paceline::kafka=debug";
const RETRY: &str =
    "failed requests are retried within the cycle's deadline and in the next cycle; set the cluster's deadline";

/// Reasons with the names that they apply to.
pub(super) const REASONS: &[(&str, &[&str])] = &[
    (SERVERS, &["bootstrap.servers", "metadata.broker.list"]),
    ("reading a topic must never create it; leave it out", &["allow.auto.create.topics"]),
    ("isolation.level is spec.kafka.isolationLevel of the ScaledConsumer, or --isolation-level", &["isolation.level"]),
    ("it is spec.kafka.offsetReset of the ScaledConsumer, or --offset-reset", &["auto.offset.reset"]),
    ("the group is spec.kafka.consumerGroup of the ScaledConsumer, or --group", &["group.id"]),
    ("use metadata.max.age.ms", &["topic.metadata.refresh.interval.ms"]),
    (
        "use the cluster's requestTimeout, or socket.timeout.ms",
        &["request.timeout.ms", "api.version.request.timeout.ms"],
    ),
    ("this client sends no metrics to brokers; leave it out", &["enable.metrics.push"]),
    ("topics are left out by spec.kafka.topicExclude of the ScaledConsumer", &["topic.blacklist"]),
    (LOG, &["debug", "log_level", "log.connection.close", "log.thread.name", "log.queue"]),
    (RETRY, &["retries", "retry.backoff.ms", "retry.backoff.max.ms", "message.send.max.retries"]),
    (
        CODE,
        &["plugin.library.paths", "interceptors", "ssl.engine.location", "ssl.engine.id", "ssl_engine_callback_data"],
    ),
    (OPENSSL, &["ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list", "ssl.providers"]),
    (KEYSTORE, &["ssl.keystore.location", "ssl.keystore.password"]),
    ("it is for Windows only; use ssl.ca.location", &["ssl.ca.certificate.stores"]),
    (
        KERBEROS,
        &[
            "sasl.kerberos.service.name",
            "sasl.kerberos.principal",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.keytab",
            "sasl.kerberos.min.time.before.relogin",
        ],
    ),
    (
        "unsigned tokens are for librdkafka's tests; use sasl.oauthbearer.token.file or sasl.oauthbearer.method=oidc",
        &["enable.sasl.oauthbearer.unsecure.jwt", "sasl.oauthbearer.config"],
    ),
    (
        SIGNED,
        &[
            "sasl.oauthbearer.assertion.algorithm",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.claim.aud",
            "sasl.oauthbearer.assertion.claim.exp.seconds",
            "sasl.oauthbearer.assertion.claim.iss",
            "sasl.oauthbearer.assertion.claim.jti.include",
            "sasl.oauthbearer.assertion.claim.nbf.seconds",
            "sasl.oauthbearer.assertion.claim.sub",
            "sasl.oauthbearer.assertion.jwt.template.file",
        ],
    ),
    (
        FUNCTION,
        &[
            "error_cb",
            "throttle_cb",
            "stats_cb",
            "log_cb",
            "background_event_cb",
            "socket_cb",
            "connect_cb",
            "closesocket_cb",
            "open_cb",
            "resolve_cb",
            "opaque",
            "default_topic_conf",
            "oauthbearer_token_refresh_cb",
            "ssl.certificate.verify_cb",
            "ssl_key",
            "ssl_certificate",
            "ssl_ca",
            "consume_cb",
            "rebalance_cb",
            "offset_commit_cb",
            "dr_cb",
            "dr_msg_cb",
            "partitioner_cb",
            "msg_order_cmp",
            "enabled_events",
        ],
    ),
    (
        INSIDE,
        &[
            "builtin.features",
            "message.max.bytes",
            "message.copy.max.bytes",
            "max.in.flight.requests.per.connection",
            "max.in.flight",
            "metadata.recovery.strategy",
            "metadata.recovery.rebootstrap.trigger.ms",
            "topic.metadata.refresh.fast.interval.ms",
            "topic.metadata.refresh.fast.cnt",
            "topic.metadata.refresh.sparse",
            "topic.metadata.propagation.max.ms",
            "socket.blocking.max.ms",
            "socket.send.buffer.bytes",
            "socket.receive.buffer.bytes",
            "socket.nagle.disable",
            "socket.max.fails",
            "broker.address.ttl",
            "reconnect.backoff.jitter.ms",
            "statistics.interval.ms",
            "enable.random.seed",
            "internal.termination.signal",
            "api.version.request",
            "api.version.fallback.ms",
            "broker.version.fallback",
            "coordinator.query.interval.ms",
            "client.rack",
            "test.mock.num.brokers",
            "test.mock.broker.rtt",
        ],
    ),
    (
        JOINS,
        &[
            "group.instance.id",
            "partition.assignment.strategy",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "group.protocol.type",
            "group.protocol",
            "group.remote.assignor",
            "max.poll.interval.ms",
        ],
    ),
    (
        CONSUMES,
        &[
            "enable.auto.commit",
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "queued.min.messages",
            "queued.max.messages.kbytes",
            "fetch.wait.max.ms",
            "fetch.queue.backoff.ms",
            "fetch.message.max.bytes",
            "max.partition.fetch.bytes",
            "fetch.max.bytes",
            "fetch.min.bytes",
            "fetch.error.backoff.ms",
            "offset.store.method",
            "offset.store.path",
            "offset.store.sync.interval.ms",
            "enable.partition.eof",
            "check.crcs",
            "consume.callback.max.messages",
        ],
    ),
    (
        PRODUCES,
        &[
            "transactional.id",
            "transaction.timeout.ms",
            "enable.idempotence",
            "enable.gapless.guarantee",
            "queue.buffering.max.messages",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.ms",
            "linger.ms",
            "queue.buffering.backpressure.threshold",
            "compression.codec",
            "compression.type",
            "compression.level",
            "batch.num.messages",
            "batch.size",
            "delivery.report.only.error",
            "sticky.partitioning.linger.ms",
            "request.required.acks",
            "acks",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "queuing.strategy",
            "produce.offset.report",
            "partitioner",
        ],
    ),
];

/// Why a property of librdkafka is refused.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    REASONS.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason)
}
