//! One line of the log and one number for everything that a provider answers to a renewal, a probe or a dataset.
//!
//! What it means is [`crate::provider`]'s to say, what becomes of it [`super::findings`]'. A line names ids and no secret;
//! it is told at level `info` unless all is well.

use std::time::Duration;

use entity::Endpoint;
use uuid::Uuid;

use super::{Connections, checks::Look};
use crate::{
    ids::Kind,
    provider::{Failure, Rejection},
};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Renewal,
    /// Does the authorization work?
    Probe,
    /// Does the account of this connection answer?
    Account(Uuid),
    /// What are the rows that a dataset asks of this connection?
    Rows(Uuid),
}

impl Asked {
    /// What pauses when it asks to wait.
    fn endpoint(self) -> Endpoint {
        match self {
            Self::Renewal => Endpoint::Token,
            Self::Probe | Self::Account(_) | Self::Rows(_) => Endpoint::Api,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Renewal => "renewal",
            Self::Probe => "probe",
            Self::Account(_) => "account",
            Self::Rows(_) => "rows",
        }
    }
}

impl Connections {
    /// Logs and counts an answer that took `took`, and notes where it says to wait.
    pub(super) async fn heard<T>(
        &self,
        look: &Look,
        asked: Asked,
        answer: &Result<T, Failure>,
        took: Duration,
    ) -> crate::error::Result<()> {
        self.note_verdict(look, asked, answer, took);
        match answer {
            Err(Failure::Transient { retry_after: Some(wait), .. }) => {
                self.note_told_to_wait(&look.row, asked.endpoint(), *wait).await
            }
            _ => Ok(()),
        }
    }

    fn note_verdict<T>(&self, look: &Look, asked: Asked, answer: &Result<T, Failure>, took: Duration) {
        let verdict = answer.as_ref().map_or_else(word, |_| "works");
        self.providers.answered(&look.connector.slug, asked.name(), verdict, took);
        let connection = match asked {
            Asked::Account(connection) | Asked::Rows(connection) => Some(Kind::Connection.of(connection)),
            Asked::Renewal | Asked::Probe => None,
        };
        let (retry_after, why) = match answer {
            Err(Failure::Transient { retry_after, what, .. }) => (*retry_after, Some(what.as_str())),
            Ok(_) | Err(Failure::Rejected(_) | Failure::OurClientRejected) => (None, None),
        };
        let (row, connector, job) = (&look.row, &look.connector.slug, look.occasion.name());
        let (asked, took_ms) = (asked.name(), took.as_millis());
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    workspace = %Kind::Workspace.of(row.workspace_id),
                    authorization = %Kind::Authorization.of(row.id),
                    connection = connection.map(tracing::field::display),
                    connector,
                    asked,
                    verdict,
                    why,
                    retry_after = retry_after.map(|wait| wait.as_secs()),
                    job,
                    took_ms,
                    "a provider answered"
                )
            };
        }
        if answer.is_ok() { line!(debug) } else { line!(info) }
    }
}

/// What a failure is called in numbers and in the log.
fn word(failure: &Failure) -> &'static str {
    match failure {
        Failure::Transient { .. } => "transient",
        Failure::OurClientRejected => "our_client_rejected",
        Failure::Rejected(Rejection::InvalidGrant) => "invalid_grant",
        Failure::Rejected(Rejection::Unauthorized) => "unauthorized",
        Failure::Rejected(Rejection::Forbidden) => "forbidden",
        Failure::Rejected(Rejection::Missing) => "missing",
    }
}
