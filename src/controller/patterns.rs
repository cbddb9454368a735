//! Limits the memory that the topic patterns of one namespace take, so that no tenant uses up the controller's.

use std::collections::HashMap;

use crate::core::{GroupQuery, TopicSelection};

/// Limit of the compiled patterns of one namespace, in bytes: 20 of the largest, or hundreds of usual ones. The manifests
/// give the controller 256 MiB.
const MAX_NAMESPACE_BYTES: usize = 1 << 20;

/// Whether the patterns of one more ScaledConsumer of `namespace`, by its queries, fit beside those of the others. The same
/// text counts once, as it is compiled once.
pub(super) fn check<'q>(
    namespace: &str,
    queries: impl Iterator<Item = &'q GroupQuery> + Clone,
    others: impl Iterator<Item = &'q GroupQuery>,
) -> Result<(), String> {
    let of = |query: &'q GroupQuery| {
        let topics = match &query.topics {
            TopicSelection::Pattern(pattern) => Some(pattern),
            TopicSelection::Named(_) | TopicSelection::OfGroup => None,
        };
        topics.into_iter().chain(&query.exclude)
    };
    if queries.clone().flat_map(of).next().is_none() {
        return Ok(());
    }
    let mut texts: HashMap<&str, usize> =
        others.flat_map(of).map(|pattern| (pattern.as_str(), pattern.memory())).collect();
    let before = texts.len();
    texts.extend(queries.flat_map(of).map(|pattern| (pattern.as_str(), pattern.memory())));
    let all: usize = texts.values().sum();
    if texts.len() == before || all <= MAX_NAMESPACE_BYTES {
        return Ok(());
    }
    Err(format!(
        "spec.kafka: the topic patterns of namespace \"{namespace}\" would take {} KiB when compiled, of {} KiB that are allowed; write simpler patterns, or use the same one in several ScaledConsumers",
        all >> 10,
        MAX_NAMESPACE_BYTES >> 10
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{IsolationLevel, Pattern};

    fn query(topics: &str, exclude: Option<&str>) -> GroupQuery {
        let pattern = |text: &str| Pattern::new(text).expect("valid");
        GroupQuery {
            group: "orders".to_owned(),
            topics: TopicSelection::Pattern(pattern(topics)),
            exclude: exclude.map(pattern),
            partitions: None,
            isolation: IsolationLevel::default(),
        }
    }

    /// How many of these are followed, one after the other.
    fn followed(queries: impl Iterator<Item = GroupQuery>) -> usize {
        let mut all: Vec<GroupQuery> = Vec::new();
        for query in queries {
            if check("shop", std::iter::once(&query), all.iter()).is_ok() {
                all.push(query);
            }
        }
        all.len()
    }

    #[test]
    fn a_namespace_has_room_for_hundreds_of_patterns_and_not_for_many_large_ones() {
        let usual = |i: usize| query(&format!("team-{i}\\.(orders|bills)\\..*"), Some(r".*\.(dlq|retry)"));
        assert_eq!(followed((0..300).map(usual)), 300);
        let large = |i: usize| query(&format!("t{i}-[a-f]{{300}}(x|y[0-9]){{100}}"), None);
        let most = followed((0..200).map(large));
        assert!((20..120).contains(&most), "{most}");
        assert_eq!(followed((0..200).map(|_| large(7))), 200, "the same text is kept once");

        let full: Vec<_> = (0..most).map(large).collect();
        let error = check("shop", std::iter::once(&large(most)), full.iter()).expect_err("full");
        assert!(error.starts_with("spec.kafka: the topic patterns of namespace \"shop\" would take 10"), "{error}");
        assert_eq!(check("shop", std::iter::once(&large(0)), full.iter()), Ok(()), "one that is there already");
    }
}
