//! ScaledConsumers in YAML, for `validate`, `recommend -f`, `run --from` and the demo. Each problem names file, line and
//! field. Types and validation are those of objects of the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::core::printable;
use crate::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerSpec, Validated, crd, validate};
use crate::yaml::{Document, Invalid, Problem, Segment, Source, nearest, path};

/// The apiVersion of a ScaledConsumer.
pub const API_VERSION: &str = "paceline.dev/v1alpha1";
/// Its kind.
pub const KIND: &str = "ScaledConsumer";
/// The hint at an object of KEDA's, which people have at hand.
const OF_KEDA: &str =
    ", which is KEDA's: write a ScaledConsumer, with its lagThreshold as policy.lagPerReplica or with an objective";
/// Problems that are listed per file.
const MAX_PROBLEMS: usize = 50;

/// The content of a source.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The ScaledConsumers, in their order.
    pub consumers: Vec<Validated>,
    /// Where each of them begins, as `file:line`.
    pub places: Vec<String>,
    /// Documents that are not ScaledConsumers, as lines for users.
    pub notes: Vec<String>,
}

/// Reads the ScaledConsumers of one source, all or none.
pub fn parse(source: &Source) -> Result<Manifests, Invalid> {
    let (found, problems) = read(source);
    if problems.is_empty() { Ok(found) } else { Err(Invalid(problems)) }
}

/// Reads those ScaledConsumers of one source that are valid, and what is wrong with the others.
pub fn read(source: &Source) -> (Manifests, Vec<Problem>) {
    let (documents, problems) = source.valid_documents();
    let mut reading = Reading { file: &source.name, schema: schema(), found: Manifests::default(), problems };
    for document in &documents {
        let items = document.items(&path("items"));
        match items.filter(|_| is_list(document.text(&path("apiVersion")), document.text(&path("kind")))) {
            Some(items) => {
                for i in 0..items {
                    reading.read(document, &[Segment::Key("items".to_owned()), Segment::Index(i)]);
                }
            }
            None => reading.read(document, &[]),
        }
    }
    let mut problems = reading.problems;
    if let Some(more) = problems.len().checked_sub(MAX_PROBLEMS).filter(|more| *more > 0) {
        problems.truncate(MAX_PROBLEMS);
        problems.push(Problem::of_file(source.name.as_ref(), None, format!("and {more} more problems")));
    }
    (reading.found, problems)
}

/// An object without its status, which only the API server has.
#[derive(Deserialize)]
struct ManifestObject {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: ScaledConsumerSpec,
}

/// Whether it is a list, as `kubectl get -o yaml` prints several objects.
fn is_list(api_version: &str, kind: &str) -> bool {
    matches!((api_version, kind), ("v1", "List") | (API_VERSION, "ScaledConsumerList"))
}

struct Reading<'s> {
    file: &'s str,
    schema: Json,
    found: Manifests,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    /// Reads the object at the path `within`: a document, or an item of the list that a document is.
    fn read(&mut self, document: &Document<'_>, within: &[Segment]) {
        let at = |field: &str| [within, &path(field)].concat();
        let (api_version, kind) = (document.text(&at("apiVersion")), document.text(&at("kind")));
        match document_kind(api_version, kind) {
            DocumentKind::Other => {
                let is_of_keda = api_version.starts_with("keda.sh/") && kind == "ScaledObject";
                let hint = if is_of_keda { OF_KEDA } else { "" };
                let kind = if kind.is_empty() { "a document without a kind" } else { kind };
                let name = document.text(&at("metadata.name"));
                let note = format!("{}: passed over {} {}", self.file, printable(kind), printable(name));
                self.found.notes.push(format!("{}{hint}", note.trim_end()));
            }
            DocumentKind::Misspelt(field, message) => self.problems.push(document.problem(&at(field), message)),
            DocumentKind::ScaledConsumer => match self.consumer(document, within) {
                Ok(consumer) => {
                    self.found.consumers.push(consumer);
                    self.found.places.push(format!("{}:{}", self.file, document.line(within)));
                }
                Err(more) => self.problems.extend(more),
            },
        }
    }

    fn consumer(&self, document: &Document<'_>, within: &[Segment]) -> Result<Validated, Vec<Problem>> {
        let object = document.parse_object(within, &self.schema, &["apiVersion", "kind", "status"]);
        let ManifestObject { metadata, spec } = object.map_err(|Invalid(all)| all)?;
        validate(&ScaledConsumer { metadata, spec, status: None }).map_err(|invalid| {
            let problems = invalid.problems.into_iter();
            problems.map(|it| document.problem(&[within, &path(&it.field)].concat(), it.text)).collect()
        })
    }
}

enum DocumentKind {
    ScaledConsumer,
    Other,
    Misspelt(&'static str, String),
}

fn document_kind(api_version: &str, kind: &str) -> DocumentKind {
    let ours = api_version.split('/').next() == API_VERSION.split('/').next();
    let (given_version, given_kind) = (printable(api_version), printable(kind));
    match (api_version, kind) {
        (API_VERSION, KIND) => DocumentKind::ScaledConsumer,
        (_, KIND) => {
            DocumentKind::Misspelt("apiVersion", format!("\"{given_version}\" is not known; write {API_VERSION}"))
        }
        _ if ours || api_version.contains("paceline") && !nearest(kind, std::iter::once(KIND)).is_empty() => {
            DocumentKind::Misspelt("kind", format!("\"{given_kind}\" is not known; write {KIND}"))
        }
        _ => DocumentKind::Other,
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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../config/demo.yaml");

    fn parsed(text: &str) -> String {
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
            parsed(&GOOD.replacen(from, to, 1))
        };
        let line = |needle: &str| GOOD.lines().position(|line| line.contains(needle)).map_or(0, |at| at + 1);
        let group = line("consumerGroup");
        let cases = [
            (
                swap("consumerGroup: demo", "consumerGrop: demo"),
                format!(
                    "orders.yaml:{group}: spec.kafka.consumerGrop: unknown field; did you mean \"consumerGroup\"?\norders.yaml:{}: spec.kafka: missing field `consumerGroup`",
                    line("kafka:")
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
                swap("consumerGroup: demo", "consumerGroup: demo\n    ofsetReset:"),
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
            (
                swap("offsetReset: earliest", "offsetReset: latst"),
                format!(
                    "orders.yaml:{}: spec.kafka.offsetReset: unknown variant `latst`, expected `latest` or `earliest`; did you mean \"latest\"?",
                    line("offsetReset")
                ),
            ),
            (
                swap("consumerGroup: demo", "consumerGroup: 2024"),
                format!(
                    "orders.yaml:{group}: spec.kafka.consumerGroup: invalid type: number `2024`, expected a text (write it in quotes)"
                ),
            ),
            (
                swap("consumerGroup: demo", "consumerGroup: yes"),
                format!(
                    "orders.yaml:{group}: spec.kafka.consumerGroup: invalid type: boolean `yes`, expected a text (write it in quotes)"
                ),
            ),
            (swap("spec:", "---\nkind: Service\nmetadata: {name: x}\n---\nspec:"), String::new()),
        ];
        for (error, expected) in cases {
            assert!(error.starts_with(&expected), "got {error}\nexpected {expected}");
        }
        // Known fields without a value are absent, as the API server has it.
        for fine in [
            swap("consumerGroup: demo", "consumerGroup: demo\n    isolationLevel:"),
            swap("name: demo\n", "name: demo\n  creationTimestamp: null\n"),
            swap("minReplicas: 1", "minReplicas: null"),
        ] {
            assert_eq!(fine, "");
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
            let error = of(text).expect_err("wrong").to_string();
            assert!(error.starts_with(&format!("orders.yaml:{line}: {expected}")), "{error}");
        }
    }

    #[test]
    fn documents_of_other_kinds_are_passed_over_with_a_note() {
        let text = format!("{GOOD}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: x}}\n---\n# nothing\n");
        assert_eq!(parsed(&text), "orders.yaml: passed over Service x");
        let with_status = GOOD.replacen("\nspec:", "\nstatus: {lag: many}\nspec:", 1);
        assert!(with_status != GOOD && parsed(&with_status).is_empty(), "{}", parsed(&with_status));
        let keda = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: x}\n";
        let note = parsed(keda);
        assert!(note.starts_with("orders.yaml: passed over ScaledObject x, which is KEDA's: write a"), "{note}");
    }
}
