//! What the page of one ScaledConsumer shows once for each source: of a single one without a name, and of several each under
//! its name.

use std::borrow::Cow;

use maud::{Markup, html};

use super::view::{ConsumerView, MemberView, SourceView};
use crate::core::{DecisionView, Decisions, Explanation, Finding, explain};
use crate::registry::Entry;

/// One source.
pub(super) struct PagePart<'v> {
    name: Option<&'v str>,
    pub(super) decision: Option<&'v DecisionView>,
    pub(super) explanation: Option<Cow<'v, Explanation>>,
    pub(super) members: Option<&'v [MemberView]>,
    pub(super) findings: &'v [Finding],
}

impl<'v> PagePart<'v> {
    /// All of them; `explanation`: of the decision that is acted on.
    pub(super) fn of_all(entry: &'v Entry, view: &'v ConsumerView, explanation: Option<&'v Explanation>) -> Vec<Self> {
        let decisions = entry.snapshot.as_ref().and_then(|snapshot| snapshot.decisions());
        let mut findings = decisions.into_iter().flat_map(Decisions::all).map(|decision| &decision.findings[..]);
        let mut findings = || findings.next().unwrap_or_default();
        if view.sources.is_empty() {
            return vec![Self {
                name: None,
                decision: view.decision.as_ref(),
                explanation: explanation.map(Cow::Borrowed),
                members: view.members.as_deref(),
                findings: findings(),
            }];
        }
        let part = |source: &'v SourceView| Self {
            name: Some(&source.name),
            decision: source.decision.as_ref(),
            explanation: source.decision.as_ref().map(explain).map(Cow::Owned),
            members: source.members.as_deref(),
            findings: findings(),
        };
        view.sources.iter().map(part).collect()
    }

    /// Its heading; none where it is the only one.
    pub(super) fn title(&self) -> Markup {
        html! { @if let Some(name) = self.name { h3 { "Source " (name) } } }
    }

    /// The id of an element that each of them has.
    pub(super) fn id(&self, of: &str) -> String {
        self.name.map_or_else(|| of.to_owned(), |name| format!("{of}-{name}"))
    }
}
