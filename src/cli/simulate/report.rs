//! What came of simulations: a table for people, JSON and CSV for programs.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::core::grouped;
use crate::simulate::{Figures, Run, Sample, Scenario};

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

pub(super) fn table(all: &[Outcomes]) -> String {
    let header = [
        "SCENARIO",
        "POLICY",
        "REPLICA-HOURS",
        "LATE %",
        "P99 LAG S",
        "WORST LAG S",
        "RESCALES",
        "REVERSALS",
        "MOST",
        "LOST",
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in 2..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for Outcomes { scenario, runs } in all {
        for (i, runs) in runs.iter().enumerate() {
            let Some(policy) = runs.first().map(|run| run.policy.name()) else { continue };
            let it = mean(runs);
            table.add_row([
                if i == 0 { scenario.name.clone() } else { String::new() },
                policy.to_owned(),
                format!("{:.1}", it.replica_hours),
                format!("{:.2}", it.late_percent),
                format!("{:.0}", it.time_lag_p99),
                format!("{:.0}", it.time_lag_worst),
                format!("{:.1}", it.rescales),
                format!("{:.1}", it.reversals),
                format!("{:.0}", it.most_replicas),
                grouped(it.lost as u64),
            ]);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
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
