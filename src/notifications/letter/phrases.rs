//! The phrases of a reminder: names made safe for one line, lists, moments and spans as people say them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Outage, Rest};
use crate::line::one_line;

/// How many characters of a name are shown.
const LONGEST_NAME: usize = 80;
/// How many of a name in the subject, of which a phone shows about forty in all.
const LONGEST_IN_SUBJECT: usize = 40;
/// How many of a message.
const LONGEST_MESSAGE: usize = 500;

/// E.g. `Google Ads is disconnected for Acme and Globex`, or `Google Ads, HubSpot and Stripe are disconnected`.
pub(super) fn subject(outages: &[Outage], rest: &Rest) -> String {
    let mut connectors: Vec<&str> = Vec::new();
    for connector in outages.iter().map(|outage| &outage.connector).chain(&rest.connectors) {
        // Few: there are not many kinds of data sources. The longest lasting stays first.
        if !connectors.contains(&connector.as_str()) {
            connectors.push(connector);
        }
    }
    let short = |name: &&str| shown(name, LONGEST_IN_SUBJECT);
    let [connector] = connectors.as_slice() else {
        return format!("{} are disconnected", list(&connectors, 3, short));
    };
    let clients: BTreeSet<&str> = outages.iter().flat_map(|outage| &outage.clients).map(String::as_str).collect();
    let clients: Vec<&str> = clients.into_iter().collect();
    match clients.as_slice() {
        [] => format!("{} is disconnected", short(connector)),
        clients if rest.count > 0 => {
            let some: Vec<String> = clients.iter().take(2).map(short).collect();
            format!("{} is disconnected for {} and others", short(connector), some.join(", "))
        }
        clients => format!("{} is disconnected for {}", short(connector), list(clients, 2, short)),
    }
}

/// What tells more than the subject: what happened, or for how long each has been disconnected.
pub(super) fn preview(outages: &[Outage], all: usize, now: DateTime<Utc>) -> String {
    match outages {
        [outage] if all == 1 => message(&outage.message),
        outages => list_of(outages, all, 3, |outage| {
            format!("{} for {}", name(&outage.connector), lasting(now - outage.since))
        }),
    }
}

pub(super) fn greeting(person: &str) -> String {
    match one_line(person, LONGEST_NAME) {
        name if name.is_empty() => "Hello,".to_owned(),
        name => format!("Hello {name},"),
    }
}

/// Why this was sent.
pub(super) fn lead(outages: &[Outage], rest: &Rest, now: DateTime<Utc>) -> String {
    let begun = outages.iter().map(|outage| outage.since).chain(rest.newest);
    let least = begun.map(|since| now - since).min().unwrap_or_default();
    match outages {
        [outage] if rest.count == 0 => format!(
            "{} has been disconnected for {}, and nobody has reconnected it yet.",
            name(&outage.connector),
            lasting(least)
        ),
        outages => format!(
            "{} data sources have been disconnected for {} or longer, and nobody has reconnected them yet.",
            outages.len() + rest.count,
            lasting(least)
        ),
    }
}

/// What is said of the outages that are not told in full.
pub(super) fn rest(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 more data source is disconnected. Sign in to see them all.".to_owned()),
        count => Some(format!("{count} more data sources are disconnected. Sign in to see them all.")),
    }
}

/// Why it was sent to this person. True for whoever connected them and for the administrators who stand in.
pub(super) fn why(outages: usize) -> &'static str {
    match outages {
        1 => {
            "You get this because this data source is yours to look after: you connected it, or you are an administrator \
             and stand in for whoever did. You are reminded of each disconnection once."
        }
        _ => {
            "You get this because these data sources are yours to look after: you connected them, or you are an \
             administrator and stand in for whoever did. You are reminded of each disconnection once."
        }
    }
}

/// A name on one line, never empty.
pub(super) fn name(given: &str) -> String {
    shown(given, LONGEST_NAME)
}

/// A name on one line, where there is one.
pub(super) fn account(given: &str) -> Option<String> {
    Some(one_line(given, LONGEST_NAME)).filter(|name| !name.is_empty())
}

/// One paragraph.
pub(super) fn message(given: &str) -> String {
    one_line(given, LONGEST_MESSAGE)
}

/// E.g. `Acme and Globex`, or five names `and 195 more clients`.
pub(super) fn clients(names: &[String]) -> String {
    match names.len() {
        0 => "The workspace itself".to_owned(),
        1..=6 => list(names, 6, |client| name(client)),
        _ => format!("{} clients", list(names, 5, |client| name(client))),
    }
}

/// E.g. `3 connections`; none for a single one, which goes without saying.
pub(super) fn connections(count: usize) -> Option<String> {
    (count > 1).then(|| format!("{count} connections"))
}

/// E.g. `Thursday, 26 November 2026, 06:12 MST`.
pub(super) fn moment(at: DateTime<Utc>, zone: Tz) -> String {
    let there = at.with_timezone(&zone);
    let abbreviation = there.format("%Z").to_string();
    // Zones without an abbreviation are named by their offset alone, like `-03`.
    let utc = if abbreviation.starts_with(['+', '-']) { "UTC" } else { "" };
    format!("{} {utc}{abbreviation}", there.format("%A, %-d %B %Y, %H:%M"))
}

/// E.g. `25 hours`, or `3 days` from two on. What has begun is not counted.
pub(super) fn lasting(span: TimeDelta) -> String {
    match (span.num_days(), span.num_hours()) {
        (2.., _) => format!("{} days", span.num_days()),
        (_, 2..) => format!("{} hours", span.num_hours()),
        (_, 1) => "an hour".to_owned(),
        _ => "less than an hour".to_owned(),
    }
}

/// E.g. `A`, `A and B`, `A, B and C`, and with `most` of three `A, B, C and 2 more`.
fn list<T>(all: &[T], most: usize, say: impl Fn(&T) -> String) -> String {
    list_of(all, all.len(), most, say)
}

/// The same, of `count` that begin with `first`.
fn list_of<T>(first: &[T], count: usize, most: usize, say: impl Fn(&T) -> String) -> String {
    let mut parts: Vec<String> = first.iter().take(most).map(say).collect();
    let last = match count.saturating_sub(parts.len()) {
        0 => parts.pop(),
        more => Some(format!("{more} more")),
    };
    match (parts.as_slice(), last) {
        ([], last) => last.unwrap_or_default(),
        (parts, Some(last)) => format!("{} and {last}", parts.join(", ")),
        (parts, None) => parts.join(", "),
    }
}

fn shown(given: &str, most: usize) -> String {
    match one_line(given, most) {
        name if name.is_empty() => "(no name)".to_owned(),
        name => name,
    }
}
