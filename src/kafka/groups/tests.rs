//! What is kept of a group from cycle to cycle.

use super::*;

/// A group with these sub-topologies: their ids, and the topics that they read.
fn described(shown: &[(&str, &[&str])]) -> DescribedGroup {
    let subtopologies = shown.iter().map(|(id, topics)| SubtopologySources {
        subtopology: (*id).to_owned(),
        topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
        is_stateful: None,
    });
    let group = GroupDescription {
        state: GroupState::Stable,
        assignor: Some("stream".to_owned()),
        members: Vec::new(),
        subtopologies: subtopologies.collect(),
    };
    DescribedGroup { group, kind: GroupKind::ClassicStreams, protocol: Some(GroupProtocol::Classic) }
}

#[test]
fn sub_topologies_whose_tasks_are_between_two_members_are_kept() {
    type Shown<'a> = &'a [(&'a str, &'a [&'a str])];
    const ALL: Shown<'_> = &[("0", &["left", "right"]), ("1", &["app-x-repartition"])];
    let start = Instant::now();
    // Seconds, what the assignments show, what counts.
    let rows: &[(u64, Shown<'_>, Shown<'_>, &str)] = &[
        (0, ALL, ALL, "all"),
        (1, &[("0", &["left", "right"])], ALL, "tasks of one move"),
        (9, &[("0", &["left", "right"])], ALL, "many polls of one second later"),
        (10, &[("1", &["app-x-repartition"])], ALL, "those of the other do"),
        (11, &[("0", &["left"]), ("1", &["app-x-repartition"])], ALL, "tasks of one topic do"),
        (12, &[], ALL, "nothing is assigned"),
        (200, &[], ALL, "and stays so"),
        (201, &[("0", &["left"])], ALL, "another version"),
        (320, &[("0", &["left"])], ALL, "whose tasks may still move"),
        (321, &[("0", &["left"])], &[("0", &["left"])], "and have settled"),
        (322, ALL, ALL, "back to the first"),
    ];
    let mut known = CachedGroup::new();
    for (cycle, (seconds, shown, counts, why)) in (1..).zip(rows) {
        let now = start + Duration::from_secs(*seconds);
        let seen = described(shown);
        known.describe(seen.clone(), cycle, now);
        let kept = known.keep_subtopologies(seen.group, GroupKind::ClassicStreams, now);
        assert_eq!(kept, described(counts).group, "{seconds} s: {why}");
    }
}

#[test]
fn state_that_a_classic_application_has_shown_is_kept() {
    use GroupKind::{ClassicStreams, Streams};
    let start = Instant::now();
    // The kind, what is shown a minute apart each, what counts.
    type States<'a> = &'a [Option<bool>];
    let rows: [(GroupKind, States<'_>, States<'_>); 4] = [
        (
            ClassicStreams,
            &[None, Some(true), None, None, None],
            &[None, Some(true), Some(true), Some(true), Some(true)],
        ),
        (ClassicStreams, &[Some(false), None, None, None], &[Some(false), Some(false), Some(false), Some(false)]),
        (ClassicStreams, &[Some(false), Some(true), Some(false)], &[Some(false), Some(true), Some(true)]),
        // The broker has the topology itself, and it is another one from then on.
        (
            Streams,
            &[Some(true), Some(false), Some(false), Some(false)],
            &[Some(true), Some(true), Some(true), Some(false)],
        ),
    ];
    for (kind, shown, counts) in rows {
        let mut known = CachedGroup::new();
        let mut kept = Vec::new();
        for (cycle, is_stateful) in (1..).zip(shown) {
            let now = start + Duration::from_secs(60 * cycle);
            let mut seen = described(&[("0", &["left"])]);
            seen.group.subtopologies[0].is_stateful = *is_stateful;
            known.describe(seen.clone(), cycle, now);
            // Described with every third poll only.
            known.keep_subtopologies(seen.group.clone(), kind, now);
            kept.push(known.keep_subtopologies(seen.group, kind, now).subtopologies[0].is_stateful);
        }
        assert_eq!(kept, counts, "{kind}: {shown:?}");
    }
}
