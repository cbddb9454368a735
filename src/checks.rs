//! What `paceline doctor` prints: rows, each with what was checked, the result, and what to do. The checks themselves are
//! elsewhere.

use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CheckResult {
    /// All is well.
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be checked, or does not matter here.
    Skipped,
}

impl CheckResult {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Warning => "Warning",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was checked, in a few words.
    pub check: &'static str,
    /// What it was checked on, where there may be several: a Kafka cluster, or a ScaledConsumer as NAMESPACE/NAME.
    pub object: Option<String>,
    /// The result.
    pub verdict: CheckResult,
    /// What was found, in a sentence.
    pub text: String,
    /// What to do, if anything.
    pub todo: Option<String>,
}

impl Row {
    /// A row without anything to do.
    pub fn new(check: &'static str, verdict: CheckResult, text: impl Into<String>) -> Self {
        Self { check, object: None, verdict, text: text.into(), todo: None }
    }

    /// The same with what it was checked on.
    pub fn about(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// The same with what to do.
    pub fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}
