//! The partitions of one ScaledConsumer, and the members of its group that hold them.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::charts::{Bar, bars};
use super::layout::{UNKNOWN, records, text_table};
use super::part::PagePart;
use super::view::{HeldPartition, MemberView};
use crate::core::{Finding, PartitionView, TextTable, grouped, printable};

/// Bars that are drawn; more of them are too thin to be seen.
const MAX_BARS: usize = 400;
/// Members that are listed: a few screens.
const MAX_MEMBERS: usize = 200;
/// Partitions of a member that are listed.
const MAX_HELD: usize = 100;

/// What is found of a partition, by its topic and number.
fn found(findings: &[Finding]) -> BTreeMap<String, &'static str> {
    findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::HotPartition { partition, .. }
            | Finding::StuckPartition { partition, .. }
            | Finding::PartitionWithoutCommit { partition, .. }
            | Finding::PartitionWithoutLeader { partition, .. }
            | Finding::OpenTransaction { partition, .. }
            | Finding::RetentionRisk { partition, .. } => Some((partition.clone(), finding.name())),
            Finding::NobodyInGroup { .. }
            | Finding::MemberCountDiffers { .. }
            | Finding::CapacityUnknown
            | Finding::ThroughputCeiling { .. }
            | Finding::ObjectiveUnreachable { .. }
            | Finding::ObjectiveTooShort { .. }
            | Finding::CommitsStandStill { .. }
            | Finding::CommitsRare { .. }
            | Finding::DataIncomplete { .. }
            | Finding::RescaleTimeout { .. }
            | Finding::GhostMembers { .. }
            | Finding::AbandonedTopics { .. }
            | Finding::TopicsNotAssigned { .. }
            | Finding::RepartitionTopicsIgnored { .. }
            | Finding::ThreadsPerReplicaDiffers { .. } => None,
        })
        .collect()
}

/// The partitions of one ScaledConsumer, of each source.
pub(super) fn partitions(parts: &[PagePart<'_>]) -> Markup {
    html! {
        section #partitions aria-label="Partitions" {
            h2 { "Partitions" }
            @for part in parts { (part.title()) (partitions_of(part)) }
        }
    }
}

/// As bars, and the worst of them as a table.
fn partitions_of(part: &PagePart<'_>) -> Markup {
    let all = part.decision.and_then(|decision| decision.lag.partitions.as_deref()).unwrap_or_default();
    let found = found(part.findings);
    let holders = holders(part);
    let held = |partition: &PartitionView| {
        let holder = holders.get(&(partition.topic.as_str(), partition.partition));
        holder.map_or(String::new(), |holder| format!(", held by {holder}"))
    };
    let bar = |partition: &PartitionView| {
        let place = format!("{}/{}", printable(&partition.topic), partition.partition);
        let finding = found.get(&place).or_else(|| found.get(&format!("{}/{}", partition.topic, partition.partition)));
        let at_least = if partition.is_lower_bound { ">=" } else { "" };
        let lag = partition.lag_records.map_or(UNKNOWN.to_owned(), |lag| format!("{at_least}{}", records(lag as f64)));
        let (class, note) = match (finding, &partition.unknown, &partition.note) {
            (Some(finding), _, _) => ("found", format!(", {finding}")),
            (None, Some(why), _) => ("unknown", format!(", {why}")),
            (None, None, Some(note)) => ("odd", format!(", {note}")),
            (None, None, None) => ("plain", String::new()),
        };
        Bar {
            value: partition.lag_records.map(|lag| lag as f64),
            class,
            title: format!("{place}: lag {lag}{note}{}", held(partition)),
        }
    };
    let drawn: Vec<Bar> = all.iter().take(MAX_BARS).map(bar).collect();
    let highest = all.iter().filter_map(|partition| partition.lag_records).max();
    let unknown = all.iter().filter(|partition| partition.lag_records.is_none()).count();
    let label = format!(
        "Lag of each partition: {} partitions, the highest lag is {}, {unknown} are not known",
        all.len(),
        highest.map_or(UNKNOWN.to_owned(), |lag| records(lag as f64))
    );
    html! {
        @if let Some(explanation) = part.explanation.as_deref().filter(|_| !all.is_empty()) {
            @if !found.is_empty() {
                ul.found { @for (partition, finding) in &found { li { strong { (printable(partition)) } " " (finding) } } }
            }
            (bars(&drawn, &label))
            p.note {
                "From the first to the last partition, the highest bar is a lag of "
                (highest.map_or(UNKNOWN.to_owned(), |lag| records(lag as f64))) "."
                @if unknown > 0 { " Dashed ones are not known." }
                @if all.len() > MAX_BARS { " The first " (MAX_BARS) " of " (all.len()) " are drawn." }
            }
            (text_table(&part.id("partitions-scroll"), "The partitions that matter most", &with_holders(&explanation.partitions, &holders, part.members.is_some()), |_| None))
            @if let Some(more) = &explanation.more_partitions { p.note { (more) } }
        } @else {
            p.empty { "No partition has been read." }
        }
    }
}

/// Who holds each partition, by topic and number. A member is called by its number in the table of the members.
type Holders<'v> = BTreeMap<(&'v str, i32), String>;

fn holders<'v>(part: &PagePart<'v>) -> Holders<'v> {
    let members = part.members.into_iter().flatten().enumerate();
    let held = members.flat_map(|(i, member)| {
        let called = format!("{}: {}", i + 1, name(member));
        member.partitions.iter().map(move |it| ((it.topic.as_str(), it.partition), called.clone()))
    });
    held.collect()
}

/// What people know a member by: the client's own name, and where it connects from.
fn name(member: &MemberView) -> String {
    let host = member.host.trim_start_matches('/');
    format!("{} {}", printable(&member.client_id), printable(host))
}

/// The table of the partitions with who holds each.
fn with_holders(table: &TextTable, holders: &Holders<'_>, are_members_known: bool) -> TextTable {
    let holders: BTreeMap<(String, String), &String> = holders
        .iter()
        .map(|((topic, partition), holder)| ((printable(topic).to_string(), partition.to_string()), holder))
        .collect();
    let nobody = if are_members_known { "nobody" } else { UNKNOWN };
    let mut table = table.clone();
    // Before the note, which has no name.
    let column = table.header.len() - 1;
    table.header.insert(column, "HELD BY");
    for row in &mut table.rows {
        let holder = holders.get(&(row[0].clone(), row[1].clone()));
        row.insert(column, holder.map_or(nobody, |holder| holder.as_str()).to_owned());
    }
    table
}

/// The lag of each partition, by topic and number, and whether it is a lower bound.
type Lags<'v> = BTreeMap<(&'v str, i32), (Option<u64>, bool)>;

/// The members of the groups, with the partitions and the lag of each.
pub(super) fn members(parts: &[PagePart<'_>]) -> Markup {
    html! {
        section #members aria-label="Members" {
            h2 { "Members" }
            @for part in parts { (part.title()) (members_of(part)) }
        }
    }
}

fn members_of(part: &PagePart<'_>) -> Markup {
    let all = part.decision.and_then(|decision| decision.lag.partitions.as_deref()).unwrap_or_default();
    let lags: Lags<'_> =
        all.iter().map(|it| ((it.topic.as_str(), it.partition), (it.lag_records, it.is_lower_bound))).collect();
    html! {
        @match part.members {
            None => { p.empty { "The group's members are not known." } }
            Some([]) => { p.empty { "The group has no members." } }
            Some(members) => {
                div.scroll id=(part.id("members-scroll")) tabindex="0" role="region" aria-label="Members" {
                    table {
                        caption { "The members of the consumer group, and what each holds" }
                        thead { tr {
                            th.number scope="col" { "No." } th scope="col" { "Client" } th scope="col" { "From" }
                            th.number scope="col" { "Lag" } th scope="col" { "Partitions" }
                        } }
                        tbody { @for (i, member) in members.iter().take(MAX_MEMBERS).enumerate() { tr {
                            td.number { (i + 1) }
                            th scope="row" title=(printable(&member.member_id)) { (printable(&member.client_id)) }
                            td { (printable(member.host.trim_start_matches('/'))) }
                            td.number { (lag_of(member, &lags)) }
                            td.sentence { (held_by(member)) }
                        } } }
                    }
                }
                @if members.len() > MAX_MEMBERS { p.note { "and " (members.len() - MAX_MEMBERS) " members more" } }
            }
        }
    }
}

/// The lag of what a member holds: `900`, `>=900` where some of it is not known, `?` where nothing is.
fn lag_of(member: &MemberView, lags: &Lags<'_>) -> String {
    let lag = |held: &HeldPartition| lags.get(&(held.topic.as_str(), held.partition)).copied().unwrap_or((None, true));
    let lags: Vec<(Option<u64>, bool)> = member.partitions.iter().map(lag).collect();
    let known: Vec<u64> = lags.iter().filter_map(|(lag, _)| *lag).collect();
    if known.is_empty() && !lags.is_empty() {
        return UNKNOWN.to_owned();
    }
    let is_lower_bound = known.len() < lags.len() || lags.iter().any(|(_, is_lower_bound)| *is_lower_bound);
    let at_least = if is_lower_bound { ">=" } else { "" };
    format!("{at_least}{}", grouped(known.into_iter().fold(0, u64::saturating_add)))
}

/// `orders 0, 3, 6`, topic by topic.
fn held_by(member: &MemberView) -> String {
    let mut by_topic: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for held in member.partitions.iter().take(MAX_HELD) {
        by_topic.entry(&held.topic).or_default().push(held.partition.to_string());
    }
    let mut texts: Vec<String> =
        by_topic.iter().map(|(topic, numbers)| format!("{} {}", printable(topic), numbers.join(", "))).collect();
    if member.partitions.len() > MAX_HELD {
        texts.push(format!("and {} more", member.partitions.len() - MAX_HELD));
    }
    if texts.is_empty() { "none".to_owned() } else { texts.join("; ") }
}
