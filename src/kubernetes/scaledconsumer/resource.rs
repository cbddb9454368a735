//! The ScaledConsumer's schema, as users write it and as the API server checks it. Other modules only see what
//! [`validate()`](crate::kubernetes::scaledconsumer::validate()) returns.

// The schema derive repeats each type inside of a function, where no `pub` can be reached.
#![allow(unreachable_pub)]
// Each printer column repeats the keys of the others.
#![allow(clippy::duplicated_attributes)]

mod grammar;
mod kafka;
mod status;
mod target;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::core::LONGEST_DURATION_TEXT;

use grammar::{IS_CONNECTOR_WITH_WORKERS, LABEL_NAME};
use kafka::is_default;
pub use kafka::{KafkaAuthentication, KafkaSource};
pub use status::{CHANGES_KEPT, LONGEST_MEMORY, PastChange, ScaledConsumerStatus, SourceStatus, WHAT_IF_KEPT};
pub use target::{CONNECTOR_API_VERSION, CONNECTOR_KIND, ConnectSpec, LocalSecretRef, ScaleTargetRef};

/// Pauses: nothing is written while an object has this annotation with any value but `false`.
pub const PAUSED: &str = "paceline.dev/paused";
/// Pauses at this number of replicas.
pub const PAUSED_REPLICAS: &str = "paceline.dev/paused-replicas";

/// The CRD, as the API server takes it.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(ScaledConsumer::crd()).expect("a derived CRD is plain data");
    drop_nullable(&mut crd);
    serde_json::from_value(crd).expect("only optional keys were taken out")
}

/// The CRD as YAML: what `paceline crd` prints and `manifests/base/crd.yaml` holds.
pub fn crd_yaml() -> String {
    let mut crd = serde_json::to_value(crd()).expect("a CRD is plain data");
    write_whole_numbers_whole(&mut crd);
    crate::yaml::to_string(&crd).expect("a CRD is plain data")
}

/// Writes `minimum: 1` instead of `minimum: 1.0`: the type of a schema's bounds is a float, and all bounds are whole.
fn write_whole_numbers_whole(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => map.values_mut().for_each(write_whole_numbers_whole),
        serde_json::Value::Array(items) => items.iter_mut().for_each(write_whole_numbers_whole),
        serde_json::Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
                *number = (float as i64).into();
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => {}
    }
}

/// Removes every `nullable`, so that the API server drops a `null` instead of keeping it. Then `has()` and defaults
/// treat null and absent fields alike.
fn drop_nullable(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            if map.get("nullable").is_some_and(serde_json::Value::is_boolean) {
                map.remove("nullable");
            }
            map.values_mut().for_each(drop_nullable);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_nullable),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// What is scaled, by which consumer group's lag, and how.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "paceline.dev",
    version = "v1alpha1",
    kind = "ScaledConsumer",
    plural = "scaledconsumers",
    shortname = "sco",
    category = "all",
    namespaced,
    status = "ScaledConsumerStatus",
    derive = "PartialEq",
    doc = "A ScaledConsumer scales a workload by the lag of its Kafka consumer group.",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.scaleTargetRef.name",
        description = "The workload that is scaled."
    ),
    printcolumn(
        name = "Lag",
        type_ = "integer",
        json_path = ".status.lag",
        description = "Unread records, as far as known."
    ),
    printcolumn(
        name = "Time lag",
        type_ = "string",
        json_path = ".status.timeLag",
        description = "The age of the oldest unread record when the status was written."
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".status.replicas",
        description = "The target's spec.replicas."
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desired", description = "Desired replicas."),
    printcolumn(
        name = "Min",
        type_ = "integer",
        json_path = ".spec.minReplicas",
        description = "The minimum of replicas."
    ),
    printcolumn(
        name = "Max",
        type_ = "integer",
        json_path = ".spec.maxReplicas",
        description = "The maximum of replicas; none: as many as the partitions can use."
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Scale, Metrics or DryRun."),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether Kafka and the target can be read and written."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why the replicas are what they are, or why it is not ready."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since its creation."
    ),
    printcolumn(
        name = "Group",
        type_ = "string",
        json_path = ".spec.kafka.consumerGroup",
        description = "The consumer group.",
        priority = 1
    ),
    printcolumn(
        name = "Oldest record",
        type_ = "date",
        json_path = ".status.oldestRecordTime",
        description = "Time since the oldest unread record arrived.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "The status as a sentence.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(IS_CONNECTOR_WITH_WORKERS).message("connect goes with apiVersion connect.paceline.dev/v1alpha1 and kind Connector of scaleTargetRef, which need it").field_path(".connect"),
    validation = Rule::new("has(self.kafka) != has(self.sources)").message("give either kafka or sources"),
    validation = Rule::new("!has(self.connect) || !has(self.sources)").message("a connector has one consumer group").field_path(".sources"),
    validation = Rule::new("!has(self.connect) || self.minReplicas > 0").message("a connector has at least 1 task").field_path(".minReplicas"),
    validation = Rule::new("!has(self.connect) || self.mode != 'Metrics'").message("an HPA can't scale a connector").field_path(".mode"),
    validation = Rule::new("!has(self.connect) || !has(self.threadsPerReplica) || self.threadsPerReplica == 1").message("each task of a connector is one member").field_path(".threadsPerReplica"),
    // Not a minimum: the API server cuts one with a fraction for whole numbers.
    validation = Rule::new("!has(self.capacityPerReplica) || self.capacityPerReplica > 0.0").message("must be above 0").field_path(".capacityPerReplica"),
    validation = Rule::new("!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas").message("minReplicas is above maxReplicas").field_path(".minReplicas"),
    validation = Rule::new("!has(self.maxReplicas) || !has(self.schedules) || self.schedules.all(s, s.minReplicas <= self.maxReplicas)").message("minReplicas of a schedule is above maxReplicas").field_path(".schedules"),
    validation = Rule::new("!has(self.fallback) || !has(self.fallback.replicas) || self.fallback.replicas >= self.minReplicas").message("fallback.replicas is below minReplicas").field_path(".fallback.replicas"),
    validation = Rule::new("!has(self.fallback) || !has(self.fallback.replicas) || !has(self.maxReplicas) || self.fallback.replicas <= self.maxReplicas").message("fallback.replicas is above maxReplicas").field_path(".fallback.replicas"),
)]
pub struct ScaledConsumerSpec {
    /// The workload that is scaled: anything with the scale subresource, in this namespace, or a connector of Kafka Connect.
    pub scale_target_ref: ScaleTargetRef,
    /// The workers that run the connector. Only where scaleTargetRef is a connector, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectSpec>,
    /// What is done with a decision. Default: Scale.
    #[serde(default)]
    pub mode: Mode,
    /// The minimum of replicas. 0 allows scale to zero, after idle.after without anything to do. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_replicas: i32,
    /// The maximum of replicas. Default: as many as the partitions can use, which is never exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: Option<i32>,
    /// Times at which there are more replicas than minReplicas, such as for a known peak. Of several at once the largest minimum counts. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub schedules: Vec<ScheduleSpec>,
    /// Members of the consumer group that one replica runs (consumer threads). Default: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub threads_per_replica: i32,
    /// The consumer group and its topics. Either this or sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSource>,
    /// Several consumer groups, or topics with other objectives, that the workload reads: it gets the replicas of the source that needs most. Instead of kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Option<Vec<SourceSpec>>,
    /// How the number of replicas is computed: timeLag or lagPerReplica. Default: timeLag with an objective of 60s.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policy: ScalingPolicy,
    /// Capacity of one replica, in records/s, until it is measured. Default: it is learned once replicas have a backlog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000))]
    pub capacity_per_replica: Option<f64>,
    /// How fast replicas may change, with the fields of the HorizontalPodAutoscaler's behavior. Default: any step up at once; down after 300 s with lagPerReplica.
    #[serde(default, skip_serializing_if = "is_default")]
    pub behavior: Behavior,
    /// When the group is idle. Used where minReplicas is 0. Default: after 5m without anything to do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle: IdleSpec,
    /// What to do after Kafka could not be read for a while. Default: keep the replicas.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fallback: FallbackSpec,
}

/// What is done with a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// The target's replicas are set.
    #[default]
    Scale,
    /// The numbers are served as external metrics (external.metrics.k8s.io), and a HorizontalPodAutoscaler uses them: nothing is ever written to the target. The condition Autoscaled says whether one does, and if not, why.
    Metrics,
    /// Nothing is ever written to the target; status, Events and metrics show what would be.
    DryRun,
}

/// One of several sources that a workload reads.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.capacityPerReplica) || self.capacityPerReplica > 0.0").message("must be above 0").field_path(".capacityPerReplica"),
)]
pub struct SourceSpec {
    /// Its name in reasons, status and metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_NAME))]
    pub name: String,
    /// The consumer group and its topics.
    pub kafka: KafkaSource,
    /// How its number of replicas is computed. Default: policy of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ScalingPolicy>,
    /// Members of this consumer group that one replica runs. Default: threadsPerReplica of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub threads_per_replica: Option<i32>,
    /// Records/s of this source that one replica can read, until it is measured. Default: capacityPerReplica of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000))]
    pub capacity_per_replica: Option<f64>,
}

impl ScaledConsumerSpec {
    /// The same as if it had only this one of its sources, as spec.kafka. Without such a source it stays as it is.
    pub fn of_source(&self, name: &str) -> Self {
        let mut spec = self.clone();
        let named = |sources: &Vec<SourceSpec>| sources.iter().find(|source| source.name == name).cloned();
        let Some(source) = self.sources.as_ref().and_then(named) else { return spec };
        (spec.kafka, spec.sources) = (Some(source.kafka), None);
        spec.policy = source.policy.unwrap_or(spec.policy);
        spec.threads_per_replica = source.threads_per_replica.unwrap_or(spec.threads_per_replica);
        spec.capacity_per_replica = source.capacity_per_replica.or(spec.capacity_per_replica);
        spec
    }
}

/// How the number of replicas is computed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.timeLag) && has(self.lagPerReplica))").message("give timeLag or lagPerReplica, not both"),
)]
pub struct ScalingPolicy {
    /// The fewest replicas that are predicted to keep the time lag within an objective. This is the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_lag: Option<TimeLagPolicy>,
    /// Records of lag per replica: replicas = ceil(lag / lagPerReplica). It ignores the capacity of a replica and the cost of a rescale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lag_per_replica: Option<i64>,
}

/// The fewest replicas that are predicted to keep the time lag within an objective.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.objective) >= duration('1s')").message("must be at least 1s").field_path(".objective"),
)]
pub struct TimeLagPolicy {
    /// The age that the oldest unread record may reach. There is no deadline for a backlog: the cost of late records is weighed against that of more replicas, and the status shows how long catching up will take. A duration such as 90s, 5m or 1h30m. Default: 60s.
    #[serde(default = "TimeLagPolicy::objective")]
    pub objective: DurationText,
}

/// A time at which there are more replicas than minReplicas. maxReplicas and the partitions still limit them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// When it begins, as a cron expression: minute, hour, day of month, month, day of week. Replicas are added earlier, by the time that they take to start.
    #[schemars(length(min = 9, max = 128), regex(pattern = r"^\S+( +\S+){4}$"))]
    pub cron: String,
    /// The IANA time zone of the cron expression, such as Europe/Berlin. Default: UTC.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: String,
    /// How long it lasts. Afterwards replicas are removed by the usual rules. A duration such as 90s, 5m or 1h30m.
    pub duration: DurationText,
    /// The minimum of replicas meanwhile.
    #[schemars(range(min = 1, max = 10_000))]
    pub min_replicas: i32,
}

/// How fast replicas may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Limits on scaling up. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scale_up: ScaleUp,
    /// Limits on scaling down. Default: the stabilization window of the policy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scale_down: ScaleDown,
}

/// Limits on scaling up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleUp {
    /// Scaling up uses the lowest recommendation of this window, in seconds. Default: 0, at once.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i32,
    /// Which of the policies binds. Disabled: no change in this direction. Default: Max.
    #[serde(default, skip_serializing_if = "is_default")]
    pub select_policy: SelectPolicy,
    /// The allowed steps. Default: any step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<StepPolicy>,
}

/// Limits on scaling down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// Scaling down uses the highest recommendation of this window, in seconds, which must have been observed completely. Default: 300 with lagPerReplica, 0 with timeLag, which scales down only when fewer replicas are predicted to be enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<i32>,
    /// Which of the policies binds. Disabled: no change in this direction. Default: Max.
    #[serde(default, skip_serializing_if = "is_default")]
    pub select_policy: SelectPolicy,
    /// The allowed steps. Default: any step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<StepPolicy>,
}

/// Which of several policies binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The policy that allows the largest change.
    #[default]
    Max,
    /// The policy that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// A change that is allowed within a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepPolicy {
    /// Whether value counts replicas, or percent of the replicas at the start of the period.
    #[serde(rename = "type")]
    pub kind: StepKind,
    /// How much may change within the period.
    #[schemars(range(min = 1))]
    pub value: i32,
    /// The period, in seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// What a step counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepKind {
    /// Replicas.
    Pods,
    /// Percent of the replicas.
    Percent,
}

/// When a group is idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdleSpec {
    /// How long there must be no lag and no arrivals before the last replica is stopped. A duration such as 90s, 5m or 1h30m. Default: 5m.
    #[serde(default = "IdleSpec::after")]
    pub after: DurationText,
    /// Lag up to this number of records is ignored, such as transaction markers that never go away. Default: 0.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub activation_lag: i64,
}

/// What to do after Kafka could not be read for a while.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.policy == 'Hold' || has(self.replicas)").message("replicas is required for AtLeast and Exactly").field_path(".replicas"),
    validation = Rule::new("self.policy != 'Hold' || !has(self.replicas)").message("replicas has no meaning with Hold").field_path(".replicas"),
)]
pub struct FallbackSpec {
    /// How long Kafka must be unreadable. A duration such as 90s, 5m or 1h30m. Default: 3m.
    #[serde(default = "FallbackSpec::after")]
    pub after: DurationText,
    /// What then: keep the replicas, at least this number, or exactly this number. Default: Hold.
    #[serde(default)]
    pub policy: FallbackPolicy,
    /// The replicas of AtLeast and Exactly; not with Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,
}

/// What to do when Kafka can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FallbackPolicy {
    /// Keep the replicas.
    #[default]
    Hold,
    /// Scale up to this number, never down.
    AtLeast,
    /// Scale to this number, up or down.
    Exactly,
}

/// A duration such as `90s`, `5m` or `1h30m`. It is a text, because [`validate()`](crate::kubernetes::scaledconsumer::validate()) checks it and names the field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

impl JsonSchema for DurationText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": LONGEST_DURATION_TEXT,
            "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "x-kubernetes-validations": [{
                "rule": "duration(self) <= duration('24h')",
                "message": "must be at most 24h",
            }],
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl TimeLagPolicy {
    fn objective() -> DurationText {
        DurationText("60s".into())
    }
}

impl Default for TimeLagPolicy {
    fn default() -> Self {
        Self { objective: Self::objective() }
    }
}

impl IdleSpec {
    fn after() -> DurationText {
        DurationText("5m".into())
    }
}

impl Default for IdleSpec {
    fn default() -> Self {
        Self { after: Self::after(), activation_lag: 0 }
    }
}

impl FallbackSpec {
    fn after() -> DurationText {
        DurationText("3m".into())
    }
}

impl Default for FallbackSpec {
    fn default() -> Self {
        Self { after: Self::after(), policy: FallbackPolicy::Hold, replicas: None }
    }
}

fn one() -> i32 {
    1
}

fn is_one(number: &i32) -> bool {
    *number == one()
}

fn utc() -> String {
    "UTC".into()
}
