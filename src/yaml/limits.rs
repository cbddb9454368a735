//! Limits of one YAML file. A small file can stand for much, by aliases and nesting.

use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{MergeKeyPolicy, NonFiniteFloatPolicy, Options};

/// Size of a file, in bytes. Larger than any manifest or configuration by far; keeps a wrong path (a log, a device) from
/// filling the memory.
pub(super) const MAX_BYTES: u64 = 16 << 20;
/// Documents of a file: as many ScaledConsumers as one controller carries, with a Deployment beside each.
const MAX_DOCUMENTS: usize = 10_000;
/// Keys and values of a file. 3,000 ScaledConsumers without their status have about 200,000; half a million take about
/// 50 MB for as long as the file is read.
const MAX_NODES: usize = 500_000;
/// Levels of nesting. `managedFields` of an item of a list have about 15; each level takes stack while it is read.
const MAX_DEPTH: usize = 32;
/// Anchors and aliases of a file. They are rare, and written by hand.
const MAX_ALIASES: usize = 1_000;
/// What aliases of a file stand for, in keys and values: each alias of a large part counts all of it.
const MAX_ALIASED_NODES: usize = 100_000;

/// How text is parsed, within the limits.
pub(super) fn options() -> Options {
    let bytes = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            // A collection has a start and an end, and a document has both as well.
            max_events: 2 * MAX_NODES + 2 * MAX_DOCUMENTS,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_ALIASED_NODES,
            max_recorded_anchor_bytes: bytes,
            // Counts what aliases stand for each time.
            max_total_scalar_bytes: bytes,
            // MAX_ALIASES is the limit: files may use a few anchors often.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED_NODES,
        },
        merge_keys: MergeKeyPolicy::Error,
        // YAML 1.2, as Kubernetes' own documents are written: `yes` and `1_000` are text.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        ignore_binary_tag_for_string: true,
        // Excerpts are made here, because the library's would show secrets.
        with_snippet: false,
    }
}

/// Whether a text is refused because it is more than is read of one file.
pub(super) fn is_exceeded(error: &serde_saphyr::Error) -> bool {
    use serde_saphyr::Error::{
        AliasError, AliasExpansionLimitExceeded, AliasReplayLimitExceeded, AliasReplayStackDepthExceeded, Budget,
    };
    match error.without_snippet() {
        AliasError { error, .. } => is_exceeded(error),
        Budget { .. }
        | AliasReplayLimitExceeded { .. }
        | AliasExpansionLimitExceeded { .. }
        | AliasReplayStackDepthExceeded { .. } => true,
        _ => false,
    }
}

/// The documents of a text as they are written, each from its marker on. Of more than are read of one file the last has the
/// rest.
pub(super) fn documents_of(text: &str) -> Vec<&str> {
    let is_marker = |at: &usize| {
        let rest = text.get(at + 4..).unwrap_or_default();
        rest.is_empty() || rest.starts_with(char::is_whitespace)
    };
    // A line that begins so is a marker everywhere, in a text of several lines as well.
    let markers = text.match_indices("\n---").map(|(at, _)| at).filter(is_marker).map(|at| at + 1);
    let mut starts: Vec<usize> = [0].into_iter().chain(markers.take(MAX_DOCUMENTS - 1)).collect();
    starts.push(text.len());
    starts.windows(2).filter_map(|pair| text.get(pair[0]..pair[1])).collect()
}

/// Which limit is exceeded, and what to do.
pub(super) fn explain(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Documents { .. } => format!("more than {MAX_DOCUMENTS} documents; split the file"),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("more than {MAX_NODES} keys and values; split the file")
        }
        BudgetBreach::Depth { .. } => format!("nested more than {MAX_DEPTH} levels deep"),
        BudgetBreach::ScalarBytes { .. } => {
            format!("more than {} MiB, with what its aliases stand for; split the file", MAX_BYTES >> 20)
        }
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::RecordedAnchorEvents { .. }
        | BudgetBreach::RecordedAnchorBytes { .. } => ALIASES.to_owned(),
        _ => "more than is read of one file".to_owned(),
    }
}

/// Aliases that stand for too much.
pub(super) const ALIASES: &str =
    "its aliases (*name) stand for more than is read of one file; write out what they stand for";
