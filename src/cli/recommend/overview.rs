//! Many groups on one screen: a row each, what is wrong first, and a line that sums it up.

use std::cmp::Reverse;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::arguments::SortKey;
use super::money::ReplicaCost;
use super::need::{GroupNeed, full_name, kind};
use super::report::Recommendation;
use crate::cli::style::{BAD, DIM, GOOD, HEADING, HINT, PLAIN, WARNING, cut_end, cut_middle, paint, width};
use crate::columns::aligned_table;
use crate::core::{EnoughBasis, EnoughBound, GroupKind, LagView, Replicas, grouped, printable, rate_text};

/// The fewest columns in which a sentence can be read beside the numbers; with less it stands below them.
const WHY_COLUMNS: usize = 36;
/// Columns of a name: a quarter of the terminal, within these.
const NAME_COLUMNS: std::ops::RangeInclusive<usize> = 16..=48;
/// Columns of a name at least, however narrow the terminal is.
const FEWEST_NAME_COLUMNS: usize = 8;
/// Columns between two columns of the table.
pub(super) const GAP: u16 = 2;
/// Characters of a lag that is written out.
const WHOLE_LAG: usize = 7;

/// How the table looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableLayout {
    /// Columns and lines of the terminal; without a bound where there is none.
    pub(super) columns: Option<usize>,
    pub(super) lines: Option<usize>,
    /// With all columns.
    pub(super) is_wide: bool,
    pub(super) cost: Option<ReplicaCost>,
    pub(super) has_several_clusters: bool,
}

/// Puts the groups into an order.
pub(super) fn sort(recommendations: &mut [Recommendation], key: SortKey) {
    let lag = |it: &Recommendation| Reverse(it.decision.lag.total_records);
    let age = |it: &Recommendation| Reverse(it.decision.time_lag.map(|age| age.seconds as u64));
    let arrival = |it: &Recommendation| Reverse(it.decision.model.arrival_rate.map(|rate| (rate.0 * 1_000.0) as u64));
    let saving = |it: &Recommendation| it.replica_difference.unwrap_or(0).min(0);
    recommendations.sort_by(|a, b| {
        let by_key = match key {
            SortKey::Need => (rank(a), saving(a), lag(a)).cmp(&(rank(b), saving(b), lag(b))),
            SortKey::Name => std::cmp::Ordering::Equal,
            SortKey::Lag => lag(a).cmp(&lag(b)),
            SortKey::Oldest => age(a).cmp(&age(b)),
            SortKey::Arrival => arrival(a).cmp(&arrival(b)),
            SortKey::Members => b.decision.group.members.cmp(&a.decision.group.members),
            SortKey::Saving => saving(a).cmp(&saving(b)),
        };
        by_key.then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
    });
}

/// Hot and stuck partitions are as urgent as each other, and a workload of which nobody is in the group as one that is short.
fn rank(it: &Recommendation) -> GroupNeed {
    match it.need {
        GroupNeed::StuckPartition => GroupNeed::HotPartition,
        GroupNeed::NobodyReads if it.decision.current_replicas.is_some_and(|replicas| replicas.0 > 0) => {
            GroupNeed::Short
        }
        need => need,
    }
}

/// A row for each group.
pub(super) fn render(recommendations: &[&Recommendation], layout: TableLayout) -> String {
    let columns = if layout.is_wide { None } else { layout.columns };
    let all = columns_of(layout);
    let header = all.iter().map(|column| paint(HEADING, column.title)).collect::<Vec<_>>();
    let mut table = aligned_table(header, |index| all[index].is_number, (0, GAP));
    let texts: Vec<Vec<String>> =
        recommendations.iter().map(|it| all.iter().map(|column| (column.text)(it, &layout)).collect()).collect();
    let name_columns = columns.map_or(usize::MAX, |columns| name_columns(&all, &texts, columns));
    for (it, row) in recommendations.iter().zip(texts) {
        let cell = |(column, text): (&OverviewColumn, String)| match column.title {
            NAME => paint(style(it.need), &cut_middle(&text, name_columns)),
            ENOUGH => paint(enough_style(it), &text),
            NOW if it.is_change() => paint(style(it.need), &text),
            _ => text,
        };
        table.add_row(all.iter().zip(row).map(cell).collect::<Vec<_>>());
    }
    with_reasons(&table, recommendations, columns)
}

/// Columns for the names: a part of the terminal, and no more than the numbers leave.
fn name_columns(all: &[OverviewColumn], texts: &[Vec<String>], columns: usize) -> usize {
    let widest = |index: usize, title: &str| {
        texts.iter().map(|row| width(&row[index])).chain([width(title)]).max().unwrap_or(0) + usize::from(GAP)
    };
    let numbers: usize = all.iter().enumerate().skip(1).map(|(index, column)| widest(index, column.title)).sum();
    let part = (columns / 4).clamp(*NAME_COLUMNS.start(), *NAME_COLUMNS.end());
    part.min(columns.saturating_sub(numbers + usize::from(GAP))).max(FEWEST_NAME_COLUMNS)
}

/// The lines of the table, with why behind or below each.
fn with_reasons(table: &Table, recommendations: &[&Recommendation], columns: Option<usize>) -> String {
    let lines: Vec<String> = table.lines().collect();
    let taken = lines.first().map_or(0, |line| width(&anstream::adapter::strip_str(line).to_string()));
    let left = columns.map(|columns| columns.saturating_sub(taken));
    let is_beside = left.is_none_or(|left| left >= WHY_COLUMNS);
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let it = index.checked_sub(1).and_then(|row| recommendations.get(row));
        let why = it.map_or("WHY", |it| it.why.as_str());
        let shown = match (it, is_beside) {
            (None, true) => format!("{line}{}", paint(HEADING, why)),
            (Some(_), true) => format!("{line}{}", cut_end(why, left.unwrap_or(usize::MAX))),
            (Some(it), false) if !matches!(it.need, GroupNeed::Fine) => {
                let below = cut_end(why, columns.unwrap_or(usize::MAX).saturating_sub(2));
                format!("{}\n  {}", line.trim_end(), paint(DIM, &below))
            }
            (_, false) => line.clone(),
        };
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// As much of a text as fits into so many lines.
pub(super) fn first_lines(text: &str, lines: usize) -> String {
    let all = text.lines().count();
    if all <= lines {
        return text.to_owned();
    }
    let kept: String = text.lines().take(lines.saturating_sub(1)).map(|line| format!("{line}\n")).collect();
    format!("{kept}… and {} lines more\n", all - lines.saturating_sub(1))
}

/// A column of the table.
struct OverviewColumn {
    title: &'static str,
    is_number: bool,
    text: fn(&Recommendation, &TableLayout) -> String,
}

const NAME: &str = "NAME";
const NOW: &str = "NOW";
const ENOUGH: &str = "ENOUGH";

fn columns_of(layout: TableLayout) -> Vec<OverviewColumn> {
    let wide = |column: OverviewColumn| Some(column).filter(|_| layout.is_wide);
    [
        Some(column(NAME, false, |it, layout| full_name(&it.observed, layout.has_several_clusters))),
        wide(column("GROUP", false, |it, _| printable(&it.decision.consumer_group).to_string())),
        wide(column("KIND", false, |it, _| kind(it.decision.group.kind).unwrap_or("-").to_owned())),
        Some(column("LAG", true, |it, layout| lag_text(&it.decision.lag, layout.is_wide))),
        Some(column("OLDEST", true, |it, _| it.decision.time_lag_text())),
        Some(column("IN/S", true, |it, _| rate_text(it.decision.model.arrival_rate))),
        Some(column("OUT/S", true, |it, _| it.decision.model.consumption_text())),
        wide(column("PARTITIONS", true, |it, _| number(it.partition_count))),
        Some(column("MEMBERS", true, |it, _| number(it.decision.group.members))),
        wide(column("REPLICAS", true, |it, _| number(it.decision.current_replicas.map(|current| current.0)))),
        Some(column(NOW, true, now_text)),
        Some(column(ENOUGH, true, enough_text)),
        wide(column("EACH/S", true, |it, _| rate_text(it.enough.records_per_second_per_replica))),
        Some(column("COST/MONTH", true, cost_text)).filter(|_| layout.cost.is_some()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn column(title: &'static str, is_number: bool, text: fn(&Recommendation, &TableLayout) -> String) -> OverviewColumn {
    OverviewColumn { title, is_number, text }
}

fn number(number: Option<impl ToString>) -> String {
    number.map_or("?".to_owned(), |number| number.to_string())
}

/// A large lag in short, as nobody compares the last digits of millions.
fn lag_text(lag: &LagView, is_whole: bool) -> String {
    let text = lag.text();
    match lag.total_records {
        Some(records) if !is_whole && text.chars().count() > WHOLE_LAG => {
            format!("{}{}", if text.starts_with(">=") { ">=" } else { "" }, in_short(records))
        }
        Some(_) | None => text,
    }
}

/// `1234567` as `1.2M`.
fn in_short(number: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let Some((unit, letter)) = units.iter().find(|(unit, _)| number >= *unit) else { return number.to_string() };
    let tenths = number / (unit / 10);
    if tenths < 100 {
        format!("{}.{}{letter}", tenths / 10, tenths % 10)
    } else {
        format!("{}{letter}", grouped(tenths / 10))
    }
}

/// What the controller would set, and how many more or fewer that are.
fn now_text(it: &Recommendation, _: &TableLayout) -> String {
    let desired = it.decision.desired_replicas;
    match it.decision.current_replicas {
        _ if !it.has_replicas() => "-".to_owned(),
        Some(current) => with_difference(desired.0.to_string(), desired, current),
        None => desired.0.to_string(),
    }
}

fn enough_text(it: &Recommendation, _: &TableLayout) -> String {
    let Some(enough) = it.enough.replicas.filter(|_| it.has_replicas()) else {
        return if it.has_replicas() { "?" } else { "-" }.to_owned();
    };
    let sign = match it.enough.bound {
        EnoughBound::Exact => "",
        EnoughBound::AtMost => "<=",
        EnoughBound::AtLeast => ">=",
    };
    let text = format!("{sign}{}", enough.0);
    match it.decision.current_replicas {
        Some(current) => with_difference(text, enough, current),
        None => text,
    }
}

fn with_difference(text: String, replicas: Replicas, current: Replicas) -> String {
    match i64::from(replicas.0) - i64::from(current.0) {
        0 => text,
        difference => format!("{text} ({difference:+})"),
    }
}

fn cost_text(it: &Recommendation, layout: &TableLayout) -> String {
    let cost = layout.cost.zip(it.replica_difference).filter(|_| it.has_replicas());
    cost.map_or("-".to_owned(), |(cost, difference)| match difference {
        0 => "0".to_owned(),
        difference => cost.per_month(difference),
    })
}

fn style(need: GroupNeed) -> anstyle::Style {
    match need {
        GroupNeed::Short | GroupNeed::Unreadable => BAD,
        GroupNeed::HotPartition | GroupNeed::StuckPartition | GroupNeed::NotKnown => WARNING,
        GroupNeed::TooLarge => HINT,
        GroupNeed::Fine => PLAIN,
        GroupNeed::NobodyReads | GroupNeed::NoLag => DIM,
    }
}

fn enough_style(it: &Recommendation) -> anstyle::Style {
    match (it.need, it.enough.bound, it.replica_difference) {
        (GroupNeed::Fine, EnoughBound::Exact, Some(0)) => GOOD,
        (need, _, _) => style(need),
    }
}

/// What all of them need, in a line.
pub(super) fn summary(recommendations: &[Recommendation], cost: Option<ReplicaCost>) -> String {
    let count = |need: GroupNeed| recommendations.iter().filter(|it| it.need == need).count();
    let difference = |need: GroupNeed| {
        let of_need = recommendations.iter().filter(|it| it.need == need);
        let all: i64 = of_need.filter_map(|it| it.replica_difference).sum();
        let cost = cost.map(|cost| format!(", {} a month", cost.per_month(all))).unwrap_or_default();
        let plural = if all.abs() == 1 { "replica" } else { "replicas" };
        let is_bound = |it: &Recommendation| it.need == need && it.enough.bound == EnoughBound::AtLeast;
        let at_least = if recommendations.iter().any(is_bound) { "at least " } else { "" };
        if all == 0 { String::new() } else { format!(" ({at_least}{all:+} {plural}{cost})") }
    };
    let partitions = |count: usize| if count == 1 { "partition" } else { "partitions" };
    let parts: Vec<String> = [
        (GroupNeed::Short, format!("short{}", difference(GroupNeed::Short))),
        (GroupNeed::TooLarge, format!("too large{}", difference(GroupNeed::TooLarge))),
        (GroupNeed::HotPartition, format!("hot {}", partitions(count(GroupNeed::HotPartition)))),
        (GroupNeed::StuckPartition, format!("stuck {}", partitions(count(GroupNeed::StuckPartition)))),
        (GroupNeed::NotKnown, "not known".to_owned()),
        (GroupNeed::Fine, "fine".to_owned()),
        (GroupNeed::NobodyReads, "read by nobody".to_owned()),
        (GroupNeed::NoLag, "without a lag".to_owned()),
        (GroupNeed::Unreadable, "unreadable".to_owned()),
    ]
    .into_iter()
    .filter(|(need, _)| count(*need) > 0)
    .map(|(need, text)| format!("{} {}", grouped(count(need) as u64), paint(style(need), &text)))
    .collect();
    let groups = if recommendations.len() == 1 { "group" } else { "groups" };
    format!("{} {groups}: {}\n", grouped(recommendations.len() as u64), parts.join(", "))
}

/// The groups as a table for a document.
pub(super) fn markdown(recommendations: &[&Recommendation], layout: TableLayout) -> String {
    let all = columns_of(layout);
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(all.iter().map(|column| column.title).chain(["WHY"]));
    for it in recommendations {
        let cells = all.iter().map(|column| (column.text)(it, &layout)).chain([it.why.clone()]);
        table.add_row(cells.map(|text| text.replace('|', "\\|")));
    }
    format!("{table}\n")
}

/// The groups as lines of a table that programs read.
pub(super) fn csv(recommendations: &[&Recommendation]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for it in recommendations {
        writer.serialize(CsvRow::of(it))?;
    }
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("Can't write CSV: {error}"))?;
    Ok(String::from_utf8(bytes)?)
}

/// A line of CSV; what is not known is empty.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CsvRow<'r> {
    namespace: Option<&'r str>,
    name: &'r str,
    bootstrap_servers: &'r str,
    consumer_group: &'r str,
    kind: GroupKind,
    need: GroupNeed,
    lag_records: Option<u64>,
    lag_complete: bool,
    time_lag_seconds: Option<f64>,
    arrival_records_per_second: Option<f64>,
    consumption_records_per_second: Option<f64>,
    partition_count: Option<u32>,
    members: Option<usize>,
    current_replicas: Option<u32>,
    now_replicas: Option<u32>,
    enough_replicas: Option<u32>,
    enough_bound: EnoughBound,
    enough_basis: EnoughBasis,
    replica_difference: Option<i64>,
    cost_difference_per_hour: Option<f64>,
    why: &'r str,
    source: Option<&'r str>,
}

impl<'r> CsvRow<'r> {
    fn of(it: &'r Recommendation) -> Self {
        let decision = &it.decision;
        Self {
            namespace: it.namespace.as_deref(),
            name: &it.name,
            bootstrap_servers: &it.bootstrap_servers,
            consumer_group: &decision.consumer_group,
            kind: decision.group.kind,
            need: it.need,
            lag_records: decision.lag.total_records,
            lag_complete: decision.lag.is_exact(),
            time_lag_seconds: decision.time_lag.map(|age| age.seconds),
            arrival_records_per_second: decision.model.arrival_rate.map(|rate| rate.0),
            consumption_records_per_second: decision.model.consumption_rate.map(|rate| rate.0),
            partition_count: it.partition_count,
            members: decision.group.members,
            current_replicas: decision.current_replicas.map(|current| current.0),
            now_replicas: it.has_replicas().then_some(decision.desired_replicas.0),
            enough_replicas: it.enough.replicas.map(|enough| enough.0),
            enough_bound: it.enough.bound,
            enough_basis: it.enough.basis,
            replica_difference: it.replica_difference,
            cost_difference_per_hour: it.cost_difference_per_hour,
            why: &it.why,
            source: decision.source.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_short;

    #[test]
    fn a_large_number_is_short_and_never_more_than_it_is() {
        for (number, text) in [
            (999, "999"),
            (1_000, "1.0k"),
            (99_999, "99k"),
            (1_109_832, "1.1M"),
            (12_345_678, "12M"),
            (999_999_999, "999M"),
            (u64::MAX, "18,446,744T"),
        ] {
            assert_eq!(in_short(number), text);
        }
    }
}
