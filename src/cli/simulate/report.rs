//! What came of simulations: a table for people, JSON and CSV for programs.

use std::fmt::Write;

use comfy_table::Table;
use serde::Serialize;

use crate::columns::{aligned_table, lines};
use crate::core::grouped;
use crate::simulate::{CalibrationSummary, Figures, PolicyName, PredictionKind, Run, Sample, Scenario};

/// One scenario's runs: by policy, then by seed.
pub(super) struct Outcomes {
    pub(super) scenario: Scenario,
    pub(super) runs: Vec<Vec<Run>>,
}

/// One policy's figures: the mean of the seeds, and each seed's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPolicy<'a> {
    policy: &'static str,
    figures: Figures,
    seeds: Vec<OfSeed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfSeed<'a> {
    seed: u64,
    figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<&'a [Sample]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfScenario<'a> {
    scenario: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    objective_seconds: f64,
    duration_seconds: f64,
    policies: Vec<OfPolicy<'a>>,
}

fn mean(runs: &[Run]) -> Figures {
    Figures::mean(&runs.iter().map(|run| run.figures).collect::<Vec<_>>())
}

pub(super) fn json(all: &[Outcomes], series: bool) -> anyhow::Result<String> {
    let of_seed = |run: &'_ Run| (run.seed, run.figures);
    let scenarios: Vec<OfScenario<'_>> = all
        .iter()
        .map(|Outcomes { scenario, runs }| OfScenario {
            scenario: &scenario.name,
            description: &scenario.description,
            objective_seconds: scenario.objective.as_secs_f64(),
            duration_seconds: scenario.duration.as_secs_f64(),
            policies: runs
                .iter()
                .filter_map(|runs| {
                    let seeds = runs.iter().map(|run| {
                        let (seed, figures) = of_seed(run);
                        OfSeed { seed, figures, series: series.then_some(run.series.as_slice()) }
                    });
                    Some(OfPolicy { policy: runs.first()?.policy.name(), figures: mean(runs), seeds: seeds.collect() })
                })
                .collect(),
        })
        .collect();
    Ok(serde_json::to_string_pretty(&scenarios)? + "\n")
}

/// The columns of the table, and what they mean.
const COLUMNS: [(&str, &str); 11] = [
    ("SCENARIO", ""),
    ("POLICY", ""),
    ("REPLICA-HOURS", "replicas times hours, ready or not"),
    ("LATE %", "of the records: read later than the scenario's objective, or not at all"),
    ("P99 LAG S", "the age of the oldest unread record was at most this for 99 % of the time, in seconds"),
    ("WORST LAG S", "the highest age of the oldest unread record, in seconds"),
    ("RESCALES", "changes of the replicas"),
    ("REVERSALS", "those of them that took back one of the ten minutes before"),
    ("MOST", "the most replicas"),
    ("LOST", "records that were never read: deleted before, or skipped"),
    ("COST", "replica-hours, and each late record for twenty times what reading it takes; * marks the lowest"),
];

/// The figures by scenario and policy, their totals, and a legend.
pub(super) fn table(all: &[Outcomes]) -> String {
    let mut table = table_of(&COLUMNS.map(|(name, _)| name), 2);
    for Outcomes { scenario, runs } in all {
        let policies: Vec<_> = runs.iter().filter_map(|runs| Some((runs.first()?.policy, mean(runs)))).collect();
        add_rows(&mut table, &scenario.name, &policies);
    }
    if let [first, _, ..] = all {
        let total = |policy: usize| {
            let of_scenarios: Vec<Figures> =
                all.iter().filter_map(|it| it.runs.get(policy)).map(|runs| mean(runs)).collect();
            Some((first.runs.get(policy)?.first()?.policy, Figures::total(&of_scenarios)))
        };
        let totals: Vec<_> = (0..first.runs.len()).filter_map(total).collect();
        add_rows(&mut table, &format!("all {}", all.len()), &totals);
    }
    printed(&table) + &legend(all)
}

/// One scenario's rows, the cheapest of them marked.
fn add_rows(table: &mut Table, scenario: &str, policies: &[(PolicyName, Figures)]) {
    // The oracle knows what comes, so it is no competitor.
    let costs =
        policies.iter().filter(|(policy, _)| *policy != PolicyName::Oracle).map(|(_, it)| it.cost_replica_hours);
    let lowest = costs.clone().min_by(f64::total_cmp).filter(|_| costs.count() > 1);
    for (i, (policy, it)) in policies.iter().enumerate() {
        let is_best = *policy != PolicyName::Oracle && lowest.is_some_and(|lowest| it.cost_replica_hours <= lowest);
        table.add_row([
            if i == 0 { scenario.to_owned() } else { String::new() },
            policy.name().to_owned(),
            format!("{:.1}", it.replica_hours),
            format!("{:.2}", it.late_percent),
            if it.time_lag_p99.is_nan() { "-".to_owned() } else { format!("{:.0}", it.time_lag_p99) },
            format!("{:.0}", it.time_lag_worst),
            format!("{:.1}", it.rescales),
            format!("{:.1}", it.reversals),
            format!("{:.0}", it.most_replicas),
            grouped(it.lost as u64),
            format!("{:.1}{}", it.cost_replica_hours, if is_best { "*" } else { " " }),
        ]);
    }
}

fn legend(all: &[Outcomes]) -> String {
    let mut text = "\n".to_owned();
    for (name, meaning) in COLUMNS.iter().filter(|(_, meaning)| !meaning.is_empty()) {
        text += &format!("{name:<14} {meaning}\n");
    }
    let seeds = all.first().and_then(|it| it.runs.first()).map_or(1, Vec::len);
    if seeds > 1 {
        text +=
            &format!("Each row is the mean of {seeds} seeds; WORST LAG S, MOST and LOST are the highest of them.\n");
    }
    if all.len() > 1 {
        text += "The last rows are sums; LATE % is that of all records, WORST LAG S and MOST are the highest.\n";
    }
    text
}

/// A table whose columns hold numbers from the one with this index on.
fn table_of(header: &[&str], numbers_from: usize) -> Table {
    aligned_table(header, |column| column >= numbers_from, (1, 1))
}

fn printed(table: &Table) -> String {
    lines(table).map(|line| line + "\n").collect()
}

/// What was said and what happened, a row per kind.
pub(super) fn calibration(rows: &[CalibrationSummary]) -> String {
    let header = ["PREDICTION", "COUNT", "NEVER", "P10", "MEDIAN", "P90", "WITHIN 2x %", "KEPT %"];
    let mut table = table_of(&header, 1);
    let known = |number: Option<f64>, digits| number.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"));
    for it in rows {
        table.add_row([
            match it.kind {
                PredictionKind::DrainTime => "drain time of the chosen level".to_owned(),
                PredictionKind::LateRecords => "late records of the chosen level".to_owned(),
                PredictionKind::BacklogEnd => "end of a backlog".to_owned(),
                PredictionKind::ScaleDown => "next scale-down".to_owned(),
            },
            it.predictions.to_string(),
            it.never.to_string(),
            known(it.tenth, 2),
            known(it.median, 2),
            known(it.nine_tenths, 2),
            known(it.within_two_percent, 0),
            known(it.kept_percent, 0),
        ]);
    }
    printed(&table)
}

pub(super) fn csv(all: &[Outcomes]) -> String {
    let mut text = "scenario,policy,seed,t,arrival,processed,lag,time_lag,replicas,ready,members,rebalancing,desired,\
                    reason,capacity,findings,message\n"
        .to_owned();
    for Outcomes { scenario, runs } in all {
        for run in runs.iter().filter_map(|runs| runs.first()) {
            for it in &run.series {
                let capacity = it.capacity.map(|capacity| format!("{:.1}", capacity.0)).unwrap_or_default();
                // Writing to a String can't fail.
                let _ = writeln!(
                    text,
                    "{},{},{},{},{:.1},{:.1},{},{:.1},{},{},{},{},{},{},{capacity},{},{}",
                    quoted(&scenario.name),
                    run.policy.name(),
                    run.seed,
                    it.t,
                    it.arrival,
                    it.processed,
                    it.lag,
                    it.time_lag,
                    it.replicas,
                    it.ready,
                    it.members,
                    it.rebalancing,
                    it.desired,
                    it.reason,
                    it.findings.join(" "),
                    quoted(&it.message),
                );
            }
        }
    }
    text
}

/// A field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
