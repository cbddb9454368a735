//! What each alert is tested with: series, when it fires, with which text, and series with which it does not fire.

/// A series and its values as promtool writes them, 30 s apart unless the case is a long one. `#` stands for the labels of the ScaledConsumer shop/orders at
/// the instance `a`.
pub(super) type Series = (&'static str, &'static str);

/// An alert that fires, and what is nearly the same without it.
pub(super) struct Case {
    pub(super) alert: &'static str,
    pub(super) severity: &'static str,
    /// Whether it takes a day: then values are 5 min apart, and so are evaluations.
    pub(super) is_long: bool,
    pub(super) firing: &'static [Series],
    /// When it is looked at.
    pub(super) at: &'static str,
    /// When it does not fire yet.
    pub(super) not_yet: Option<&'static str>,
    /// The labels but the severity.
    pub(super) labels: &'static [(&'static str, &'static str)],
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) quiet: &'static [&'static [Series]],
}

const ORDERS: &[(&str, &str)] = &[("namespace", "shop"), ("name", "orders")];
const LATE: [Series; 2] =
    [("paceline_time_lag_seconds{#}", "90x60"), ("paceline_time_lag_objective_seconds{#}", "60x60")];
const IN_TIME: [Series; 2] =
    [("paceline_time_lag_seconds{#}", "30x60"), ("paceline_time_lag_objective_seconds{#}", "60x60")];

pub(super) const CASES: &[Case] = &[
    Case {
        alert: "PacelineObjectiveMissedFast",
        severity: "critical",
        is_long: false,
        firing: &LATE,
        at: "10m",
        not_yet: Some("1m"),
        labels: ORDERS,
        summary: "shop/orders is far behind its objective",
        description: "The oldest unread record was older than the objective for 100% of the last hour, and still is.",
        quiet: &[
            &IN_TIME,
            // No objective: the policy is lagPerReplica.
            &[("paceline_time_lag_seconds{#}", "90x60")],
            // Each of two sources is within its own objective.
            &[
                ("paceline_time_lag_seconds{#, source_name=\"bills\"}", "90x60"),
                ("paceline_time_lag_objective_seconds{#, source_name=\"bills\"}", "300x60"),
                ("paceline_time_lag_seconds{#, source_name=\"orders\"}", "30x60"),
                ("paceline_time_lag_objective_seconds{#, source_name=\"orders\"}", "60x60"),
            ],
            // For two of the last ten minutes, and no longer.
            &[("paceline_time_lag_seconds{#}", "90x4 30x60"), ("paceline_time_lag_objective_seconds{#}", "60x80")],
        ],
    },
    // One of two sources is late by its own objective.
    Case {
        alert: "PacelineObjectiveMissedFast",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_time_lag_seconds{#, source_name=\"bills\"}", "90x60"),
            ("paceline_time_lag_objective_seconds{#, source_name=\"bills\"}", "300x60"),
            ("paceline_time_lag_seconds{#, source_name=\"orders\"}", "70x60"),
            ("paceline_time_lag_objective_seconds{#, source_name=\"orders\"}", "60x60"),
        ],
        at: "10m",
        not_yet: None,
        labels: ORDERS,
        summary: "shop/orders is far behind its objective",
        description: "The oldest unread record was older than the objective for 100% of the last hour, and still is.",
        quiet: &[&[
            ("paceline_time_lag_seconds{#, source_name=\"bills\"}", "250x60"),
            ("paceline_time_lag_objective_seconds{#, source_name=\"bills\"}", "300x60"),
        ]],
    },
    // Where the time lag is not known exactly, its lower bound counts.
    Case {
        alert: "PacelineObjectiveMissedFast",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_time_lag_lower_bound_seconds{#}", "90x60"),
            ("paceline_time_lag_objective_seconds{#}", "60x60"),
        ],
        at: "10m",
        not_yet: None,
        labels: ORDERS,
        summary: "shop/orders is far behind its objective",
        description: "The oldest unread record was older than the objective for 100% of the last hour, and still is.",
        quiet: &[&[
            ("paceline_time_lag_lower_bound_seconds{#}", "30x60"),
            ("paceline_time_lag_objective_seconds{#}", "60x60"),
        ]],
    },
    Case {
        alert: "PacelineObjectiveMissedSlow",
        severity: "warning",
        is_long: true,
        firing: &[
            ("paceline_time_lag_seconds{#}", "30x270 90x18"),
            ("paceline_time_lag_objective_seconds{#}", "60x290"),
        ],
        at: "1d",
        not_yet: Some("22h30m"),
        labels: ORDERS,
        summary: "shop/orders misses its objective again and again",
        description: "The oldest unread record was older than the objective for 6.228% of the last day, and still is at times.",
        quiet: &[
            &[("paceline_time_lag_seconds{#}", "30x290"), ("paceline_time_lag_objective_seconds{#}", "60x290")],
            // It was so in the morning, and is over.
            &[("paceline_time_lag_seconds{#}", "90x18 30x272"), ("paceline_time_lag_objective_seconds{#}", "60x290")],
        ],
    },
    Case {
        alert: "PacelineDataIncomplete",
        severity: "warning",
        is_long: false,
        firing: &[
            ("paceline_lag_complete{#}", "0x60"),
            ("paceline_scaledconsumer_info{#, cluster=\"main\", group=\"orders\"}", "1x60"),
        ],
        at: "15m",
        not_yet: Some("5m"),
        labels: &[("namespace", "shop"), ("name", "orders"), ("cluster", "main")],
        summary: "The lag of shop/orders is not fully known",
        description: "At least one partition can't be read from Kafka main, so no replica is removed, and replicas are added only by what is known.",
        quiet: &[
            &[
                ("paceline_lag_complete{#}", "1x60"),
                ("paceline_scaledconsumer_info{#, cluster=\"main\", group=\"orders\"}", "1x60"),
            ],
            // Nothing of the cluster can be read: that is another alert.
            &[
                ("paceline_lag_complete{#}", "0x60"),
                ("paceline_scaledconsumer_info{#, cluster=\"main\", group=\"orders\"}", "1x60"),
                ("paceline_kafka_poll_failures_total{cluster=\"main\", instance=\"a\"}", "1+1x60"),
            ],
        ],
    },
    // One of two sources, whose clusters differ.
    Case {
        alert: "PacelineDataIncomplete",
        severity: "warning",
        is_long: false,
        firing: &[
            ("paceline_lag_complete{#, source_name=\"bills\"}", "0x60"),
            ("paceline_lag_complete{#, source_name=\"orders\"}", "1x60"),
            ("paceline_scaledconsumer_info{#, cluster=\"other\", group=\"bills\", source_name=\"bills\"}", "1x60"),
            ("paceline_scaledconsumer_info{#, cluster=\"main\", group=\"orders\", source_name=\"orders\"}", "1x60"),
        ],
        at: "15m",
        not_yet: Some("5m"),
        labels: &[("namespace", "shop"), ("name", "orders"), ("cluster", "other"), ("source_name", "bills")],
        summary: "The lag of shop/orders is not fully known",
        description: "At least one partition can't be read from Kafka other, so no replica is removed, and replicas are added only by what is known.",
        quiet: &[&[
            ("paceline_lag_complete{#, source_name=\"bills\"}", "1x60"),
            ("paceline_scaledconsumer_info{#, cluster=\"other\", group=\"bills\", source_name=\"bills\"}", "1x60"),
        ]],
    },
    // The other of two sources is read.
    Case {
        alert: "PacelineNobodyReads",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_members{#, source_name=\"bills\"}", "0x60"),
            ("paceline_lag_records{#, source_name=\"bills\"}", "900x60"),
            ("paceline_members{#, source_name=\"orders\"}", "2x60"),
            ("paceline_lag_records{#, source_name=\"orders\"}", "900x60"),
            ("paceline_consumption_records_per_second{#, source_name=\"orders\"}", "50x60"),
            ("paceline_replicas{#}", "2x60"),
        ],
        at: "10m",
        not_yet: Some("4m"),
        labels: &[("namespace", "shop"), ("name", "orders"), ("source_name", "bills")],
        summary: "Nobody reads for shop/orders",
        description: "The target has replicas, but the group has no members and commits nothing, and it has a lag or one that is not known.",
        // A source without a lag beside one that is read.
        quiet: &[&[
            ("paceline_members{#, source_name=\"bills\"}", "0x60"),
            ("paceline_lag_records{#, source_name=\"bills\"}", "0x60"),
            ("paceline_members{#, source_name=\"orders\"}", "2x60"),
            ("paceline_lag_records{#, source_name=\"orders\"}", "900x60"),
            ("paceline_replicas{#}", "2x60"),
        ]],
    },
    Case {
        alert: "PacelineNobodyReads",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_members{#}", "0x60"),
            ("paceline_lag_records{#}", "900x60"),
            ("paceline_replicas{#}", "2x60"),
            ("paceline_consumption_records_per_second{#}", "0x60"),
        ],
        at: "10m",
        not_yet: Some("4m"),
        labels: ORDERS,
        summary: "Nobody reads for shop/orders",
        description: "The target has replicas, but the group has no members and commits nothing, and it has a lag or one that is not known.",
        quiet: &[
            &[("paceline_members{#}", "2x60"), ("paceline_lag_records{#}", "900x60"), ("paceline_replicas{#}", "2x60")],
            &[("paceline_members{#}", "0x60"), ("paceline_lag_records{#}", "0x60"), ("paceline_replicas{#}", "2x60")],
            // Scaled to zero.
            &[("paceline_members{#}", "0x60"), ("paceline_lag_records{#}", "9x60"), ("paceline_replicas{#}", "0x60")],
            // It assigns its partitions itself.
            &[
                ("paceline_members{#}", "0x60"),
                ("paceline_lag_records{#}", "900x60"),
                ("paceline_replicas{#}", "2x60"),
                ("paceline_consumption_records_per_second{#}", "50x60"),
            ],
        ],
    },
    // The lag of a group that never committed is not known.
    Case {
        alert: "PacelineNobodyReads",
        severity: "critical",
        is_long: false,
        firing: &[(r#"paceline_scaledconsumer_condition{#, condition="NobodyInGroup", status="true"}"#, "1x60")],
        at: "10m",
        not_yet: Some("4m"),
        labels: ORDERS,
        summary: "Nobody reads for shop/orders",
        description: "The target has replicas, but the group has no members and commits nothing, and it has a lag or one that is not known.",
        quiet: &[
            &[
                (r#"paceline_scaledconsumer_condition{#, condition="NobodyInGroup", status="true"}"#, "1x60"),
                ("paceline_lag_records{#}", "0x60"),
            ],
            &[(r#"paceline_scaledconsumer_condition{#, condition="NobodyInGroup", status="true"}"#, "0x60")],
        ],
    },
    Case {
        alert: "PacelineStuckPartition",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"StuckPartition\", status=\"true\"}", "1x60")],
        at: "10m",
        not_yet: Some("4m"),
        labels: ORDERS,
        summary: "A partition of shop/orders is stuck",
        description: "One partition is not read while others are, most often for a record that its consumer can't handle.",
        quiet: &[
            &[("paceline_scaledconsumer_condition{#, condition=\"StuckPartition\", status=\"true\"}", "0x60")],
            &[("paceline_scaledconsumer_condition{#, condition=\"StuckPartition\", status=\"false\"}", "1x60")],
        ],
    },
    Case {
        alert: "PacelineHotPartition",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"HotPartition\", status=\"true\"}", "1x60")],
        at: "20m",
        not_yet: Some("10m"),
        labels: ORDERS,
        summary: "A partition of shop/orders gets more than one member can do",
        description: "No number of replicas keeps it up: spread its keys, or make the consumer faster.",
        quiet: &[&[("paceline_scaledconsumer_condition{#, condition=\"HotPartition\", status=\"true\"}", "0x60")]],
    },
    Case {
        alert: "PacelineRetentionRisk",
        severity: "critical",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"RetentionRisk\", status=\"true\"}", "1x60")],
        at: "5m",
        not_yet: Some("30s"),
        labels: ORDERS,
        summary: "Unread records of shop/orders will be deleted soon",
        description: "Retention is about to delete records of a partition that the group has not read.",
        quiet: &[&[("paceline_scaledconsumer_condition{#, condition=\"RetentionRisk\", status=\"true\"}", "0x60")]],
    },
    Case {
        alert: "PacelineAtMaxReplicas",
        severity: "warning",
        is_long: false,
        firing: &[
            LATE[0],
            LATE[1],
            ("paceline_replicas{#}", "6x60"),
            ("paceline_max_replicas{#}", "6x60"),
            ("paceline_useful_replicas{#}", "12x60"),
        ],
        at: "15m",
        not_yet: Some("5m"),
        labels: ORDERS,
        summary: "shop/orders is late with maxReplicas replicas",
        description: "It has 6 replicas, the most that spec.maxReplicas allows, and more would have partitions to read.",
        quiet: &[
            &[
                IN_TIME[0],
                IN_TIME[1],
                ("paceline_replicas{#}", "6x60"),
                ("paceline_max_replicas{#}", "6x60"),
                ("paceline_useful_replicas{#}", "12x60"),
                ("paceline_scaledconsumer_decision_info{#, reason=\"MaxReplicas\"}", "1x60"),
            ],
            &[
                LATE[0],
                LATE[1],
                ("paceline_replicas{#}", "5x60"),
                ("paceline_max_replicas{#}", "6x60"),
                ("paceline_useful_replicas{#}", "12x60"),
            ],
            // The partitions are the bound: that is another alert.
            &[
                LATE[0],
                LATE[1],
                ("paceline_replicas{#}", "6x60"),
                ("paceline_max_replicas{#}", "6x60"),
                ("paceline_useful_replicas{#}", "6x60"),
            ],
        ],
    },
    // The policy lagPerReplica has no objective.
    Case {
        alert: "PacelineAtMaxReplicas",
        severity: "warning",
        is_long: false,
        firing: &[
            ("paceline_replicas{#}", "6x60"),
            ("paceline_max_replicas{#}", "6x60"),
            ("paceline_scaledconsumer_decision_info{#, reason=\"MaxReplicas\"}", "1x60"),
        ],
        at: "15m",
        not_yet: None,
        labels: ORDERS,
        summary: "shop/orders is late with maxReplicas replicas",
        description: "It has 6 replicas, the most that spec.maxReplicas allows, and more would have partitions to read.",
        quiet: &[&[
            ("paceline_replicas{#}", "6x60"),
            ("paceline_max_replicas{#}", "6x60"),
            ("paceline_scaledconsumer_decision_info{#, reason=\"Steady\"}", "1x60"),
        ]],
    },
    Case {
        alert: "PacelineAtPartitionBound",
        severity: "warning",
        is_long: false,
        firing: &[
            LATE[0],
            LATE[1],
            ("paceline_replicas{#}", "6x60"),
            ("paceline_max_replicas{#}", "9x60"),
            ("paceline_useful_replicas{#}", "6x60"),
        ],
        at: "15m",
        not_yet: Some("5m"),
        labels: ORDERS,
        summary: "shop/orders is late with as many replicas as its partitions can use",
        description: "It has 6 replicas. One more would have no partition to read.",
        quiet: &[
            &[LATE[0], LATE[1], ("paceline_replicas{#}", "5x60"), ("paceline_useful_replicas{#}", "6x60")],
            &[IN_TIME[0], IN_TIME[1], ("paceline_replicas{#}", "6x60"), ("paceline_useful_replicas{#}", "6x60")],
        ],
    },
    Case {
        alert: "PacelineAtPartitionBound",
        severity: "warning",
        is_long: false,
        firing: &[
            ("paceline_replicas{#}", "6x60"),
            ("paceline_useful_replicas{#}", "6x60"),
            ("paceline_scaledconsumer_decision_info{#, reason=\"PartitionBound\"}", "1x60"),
        ],
        at: "15m",
        not_yet: None,
        labels: ORDERS,
        summary: "shop/orders is late with as many replicas as its partitions can use",
        description: "It has 6 replicas. One more would have no partition to read.",
        quiet: &[&[
            ("paceline_replicas{#}", "6x60"),
            ("paceline_useful_replicas{#}", "6x60"),
            ("paceline_scaledconsumer_decision_info{#, reason=\"Steady\"}", "1x60"),
        ]],
    },
    Case {
        alert: "PacelineScaleUpIneffective",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"ThroughputCeiling\", status=\"true\"}", "1x60")],
        at: "20m",
        not_yet: Some("10m"),
        labels: &[("namespace", "shop"), ("name", "orders"), ("condition", "ThroughputCeiling")],
        summary: "More replicas do not help shop/orders",
        description: "The group does not get beyond a throughput, whatever the replicas.",
        quiet: &[&[("paceline_scaledconsumer_condition{#, condition=\"ThroughputCeiling\", status=\"true\"}", "0x60")]],
    },
    Case {
        alert: "PacelineScaleUpIneffective",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"RescaleTimeout\", status=\"true\"}", "1x60")],
        at: "20m",
        not_yet: None,
        labels: &[("namespace", "shop"), ("name", "orders"), ("condition", "RescaleTimeout")],
        summary: "More replicas do not help shop/orders",
        description: "Replicas that were added have not joined the group.",
        // A rescale that is slow once.
        quiet: &[&[(
            "paceline_scaledconsumer_condition{#, condition=\"RescaleTimeout\", status=\"true\"}",
            "0x20 1x10 0x30",
        )]],
    },
    Case {
        alert: "PacelinePredictionsWrong",
        severity: "info",
        is_long: false,
        firing: &[
            ("paceline_prediction_said_seconds{#}", "50x200"),
            ("paceline_prediction_took_seconds{#}", "300x200"),
        ],
        at: "70m",
        not_yet: Some("50m"),
        labels: ORDERS,
        summary: "Scale-ups of shop/orders take longer than predicted",
        description: "After the last scale-up it took 5m 0s until the time lag was within the objective, more than twice what was predicted.",
        quiet: &[
            &[("paceline_prediction_said_seconds{#}", "50x200"), ("paceline_prediction_took_seconds{#}", "70x200")],
            // It never came true, which is what PacelineObjectiveMissedFast is for.
            &[("paceline_prediction_said_seconds{#}", "50x200")],
        ],
    },
    Case {
        alert: "PacelineFlapping",
        severity: "warning",
        is_long: false,
        firing: &[
            ("paceline_rescales_total{#, direction=\"up\"}", "0x10 1x10 2x10 3x10 4x10 5x70"),
            ("paceline_rescales_total{#, direction=\"down\"}", "0x15 1x10 2x10 3x10 4x75"),
        ],
        at: "1h",
        not_yet: Some("15m"),
        labels: ORDERS,
        summary: "shop/orders goes up and down",
        description: "Its replicas were raised and lowered 4 times each in the last hour. Each change costs the group a rebalance.",
        // A ramp goes up often, and down once.
        quiet: &[&[
            ("paceline_rescales_total{#, direction=\"up\"}", "0x10 1x10 2x10 3x10 4x10 5x10 6x70"),
            ("paceline_rescales_total{#, direction=\"down\"}", "0x60 1x60"),
        ]],
    },
    Case {
        alert: "PacelineConflict",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"Conflict\", status=\"true\"}", "1x60")],
        at: "10m",
        not_yet: Some("4m"),
        labels: ORDERS,
        summary: "Somebody else scales the target of shop/orders",
        description: "An HPA, another ScaledConsumer or whoever applies its replicas sets them as well. The condition Conflict names it.",
        quiet: &[&[("paceline_scaledconsumer_condition{#, condition=\"Conflict\", status=\"true\"}", "0x60")]],
    },
    Case {
        alert: "PacelinePausedForLong",
        severity: "info",
        is_long: true,
        firing: &[("paceline_scaledconsumer_decision_info{#, reason=\"Paused\"}", "1x310")],
        at: "25h",
        not_yet: Some("23h"),
        labels: ORDERS,
        summary: "shop/orders has been paused for a day",
        description: "An annotation paceline.dev/paused or paceline.dev/paused-replicas keeps it from being scaled.",
        quiet: &[
            &[("paceline_scaledconsumer_decision_info{#, reason=\"Steady\"}", "1x310")],
            // It was resumed for a while.
            &[("paceline_scaledconsumer_decision_info{#, reason=\"Paused\"}", "1x140 stale _x10 1x150")],
        ],
    },
    Case {
        alert: "PacelineHPANotActing",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_condition{#, condition=\"Autoscaled\", status=\"false\"}", "1x60")],
        at: "20m",
        not_yet: Some("10m"),
        labels: ORDERS,
        summary: "No HPA acts on what is decided for shop/orders",
        description: "Its mode is Metrics, so an HPA has to set the replicas. The condition Autoscaled says what keeps one from that.",
        quiet: &[
            &[("paceline_scaledconsumer_condition{#, condition=\"Autoscaled\", status=\"false\"}", "0x60")],
            // Mode Scale has no such condition.
            &[("paceline_scaledconsumer_condition{#, condition=\"Ready\", status=\"false\"}", "1x60")],
        ],
    },
    Case {
        alert: "PacelineRefused",
        severity: "warning",
        is_long: false,
        firing: &[("paceline_scaledconsumer_refused{#}", "1x60")],
        at: "15m",
        not_yet: Some("5m"),
        labels: ORDERS,
        summary: "shop/orders is not scaled at all",
        description: "The ScaledConsumer is refused. Its condition Ready says why.",
        quiet: &[&[("paceline_scaledconsumers{instance=\"a\"}", "1x60")]],
    },
    Case {
        alert: "PacelineWritesFailing",
        severity: "critical",
        is_long: false,
        firing: &[("paceline_scale_writes_total{#, result=\"failed\"}", "0x10 1x10 2x10 3x60")],
        at: "16m",
        not_yet: Some("6m"),
        labels: ORDERS,
        summary: "The replicas of shop/orders can't be written",
        description: "2 writes of its target's scale failed in the last 15 minutes. RBAC or an admission webhook refuses them, most often.",
        quiet: &[
            &[("paceline_scale_writes_total{#, result=\"failed\"}", "0x60")],
            // Somebody else was faster: that is decided again at once.
            &[("paceline_scale_writes_total{#, result=\"conflict\"}", "0x10 1x10 2x10 3x60")],
        ],
    },
    Case {
        alert: "PacelineDecisionsOld",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_last_decision_timestamp_seconds{#}", "60x60"),
            ("paceline_poll_interval_seconds{#}", "10x60"),
        ],
        at: "10m",
        not_yet: Some("6m"),
        labels: ORDERS,
        summary: "Nothing is decided for shop/orders",
        description: "The last decision is 9m 0s old, and one is due with each poll of Kafka.",
        quiet: &[
            &[
                ("paceline_last_decision_timestamp_seconds{#}", "0+30x60"),
                ("paceline_poll_interval_seconds{#}", "10x60"),
            ],
            // It is polled every four minutes.
            &[
                ("paceline_last_decision_timestamp_seconds{#}", "60x60"),
                ("paceline_poll_interval_seconds{#}", "240x60"),
            ],
            &[
                ("paceline_last_decision_timestamp_seconds{#}", "60x60"),
                ("paceline_poll_interval_seconds{#}", "10x60"),
                ("paceline_scaledconsumer_refused{#}", "1x60"),
            ],
        ],
    },
    Case {
        alert: "PacelineControllerDown",
        severity: "critical",
        is_long: false,
        firing: &[("up{job=\"paceline\"}", "0x60")],
        at: "10m",
        not_yet: Some("4m"),
        labels: &[],
        summary: "Paceline's controller is down, or is not scraped",
        description: "No replica of the controller answers Prometheus, so nothing is scaled, or nobody would know.",
        quiet: &[&[("paceline_build_info{job=\"paceline\", instance=\"a\"}", "1x60")]],
    },
    Case {
        alert: "PacelineNoLeader",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_leader{job=\"paceline\", instance=\"a\"}", "0x60"),
            ("paceline_leader{job=\"paceline\", instance=\"b\"}", "0x60"),
        ],
        at: "5m",
        not_yet: Some("1m"),
        labels: &[("job", "paceline")],
        summary: "No replica of paceline leads",
        description: "The replicas of the controller run, and none of them holds the Lease, so nothing is scaled.",
        quiet: &[&[
            ("paceline_leader{job=\"paceline\", instance=\"a\"}", "0x60"),
            ("paceline_leader{job=\"paceline\", instance=\"b\"}", "1x60"),
        ]],
    },
    Case {
        alert: "PacelineKafkaPollFailing",
        severity: "critical",
        is_long: false,
        firing: &[
            ("paceline_kafka_last_successful_poll_timestamp_seconds{cluster=\"main\", instance=\"a\"}", "60x60"),
            ("paceline_kafka_poll_failures_total{cluster=\"main\", instance=\"a\"}", "0+3x60"),
        ],
        at: "10m",
        not_yet: Some("4m"),
        labels: &[("cluster", "main"), ("instance", "a")],
        summary: "Kafka main can't be read",
        description: "a gets no answer from any of its brokers. Its ScaledConsumers hold their replicas, or go to their fallback.",
        quiet: &[
            // Polls fail now and then.
            &[
                ("paceline_kafka_last_successful_poll_timestamp_seconds{cluster=\"main\", instance=\"a\"}", "0+30x60"),
                ("paceline_kafka_poll_failures_total{cluster=\"main\", instance=\"a\"}", "0+1x60"),
            ],
            // It is polled every 15 minutes.
            &[
                ("paceline_kafka_last_successful_poll_timestamp_seconds{cluster=\"main\", instance=\"a\"}", "60x60"),
                ("paceline_kafka_poll_failures_total{cluster=\"main\", instance=\"a\"}", "3x60"),
            ],
        ],
    },
    // It was never read.
    Case {
        alert: "PacelineKafkaPollFailing",
        severity: "critical",
        is_long: false,
        firing: &[("paceline_kafka_poll_failures_total{cluster=\"main\", instance=\"a\"}", "1+1x60")],
        at: "10m",
        not_yet: None,
        labels: &[("cluster", "main"), ("instance", "a")],
        summary: "Kafka main can't be read",
        description: "a gets no answer from any of its brokers. Its ScaledConsumers hold their replicas, or go to their fallback.",
        quiet: &[&[("paceline_kafka_poll_failures_total{cluster=\"main\", instance=\"a\"}", "0x60")]],
    },
    Case {
        alert: "PacelineCertificateExpiring",
        severity: "warning",
        is_long: false,
        firing: &[(
            "paceline_kafka_certificate_expiry_timestamp_seconds{cluster=\"main\", certificate=\"client\", instance=\"a\"}",
            "871200x300",
        )],
        at: "2h",
        not_yet: Some("30m"),
        labels: &[("cluster", "main"), ("certificate", "client")],
        summary: "A certificate of Kafka main expires",
        description: "The certificate of its client expires in 10d 0h 0m 0s. Then Kafka can't be read any more.",
        quiet: &[&[(
            "paceline_kafka_certificate_expiry_timestamp_seconds{cluster=\"main\", certificate=\"client\", instance=\"a\"}",
            "8712000x300",
        )]],
    },
    Case {
        alert: "PacelineServingCertificateExpiring",
        severity: "warning",
        is_long: false,
        firing: &[(
            "paceline_external_metrics_certificate_expiry_timestamp_seconds{job=\"paceline\", instance=\"a\"}",
            "180000x300",
        )],
        at: "2h",
        not_yet: Some("30m"),
        labels: &[("job", "paceline")],
        summary: "The certificate of the external metrics API was not renewed",
        description: "It expires in 2d 0h 0m 0s. Then HPAs can't read their metrics any more.",
        quiet: &[&[(
            "paceline_external_metrics_certificate_expiry_timestamp_seconds{job=\"paceline\", instance=\"a\"}",
            "1800000x300",
        )]],
    },
];
