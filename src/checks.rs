//! What `paceline doctor` finds: rows, each with what was looked at, how it is, and what to do. It knows nothing of what
//! is looked at: whoever knows a part of the world makes the rows about it.

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be looked at, or does not matter here.
    Skipped,
}

impl Verdict {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Warning => "Warning",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was looked at, in a few words.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, in a sentence.
    pub text: String,
    /// What to do, where something is to be done.
    pub todo: Option<String>,
}

impl Row {
    /// A row without anything to do.
    pub fn new(check: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { check, verdict, text: text.into(), todo: None }
    }

    /// The same with what to do.
    pub fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}
