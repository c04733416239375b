//! How the page of a link reads: who asks for what, what will happen, and a form for each data source.
//!
//! It has no script. What a workspace calls itself, its people and its clients is escaped by the templates; what was typed into
//! a secret field is never shown again.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use entity::AttemptKind;
use url::Url;

use super::{
    super::pages::outcome,
    form::{FIELD, Form},
};
use crate::{
    catalogue::{Auth, Connector, Field, FieldFault, Pattern},
    connections::{Offer, Source, Standing},
    error::Error,
    ids::{self, Kind},
    provider::Account,
};

/// What is wrong with what was sent.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    /// With which of the connector's fields; none where it is no single one.
    pub(super) field: Option<&'a str>,
    pub(super) message: &'a str,
}

#[derive(Template)]
#[template(path = "http/pages/link.html")]
struct Page<'a> {
    title: String,
    /// Whether something is to be connected, and not reconnected.
    connects: bool,
    maker: &'a str,
    workspace: &'a str,
    client: Option<&'a str>,
    /// Of a single data source.
    only: Option<&'a str>,
    until: String,
    sources: Vec<Shown<'a>>,
}

/// A data source on the page.
struct Shown<'a> {
    slug: &'a str,
    name: &'a str,
    /// What will happen.
    promise: String,
    /// What someone must have at hand; none where nothing is left to do.
    needs: Vec<String>,
    problem: Option<&'a str>,
    step: Step<'a>,
}

/// What is to be done for it.
enum Step<'a> {
    Fill { inputs: Vec<Input<'a>>, button: String },
    Choose { attempt: String, accounts: Option<&'a [Account]> },
    Done,
}

/// A field of a form.
struct Input<'a> {
    /// Of the form.
    name: String,
    label: &'a str,
    secret: bool,
    required: bool,
    pattern: Option<String>,
    help: Option<&'a str>,
    /// What was typed before; of a secret, nothing.
    value: &'a str,
    problem: Option<&'a str>,
}

/// On the way to a provider. A redirect would do, but browsers hold it against the form's policy (Chromium takes
/// `form-action` for what follows a form too), and a provider is somewhere else.
#[derive(Template)]
#[template(path = "http/pages/link-away.html")]
struct Away<'a> {
    address: &'a str,
}

/// The page of a link; after something that did not work, with what was sent and what is wrong with it.
pub(super) fn offer(offer: &Offer, tried: Option<(&Form, Problem<'_>)>) -> Response {
    let only = match &*offer.sources {
        [one] => Some(one.connector.name.as_str()),
        _ => None,
    };
    if offer.sources.iter().all(|source| matches!(source.state, Standing::Done)) {
        return all_done(offer.kind);
    }
    let verb = if offer.kind == AttemptKind::Connect { "Connect" } else { "Reconnect" };
    let page = Page {
        title: format!("{verb} {}", only.unwrap_or("your data sources")),
        connects: offer.kind == AttemptKind::Connect,
        maker: &offer.maker,
        workspace: &offer.workspace,
        client: offer.client.as_deref(),
        only,
        until: offer.expires_at.format("%-d %B %Y, %H:%M UTC").to_string(),
        sources: offer.sources.iter().map(|source| shown(offer, source, tried)).collect(),
    };
    let status = if tried.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    written(&page, status)
}

/// Sends the browser to where an attempt starts.
pub(super) fn away(address: &Url) -> Response {
    written(&Away { address: address.as_str() }, StatusCode::OK)
}

/// What a person reads at the end.
pub(super) fn all_done(kind: AttemptKind) -> Response {
    let (title, message) = match kind {
        AttemptKind::Connect => ("It is connected", "That was all. Thank you! There is nothing left to do."),
        AttemptKind::Reconnect => ("It works again", "That was all. Thank you! There is nothing left to do."),
    };
    outcome(title, message, StatusCode::OK)
}

/// What is wrong with what was typed, for the person who typed it.
pub(super) fn in_words(fault: FieldFault) -> String {
    match fault {
        FieldFault::Unknown | FieldFault::Twice => "This form is out of date. Load the page again.".to_owned(),
        FieldFault::Missing | FieldFault::Empty => "Fill this in.".to_owned(),
        FieldFault::ControlCharacter => "This holds a character that is not allowed.".to_owned(),
        FieldFault::TooLong { limit } => format!("This is longer than {limit} bytes."),
        FieldFault::Pattern => "This does not have the form that it has to have.".to_owned(),
    }
}

fn shown<'a>(offer: &'a Offer, source: &'a Source, tried: Option<(&'a Form, Problem<'a>)>) -> Shown<'a> {
    let connector = &*source.connector;
    let tried = tried.filter(|(form, _)| offer.kind == AttemptKind::Reconnect || concerns(form, source));
    // Where its field is not among those asked, the whole is wrong.
    let of_field = |problem: &Problem<'_>| source.fields.iter().any(|field| problem.field == Some(&field.name));
    let problem = tried.map(|(_, problem)| problem).filter(|problem| !of_field(problem)).map(|problem| problem.message);
    let step = match &source.state {
        Standing::Done => Step::Done,
        Standing::Choice { attempt, accounts } => {
            Step::Choose { attempt: ids::encode(Kind::Attempt, *attempt), accounts: accounts.as_deref() }
        }
        Standing::Open { .. } => Step::Fill {
            inputs: source.fields.iter().map(|field| input(field, tried)).collect(),
            button: button(offer.kind, connector),
        },
    };
    let failed = match &source.state {
        Standing::Open { problem } => problem.as_deref(),
        Standing::Choice { .. } | Standing::Done => None,
    };
    let is_open = matches!(source.state, Standing::Open { .. });
    Shown {
        slug: &connector.slug,
        name: &connector.name,
        promise: promise(offer, source),
        needs: if is_open && offer.kind == AttemptKind::Connect { needs(&connector.requirements) } else { Vec::new() },
        problem: problem.or(failed),
        step,
    }
}

/// Whether a form was sent for this data source.
fn concerns(form: &Form, source: &Source) -> bool {
    form.connector.as_ref() == Some(&source.connector.slug)
}

fn input<'a>(field: &'a Field, tried: Option<(&'a Form, Problem<'a>)>) -> Input<'a> {
    let typed = tried.filter(|_| !field.secret).and_then(|(form, _)| form.typed(&field.name));
    let problem = tried.map(|(_, problem)| problem).filter(|problem| problem.field == Some(&field.name));
    Input {
        name: format!("{FIELD}{}", field.name),
        label: &field.label,
        secret: field.secret,
        required: field.required,
        pattern: field.pattern.as_ref().map(for_browsers),
        help: field.help.as_deref(),
        value: typed.unwrap_or_default(),
        problem: problem.map(|problem| problem.message),
    }
}

/// A pattern as browsers take it (HTML's `pattern`, in the mode `v` of JavaScript): a hyphen at the end of a class wants to be
/// escaped. One that they cannot read they leave out, and the server looks anyway.
fn for_browsers(pattern: &Pattern) -> String {
    pattern.source.replace("\\-]", "-]").replace("-]", "\\-]")
}

/// What will happen, without promising more than is kept.
fn promise(offer: &Offer, source: &Source) -> String {
    let (name, workspace) = (&source.connector.name, &offer.workspace);
    match (&source.connector.auth, &source.account) {
        (Auth::OAuth2(_), Some(account)) => format!(
            "You sign in at {name} as {account}, and come back here. {workspace} gets the permission that you give there, \
             and never sees your password."
        ),
        (Auth::OAuth2(_), None) => format!(
            "You sign in at {name}, and come back here. {workspace} gets the permission that you give there, and never sees \
             your password."
        ),
        _ if is_tried(&source.connector) => format!(
            "What you enter is tried at once. If it works, it is kept encrypted, and {workspace} reads from {name} with it."
        ),
        _ => format!("What you enter is kept encrypted, and {workspace} reads from {name} with it."),
    }
}

fn is_tried(connector: &Connector) -> bool {
    connector.has_probe() || connector.identity.is_some()
}

fn button(kind: AttemptKind, connector: &Connector) -> String {
    match kind {
        _ if connector.is_oauth() => format!("Sign in at {}", connector.name),
        AttemptKind::Connect => "Connect".to_owned(),
        AttemptKind::Reconnect => "Reconnect".to_owned(),
    }
}

/// What a connector's requirements say, without the marks of Markdown: its paragraphs and points. None where they hold code, as
/// those of databases do: that is for whoever runs one, and the fields say what is asked.
fn needs(markdown: &str) -> Vec<String> {
    if markdown.contains("```") {
        return Vec::new();
    }
    let mut said: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in markdown.lines().map(str::trim) {
        let point = line.strip_prefix("- ");
        match said.last_mut().filter(|_| goes_on && point.is_none() && !line.is_empty()) {
            Some(last) => *last = format!("{last} {line}"),
            None => said.extend(Some(point.unwrap_or(line).to_owned()).filter(|line| !line.is_empty())),
        }
        goes_on = !line.is_empty();
    }
    said.iter().map(|text| without_addresses(text).replace(['*', '`', '<', '>'], "")).collect()
}

/// Text of Markdown in which a link is its words alone.
fn without_addresses(text: &str) -> String {
    let (mut said, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("](") {
        let Some((_, behind)) = after.split_once(')') else { break };
        let (ahead, words) = before.rsplit_once('[').unwrap_or((before, ""));
        said.extend([ahead, words]);
        rest = behind;
    }
    said + rest
}

fn written(page: &impl Template, status: StatusCode) -> Response {
    match page.render() {
        Ok(page) => (status, Html(page)).into_response(),
        Err(error) => super::failed(&Error::internal(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
