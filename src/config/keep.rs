//! How long the journal is kept, by topic.

use chrono::TimeDelta;
use entity::Topic;
use sea_orm::Iterable;

/// Shorter, and a dashboard that was closed over night could not catch up.
const SHORTEST: TimeDelta = TimeDelta::days(1);
/// Longer than any journal is of use.
const LONGEST: TimeDelta = TimeDelta::days(36_525);

/// How long the journal's entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalKeep {
    general: TimeDelta,
    by_topic: Vec<(Topic, TimeDelta)>,
}

impl JournalKeep {
    /// How long entries of `topic` are kept.
    pub fn of(&self, topic: Topic) -> TimeDelta {
        self.by_topic.iter().find(|(named, _)| *named == topic).map_or(self.general, |(_, span)| *span)
    }
}

/// Reads `90d`, or with exceptions `90d,audit=2y`.
pub(super) fn parse(text: &str) -> Result<JournalKeep, String> {
    let mut general = None;
    let mut by_topic: Vec<(Topic, TimeDelta)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            None if general.is_none() => general = Some(span(part)?),
            Some((name, part)) => {
                let topic = topic(name.trim())?;
                if by_topic.iter().any(|(named, _)| *named == topic) {
                    return Err(format!("names the topic {} twice; once is enough", topic.as_str()));
                }
                by_topic.push((topic, span(part.trim())?));
            }
            None => return Err("has two general spans; write one, then exceptions such as audit=2y".to_owned()),
        }
    }
    let general = general.ok_or_else(|| "has no general span; begin with one, such as 90d".to_owned())?;
    Ok(JournalKeep { general, by_topic })
}

fn span(text: &str) -> Result<TimeDelta, String> {
    let span = humantime::parse_duration(text).ok().and_then(|span| TimeDelta::from_std(span).ok());
    let span = span.ok_or_else(|| "not a span of time; write for example 90d or 90d,audit=2y".to_owned())?;
    if (SHORTEST..=LONGEST).contains(&span) { Ok(span) } else { Err("must be between 1d and 100y".to_owned()) }
}

fn topic(name: &str) -> Result<Topic, String> {
    Topic::iter().find(|topic| topic.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = Topic::iter().map(Topic::as_str).collect();
        format!("names a topic that there is not; the topics are {}", known.join(", "))
    })
}
