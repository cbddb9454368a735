//! ScaledConsumers in YAML: what `recommend -f`, `run --from` and the demo read. Whatever is wrong is named with file,
//! line and field. What is valid is the controller's own word: the same type, the same validation.

use serde_json::Value as Json;

use crate::core::printable;
use crate::kubernetes::scaledconsumer::resource::{ScaledConsumer, crd};
use crate::kubernetes::scaledconsumer::validate::{Validated, validate};
use crate::yaml::{Invalid, Problem, Segment, Source, nearest, path};

/// The apiVersion of a ScaledConsumer.
pub const API_VERSION: &str = "paceline.dev/v1alpha1";
/// Its kind.
pub const KIND: &str = "ScaledConsumer";

/// What is in a source.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The ScaledConsumers, in their order.
    pub consumers: Vec<Validated>,
    /// What was passed over, as lines for the user.
    pub notes: Vec<String>,
}

/// Reads the ScaledConsumers of one source.
pub fn parse(source: &Source) -> Result<Manifests, Invalid> {
    let mut reading = Reading { source, schema: schema(), found: Manifests::default(), problems: Vec::new() };
    for (document, value) in source.documents()?.iter().enumerate() {
        match value.get("items").and_then(serde_yaml::Value::as_sequence) {
            Some(items) if is_list(&text(value, "apiVersion"), &text(value, "kind")) => {
                for (i, item) in items.iter().enumerate() {
                    reading.read(Place { document, item: Some(i) }, item);
                }
            }
            Some(_) | None => reading.read(Place { document, item: None }, value),
        }
    }
    if reading.problems.is_empty() { Ok(reading.found) } else { Err(Invalid(reading.problems)) }
}

/// Whether it is what `kubectl get -o yaml` writes for several objects.
fn is_list(api_version: &str, kind: &str) -> bool {
    matches!((api_version, kind), ("v1", "List") | (API_VERSION, "ScaledConsumerList"))
}

/// Where an object is: a document, or an item of the list that a document is.
#[derive(Clone, Copy)]
struct Place {
    document: usize,
    item: Option<usize>,
}

impl Place {
    fn path(self, field: &str) -> Vec<Segment> {
        let item = self.item.map(|item| [Segment::Key("items".to_owned()), Segment::Index(item)]);
        item.into_iter().flatten().chain(path(field)).collect()
    }
}

struct Reading<'s> {
    source: &'s Source,
    schema: Json,
    found: Manifests,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn read(&mut self, place: Place, value: &serde_yaml::Value) {
        let (api_version, kind) = (text(value, "apiVersion"), text(value, "kind"));
        match what(&api_version, &kind) {
            What::Nothing if value.is_null() => {}
            What::Nothing | What::Other => {
                let name = value.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default();
                let kind = if kind.is_empty() { "a document without a kind" } else { &kind };
                let note = format!("{}: passed over {} {}", self.source.name, printable(kind), printable(&name));
                self.found.notes.push(note.trim_end().to_owned());
            }
            What::Misspelt(field, message) => {
                self.problems.push(self.source.problem(place.document, &place.path(field), message));
            }
            What::ScaledConsumer => match self.consumer(place, value) {
                Ok(consumer) => self.found.consumers.push(consumer),
                Err(more) => self.problems.extend(more),
            },
        }
    }

    fn consumer(&self, place: Place, value: &serde_yaml::Value) -> Result<Validated, Vec<Problem>> {
        const IGNORED: [&str; 2] = ["apiVersion", "kind"];
        let object: Result<ScaledConsumer, _> = match place.item {
            None => self.source.parse(place.document, &self.schema, &IGNORED),
            Some(_) => self.source.parse_part((place.document, &place.path("")), value, &self.schema, &IGNORED),
        };
        validate(&object.map_err(|Invalid(all)| all)?).map_err(|invalid| {
            let at = |problem: crate::kubernetes::scaledconsumer::validate::Problem| {
                self.source.problem(place.document, &place.path(&problem.field), problem.text)
            };
            invalid.problems.into_iter().map(at).collect()
        })
    }
}

enum What {
    ScaledConsumer,
    Nothing,
    Other,
    Misspelt(&'static str, String),
}

fn what(api_version: &str, kind: &str) -> What {
    let ours = api_version.split('/').next() == API_VERSION.split('/').next();
    match (api_version, kind) {
        (API_VERSION, KIND) => What::ScaledConsumer,
        (_, KIND) => What::Misspelt("apiVersion", format!("\"{api_version}\" is not known; write {API_VERSION}")),
        _ if ours || api_version.contains("paceline") && !nearest(kind, std::iter::once(KIND)).is_empty() => {
            What::Misspelt("kind", format!("\"{kind}\" is not known; write {KIND}"))
        }
        ("", "") => What::Nothing,
        _ => What::Other,
    }
}

/// The CRD's schema, with the names of `metadata` that people write by hand.
fn schema() -> Json {
    let crd = crd();
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    let mut schema =
        serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema.as_ref())).unwrap_or(Json::Null);
    let text = serde_json::json!({"type": "object"});
    if let Some(all) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        let names = ["name", "namespace", "labels", "annotations"].map(|name| (name.to_owned(), text.clone()));
        all.insert("metadata".to_owned(), serde_json::json!({"properties": Json::Object(names.into_iter().collect())}));
    }
    schema
}

fn text(value: &serde_yaml::Value, key: &str) -> String {
    value.get(key).and_then(serde_yaml::Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../config/demo.yaml");

    fn told(text: &str) -> String {
        let source = Source { name: "orders.yaml".into(), text: text.into() };
        match parse(&source) {
            Ok(found) => found.notes.join("\n"),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn each_mistake_is_named_with_file_line_and_field() {
        let swap = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from}");
            told(&GOOD.replacen(from, to, 1))
        };
        let line = |needle: &str| GOOD.lines().position(|line| line.contains(needle)).map_or(0, |at| at + 1);
        let group = line("consumerGroup");
        let cases = [
            (
                swap("consumerGroup: demo", "consumerGrop: demo"),
                format!(
                    "orders.yaml:{group}: spec.kafka.consumerGrop: unknown field; did you mean \"consumerGroup\"?\norders.yaml:{}: spec.kafka: missing field `consumerGroup`",
                    line("cluster: demo")
                ),
            ),
            (
                swap("consumerGroup: demo", "consumerGroup: demo\n    ofsetReset: latest"),
                format!(
                    "orders.yaml:{}: spec.kafka.ofsetReset: unknown field; did you mean \"offsetReset\"?",
                    group + 1
                ),
            ),
            (
                swap("minReplicas: 1", "minReplicas: many"),
                format!(
                    "orders.yaml:{}: spec.minReplicas: invalid type: string \"many\", expected a whole number",
                    line("minReplicas")
                ),
            ),
            (
                swap("minReplicas: 1", "minReplicas: 13"),
                format!(
                    "orders.yaml:{}: spec.minReplicas: minReplicas is 13, above maxReplicas, which is 12",
                    line("minReplicas")
                ),
            ),
            (
                swap("name: demo\n", "nam: demo\n"),
                format!("orders.yaml:{}: metadata.nam: unknown field; did you mean \"name\"?", line("name: demo")),
            ),
            (
                swap("v1alpha1", "v1"),
                format!(
                    "orders.yaml:{}: apiVersion: \"paceline.dev/v1\" is not known; write paceline.dev/v1alpha1",
                    line("apiVersion")
                ),
            ),
            (
                swap("kind: ScaledConsumer", "kind: ScaledConsumers"),
                format!("orders.yaml:{}: kind: \"ScaledConsumers\" is not known; write ScaledConsumer", line("kind:")),
            ),
            (swap("spec:", "---\nkind: Service\nmetadata: {name: x}\n---\nspec:"), String::new()),
        ];
        for (told, expected) in cases {
            assert!(told.starts_with(&expected), "told {told}\nexpected {expected}");
        }
    }

    #[test]
    fn a_list_is_read_as_its_items_are() {
        let item = |text: &str| {
            text.lines().map(|line| format!("    {line}\n")).collect::<String>().replacen("    ", "  - ", 1)
        };
        let good: String = GOOD.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let other = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
        let list = |kind: &str, items: &[&str]| {
            format!("{kind}\nitems:\n{}", items.iter().map(|text| item(text)).collect::<String>())
        };
        let of = |text: String| parse(&Source { name: "orders.yaml".into(), text });
        for kind in ["apiVersion: v1\nkind: List", "apiVersion: paceline.dev/v1alpha1\nkind: ScaledConsumerList"] {
            let found = of(list(kind, &[&good, other, &good])).expect(kind);
            assert_eq!(
                (found.consumers.len(), found.notes),
                (2, vec!["orders.yaml: passed over Service x".to_owned()])
            );
        }
        let cases = [
            (
                ("consumerGroup", "consumerGrop"),
                "items[1].spec.kafka.consumerGrop: unknown field; did you mean \"consumerGroup\"?",
            ),
            (
                ("minReplicas: 1", "minReplicas: many"),
                "items[1].spec.minReplicas: invalid type: string \"many\", expected a whole number",
            ),
            (("minReplicas: 1", "minReplicas: 13"), "items[1].spec.minReplicas: minReplicas is 13, above maxReplicas"),
        ];
        for ((from, to), expected) in cases {
            let text = list("apiVersion: v1\nkind: List", &[&good, &good.replacen(from, to, 1)]);
            let line =
                text.lines().enumerate().filter(|(_, line)| line.contains(to)).last().map_or(0, |(at, _)| at + 1);
            let told = of(text).expect_err("wrong").to_string();
            assert!(told.starts_with(&format!("orders.yaml:{line}: {expected}")), "{told}");
        }
    }

    #[test]
    fn documents_of_other_kinds_are_passed_over_with_a_note() {
        let text = format!("{GOOD}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: x}}\n---\n# nothing\n");
        assert_eq!(told(&text), "orders.yaml: passed over Service x");
    }
}
