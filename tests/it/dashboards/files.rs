//! The dashboards as files: made by the generator, read as strictly as Grafana's SDK can, and held to what that misses:
//! enumerations, the grid, panel types, links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::promql::{assert_known, assert_values_known};
use crate::world::kustomize::render;
use crate::world::root;

/// The metrics of the JMX exporter's and of Strimzi's rules that the brokers' panels use.
pub(super) const OF_BROKERS: [&str; 8] = [
    "kafka_controller_kafkacontroller_activecontrollercount",
    "kafka_controller_kafkacontroller_offlinepartitionscount",
    "kafka_network_requestmetrics_totaltimems",
    "kafka_server_brokertopicmetrics_bytesin_total",
    "kafka_server_brokertopicmetrics_bytesout_total",
    "kafka_server_brokertopicmetrics_messagesin_total",
    "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent",
    "kafka_server_replicamanager_underreplicatedpartitions",
];

/// The units in use, as Grafana names them.
const UNITS: [&str; 6] = ["short", "s", "ms", "percentunit", "bytes", "Bps"];

/// Where an option is, and the texts that it may be.
type Choice = (&'static str, &'static [&'static str]);

/// Each panel type with the options that must be one of a few texts.
const PANELS: &[(&str, &[Choice])] = &[
    ("row", &[]),
    (
        "timeseries",
        &[
            ("/options/legend/displayMode", &["list", "table"]),
            ("/options/legend/placement", &["bottom", "right"]),
            ("/options/tooltip/mode", &["multi"]),
            ("/options/tooltip/sort", &["desc"]),
            ("/fieldConfig/defaults/custom/drawStyle", &["line"]),
            ("/fieldConfig/defaults/custom/lineInterpolation", &["linear", "stepAfter"]),
            ("/fieldConfig/defaults/custom/showPoints", &["never"]),
            ("/fieldConfig/defaults/custom/stacking/mode", &["none", "normal"]),
            ("/fieldConfig/defaults/custom/thresholdsStyle/mode", &["off"]),
        ],
    ),
    (
        "stat",
        &[
            ("/options/graphMode", &["none", "area"]),
            ("/options/colorMode", &["none", "value"]),
            ("/options/justifyMode", &["auto"]),
            ("/options/textMode", &["auto", "name"]),
            ("/options/orientation", &["auto"]),
            ("/options/percentChangeColorMode", &["standard"]),
            ("/options/reduceOptions/calcs/0", &["lastNotNull"]),
        ],
    ),
    (
        "table",
        &[
            ("/options/cellHeight", &["sm"]),
            ("/fieldConfig/defaults/custom/align", &["auto"]),
            ("/fieldConfig/defaults/custom/cellOptions/type", &["auto"]),
        ],
    ),
    (
        "heatmap",
        &[
            ("/options/color/mode", &["scheme"]),
            ("/options/color/scale", &["exponential"]),
            ("/options/rowsFrame/layout", &["unknown"]),
            ("/options/showValue", &["never"]),
            ("/options/tooltip/mode", &["single"]),
            ("/options/yAxis/axisPlacement", &["left"]),
        ],
    ),
    (
        "state-timeline",
        &[
            ("/options/showValue", &["never"]),
            ("/options/legend/displayMode", &["list"]),
            ("/options/tooltip/mode", &["single"]),
            ("/fieldConfig/defaults/mappings/0/type", &["value"]),
        ],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/grafana")
}

/// The dashboards by the names of their files.
pub(super) fn dashboards() -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(folder().join("dashboards")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    files.into_iter().map(read).collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Every expression of a dashboard, with the title of its panel.
pub(super) fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let of_panels = list(dashboard, "/panels").iter().flat_map(|panel| {
        let title = text(panel, "/title").to_owned();
        list(panel, "/targets").iter().map(move |target| (title.clone(), text(target, "/expr").to_owned()))
    });
    let annotations = list(dashboard, "/annotations/list").iter();
    let of_annotations = annotations.map(|it| (text(it, "/name").to_owned(), text(it, "/expr").to_owned()));
    of_panels.chain(of_annotations).collect()
}

#[test]
fn the_dashboards_are_what_their_generator_makes() {
    let made = tempfile::tempdir().unwrap();
    let output = Command::new("python3").arg(folder().join("generate.py")).arg(made.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = |folder: &Path| -> Vec<(String, String)> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|it| (it.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(it.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let how = "manifests/grafana/dashboards is old: python3 manifests/grafana/generate.py";
    assert!(files(made.path()) == files(&folder().join("dashboards")), "{how}");
}

/// What the strict reader says of these files.
fn read_strictly(files: &[PathBuf]) -> Result<(), String> {
    let binary = root().join("bin/grafana");
    let output = Command::new(&binary).args(files).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; tests/run builds it", binary.display()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn grafanas_strict_reader_takes_the_dashboards_and_refuses_what_is_wrong() {
    let files: Vec<_> = dashboards().iter().map(|(name, _)| folder().join("dashboards").join(name)).collect();
    read_strictly(&files).unwrap_or_else(|said| panic!("{said}"));

    let wrong = tempfile::NamedTempFile::new().unwrap();
    let (_, mut dashboard) = dashboards().remove(0);
    dashboard["panels"][0]["options"]["colourMode"] = json!("value");
    std::fs::write(wrong.path(), dashboard.to_string()).unwrap();
    let said = read_strictly(&[wrong.path().to_owned()]).expect_err("an unknown option");
    assert!(said.contains("colourMode"), "{said}");
}

#[test]
fn panels_have_known_types_and_options_and_say_what_they_show() {
    for (name, dashboard) in dashboards() {
        for panel in list(&dashboard, "/panels") {
            let (kind, title) = (text(panel, "/type"), text(panel, "/title"));
            let at = format!("{name}: {title}");
            let (_, options) = PANELS.iter().find(|(it, _)| *it == kind).unwrap_or_else(|| panic!("{at}: {kind}"));
            for (pointer, values) in *options {
                assert!(values.contains(&text(panel, pointer)), "{at}: {pointer} is {:?}", panel.pointer(pointer));
            }
            assert!(!title.is_empty(), "{at}");
            if kind == "row" {
                continue;
            }
            assert!(text(panel, "/description").ends_with('.'), "{at} has no description");
            assert!(UNITS.contains(&text(panel, "/fieldConfig/defaults/unit")), "{at}");
            let colour = text(panel, "/fieldConfig/defaults/color/mode");
            let by_value = text(panel, "/options/colorMode") == "value";
            assert_eq!(colour, if by_value { "thresholds" } else { "palette-classic" }, "{at}");
            assert_thresholds(panel.pointer("/fieldConfig/defaults/thresholds").unwrap(), &at);
            for property in list(panel, "/fieldConfig/overrides").iter().flat_map(|it| list(it, "/properties")) {
                match text(property, "/id") {
                    "thresholds" => assert_thresholds(&property["value"], &at),
                    "unit" => assert!(UNITS.contains(&text(property, "/value")), "{at}"),
                    "custom.cellOptions" => {
                        let known = ["color-background", "color-text"];
                        assert!(known.contains(&text(property, "/value/type")), "{at}: {property}");
                    }
                    "color" | "decimals" | "links" | "custom.width" | "custom.lineStyle" | "custom.fillOpacity" => {}
                    other => panic!("{at}: {other}"),
                }
            }
            assert_targets(panel, &at);
        }
    }
}

/// The first step has no value, and the others ascend.
fn assert_thresholds(thresholds: &Value, at: &str) {
    assert_eq!(thresholds["mode"], "absolute", "{at}");
    let steps: Vec<_> = list(thresholds, "/steps").iter().map(|step| step["value"].as_f64()).collect();
    assert!(!steps.is_empty() && steps.is_sorted() && steps[0].is_none(), "{at}: {steps:?}");
    for step in list(thresholds, "/steps") {
        assert!(["green", "yellow", "red"].contains(&text(step, "/color")), "{at}: {step}");
    }
}

fn assert_targets(panel: &Value, at: &str) {
    let targets = list(panel, "/targets");
    let references: BTreeSet<_> = targets.iter().map(|target| text(target, "/refId")).collect();
    assert!(!targets.is_empty() && references.len() == targets.len(), "{at}");
    for target in targets.iter().chain([panel]) {
        assert_eq!(target["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}), "{at}");
    }
    for target in targets {
        assert!(["time_series", "table"].contains(&text(target, "/format")), "{at}");
        assert_ne!(target["instant"], target["range"], "{at}");
        assert_eq!(target["format"] == "table", text(panel, "/type") == "table", "{at}");
    }
}

#[test]
fn panels_lie_in_the_grid_and_none_lies_over_another() {
    for (name, dashboard) in dashboards() {
        let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard, "/panels") {
            let at = format!("{name}: {}", text(panel, "/title"));
            let side = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{at}: no {key}"));
            let (x, y, width, height) = (side("x"), side("y"), side("w"), side("h"));
            assert!(width >= 1 && height >= 1 && x + width <= 24, "{at}: {x} {y} {width} {height}");
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{at} lies over another panel");
            }
            assert!(ids.insert(panel["id"].as_u64()), "{at} has another one's id");
        }
    }
}

#[test]
fn variables_and_links_lead_somewhere() {
    let all = dashboards();
    let uids: BTreeSet<_> = all.iter().map(|(_, dashboard)| text(dashboard, "/uid")).collect();
    assert_eq!(uids.len(), all.len());
    for (name, dashboard) in &all {
        assert_eq!(*name, format!("{}.json", text(dashboard, "/uid")));
        assert_eq!(text(dashboard, "/links/0/type"), "dashboards");
        assert_eq!(dashboard["links"][0]["tags"], json!(["paceline"]));
        assert!(list(dashboard, "/tags").contains(&json!("paceline")), "{name} is not found by the others' links");
        let mut known: BTreeSet<_> = ["__rate_interval", "__range", "__url_time_range", "__data"].into();
        for variable in list(dashboard, "/templating/list") {
            assert!(["datasource", "query"].contains(&text(variable, "/type")), "{name}: {variable}");
            assert!([json!(0), json!(1), json!(2)].contains(&variable["refresh"]), "{name}: {variable}");
            known.insert(text(variable, "/name"));
        }
        assert!(known.contains("datasource"), "{name}");
        let whole = dashboard.to_string();
        for (at, _) in whole.match_indices('$') {
            let rest = whole[at + 1..].trim_start_matches('{');
            let used = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            assert!(known.contains(used) || used == "__all", "{name}: ${used}");
        }
        for (at, _) in whole.match_indices("/d/") {
            let rest = &whole[at + 3..];
            let uid = rest.split('?').next().unwrap_or_default();
            assert!(uids.contains(uid), "{name} links to {uid}");
        }
        let variables = list(dashboard, "/templating/list").iter().filter(|it| it["type"] == "query");
        for query in variables.map(|it| text(it, "/query")) {
            let inside = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')')).expect(query);
            let (metric, _) = inside.rsplit_once(", ").expect(query);
            assert_known(metric, &["kafka_server_replicamanager_leadercount"]);
        }
    }
}

#[test]
fn each_metric_reason_and_condition_of_a_dashboard_is_one_of_the_code() {
    for (_, dashboard) in dashboards() {
        for (_, expression) in expressions(&dashboard) {
            assert_known(&expression, &OF_BROKERS);
            assert_values_known(&expression);
        }
    }
}

#[test]
fn kustomize_makes_one_config_map_of_each_dashboard_for_the_sidecar() {
    let rendered = render("grafana");
    let all = dashboards();
    assert_eq!(rendered.len(), all.len());
    for map in &rendered {
        assert_eq!(map["kind"], "ConfigMap");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let (file, content) = map["data"].as_object().unwrap().iter().next().unwrap();
        let content: Value = serde_json::from_str(content.as_str().unwrap()).unwrap();
        assert!(all.contains(&(file.clone(), content)), "{file}");
    }
}
