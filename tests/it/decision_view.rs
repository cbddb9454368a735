//! The one format of a decision: every kind of decision fits docs/decision.schema.json, holds no number for what is not
//! known, and has no name that the schema lacks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonschema::Validator;
use paceline::core::*;
use serde_json::{Value, json};

use crate::replay::assert_valid;
use crate::story::{Group, lags, policy, spread};

fn schema_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decision.schema.json")
}

pub(crate) fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string(schema_file()).unwrap()).unwrap()
}

/// A validator of the format that refuses fields which the schema does not name.
pub(crate) fn strict() -> Validator {
    jsonschema::validator_for(&closed(false)).unwrap()
}

/// The same for a part such as `Model`, of which fields may be absent: the API server keeps no null.
pub(crate) fn strict_part(part: &str) -> Validator {
    let schema = closed(true);
    assert!(schema["$defs"][part].is_object(), "the schema has no {part}");
    let schema = json!({"$defs": schema["$defs"], "$ref": format!("#/$defs/{part}")});
    jsonschema::validator_for(&schema).unwrap()
}

fn closed(optional: bool) -> Value {
    fn close(schema: &mut Value, optional: bool) {
        match schema {
            Value::Object(map) => {
                if optional {
                    map.remove("required");
                }
                if map.get("properties").is_some_and(Value::is_object) {
                    map.insert("additionalProperties".to_owned(), json!(false));
                }
                map.values_mut().for_each(|value| close(value, optional));
            }
            Value::Array(items) => items.iter_mut().for_each(|value| close(value, optional)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut schema = schema();
    close(&mut schema, optional);
    schema
}

/// Checks a decision that has more fields beside those of the format.
#[track_caller]
pub(crate) fn assert_decision(value: &Value, beside: &[&str]) {
    let mut decision = value.clone();
    for field in beside {
        assert!(decision.as_object_mut().unwrap().remove(*field).is_some(), "{field} is missing: {value:#}");
    }
    assert_valid(&strict(), &decision);
}

/// What is null or absent where nothing is known.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

#[test]
fn the_schema_in_the_documents_is_the_one_of_the_code() {
    let file = schema_file();
    let schema = serde_json::to_string_pretty(&DecisionView::schema()).unwrap() + "\n";
    if std::env::var_os("RENEW_SCHEMA").is_some() {
        std::fs::write(&file, &schema).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    let how = "docs/decision.schema.json is old: RENEW_SCHEMA=1 cargo test --test it the_schema_in_the_documents";
    assert!(written == schema, "{how}");
}

/// A policy, what is polled every ten seconds until when, the replicas, and fields with what they hold in the end.
struct Case {
    name: &'static str,
    policy: Policy,
    group: Group,
    until: u64,
    current: u32,
    expected: Value,
}

fn cases() -> Vec<Case> {
    let by_time = || Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, Some(24)).unwrap());
    let by_lag = || policy(1_000, 1, 24);
    let fallback = Fallback { after: Duration::from_secs(180), action: FallbackAction::AtLeast(Replicas(5)) };
    vec![
        Case {
            name: "all is known",
            policy: by_lag(),
            group: spread(6_000, 12).described(GroupState::Stable, 1),
            until: 20,
            current: 1,
            expected: json!({
                "/reason/name": "LagAboveThreshold", "/lag/totalRecords": 6_000, "/lag/complete": true, "/lag/missing": null,
                "/group/state": "Stable", "/group/members": 1, "/currentReplicas": 1, "/desiredReplicas": 6,
                "/isChange": true, "/workload/specReplicas": 1, "/timeLag/atLeast": true,
                "/model/arrivalRecordsPerSecond": 0.0, "/candidates/0/prediction": null,
                "/outlook/scaleDownAtLagRecords": 5_000, "/outlook/scaleDownAfterSeconds": 300,
            }),
        },
        Case {
            name: "a first poll knows no rate and no age",
            policy: by_lag(),
            group: spread(6_000, 12),
            until: 0,
            current: 6,
            expected: json!({
                "/isChange": false, "/model/arrivalRecordsPerSecond": null, "/model/consumptionRecordsPerSecond": null,
                "/timeLag": null, "/model/commitIntervalSeconds": null, "/model/capacity/recordsPerSecondPerReplica": null,
                "/model/capacity/ageSeconds": null, "/group/state": null, "/group/members": null,
                "/group/unknown": "describing groups is not supported by this cluster",
            }),
        },
        Case {
            name: "a partition can't be read",
            policy: by_lag(),
            group: lags(&[100, 200, 300]).unknown(1),
            until: 20,
            current: 2,
            expected: json!({
                "/reason/name": "DataIncomplete", "/lag/totalRecords": 400, "/lag/complete": false,
                "/lag/partitions/1/lagRecords": null, "/lag/partitions/1/endOffset": null,
                "/lag/partitions/1/unknown": "the broker answered offset -1", "/desiredReplicas": 2,
                "/findings/0/name": "DataIncomplete", "/model/arrivalRecordsPerSecond": null,
            }),
        },
        Case {
            name: "nothing can be read",
            policy: by_lag(),
            group: lags(&[100]).failed(),
            until: 20,
            current: 2,
            expected: json!({
                "/reason/name": "DataIncomplete", "/lag/totalRecords": null, "/lag/complete": false, "/timeLag": null,
                "/lag/missing": "group \"orders\": no answer within 5s", "/group/unknown": "no answer within 5s",
                "/desiredReplicas": 2, "/isChange": false,
            }),
        },
        Case {
            name: "a time lag with a known capacity",
            policy: Policy { capacity_hint: Some(RecordsPerSecond(100.0)), ..by_time() },
            group: spread(60_000, 12).described(GroupState::Stable, 2),
            until: 60,
            current: 2,
            expected: json!({
                "/model/capacity/recordsPerSecondPerReplica": 100.0, "/model/capacity/source": "Hint",
                "/candidates/0/replicas": 1, "/lag/complete": true,
            }),
        },
        Case {
            name: "a time lag without a capacity",
            policy: by_time(),
            group: spread(0, 12).described(GroupState::Stable, 2),
            until: 60,
            current: 2,
            expected: json!({
                "/model/capacity/recordsPerSecondPerReplica": null, "/model/capacity/source": "Unknown",
                "/candidates/0/prediction": null, "/findings/0/name": "CapacityUnknown",
            }),
        },
        Case {
            name: "paused",
            policy: Policy { pause: Some(Pause::At(Replicas(5))), ..by_lag() },
            group: spread(6_000, 12),
            until: 10,
            current: 2,
            expected: json!({"/reason/name": "Paused", "/desiredReplicas": 5, "/outlook/scaleUpAboveLagRecords": null}),
        },
        Case {
            name: "the fallback",
            policy: Policy { fallback, ..by_lag() },
            group: lags(&[100]).failed(),
            until: 300,
            current: 2,
            expected: json!({"/reason/name": "Fallback", "/desiredReplicas": 5, "/isChange": true}),
        },
        Case {
            name: "scaled to zero",
            policy: policy(1_000, 0, 24),
            group: spread(0, 12),
            until: 10,
            current: 0,
            expected: json!({"/reason/name": "ScaledToZero", "/currentReplicas": 0, "/candidates/0/lagRecordsPerReplica": null}),
        },
    ]
}

#[test]
fn every_kind_of_decision_fits_the_schema_and_has_no_number_for_what_is_not_known() {
    for Case { name, policy, group, until, current, expected } in cases() {
        let mut engine = Engine::new(policy);
        let decisions = (0..=until).step_by(10).map(|t| engine.observe(&group.observe(t), Workload::of(current)));
        let decision = decisions.last().unwrap();
        let whole = DecisionView::of(&decision).with_partitions(&decision);
        let value = serde_json::to_value(&whole).unwrap();
        assert_decision(&value, &[]);
        assert_eq!((&value["version"], &value["consumerGroup"]), (&json!(3), &json!("orders")), "{name}");
        assert_eq!(value["observedAtSeconds"], json!(until as f64), "{name}");
        for (pointer, expected) in expected.as_object().unwrap() {
            assert_eq!(at(&value, pointer), expected, "{name}: {pointer}: {value:#}");
        }

        let mut line = Vec::new();
        paceline::replay::write_decision(&decision, &mut line).unwrap();
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_decision(&line, &["type", "t"]);
        let mut without_partitions = value.clone();
        without_partitions["lag"].as_object_mut().unwrap().remove("partitions");
        for (field, value) in without_partitions.as_object().unwrap() {
            assert_eq!(&line[field], value, "{name}: {field}");
        }

        let assumed = serde_json::to_value(whole.clone().with_assumed_replicas("nobody says it")).unwrap();
        assert_decision(&assumed, &[]);
        let unknown = ["currentReplicas", "workload", "isChange"].map(|field| assumed[field].is_null());
        assert_eq!((unknown, &assumed["assumedReplicas"]), ([true; 3], &json!(current)), "{name}: {assumed:#}");

        // People read the same values.
        let explanation = explain(&whole);
        let why = explanation.lines.iter().find(|(label, _)| *label == "why").unwrap();
        assert_eq!(why.1, decision.reason.to_string(), "{name}");
        let problems = explanation.lines.iter().take_while(|(label, _)| *label == "problem").count();
        assert_eq!(explanation.lines[problems].0, "why", "{name}: problems are named first");
        assert_eq!(explanation.candidates.rows.len(), decision.candidates.len(), "{name}");
        if !decision.lag.is_anything_known() {
            assert_eq!((whole.lag.text(), whole.time_lag_text()), ("?".to_owned(), "?".to_owned()), "{name}");
        }
        for table in [&explanation.candidates, &explanation.partitions] {
            assert!(table.rows.iter().all(|row| row.len() == table.header.len()), "{name}: {table:?}");
        }
    }
}

#[test]
fn a_time_lag_predicts_whole_numbers_for_each_replica_count() {
    let case = cases().into_iter().find(|case| case.name == "a time lag with a known capacity").unwrap();
    let mut engine = Engine::new(case.policy);
    let decisions = (0..=case.until).step_by(10).map(|t| engine.observe(&case.group.observe(t), Workload::of(2)));
    let value = serde_json::to_value(DecisionView::of(&decisions.last().unwrap())).unwrap();
    let rows = value["candidates"].as_array().unwrap();
    assert!(rows.len() > 2 && rows.iter().all(|row| row["prediction"].is_object()), "{value:#}");
    for row in rows {
        assert!(row["prediction"]["isReliable"].is_boolean(), "{row:#}");
        for (field, number) in row["prediction"].as_object().unwrap().iter().filter(|(field, _)| *field != "isReliable")
        {
            assert!(number.is_null() || number.is_u64() || number.is_i64(), "{field}: {row:#}");
        }
        assert_valid(&strict_part("Candidate"), row);
    }
    assert!(rows.iter().any(|row| row["prediction"]["lateRecords"] != 0), "{value:#}");
}
