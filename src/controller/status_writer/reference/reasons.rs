//! All reasons of the conditions: what each means, how to check it, and what to do.

pub(in super::super) const READY: &str = "Ready";
pub(in super::super) const KAFKA_REACHABLE: &str = "KafkaReachable";
pub(in super::super) const ACTIVE: &str = "Active";
pub(in super::super) const AUTOSCALED: &str = "Autoscaled";
pub(in super::super) const CONFLICT: &str = "Conflict";
pub(in super::super) const SCALING_LIMITED: &str = "ScalingLimited";
pub(in super::super) const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";

/// A reason of a condition.
pub(super) struct ReasonRow {
    /// The conditions that have it.
    pub(super) kinds: &'static [&'static str],
    /// With this status; `None`: Unknown.
    pub(super) is: Option<bool>,
    pub(super) reason: &'static str,
    pub(super) means: &'static str,
    pub(super) check: &'static str,
    pub(super) todo: &'static str,
}

const fn row(
    kinds: &'static [&'static str],
    is: Option<bool>,
    reason: &'static str,
    [means, check, todo]: [&'static str; 3],
) -> ReasonRow {
    ReasonRow { kinds, is, reason, means, check, todo }
}

/// A finding, whose only reason is its name.
const fn found(name: &'static [&'static str; 1], texts: [&'static str; 3]) -> ReasonRow {
    row(name, Some(true), name[0], texts)
}

const TRUE: Option<bool> = Some(true);
const FALSE: Option<bool> = Some(false);
/// What a part of Kafka that can't be read makes False.
const READING: &[&str] = &[READY];
/// The same where the cluster as a whole can't be read.
const CLUSTER: &[&str] = &[READY, KAFKA_REACHABLE];
const NOTHING: &str = "Nothing.";
const DOCTOR: &str = "`paceline doctor`";
const KAFKA_GROUP: &str = "`kafka-consumer-groups --describe --group GROUP`";
const KAFKA_TOPIC: &str = "`kafka-topics --describe --topic TOPIC`";
const HPA: &str = "`kubectl -n NS describe hpa`";
const PODS: &str = "`kubectl -n NS get pods`";
const BROKERS: &str = "The brokers' log.";
const LAG: &str = "`paceline recommend -n NS NAME`, which shows each partition.";
const CONNECTOR: &str = "`GET /connectors/NAME/status` of a worker.";
const KAFKA: &str = "`paceline recommend -n NS NAME`, which reads Kafka itself.";

/// All reasons, by condition.
#[rustfmt::skip] // A row of texts is easier to read than a column.
pub(super) const REASONS: &[ReasonRow] = &[
    row(&[READY], TRUE, "Deciding", ["Kafka and the target can be read.", "", NOTHING]),
    row(&[READY], FALSE, "Invalid", [
        "The spec is refused: the cluster is not in the configuration, its brokers are not allowed, or a field is wrong.",
        "The message names the field.", "Correct the spec, or the controller's configuration.",
    ]),
    row(&[READY], FALSE, "DecisionOutdated", [
        "Nothing was decided for three polls and ten seconds.",
        "The controller's log, its CPU, and the latency of the API server.",
        "Give the controller more CPU, or repair what its log names.",
    ]),
    row(&[READY], FALSE, "Conflict", [
        "Something else scales the target, so nothing is written.", "The condition Conflict.", "What Conflict says.",
    ]),
    row(&[READY], FALSE, "TargetNotFound", [
        "There is no such workload or kind.", "`kubectl -n NS get KIND NAME`",
        "Create it, install its CRD, or correct `spec.scaleTargetRef`.",
    ]),
    row(&[READY], FALSE, "NoScale", [
        "The target's kind has no scale subresource.", "`kubectl get crd PLURAL.GROUP -o yaml`",
        "Enable `subresources.scale` in its CRD, or name another target.",
    ]),
    row(&[READY], FALSE, "Forbidden", [
        "RBAC does not let the controller read or write the target's scale.",
        "`kubectl auth can-i patch deployments --subresource=scale -n NS --as system:serviceaccount:paceline:paceline`",
        "Grant the verb and resource of the message to the controller's ServiceAccount.",
    ]),
    row(&[READY], FALSE, "Refused", [
        "An admission webhook, a policy or validation refuses the new number of replicas.",
        "The message is the API server's.",
        "Allow the change, or set `minReplicas` and `maxReplicas` within what is allowed.",
    ]),
    row(&[READY], FALSE, "TargetUnreadable", [
        "The API server did not answer, or with an error.", "`kubectl get --raw /readyz`",
        "Nothing, if it was short: the next poll tries again. Else repair the API server.",
    ]),
    row(&[READY], FALSE, "ConnectUnreachable", [
        "No worker of Kafka Connect answers, or one answers that it can't.", CONNECTOR,
        "Correct `spec.connect.url`, DNS, the network policy or the CA; start the workers.",
    ]),
    row(&[READY], FALSE, "ConnectUnauthorized", [
        "Kafka Connect refuses the user.", "The Secret of `spec.connect.secretRef`.",
        "Correct its `username` and `password`; it is read again at the next poll.",
    ]),
    row(&[READY], FALSE, "ConnectRebalancing", [
        "The workers rebalance and refuse requests meanwhile.", "The workers' log.",
        "Nothing, if it was short. Else look for workers that come and go.",
    ]),
    row(&[READY], FALSE, "ConnectUnreadable", [
        "Something else than Kafka Connect's REST API answers.", CONNECTOR, "Correct `spec.connect.url`.",
    ]),
    row(&[READY], FALSE, "ConnectUnusable", [
        "A Secret of `spec.connect` can't be read, or has not what is needed.", "The message names it.",
        "Create the Secret, or let the controller read it (manifests/examples/kafka-secret-role.yaml).",
    ]),
    row(&[READY], FALSE, "ConnectorNotFound", [
        "The workers have no such connector, or it is a source.", "`GET /connectors`",
        "Create it, or correct `spec.scaleTargetRef.name`.",
    ]),
    row(&[READY], FALSE, "ConnectorRefused", [
        "The workers refuse the new `tasks.max`, or the present one is no number.",
        "`PUT /connector-plugins/CLASS/config/validate` with its configuration.",
        "Correct the connector's configuration; the next attempt comes within a minute.",
    ]),
    row(&[READY], FALSE, "ConnectorNotRunning", [
        "The connector is paused, stopped or failed, so its tasks are left as they are.", CONNECTOR,
        "`PUT /connectors/NAME/resume`, or `POST /connectors/NAME/restart`.",
    ]),
    row(&[READY], FALSE, "TasksFailed", [
        "Tasks of the connector have failed. Other numbers of tasks don't repair them.", CONNECTOR,
        "Repair what the trace names, then `POST /connectors/NAME/restart?includeTasks=true&onlyFailed=true`.",
    ]),
    row(&[READY], FALSE, "TasksUnassigned", [
        "A worker of Kafka Connect has left, and its tasks wait for it. No task is added meanwhile.", CONNECTOR,
        "Start the worker. A shorter `scheduled.rebalance.max.delay.ms` gives its tasks to others earlier.",
    ]),
    row(CLUSTER, FALSE, "Unreachable", [
        "No broker can be reached, or not the one that is needed.", KAFKA,
        "Correct `bootstrapServers`, DNS, the network policy or the firewall; start the brokers.",
    ]),
    row(CLUSTER, FALSE, "AuthenticationFailed", [
        "Brokers answer, but the security protocol, the certificate or the credentials do not fit.",
        "`paceline doctor`, which looks at the Secrets.",
        "Correct `security.protocol`, the CA or the credentials; a Secret is read again at the next poll.",
    ]),
    row(CLUSTER, FALSE, "TimedOut", [
        "The brokers did not answer within the cluster's `deadline`.",
        "`paceline_kafka_poll_duration_seconds`, and the brokers' load.",
        "Relieve the brokers, or raise `deadline` of the cluster.",
    ]),
    row(CLUSTER, FALSE, "NotAuthorized", [
        "A Kafka ACL is missing.", "`kafka-acls --list --principal User:NAME`",
        "Allow Describe on what the message names; it has the command.",
    ]),
    row(CLUSTER, FALSE, "ProtocolError", [
        "An answer makes no sense.", KAFKA,
        "Correct the address, which must be that of a Kafka broker and its right port.",
    ]),
    row(READING, FALSE, "TopicMissing", [
        "The topic does not exist.", "`kafka-topics --list`", "Create it, or correct `spec.kafka.topics`.",
    ]),
    row(READING, FALSE, "NoTopicMatches", [
        "No topic matches the pattern.", "`kafka-topics --list`", "Correct `spec.kafka.topicPattern`.",
    ]),
    row(READING, FALSE, "NothingSelected", [
        "The topics have none of the selected partitions.", KAFKA_TOPIC,
        "Correct `spec.kafka.partitions`, or leave it out.",
    ]),
    row(READING, FALSE, "HiddenTopics", [
        "The group reads topics that the controller may not describe.", "`kafka-acls --list --principal User:NAME`",
        "Allow Describe on these topics.",
    ]),
    row(READING, FALSE, "CommitsExpired", [
        "The group's committed offsets are gone.", KAFKA_GROUP,
        "Start its consumers so that they commit; raise `offsets.retention.minutes` of the brokers.",
    ]),
    row(READING, FALSE, "CommitsBeyondEnd", [
        "The committed offsets are beyond the end of every partition: the topic was deleted and made anew, or the group's offsets are of another cluster.", KAFKA_GROUP,
        "Reset the group's offsets (`kafka-consumer-groups --reset-offsets`), or name the right topics and cluster.",
    ]),
    row(READING, FALSE, "KindHasNoLag", [
        "Groups of this kind do not commit offsets.", KAFKA_GROUP, "Name a group whose consumers commit.",
    ]),
    row(READING, FALSE, "NoMembers", [
        "The group's consumers commit without joining it, and have not committed to these topics.", KAFKA_GROUP,
        "Correct `spec.kafka.topics`, or start the consumers.",
    ]),
    row(READING, FALSE, "TooMany", [
        "There are more topics, partitions or members than are read.", "The message has the number.",
        "Name fewer topics in `spec.kafka`.",
    ]),
    row(READING, FALSE, "GroupNeverSeen", [
        "The group has no commits and no members.", "`kafka-consumer-groups --list`; the message has similar names.",
        "Correct `spec.kafka.consumerGroup`. For a new group, name its topics and start its consumers.",
    ]),
    row(READING, FALSE, "NoLeader", [
        "A partition has no leader.", KAFKA_TOPIC, "Nothing, if it was short. Else repair the broker that is down.",
    ]),
    row(READING, FALSE, "LeaderMoving", [
        "A partition's leader moves to another broker or is not ready.", KAFKA_TOPIC,
        "Nothing, if it was short. Else repair the brokers.",
    ]),
    row(READING, FALSE, "CoordinatorMoving", [
        "The group's coordinator moves to another broker.", KAFKA_GROUP,
        "Nothing, if it was short. Else repair the brokers.",
    ]),
    row(READING, FALSE, "Missing", [
        "A broker left a partition out of its answer.", LAG,
        "Nothing, if it was short. Else look into the brokers' log.",
    ]),
    row(READING, FALSE, "NegativeOffset", [
        "A broker answered with an offset below 0.", LAG, "Look into the brokers' log.",
    ]),
    row(READING, FALSE, "Unsupported", [
        "The Kafka cluster does not support a request.", "The message names it.",
        "Upgrade the brokers, or name a group of another kind ([groups](groups.md)).",
    ]),
    row(READING, FALSE, "BrokerError", [
        "A broker answered with another error.", BROKERS, "The error's code is that of Kafka's protocol guide.",
    ]),
    row(READING, FALSE, "NotReadYet", [
        "The group was not read yet.", "The controller's log.", "Wait for the first poll.",
    ]),
    row(&[KAFKA_REACHABLE], TRUE, "Reachable", ["The Kafka cluster answers.", "", NOTHING]),
    row(&[KAFKA_REACHABLE], None, "NotReadYet", [
        "The cluster was not asked yet.", "The controller's log.", "Wait for the first poll.",
    ]),
    row(&[ACTIVE], TRUE, "Running", ["There are replicas, or there are to be.", "", NOTHING]),
    row(&[ACTIVE], FALSE, "ScaledToZero", [
        "The target has 0 replicas, and none is needed.", LAG,
        "Nothing. For at least one replica, set `minReplicas: 1`.",
    ]),
    row(&[AUTOSCALED], TRUE, "Autoscaling", ["One HPA applies the decisions.", "", NOTHING]),
    row(&[AUTOSCALED], FALSE, "NotServed", [
        "The external metrics API is off.", "`externalMetrics` in the controller's configuration.",
        "Apply manifests/external-metrics.",
    ]),
    row(&[AUTOSCALED], FALSE, "APIServiceMissing", [
        "There is no APIService.", DOCTOR, "Apply manifests/external-metrics, which has it.",
    ]),
    row(&[AUTOSCALED], FALSE, "APIServiceUnavailable", [
        "The API server does not reach the controller.", DOCTOR, "What `paceline doctor` says.",
    ]),
    row(&[AUTOSCALED], FALSE, "APIServiceOwnedByOther", [
        "The APIService belongs to another program, such as KEDA.",
        "`kubectl get apiservice v1beta1.external.metrics.k8s.io`", "Remove the other one, or use mode Scale.",
    ]),
    row(&[AUTOSCALED], FALSE, "APIServiceUnreadable", [
        "The APIService can't be read.", DOCTOR, "Grant `get` and `patch` on it to the controller.",
    ]),
    row(&[AUTOSCALED], FALSE, "NoAutoscaler", [
        "No HPA has the target, so nothing scales it.", "`kubectl -n NS get hpa`",
        "Create one (manifests/examples/hpa.yaml), or use mode Scale.",
    ]),
    row(&[AUTOSCALED], FALSE, "SeveralAutoscalers", [
        "Several HPAs have the target, and Kubernetes lets none of them act.", "`kubectl -n NS get hpa`", "Keep one.",
    ]),
    row(&[AUTOSCALED], FALSE, "OtherMetric", [
        "The HPA's metric is not ours, matches another ScaledConsumer, or has another target than `AverageValue` 1.",
        HPA, "Set the metric, the selector or the target of the message.",
    ]),
    row(&[AUTOSCALED], FALSE, "ScalingDisabled", [
        "The target has 0 replicas, and an HPA never scales up from 0.", HPA, "Scale it to its minimum by hand.",
    ]),
    row(&[AUTOSCALED], FALSE, "BoundsDiffer", [
        "The HPA acts, within bounds that are not those of the ScaledConsumer.", HPA,
        "Make them equal. `minReplicas: 0` needs mode Scale, or the feature gate HPAScaleToZero.",
    ]),
    row(&[AUTOSCALED], FALSE, "ToleranceSwallowsSteps", [
        "The HPA acts, but ignores small steps because of its tolerance.", HPA,
        "Set `behavior.scaleUp.tolerance` and `behavior.scaleDown.tolerance` to 0.",
    ]),
    row(&[AUTOSCALED], None, "NotListed", [
        "The HPAs of the namespace are not listed yet.",
        "`kubectl auth can-i list hpa -n NS --as system:serviceaccount:paceline:paceline`",
        "If that lasts, grant the controller list and watch on them.",
    ]),
    row(&[CONFLICT], TRUE, "HorizontalPodAutoscaler", [
        "An HPA has the same target, so nothing is written. One named keda-hpa-… is of a ScaledObject.",
        "`kubectl -n NS get hpa`", "Delete one of the two. In mode DryRun, the HPA may stay.",
    ]),
    row(&[CONFLICT], TRUE, "ScaledConsumer", [
        "Another ScaledConsumer has the same target; only the older one writes.",
        "`kubectl -n NS get scaledconsumers`", "Delete one of the two.",
    ]),
    row(&[CONFLICT], TRUE, "ChangedBack", [
        "Somebody keeps setting the replicas back, so nothing is written for 10 min.",
        "`kubectl -n NS get KIND NAME --show-managed-fields -o yaml`",
        "Take `replicas` out of what the other one applies, or pause this ScaledConsumer.",
    ]),
    row(&[CONFLICT], FALSE, "NoCompetitor", ["Nothing else scales the target any more.", "", NOTHING]),
    row(&[SCALING_LIMITED], TRUE, "MaxReplicas", [
        "More than `maxReplicas` are needed.", LAG, "Raise `maxReplicas` if the lag matters.",
    ]),
    row(&[SCALING_LIMITED], TRUE, "PartitionBound", [
        "More are needed than the partitions can use.", KAFKA_TOPIC, "Add partitions, or make a replica faster.",
    ]),
    row(&[SCALING_LIMITED], TRUE, "MinReplicas", [
        "Fewer than `minReplicas` are needed.", LAG, "Nothing, or lower `minReplicas`.",
    ]),
    row(&[SCALING_LIMITED], TRUE, "Schedule", [
        "A schedule keeps more replicas than are needed now.", "`spec.schedules`", "Nothing, or change the schedule.",
    ]),
    row(&[SCALING_LIMITED], TRUE, "PartitionsUnknown", [
        "More are needed, but how many the partitions can use could not be read.", LAG, "What Ready says.",
    ]),
    row(&[SCALING_LIMITED], TRUE, "StepLimit", [
        "`spec.behavior` allows a smaller step only.", "`spec.behavior`", "Nothing, or allow larger steps.",
    ]),
    row(&[SCALING_LIMITED], TRUE, "PausedAtLimit", [
        "It is paused at a number that the bounds do not allow.", "The annotation `paceline.dev/paused-replicas`.",
        "Set a number within `minReplicas`, `maxReplicas` and the partitions.",
    ]),
    row(&[SCALING_LIMITED], FALSE, "WithinBounds", ["The policy has its way again.", "", NOTHING]),
    row(&[CERTIFICATE_EXPIRING], TRUE, "BrokerCertificate", [
        "The certificate of a broker expires.",
        "`openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -enddate`", "Renew it on the broker.",
    ]),
    row(&[CERTIFICATE_EXPIRING], TRUE, "ClientCertificate", [
        "The controller's client certificate expires.", "The Secret or file that it comes from.",
        "Put a new one there; it is used at the next poll.",
    ]),
    row(&[CERTIFICATE_EXPIRING], TRUE, "Authority", [
        "The CA's certificate expires.", "The Secret or file that it comes from.",
        "Put the new CA beside the old one before it signs.",
    ]),
    row(&[CERTIFICATE_EXPIRING], FALSE, "Renewed", ["No certificate expires within 14 days.", "", NOTHING]),
    found(&["NobodyInGroup"], [
        "The workload does not read as this group: its name is wrong, or its consumers can't join. Nothing is scaled down meanwhile.",
        KAFKA_GROUP, "Correct `spec.kafka.consumerGroup`, or repair what the consumers' log names.",
    ]),
    found(&["MemberCountDiffers"], [
        "Fewer: some pods have not joined. More: another application is in the same group, or `threadsPerReplica` is wrong.",
        KAFKA_GROUP, "Look into the log of the pods that are missing; give the other application a group of its own; or correct `threadsPerReplica`.",
    ]),
    found(&["CapacityUnknown"], [
        "No replica has been at full load yet.", "`.status.model.capacity`",
        "Nothing: it is measured once there is a backlog. Or set `spec.capacityPerReplica`.",
    ]),
    found(&["HotPartition"], [
        "More replicas do not help.", LAG, "Spread the partition's keys, or make the consumer faster.",
    ]),
    found(&["StuckPartition"], [
        "Most often its consumer can't handle a record.", PODS,
        "Look for errors in the logs of the pod that holds the partition.",
    ]),
    found(&["PartitionWithoutLeader"], [
        "All brokers that have the partition in sync are down. Its lag counts as it was read last, and replicas are kept for what it got before.",
        KAFKA_TOPIC, "Repair a broker that has it.",
    ]),
    found(&["PartitionWithoutCommit"], [
        "The member reads nothing there, or it does not commit. What has come since does not count as lag, as nobody knows how much of it is read.",
        KAFKA_GROUP, "Look into the log of the member that holds the partition, and at how it commits.",
    ]),
    found(&["OpenTransaction"], [
        "A producer began a transaction and has not ended it for a minute. Consumers with `isolation.level=read_committed` read nothing behind it.",
        "`kafka-transactions --bootstrap-server BROKERS describe-producers --topic TOPIC --partition NUMBER`; it takes the right to Read the topic.",
        "Repair the producer; one that is gone is ended by `kafka-transactions … abort`, or after its `transaction.timeout.ms`.",
    ]),
    found(&["ThroughputCeiling"], [
        "The replicas share something that is at its limit, such as a database or a quota.", LAG,
        "Look at what they share.",
    ]),
    found(&["ObjectiveUnreachable"], [
        "Records will be late with every allowed number of replicas.", "`.status.whatIf`",
        "Raise `maxReplicas` or the partitions, or choose a longer objective.",
    ]),
    found(&["ObjectiveTooShort"], [
        "The message has the shortest objective that can be kept.", "The delays, on the page or with `paceline recommend -o json`",
        "Choose a longer objective, or poll and commit more often.",
    ]),
    found(&["CommitsStandStill"], [
        "The consumers hang or fail, or a sink that commits only as new records come has read them all. No replica is added for it.",
        KAFKA_GROUP, "Look into the consumers' log. Where all was read, nothing.",
    ]),
    found(&["CommitsRare"], [
        "The message has the time between commits. A sink may commit when it closes a file.", KAFKA_GROUP,
        "Commit more often, or choose an objective that is longer than that.",
    ]),
    found(&["DataIncomplete"], ["Nothing is scaled down meanwhile.", LAG, "What Ready says: its reason is why."]),
    found(&["RescaleTimeout"], [
        "Pods are pending, crash or start slowly, or are not in the group.", PODS, "Repair the pods.",
    ]),
    found(&["RetentionRisk"], [
        "The group reads slower than retention deletes.", LAG,
        "Raise the topic's `retention.ms`, or make reading faster.",
    ]),
    found(&["GhostMembers"], [
        "Static members, Kafka Streams on the classic protocol and killed consumers stay in the group until their session times out.",
        KAFKA_GROUP,
        "Let consumers leave the group as they close, or set a shorter `session.timeout.ms`. Static members suit a StatefulSet.",
    ]),
    found(&["AbandonedTopics"], [
        "The group has commits of a topic, or `spec.kafka` names it, and no member has had a partition of it for 15 minutes.",
        KAFKA_GROUP, "Leave it out with `spec.kafka`, or delete the group's offsets of it. If it should be read, look at the consumers.",
    ]),
    found(&["TopicsNotAssigned"], [
        "The members read other topics than `spec.kafka` selects. Its lag counts all the same.", KAFKA_GROUP,
        "Correct `spec.kafka`, or what the consumers subscribe to.",
    ]),
    found(&["RepartitionTopicsIgnored"], [
        "`spec.kafka` selects topics, and repartition topics of the application are not among them.", LAG,
        "Leave `topics` and `topicPattern` out, so that every stage counts.",
    ]),
    found(&["ThreadsPerReplicaDiffers"], [
        "`num.stream.threads` of the application is another number.", "The message has it.",
        "Set `threadsPerReplica` to `num.stream.threads`.",
    ]),
    row(&["NobodyInGroup", "MemberCountDiffers", "CapacityUnknown", "HotPartition", "StuckPartition", "PartitionWithoutLeader", "PartitionWithoutCommit", "OpenTransaction", "ThroughputCeiling", "ObjectiveUnreachable", "ObjectiveTooShort", "CommitsStandStill", "CommitsRare", "DataIncomplete", "RescaleTimeout", "RetentionRisk", "RepartitionTopicsIgnored", "ThreadsPerReplicaDiffers", "GhostMembers", "AbandonedTopics", "TopicsNotAssigned"], FALSE, "Resolved", [
        "It is no longer found.", "", NOTHING,
    ]),
];
