//! Collecting what is wrong with a configuration.

use std::net::SocketAddr;
use std::path::Path;

use crate::core::{check_label_name, check_object_name};
use crate::yaml::{Document, Invalid, Problem, path};

/// Collects every problem, so that a file is mended in one go.
pub(super) struct ConfigurationCheck<'a> {
    document: &'a Document<'a>,
    problems: Vec<Problem>,
}

impl<'a> ConfigurationCheck<'a> {
    pub(super) fn new(document: &'a Document<'a>) -> Self {
        Self { document, problems: Vec::new() }
    }

    /// The configuration, unless something is wrong with it.
    pub(super) fn result<T>(self, configuration: T) -> Result<T, Invalid> {
        if self.problems.is_empty() { Ok(configuration) } else { Err(Invalid(self.problems)) }
    }

    pub(super) fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(self.document.problem(&path(field), message.into()));
    }

    pub(super) fn object_name(&mut self, field: &str, name: &str) {
        if let Err(why) = check_object_name(name) {
            self.wrong(field, why);
        }
    }

    pub(super) fn label_name(&mut self, field: &str, name: &str) {
        if let Err(why) = check_label_name(name) {
            self.wrong(field, why);
        }
    }

    pub(super) fn absolute(&mut self, field: &str, file: &Path) {
        if !file.is_absolute() {
            self.wrong(field, "must be an absolute path");
        }
    }

    /// An address to listen on.
    pub(super) fn listen(&mut self, field: &str, text: Option<String>, default: SocketAddr) -> SocketAddr {
        let Some(text) = text else { return default };
        text.parse().unwrap_or_else(|_| {
            self.wrong(field, format!("\"{text}\" is no address to listen on; write for example \"{default}\""));
            default
        })
    }
}
