//! What a provider calls it: `[[auth.answer]]` and `[[api.answer]]`, the rows in which a connector's file says what an answer
//! of its provider means. They go before all that this server knows of answers by itself.

use serde_json::Value;

use super::{check, connector::Pattern, connector::Pointer, pointer, section::Section};

/// An answer as a row describes it.
#[derive(Debug, Clone)]
pub struct KnownAnswer {
    /// None: whatever the status is.
    status: Option<u16>,
    /// What stands at a place of the body; none: whatever the body is.
    said: Option<(Pointer, Said)>,
    pub means: AnswerMeans,
}

#[derive(Debug, Clone)]
enum Said {
    /// This text, number or word.
    Value(String),
    Pattern(Pattern),
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerMeans {
    /// The credential is not accepted any more, and nothing but a person helps.
    Rejected,
    /// The token has ended: a fresh one helps, where there is one to be had.
    Renew,
    /// The credential is accepted, and may not read this.
    AccessLost,
    /// It passes by itself.
    Transient,
    /// This server's own OAuth client, or what belongs to it, is not accepted.
    OurClient,
}

const TOKEN_MEANS: [(&str, AnswerMeans); 3] = [
    ("rejected", AnswerMeans::Rejected),
    ("transient", AnswerMeans::Transient),
    ("our_client", AnswerMeans::OurClient),
];
const API_MEANS: [(&str, AnswerMeans); 5] = [
    ("rejected", AnswerMeans::Rejected),
    ("renew", AnswerMeans::Renew),
    ("access_lost", AnswerMeans::AccessLost),
    ("transient", AnswerMeans::Transient),
    ("our_client", AnswerMeans::OurClient),
];

impl KnownAnswer {
    /// Whether an answer is the one that the row describes. `body`: none where it is not JSON.
    pub fn is(&self, status: u16, body: Option<&Value>) -> bool {
        let said = |(at, said): &(Pointer, Said)| {
            let found = body.and_then(|body| pointer::one(body, at)).and_then(pointer::text);
            found.is_some_and(|found| match said {
                Said::Value(value) => found == *value,
                Said::Pattern(pattern) => pattern.matches(&found),
            })
        };
        self.status.is_none_or(|known| known == status) && self.said.as_ref().is_none_or(said)
    }
}

/// The rows of the token endpoint.
pub(super) fn of_tokens(section: &Section<'_>) -> Vec<KnownAnswer> {
    rows(section, &TOKEN_MEANS)
}

/// The rows of the API: of identity, accounts, probes and rows.
pub(super) fn of_api(section: &Section<'_>) -> Vec<KnownAnswer> {
    rows(section, &API_MEANS)
}

fn rows(section: &Section<'_>, means: &[(&str, AnswerMeans)]) -> Vec<KnownAnswer> {
    section.sections("answer").into_iter().filter_map(|row| known_answer(row, means)).collect()
}

fn known_answer(row: Section<'_>, words: &[(&str, AnswerMeans)]) -> Option<KnownAnswer> {
    row.require_one(&["status", "pointer"]);
    let status = row.count("status");
    let status = status.map(u16::try_from).map(|status| {
        let known = status.ok().filter(|status| (200..=599).contains(status));
        if known.is_none() {
            row.fault("status", &row.key_span("status"), "a status is 200 to 599");
        }
        known
    });
    let at = row.parse("pointer", check::member_pointer);
    let value = row.scalar("value");
    let pattern = row.parse("pattern", Pattern::parse);
    for key in ["value", "pattern"].into_iter().filter(|key| row.has(key) && !row.has("pointer")) {
        row.require_beside("`pointer`", key);
    }
    if row.has("pointer") {
        row.require_one(&["value", "pattern"]);
    }
    if row.has("value") && row.has("pattern") {
        row.fault("pattern", &row.key_span("pattern"), "a row has `value` or `pattern`, not both");
    }
    row.require("means");
    let means = row.choice("means", words);
    row.close();
    let said = value.map(Said::Value).or(pattern.map(Said::Pattern));
    Some(KnownAnswer { status: status.flatten(), said: at.zip(said), means: means? })
}
