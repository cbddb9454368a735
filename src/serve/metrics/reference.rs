//! The table of all metrics for docs/metrics.md.

use std::fmt::Write as _;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;

use super::family::{FamilyKind, FamilySpec};
use super::{clusters, consumers, controller, external, partitions};

/// The tables of docs/metrics.md, as Markdown.
pub fn reference() -> String {
    let mut text = String::new();
    section(&mut text, "Each ScaledConsumer", consumers::specs());
    section(&mut text, "Each partition", partitions::specs());
    section(&mut text, "Each Kafka cluster", clusters::SPECS);
    section(&mut text, "The controller", controller::SPECS);
    section(&mut text, "External metrics", external::SPECS);
    heading(&mut text, "The process");
    for desc in ProcessCollector::for_self().desc() {
        let kind = if desc.fq_name.ends_with("_total") { FamilyKind::Counter } else { FamilyKind::Gauge };
        row(&mut text, &desc.fq_name, kind, &[], &desc.help, "not on Linux");
    }
    text
}

fn section<'a>(text: &mut String, title: &str, specs: impl IntoIterator<Item = &'a FamilySpec>) {
    heading(text, title);
    for FamilySpec { name, kind, labels, help, absent } in specs {
        row(text, name, *kind, labels, help, absent);
    }
}

fn heading(text: &mut String, title: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = write!(
        text,
        "### {title}\n\n| name | type | unit | labels | meaning | no series when |\n|---|---|---|---|---|---|\n"
    );
}

fn row(text: &mut String, name: &str, kind: FamilyKind, labels: &[&str], help: &str, absent: &str) {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    let (kind, unit, labels) = (kind.name(), unit(name), labels.join(", "));
    let _ = writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} | {absent} |");
}

/// The unit that a name ends with; nothing for counts, offsets and flags.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let units = [
        ("_timestamp_seconds", "s since 1970"),
        ("_start_time_seconds", "s since 1970"),
        ("_replica_seconds", "replica-seconds"),
        ("_seconds", "s"),
        ("_records_per_second", "records/s"),
        ("_records", "records"),
        ("_bytes", "bytes"),
        ("_replicas", "replicas"),
    ];
    units.iter().find(|(suffix, _)| name.ends_with(suffix)).map_or("", |(_, unit)| unit)
}
