//! What is wrong with a setting, in the operator's words.

use std::fmt;

use super::layers::variable;

/// What is wrong with one setting, and what to do. Shows no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct Problem {
    setting: String,
    message: String,
}

impl Problem {
    /// Something is wrong with the setting `key` (`encryption_keys`); `message` must not repeat its value.
    pub fn new(key: &str, message: impl fmt::Display) -> Self {
        Self::about(variable(key), message)
    }

    /// Something is wrong with what the operator knows as `setting`.
    pub(super) fn about(setting: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { setting: setting.into(), message: message.to_string() }
    }
}

/// All that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// Something odd that is no reason not to start, to be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Warning(pub(super) String);
