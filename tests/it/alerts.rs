//! The alerts in manifests/monitoring: that each fires when it should, with its text, and not else; that both forms of the
//! rules are one, and that each alert has a runbook.

mod cases;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::dashboards::promql::{assert_known, assert_values_known};
use crate::world::kustomize::render;
use cases::{CASES, Case, Series};

const RULES: &str = "manifests/monitoring/rules/paceline.rules.yaml";

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(package(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rules of the plain file; alerts have a name under `alert`.
fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read(RULES)).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

fn alerts() -> Vec<(String, Value)> {
    let rules = rules().into_iter();
    rules.filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule))).collect()
}

#[test]
fn the_prometheus_rule_is_made_of_the_rule_file() {
    const HEAD: &str = "\
# Made of paceline.rules.yaml: RENEW_RULES=1 cargo test --test it the_prometheus_rule_is_made_of_the_rule_file
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: paceline
  namespace: paceline
  labels:
    app.kubernetes.io/name: paceline
spec:
";
    let plain = read(RULES);
    let groups = &plain[plain.find("groups:\n").expect("it has groups")..];
    let made = groups.lines().fold(HEAD.to_owned(), |text, line| text + "  " + line + "\n").replace("  \n", "\n");
    let path = "manifests/monitoring/rules/prometheusrule.yaml";
    if std::env::var_os("RENEW_RULES").is_some() {
        std::fs::write(package(path), &made).unwrap();
        return;
    }
    assert!(read(path) == made, "{path} is old: RENEW_RULES=1 cargo test --test it the_prometheus_rule");
    let [rule] = &render("monitoring/rules")[..] else { panic!("one PrometheusRule") };
    let groups: Value = serde_saphyr::from_str(&plain).unwrap();
    assert_eq!(rule["spec"], groups);
}

#[test]
fn both_monitors_keep_the_namespace_of_a_scaled_consumer_and_find_the_port() {
    let base = render(".");
    for (folder, kind, endpoints) in [
        ("monitoring/service-monitor", "ServiceMonitor", "endpoints"),
        ("monitoring/pod-monitor", "PodMonitor", "podMetricsEndpoints"),
    ] {
        let [monitor] = &render(folder)[..] else { panic!("one document in {folder}") };
        assert_eq!(monitor["kind"], kind);
        let endpoint = &monitor["spec"][endpoints][0];
        assert_eq!(endpoint["honorLabels"], true, "{folder}");
        let wanted = &monitor["spec"]["selector"]["matchLabels"];
        let find = |kind: &str| base.iter().find(|document| document["kind"] == kind).unwrap();
        let (service, deployment) = (find("Service"), find("Deployment"));
        let (labels, ports) = match kind {
            "ServiceMonitor" => (&service["metadata"]["labels"], &service["spec"]["ports"]),
            _ => {
                let template = &deployment["spec"]["template"];
                (&template["metadata"]["labels"], &template["spec"]["containers"][0]["ports"])
            }
        };
        assert_eq!(labels, wanted, "{folder}");
        assert_eq!(ports[0]["name"], endpoint["port"], "{folder}");
        assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"], "{folder}");
    }
}

#[test]
fn each_metric_reason_and_condition_of_a_rule_is_one_of_the_code() {
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        assert_known(expression, &["scaledconsumer:paceline_objective_missed:bool", "ALERTS"]);
        assert_values_known(expression);
    }
}

#[test]
fn each_alert_has_a_text_a_severity_and_a_runbook() {
    let runbooks = read("docs/runbooks.md");
    let sections: Vec<_> = runbooks.split("\n## ").skip(1).collect();
    for (name, rule) in alerts() {
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {text}");
        }
        assert_eq!(rule["annotations"]["runbook_url"], format!("docs/runbooks.md#{}", name.to_lowercase()));
        let title = format!("{name}\n");
        let section = sections.iter().find(|section| section.starts_with(&title));
        let section = section.unwrap_or_else(|| panic!("docs/runbooks.md has no section {name}"));
        for part in ["**What it means.**", "**What to look at.**", "**What to do.**", "**What not to do.**"] {
            assert!(section.contains(part), "{name}: {part}");
        }
        assert!(section.contains("```promql\n") && section.contains("```sh\n"), "{name}: a query and a command");
        for query in section.split("```promql\n").skip(1) {
            let query = query.split("```").next().unwrap();
            for line in query.lines() {
                assert_known(line, &["scaledconsumer:paceline_objective_missed:bool", "up"]);
            }
        }
    }
    let names: BTreeSet<_> = alerts().into_iter().map(|(name, _)| name).collect();
    let titles: BTreeSet<_> = sections.iter().map(|section| section.lines().next().unwrap().to_owned()).collect();
    assert_eq!(names, titles, "runbooks and alerts");
}

/// The time between values and between evaluations.
fn interval(is_long: bool) -> &'static str {
    if is_long { "5m" } else { "30s" }
}

/// Runs promtool, and fails the test with what it says.
#[track_caller]
fn promtool(arguments: [&str; 2], file: &Path) {
    let output = Command::new("promtool").args(arguments).arg(file).output();
    let output = output.expect("promtool is installed; tests/run does that");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// A test group of `promtool test rules`.
fn group(case: &Case, name: &str, series: &[Series], at: &str, expected: &Value) -> Value {
    let labels = r#"namespace="shop", name="orders", instance="a""#;
    let series = series.iter().map(|(series, values)| json!({"series": series.replace('#', labels), "values": values}));
    json!({
        "name": format!("{} {name}", case.alert),
        "interval": interval(case.is_long),
        "input_series": series.collect::<Vec<_>>(),
        "alert_rule_test": [{"eval_time": at, "alertname": case.alert, "exp_alerts": expected}],
    })
}

/// Each case fires with its text at its time, and not before it has lasted; each of its quiet ones does not fire.
fn groups(case: &Case) -> Vec<Value> {
    let Case { alert, severity, is_long: _, firing, at, not_yet, labels, summary, description, quiet } = case;
    let mut all: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    all.insert("severity".to_owned(), json!(severity));
    let annotations = json!({
        "summary": summary,
        "description": description,
        "runbook_url": format!("docs/runbooks.md#{}", alert.to_lowercase()),
    });
    let expected = json!([{"exp_labels": all, "exp_annotations": annotations}]);
    let mut groups = vec![group(case, "fires", firing, at, &expected)];
    if let Some(not_yet) = not_yet {
        groups.push(group(case, "waits", firing, not_yet, &json!([])));
    }
    for (number, series) in quiet.iter().enumerate() {
        groups.push(group(case, &format!("is quiet, {number}"), series, at, &json!([])));
    }
    groups
}

#[test]
fn promtool_sees_each_alert_fire_with_its_text_and_stay_quiet() {
    let tested: BTreeSet<_> = CASES.iter().map(|case| case.alert.to_owned()).collect();
    let all: BTreeSet<_> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(tested, all, "cases and alerts");
    assert!(CASES.iter().all(|case| !case.quiet.is_empty()));

    promtool(["check", "rules"], &package(RULES));
    let folder = tempfile::tempdir().unwrap();
    for is_long in [false, true] {
        let file = folder.path().join("cases.json");
        let tests: Vec<_> = CASES.iter().filter(|case| case.is_long == is_long).flat_map(groups).collect();
        let text = json!({"rule_files": [package(RULES)], "evaluation_interval": interval(is_long), "tests": tests});
        std::fs::write(&file, text.to_string()).unwrap();
        promtool(["test", "rules"], &file);
    }
}
