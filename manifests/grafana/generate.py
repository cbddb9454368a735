#!/usr/bin/env python3
"""Writes the dashboards in dashboards/ that the ConfigMaps are made of.

    python3 manifests/grafana/generate.py [FOLDER]

This file knows Paceline's metrics; dashboard.py knows Grafana's JSON. Both replicas of the controller serve all series:
what was read from Kafka is the same in both, so the maximum of them is shown; what was decided is shown as the leader has it.
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

from dashboard import (
    GREEN,
    RED,
    YELLOW,
    annotation,
    dashboard,
    dashed,
    heatmap,
    lines,
    override,
    query,
    row,
    stat,
    table,
    thresholds,
    timeline,
    variable,
)

LEADER = "on (instance) paceline_leader == 1"
INFO = "paceline_scaledconsumer_info"
# Conditions that are bad where they are false, and where they are true. Every group begins with CapacityUnknown.
BAD_IF_FALSE = "Ready|KafkaReachable|Autoscaled"
BAD_IF_TRUE = (
    "NobodyInGroup|MemberCountDiffers|Conflict|CertificateExpiring|HotPartition|StuckPartition|PartitionWithoutLeader"
    "|PartitionWithoutCommit|OpenTransaction|ThroughputCeiling|ObjectiveUnreachable|ObjectiveTooShort"
    "|CommitsStandStill|CommitsRare|DataIncomplete|RescaleTimeout|RetentionRisk|RepartitionTopicsIgnored"
    "|ThreadsPerReplicaDiffers"
)
# Reasons of decisions that leave the replicas as they are.
HOLDING = (
    "DataIncomplete|Paused|Steady|PartitionsUnknown|ScaleDownWindow|ScaleUpWindow|ChangePending|OffsetsInconsistent"
    "|NobodyInGroup"
    "|MeasuringCapacity|NothingCommitted|CanWait|WaitingForEffect|ThroughputCeiling|Draining|ScaleDownUnproven|ScaledToZero|NotIdleYet"
)
RATIO = [(None, GREEN), (0.8, YELLOW), (1, RED)]
NONE_IS_GOOD = [(None, GREEN), (1, RED)]
TO_CONSUMER = "/d/paceline-consumer?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-consumer=${__data.fields.Name}&${__url_time_range}"


# Where a ScaledConsumer has several sources, each of them has its own series; others have no such label.
SOURCE = "namespace, name, source_name"


def read(metric, select, by="namespace, name", offset=""):
    """What both replicas read."""
    return f"max by ({by}) ({metric}{{{select}}}{offset})"


def decided(metric, select, by="namespace, name"):
    """What the leader decided."""
    return f"max by ({by}) ({metric}{{{select}}} and {LEADER})"


def time_lag(select, by="namespace, name"):
    """The time lag, or at least so much."""
    return f"max by ({by}) (paceline_time_lag_seconds{{{select}}} or paceline_time_lag_lower_bound_seconds{{{select}}})"


def of_sources(expression):
    """The sum of what all sources of a ScaledConsumer have."""
    return f"sum by (namespace, name) ({expression})"


def lag(select):
    each = f"paceline_lag_records{{{select}}} or paceline_lag_lower_bound_records{{{select}}}"
    return of_sources(f"max by ({SOURCE}) ({each})")


def objective_of(select):
    """The shortest objective of all sources."""
    return f"min by (namespace, name) (paceline_time_lag_objective_seconds{{{select}}})"


def share_of_objective(select):
    """That of the source where it is largest."""
    share = f"{time_lag(select, SOURCE)} / {read('paceline_time_lag_objective_seconds', select, SOURCE)}"
    return f"max by (namespace, name) ({share})"


def summed(metric, select):
    """Of all sources together, as far as they are known."""
    return of_sources(read(metric, select, SOURCE))


def capacity_of(metric, select):
    """What the present replicas can do for all sources together."""
    return f"{of_sources(decided(metric, select, SOURCE))} * on (namespace, name) {decided('paceline_replicas', select)}"


def bad_conditions(select):
    """1 for each condition that somebody should look at, 0 for the others."""
    return f"""max by (namespace, name, condition) ((
        paceline_scaledconsumer_condition{{{select}, status="false", condition=~"{BAD_IF_FALSE}"}}
        or paceline_scaledconsumer_condition{{{select}, status="true", condition=~"{BAD_IF_TRUE}"}}) and {LEADER})"""


def problems(select):
    return f"sum by (namespace, name) ({bad_conditions(select)})"


def static_maximum(select):
    """The replicas that a target without autoscaling needs for its highest load: the most that are of use and allowed."""
    most, useful = read("paceline_max_replicas", select), read("paceline_useful_replicas", select)
    return f"({most} < {useful} or {useful} or {most})"


def running(select):
    """Replicas as replica-seconds per second."""
    return f"max by (namespace, name) (rate(paceline_replica_seconds_total{{{select}}}[$__rate_interval]))"


# --- All consumers at a glance --------------------------------------------------------------------------------------


def overview():
    select = 'namespace=~"$namespace", name=~"$consumer"'
    trouble = f"""{problems(select)} + on (namespace, name)
        (clamp_max({share_of_objective(select)}, 10) or {problems(select)} * 0)"""
    both = f"({static_maximum(select)} and on (namespace, name) {running(select)})"
    columns = {
        "namespace": "Namespace",
        "name": "Name",
        "Value #trouble": "Trouble",
        "Value #problems": "Problems",
        "Value #share": "Of objective",
        "Value #timelag": "Time lag",
        "Value #objective": "Objective",
        "Value #lag": "Lag",
        "Value #arrival": "Arrival/s",
        "Value #consumption": "Consumption/s",
        "Value #replicas": "Replicas",
        "Value #desired": "Desired",
        "Value #useful": "Bound",
        "reason": "Reason",
        "mode": "Mode",
        "group": "Group",
        "target_name": "Target",
        "cluster": "Kafka",
    }
    colored = lambda name, kind, steps, **more: override(
        name, color={"mode": "thresholds"}, custom_cellOptions={"type": kind}, thresholds=thresholds(*steps), **more
    )
    overrides = [
        override("Name", links=[{"title": "${__data.fields.Name}", "url": TO_CONSUMER, "targetBlank": False}]),
        colored("Trouble", "color-background", RATIO, decimals=1),
        colored("Problems", "color-text", NONE_IS_GOOD),
        colored("Of objective", "color-text", RATIO, unit="percentunit", decimals=0),
        override("Time lag", unit="s"),
        override("Objective", unit="s"),
        override("Reason", custom_width=190),
    ]
    table_of = lambda ref, expr: query(expr, ref=ref, table=True)
    panels = [
        stat(
            "ScaledConsumers",
            "ScaledConsumers of these namespaces, those that are refused excluded.",
            [query(f"count({read(INFO, select)}) or vector(0)", "ScaledConsumers")],
            decimals=0,
        ),
        stat(
            "Beyond the objective",
            "ScaledConsumers whose oldest unread record has waited for longer than the objective allows.",
            [query(f"count({share_of_objective(select)} > 1) or vector(0)", "late")],
            levels=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "With a problem",
            "ScaledConsumers with at least one condition that somebody should look at.",
            [query(f"count({problems(select)} > 0) or vector(0)", "with a problem")],
            levels=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "Lag",
            "Unread records of all groups. Where a partition can't be read, it is a lower bound.",
            [query(f"sum({lag(select)})", "records")],
        ),
        stat(
            "Replicas",
            "Replicas asked of all targets now.",
            [query(f"sum({decided('paceline_replicas', select)})", "replicas")],
            decimals=0,
        ),
        stat(
            "Saved in this time range",
            "Replica-seconds saved against as many replicas all the time as are allowed and of use. Times without a controller are left out.",
            [
                query(
                    f"1 - avg_over_time(sum({running(select)})[$__range:1m]) / avg_over_time(sum({both})[$__range:1m])",
                    "saved",
                )
            ],
            unit="percentunit",
            decimals=0,
            graph="none",
        ),
        table(
            "All consumers, the one with the most trouble first",
            """Trouble is the number of conditions that somebody should look at, plus the time lag as a multiple of the objective
              (10 at most). Bound: the most replicas that can have a partition. Reason: what bound the last decision. A click on the
              name opens the consumer.""",
            [
                table_of("trouble", trouble),
                table_of("problems", problems(select)),
                table_of("share", share_of_objective(select)),
                table_of("timelag", time_lag(select)),
                table_of("objective", objective_of(select)),
                table_of("lag", lag(select)),
                table_of("arrival", summed("paceline_arrival_records_per_second", select)),
                table_of("consumption", summed("paceline_consumption_records_per_second", select)),
                table_of("replicas", decided("paceline_replicas", select)),
                table_of("desired", decided("paceline_desired_replicas", select)),
                table_of("useful", read("paceline_useful_replicas", select)),
                table_of("reason", decided("paceline_scaledconsumer_decision_info", select, "namespace, name, reason")),
                table_of("info", read(INFO, select, "namespace, name, mode, group, target_name, cluster")),
            ],
            columns,
            size=(24, 12),
            sort="Trouble",
            overrides=overrides,
        ),
        lines(
            "Time lag as a share of the objective: the ten worst",
            "Above 100 % the oldest unread record has waited for longer than the objective allows.",
            [query(f"topk(10, {share_of_objective(select)})", "{{namespace}}/{{name}}")],
            unit="percentunit",
            overrides=[],
        ),
        lines(
            "Time lag: the ten worst",
            "Age of the oldest unread record. Where it is not known exactly, its lower bound.",
            [query(f"topk(10, {time_lag(select)})", "{{namespace}}/{{name}}")],
            unit="s",
        ),
        table(
            "Conditions that somebody should look at",
            "Each is a sentence in the status: kubectl describe scaledconsumer NAME. What to do is in docs/runbooks.md.",
            [query(f"{bad_conditions(select)} == 1", table=True)],
            {"namespace": "Namespace", "name": "Name", "condition": "Condition"},
            size=(12, 8),
            overrides=overrides[:1],
        ),
        lines(
            "Lag: the ten largest",
            "Unread records of a group. Where a partition can't be read, it is a lower bound.",
            [query(f"topk(10, {lag(select)})", "{{namespace}}/{{name}}")],
            axis="records",
        ),
        lines(
            "Replicas against a static maximum",
            "Replicas that ran, and those that would run without autoscaling: the most that are allowed and of use. The area between them is saved.",
            [query(f"sum({running(select)})", "running"), query(f"sum({static_maximum(select)})", "static maximum")],
            axis="replicas",
            overrides=[dashed("static maximum", RED)],
        ),
        lines(
            "Changes of replicas",
            "Changes that were written, per hour.",
            [
                query(
                    f"sum by (direction) (rate(paceline_rescales_total{{{select}}}[$__rate_interval])) * 3600",
                    "{{direction}}",
                )
            ],
            axis="changes/h",
            stacked=True,
        ),
    ]
    variables = [
        variable("namespace", "Namespace", f"label_values({INFO}, namespace)"),
        variable("consumer", "Consumer", f'label_values({INFO}{{namespace=~"$namespace"}}, name)'),
    ]
    return dashboard(
        "paceline-overview",
        "Paceline / All consumers",
        "Which consumer is worst, since when, and what autoscaling saves.",
        variables,
        panels,
    )


# --- One consumer ---------------------------------------------------------------------------------------------------


def consumer():
    select = 'namespace="$namespace", name="$consumer"'
    # The decisions that came with another number of desired replicas. A counter that has just appeared began at 0.
    decisions = f'paceline_decisions_total{{{select}, reason!~"{HOLDING}"}}'
    new_decisions = f"(max by (reason) (increase({decisions}[2m])) or max by (reason) ({decisions} unless {decisions} offset 2m)) > 0"
    changed = f"max(changes(paceline_desired_replicas{{{select}}}[2m]) and {LEADER}) > 0"
    objective = query(objective_of(select), "objective", ref="objective", instant=True)
    from_objective = {
        "id": "configFromData",
        "options": {
            "configRefId": "objective",
            "mappings": [{"fieldName": "objective", "handlerKey": "threshold1", "reducerId": "lastNotNull"}],
        },
    }
    capacity = capacity_of("paceline_replica_capacity_records_per_second", select)
    partition = "{{topic}}/{{partition}} {{source_name}}"
    of_partition = lambda metric: query(read(metric, select, "source_name, topic, partition"), partition)
    # Nothing where there is only one source, which has no name.
    several = f'{select}, source_name!=""'
    of_source = lambda metric: query(read(metric, several, "source_name"), "{{source_name}}")
    panels = [
        stat(
            "Time lag",
            "Age of the oldest unread record; red beyond the objective. Where it is not known exactly, its lower bound.",
            [query(time_lag(select), "time lag"), objective],
            unit="s",
            transformations=[from_objective],
            no_value="unknown",
        ),
        stat(
            "Of the objective",
            "The time lag as a share of the objective.",
            [query(share_of_objective(select), "share")],
            unit="percentunit",
            levels=RATIO,
            decimals=0,
            no_value="no objective",
        ),
        stat(
            "Lag",
            "Unread records. Where a partition can't be read, it is a lower bound.",
            [query(lag(select), "records")],
            no_value="unknown",
        ),
        stat(
            "Replicas",
            "Replicas asked of the target now, and those that there should be.",
            [
                query(decided("paceline_replicas", select), "now"),
                query(decided("paceline_desired_replicas", select), "desired"),
            ],
            decimals=0,
            graph="none",
            no_value="unknown",
        ),
        stat(
            "Reason",
            "What bound the last decision; docs/reasons.md says what each means. kubectl describe has the whole sentence.",
            [query(decided("paceline_scaledconsumer_decision_info", select, "reason"), "{{reason}}", instant=True)],
            text="name",
            graph="none",
            no_value="nothing decided",
        ),
        stat(
            "Problems",
            "Conditions that somebody should look at.",
            [query(problems(select), "problems")],
            levels=NONE_IS_GOOD,
            decimals=0,
            graph="none",
        ),
        table(
            "What it is about",
            "The group, its topics and the target.",
            [query(read(INFO, select, "group, topics, target_kind, target_name, mode, cluster"), table=True)],
            {
                "cluster": "Kafka",
                "group": "Group",
                "topics": "Topics",
                "target_kind": "Kind",
                "target_name": "Target",
                "mode": "Mode",
            },
            size=(24, 4),
        ),
        row("Lag"),
        lines(
            "Time lag against the objective",
            "Age of the oldest unread record. Beyond the objective, records are late. A lower bound is a line of its own.",
            [
                query(read("paceline_time_lag_seconds", select), "time lag"),
                query(read("paceline_time_lag_lower_bound_seconds", select), "at least"),
                query(objective_of(select), "objective"),
            ],
            unit="s",
            overrides=[dashed("objective", RED)],
        ),
        lines(
            "Lag",
            "Unread records of all partitions, and of the partition that has most. A lower bound is a line of its own, as is a topic that no member reads: it is in none of the others.",
            [
                query(summed("paceline_lag_records", select), "all partitions"),
                query(summed("paceline_lag_lower_bound_records", select), "at least"),
                query(read("paceline_lag_max_records", select), "largest partition"),
                query(read("paceline_abandoned_topic_lag_records", select, "topic"), "{{topic}}, which nobody reads"),
            ],
            axis="records",
        ),
        heatmap(
            "Lag per partition",
            "One row a partition. A single dark row is a hot or a stuck partition, which more replicas do not help.",
            [of_partition("paceline_partition_lag_records")],
        ),
        lines(
            "Lag per partition",
            "Unread records of each partition. Groups with more partitions than metrics.maxPartitionsPerGroup show the first ones.",
            [
                of_partition("paceline_partition_lag_records"),
                query(
                    read("paceline_partition_lag_lower_bound_records", select, "source_name, topic, partition"),
                    partition + " at least",
                ),
            ],
            axis="records",
            size=(12, 10),
            legend_table=True,
        ),
        lines(
            "Time lag per partition",
            "Age of each partition's oldest unread record.",
            [
                of_partition("paceline_partition_time_lag_seconds"),
                query(
                    read("paceline_partition_time_lag_lower_bound_seconds", select, "source_name, topic, partition"),
                    partition + " at least",
                ),
            ],
            unit="s",
            legend_table=True,
        ),
        lines(
            "Consumption per partition",
            "Records that the group commits, over the last two minutes. One at 0 beside a lag is stuck.",
            [of_partition("paceline_partition_consumption_records_per_second")],
            axis="records/s",
            legend_table=True,
        ),
        lines(
            "Event time lag",
            "Kafka Streams: how far the event time of what was processed is behind the clock, of the group and of each partition. Nothing while nothing is unread. It decides nothing.",
            [
                query(read("paceline_event_time_lag_seconds", select), "group"),
                query(read("paceline_event_time_lag_lower_bound_seconds", select), "group at least"),
                of_partition("paceline_partition_event_time_lag_seconds"),
            ],
            unit="s",
            size=(24, 8),
            legend_table=True,
        ),
        row("Sources (of a ScaledConsumer with several)"),
        lines(
            "Time lag by source",
            "Age of the oldest unread record of each source, where it is known exactly.",
            [of_source("paceline_time_lag_seconds")],
            unit="s",
            size=(8, 8),
        ),
        lines(
            "Lag by source",
            "Unread records of each source, where all of its partitions are known.",
            [of_source("paceline_lag_records")],
            axis="records",
            size=(8, 8),
        ),
        lines(
            "Asked for by source",
            "Replicas that each source asks for. The target gets the most of them.",
            [query(decided("paceline_source_desired_replicas", several, "source_name"), "{{source_name}}")],
            axis="replicas",
            steps=True,
            size=(8, 8),
        ),
        row("Replicas and decisions"),
        lines(
            "Arrival, consumption and capacity",
            "What producers add, what the group commits, and what the present replicas can do at full load. Arrival above the capacity lets the lag grow.",
            [
                query(summed("paceline_arrival_records_per_second", select), "arrival"),
                query(summed("paceline_consumption_records_per_second", select), "consumption"),
                query(capacity, "capacity × replicas"),
                query(
                    capacity_of("paceline_replica_capacity_lower_bound_records_per_second", select),
                    "capacity × replicas, at least",
                ),
            ],
            axis="records/s",
            overrides=[dashed("capacity × replicas", RED), dashed("capacity × replicas, at least", YELLOW)],
        ),
        lines(
            "Predictions against what happened",
            "After each scale-up: the time that was predicted until the time lag is within the objective, and the time that it took.",
            [
                query(decided("paceline_prediction_said_seconds", select, "source_name"), "predicted {{source_name}}"),
                query(decided("paceline_prediction_took_seconds", select, "source_name"), "took {{source_name}}"),
            ],
            unit="s",
        ),
        lines(
            "Replicas",
            "Replicas asked of the target, ready and desired, between the least and the most. Bound: the most that can have a partition.",
            [
                query(decided("paceline_replicas", select), "replicas"),
                query(decided("paceline_ready_replicas", select), "ready"),
                query(decided("paceline_desired_replicas", select), "desired"),
                query(read("paceline_members", select, "source_name"), "members {{source_name}}"),
                query(read("paceline_useful_replicas", select), "bound"),
                query(read("paceline_min_replicas", select), "min"),
                query(read("paceline_max_replicas", select), "max"),
            ],
            axis="replicas",
            steps=True,
            overrides=[dashed("bound", RED), dashed("min", "blue"), dashed("max", "orange")],
        ),
        timeline(
            "Reasons of decisions",
            "What bound the decisions; docs/decisions.md says what each means.",
            [query(decided("paceline_scaledconsumer_decision_info", select, "reason"), "{{reason}}")],
            {1: ("bound the decision", "blue")},
        ),
        timeline(
            "Conditions",
            "Red: somebody should look. The status has a sentence for each: kubectl describe scaledconsumer $consumer -n $namespace.",
            [query(bad_conditions(select), "{{condition}}")],
            {0: ("fine", GREEN), 1: ("look", RED)},
        ),
        lines(
            "Capacity of a replica",
            "Records that one replica reads at full load, by where that comes from.",
            [
                query(
                    decided("paceline_replica_capacity_records_per_second", select, "source, source_name"),
                    "{{source}} {{source_name}}",
                ),
                query(
                    decided("paceline_replica_capacity_lower_bound_records_per_second", select, "source_name"),
                    "at least {{source_name}}",
                ),
            ],
            axis="records/s",
            size=(8, 8),
        ),
        lines(
            "Replicas against a static maximum",
            "Replicas that ran, and those that would run without autoscaling.",
            [query(running(select), "running"), query(static_maximum(select), "static maximum")],
            axis="replicas",
            size=(8, 8),
            overrides=[dashed("static maximum", RED)],
        ),
        lines(
            "Writes and changes",
            "Writes of the target's replicas by their result, and changes by their direction, per hour.",
            [
                query(
                    f"sum by (result) (rate(paceline_scale_writes_total{{{select}}}[$__rate_interval])) * 3600",
                    "writes: {{result}}",
                ),
                query(
                    f"sum by (direction) (rate(paceline_rescales_total{{{select}}}[$__rate_interval])) * 3600",
                    "{{direction}}",
                ),
            ],
            axis="per hour",
            size=(8, 8),
        ),
    ]
    variables = [
        variable("namespace", "Namespace", f"label_values({INFO}, namespace)", several=False),
        variable("consumer", "Consumer", f'label_values({INFO}{{namespace="$namespace"}}, name)', several=False),
    ]
    annotations = [
        annotation(
            "Decisions",
            f"{new_decisions} and on () ({changed})",
            "blue",
            "{{reason}}",
            "The desired replicas have changed.",
            "reason",
        )
    ]
    return dashboard(
        "paceline-consumer",
        "Paceline / One consumer",
        "Lag, objective, capacity, replicas and decisions of one ScaledConsumer.",
        variables,
        panels,
        annotations,
    )


# --- The controller -------------------------------------------------------------------------------------------------


def controller():
    select = 'instance=~"$instance"'
    rate = lambda metric, by, more="": f"sum by ({by}) (rate({metric}{{{select}{more}}}[$__rate_interval]))"
    quantile = lambda q: query(
        f"histogram_quantile({q}, {rate('paceline_kafka_poll_duration_seconds_bucket', 'cluster, le')})",
        f"{{{{cluster}}}} p{round(q * 100)}",
    )
    value = lambda metric: query(f"{metric}{{{select}}}", "{{instance}}")
    panels = [
        stat(
            "Leaders",
            "Replicas of the controller that may write: one in each installation. 0: nothing is scaled.",
            [query(f"sum(paceline_leader{{{select}}})", "leaders")],
            levels=[(None, RED), (1, GREEN)],
            decimals=0,
            no_value="down",
        ),
        stat(
            "ScaledConsumers",
            "ScaledConsumers that the controller knows, those that are refused included.",
            [query(f"max(paceline_scaledconsumers{{{select}}})", "ScaledConsumers")],
            decimals=0,
        ),
        stat(
            "Refused",
            "ScaledConsumers that are not scaled at all. Their condition Ready says why.",
            [query("count(max by (namespace, name) (paceline_scaledconsumer_refused)) or vector(0)", "refused")],
            levels=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "Oldest decision",
            "How long ago Kafka was read for the oldest of the last decisions.",
            [query("time() - min(max by (namespace, name) (paceline_last_decision_timestamp_seconds))", "age")],
            unit="s",
            levels=[(None, GREEN), (120, YELLOW), (300, RED)],
        ),
        stat(
            "First certificate to expire",
            "Time until the first certificate of a Kafka cluster's connections expires.",
            [query("min(paceline_kafka_certificate_expiry_timestamp_seconds) - time()", "left")],
            unit="s",
            levels=[(None, RED), (3 * 86400, YELLOW), (14 * 86400, GREEN)],
            graph="none",
            no_value="no certificates",
        ),
        table(
            "Versions",
            "The version that each replica runs.",
            [query(f"max by (instance, version) (paceline_build_info{{{select}}})", table=True)],
            {"instance": "Instance", "version": "Version"},
            size=(4, 4),
        ),
        timeline(
            "Leadership",
            "Which replica leads. A gap: nobody does.",
            [value("paceline_leader")],
            {0: ("stands by", "blue"), 1: ("leads", GREEN)},
            size=(24, 5),
        ),
        row("Polls of Kafka"),
        lines(
            "Duration of polls",
            "Of all polls in each interval, half and 95 % took no longer than this.",
            [quantile(0.5), quantile(0.95)],
            unit="s",
            size=(8, 8),
        ),
        lines(
            "Polls",
            "Polls that ended, and those in which no broker answered or that went past their deadline.",
            [
                query(rate("paceline_kafka_polls_total", "cluster"), "{{cluster}}"),
                query(rate("paceline_kafka_poll_failures_total", "cluster"), "{{cluster}} failed"),
                query(rate("paceline_kafka_polls_late_total", "cluster"), "{{cluster}} late"),
            ],
            axis="polls/s",
            size=(8, 8),
        ),
        lines(
            "Time since the last good poll",
            "A good poll is one in which a broker answered.",
            [
                query(
                    f"time() - paceline_kafka_last_successful_poll_timestamp_seconds{{{select}}}",
                    "{{cluster}} {{instance}}",
                )
            ],
            unit="s",
            size=(8, 8),
        ),
        lines(
            "Partial polls",
            "Polls in which something could not be read, by the reason.",
            [query(rate("paceline_kafka_partial_polls_total", "cluster, reason"), "{{cluster}} {{reason}}")],
            axis="polls/s",
        ),
        lines(
            "Errors of brokers",
            "Requests and connections that came to nothing, by their kind.",
            [query(rate("paceline_kafka_broker_errors_total", "cluster, kind"), "{{cluster}} {{kind}}")],
            axis="errors/s",
        ),
        row("The API server"),
        lines(
            "Requests",
            "Requests to the API server by what they are for. Each attempt counts.",
            [query(rate("paceline_api_requests_total", "lane"), "{{lane}}")],
            axis="requests/s",
            size=(8, 8),
            stacked=True,
        ),
        lines(
            "Requests that failed",
            "By what they are for, and their result: conflict, refused, timed_out, no_permit, failed.",
            [
                query(
                    rate("paceline_api_requests_total", "lane, result", ', result!~"ok|not_found"'),
                    "{{lane}} {{result}}",
                )
            ],
            axis="requests/s",
            size=(8, 8),
        ),
        timeline(
            "Watches",
            "Whether the objects of each watch have been listed. Red: the list is awaited, or RBAC refuses it.",
            [query(f"min by (resource, namespace) (paceline_watch_listed{{{select}}})", "{{resource}} {{namespace}}")],
            {0: ("not listed", RED), 1: ("listed", GREEN)},
            size=(8, 8),
        ),
        lines(
            "Writes of replicas",
            "Writes of targets' replicas by their result. Refused ones are tried again at longer and longer intervals.",
            [query(rate("paceline_scale_writes_total", "result"), "{{result}}")],
            axis="writes/s",
        ),
        lines(
            "Reads of external metrics",
            "Requests of HPAs by how they ended, and what was not the API server's. Empty where the API is off.",
            [
                query(rate("paceline_external_metrics_requests_total", "class"), "{{class}}"),
                query(rate("paceline_external_metrics_unauthorized_total", "cause"), "unauthorized: {{cause}}"),
            ],
            axis="requests/s",
        ),
        row("The process"),
        lines(
            "CPU",
            "Cores in use.",
            [query(rate("process_cpu_seconds_total", "instance", ', job=~"$job"'), "{{instance}}")],
            axis="cores",
            size=(6, 8),
        ),
        lines(
            "Memory",
            "Resident memory.",
            [query(f'process_resident_memory_bytes{{{select}, job=~"$job"}}', "{{instance}}")],
            unit="bytes",
            size=(6, 8),
        ),
        lines(
            "Tasks",
            "Tasks that have not ended, and those that wait for a thread. Many that wait: too little CPU.",
            [
                query(f"paceline_tokio_alive_tasks{{{select}}}", "{{instance}}"),
                query(f"paceline_tokio_global_queue_depth{{{select}}}", "{{instance}} waiting"),
            ],
            axis="tasks",
            size=(6, 8),
        ),
        lines(
            "Files and restarted tasks",
            "Open file descriptors, and tasks of ScaledConsumers that ended by an error in the program.",
            [
                query(f'process_open_fds{{{select}, job=~"$job"}}', "{{instance}} files"),
                query(f"sum by (instance) (paceline_task_restarts_total{{{select}}})", "{{instance}} restarts"),
            ],
            size=(6, 8),
        ),
    ]
    variables = [
        variable("job", "Job", "label_values(paceline_build_info, job)"),
        variable("instance", "Instance", 'label_values(paceline_build_info{job=~"$job"}, instance)'),
    ]
    return dashboard(
        "paceline-controller",
        "Paceline / Controller",
        "Whether the controller leads, polls and writes, and what it costs.",
        variables,
        panels,
    )


# --- Topics and brokers ---------------------------------------------------------------------------------------------


def topics():
    info = f'max by ({SOURCE}, cluster, group) ({INFO}{{cluster=~"$cluster"}})'
    select = 'topic=~"$topic"'
    of_cluster = (
        lambda expr, by="cluster, topic, partition": f"max by ({by}) ({expr} * on ({SOURCE}) group_left (cluster, group) {info})"
    )
    offset = lambda metric: f"paceline_partition_{metric}{{{select}}}"
    arrival = of_cluster(f"rate({offset('log_end_offset')}[$__rate_interval])")
    kept = of_cluster(f"({offset('log_end_offset')} - {offset('log_start_offset')})")
    ahead = of_cluster(
        f"({offset('committed_offset')} - {offset('log_start_offset')})", "cluster, topic, partition, group"
    )
    lag_of_partition = of_cluster(
        f"({offset('lag_records')} or {offset('lag_lower_bound_records')})", "cluster, topic, partition, group"
    )
    broker = lambda metric, more="": f'{metric}{{job=~"$brokers"{more}}}'
    count = lambda metric: query(f"sum({broker(metric)})", "partitions")
    panels = [
        table(
            "Groups",
            "The groups that read these topics, and their lag.",
            [
                query(f"sum by (cluster, topic, group) ({lag_of_partition})", ref="lag", table=True),
                query(of_cluster(offset("time_lag_seconds"), "cluster, topic, group"), ref="timelag", table=True),
                query(f"count by (cluster, topic, group) ({lag_of_partition})", ref="partitions", table=True),
            ],
            {
                "cluster": "Kafka",
                "topic": "Topic",
                "group": "Group",
                "Value #lag": "Lag",
                "Value #timelag": "Time lag",
                "Value #partitions": "Partitions",
            },
            size=(24, 8),
            sort="Time lag",
            overrides=[override("Time lag", unit="s")],
        ),
        lines(
            "Arrival",
            "Records that producers add to each topic, by the log end offsets. With transactions their markers count, too.",
            [query(f"sum by (cluster, topic) ({arrival})", "{{topic}}")],
            axis="records/s",
        ),
        lines(
            "Lag",
            "Unread records by topic and group.",
            [query(f"sum by (cluster, topic, group) ({lag_of_partition})", "{{topic}} {{group}}")],
            axis="records",
        ),
        lines(
            "Largest partition against an even share",
            "1: the keys are spread evenly. 3 of 12 partitions: one gets three times its share, and bounds what replicas can do.",
            [query(f"max by (cluster, topic) ({arrival}) / (avg by (cluster, topic) ({arrival}) > 0)", "{{topic}}")],
            axis="times",
        ),
        lines(
            "Arrival by partition: the ten largest",
            "Records that producers add to each partition.",
            [query(f"topk(10, {arrival})", "{{topic}}/{{partition}}")],
            axis="records/s",
        ),
        lines(
            "Records kept",
            "Records between the log start and the log end, by topic. Compacted topics have fewer.",
            [query(f"sum by (cluster, topic) ({kept})", "{{topic}}")],
            axis="records",
        ),
        lines(
            "Records between the log start and the group: the ten smallest",
            "Near 0 beside a lag, retention is about to delete records that were not read.",
            [query(f"bottomk(10, {ahead})", "{{topic}}/{{partition}} {{group}}")],
            axis="records",
        ),
        row("Brokers (with the JMX exporter, also as Strimzi sets it up)"),
        stat(
            "Offline partitions",
            "Partitions without a leader: nobody can read or write them.",
            [count("kafka_controller_kafkacontroller_offlinepartitionscount")],
            levels=NONE_IS_GOOD,
            decimals=0,
            size=(6, 4),
            no_value="not scraped",
        ),
        stat(
            "Under-replicated partitions",
            "Partitions with fewer replicas in sync than they should have.",
            [count("kafka_server_replicamanager_underreplicatedpartitions")],
            levels=NONE_IS_GOOD,
            decimals=0,
            size=(6, 4),
            no_value="not scraped",
        ),
        stat(
            "Active controllers",
            "Brokers or controllers that are the active controller: one in each cluster.",
            [query(f"sum({broker('kafka_controller_kafkacontroller_activecontrollercount')})", "controllers")],
            levels=[(None, RED), (1, GREEN)],
            decimals=0,
            size=(6, 4),
            no_value="not scraped",
        ),
        stat(
            "Least idle request handlers",
            "Share of time that the request handlers of the busiest broker are idle. Below 30 % it is overloaded.",
            [query(f"min({broker('kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent')})", "idle")],
            unit="percentunit",
            levels=[(None, RED), (0.3, YELLOW), (0.5, GREEN)],
            size=(6, 4),
            no_value="not scraped",
        ),
        lines(
            "Messages in",
            "Records that producers write, by topic.",
            [
                query(
                    "sum by (topic) (rate("
                    + broker("kafka_server_brokertopicmetrics_messagesin_total", f", {select}")
                    + "[$__rate_interval]))",
                    "{{topic}}",
                )
            ],
            axis="records/s",
            size=(8, 8),
        ),
        lines(
            "Bytes",
            "Bytes that producers write and consumers read, by broker.",
            [
                query(
                    "sum by (instance) (rate("
                    + broker("kafka_server_brokertopicmetrics_bytesin_total", ', topic=""')
                    + "[$__rate_interval]))",
                    "{{instance}} in",
                ),
                query(
                    "sum by (instance) (rate("
                    + broker("kafka_server_brokertopicmetrics_bytesout_total", ', topic=""')
                    + "[$__rate_interval]))",
                    "{{instance}} out",
                ),
            ],
            unit="Bps",
            size=(8, 8),
        ),
        lines(
            "Slowest requests",
            "Time of which 99 % of the requests take less, by the kind of request. OffsetFetch and ListOffsets are those of Paceline.",
            [
                query(
                    "max by (request) ("
                    + broker(
                        "kafka_network_requestmetrics_totaltimems",
                        ', quantile="0.99", request=~"Produce|FetchConsumer|OffsetFetch|ListOffsets|OffsetCommit"',
                    )
                    + ")",
                    "{{request}}",
                )
            ],
            unit="ms",
            size=(8, 8),
        ),
    ]
    variables = [
        variable("cluster", "Kafka", f"label_values({INFO}, cluster)"),
        variable("topic", "Topic", "label_values(paceline_partition_log_end_offset, topic)"),
        variable("brokers", "Job of the brokers", "label_values(kafka_server_replicamanager_leadercount, job)"),
    ]
    return dashboard(
        "paceline-topics",
        "Paceline / Topics and brokers",
        "Topics that consumers read, and their brokers where these are scraped.",
        variables,
        panels,
    )


DASHBOARDS = [overview, consumer, controller, topics]


def main():
    here = pathlib.Path(__file__).parent
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for make in DASHBOARDS:
        made = make()
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{made['uid']}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
