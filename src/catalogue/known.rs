//! What placeholders may name: what a file declares, and how far the way to the provider has come where they stand.

use super::{
    connector::{Kept, is_json},
    place::{Place, is_header_character},
    template::{Namespace, Placeholder, Template},
};
use crate::spelling::hint;

type Checked<T> = Result<T, String>;

/// How far an authorization has come when a template is filled in; each knows what those before it know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// In the address line of a browser: what was asked of the person, and this server's configuration, but no secret.
    Browser,
    Asked,
    /// The token answer is there.
    Granted,
    /// The identity answer is there.
    Identified,
    /// An account is chosen.
    Chosen,
}

impl Stage {
    fn knows(self, namespace: Namespace) -> bool {
        self >= match namespace {
            Namespace::Field | Namespace::Config => Self::Browser,
            Namespace::Token => Self::Granted,
            Namespace::Identity => Self::Identified,
            Namespace::Account => Self::Chosen,
        }
    }
}

/// A field as templates see it.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) secret: bool,
    pub(super) required: bool,
    pub(super) has_pattern: bool,
}

/// What a file declares.
#[derive(Default)]
pub(super) struct Known {
    pub(super) fields: Vec<Asked>,
    pub(super) token: Vec<Kept>,
    pub(super) identity: Vec<Kept>,
    pub(super) has_accounts: bool,
    /// Part of the file could not be read, and what is not found may be declared there.
    pub(super) incomplete: bool,
}

impl Known {
    pub(super) fn url(&self, text: &str, stage: Stage) -> Checked<Template> {
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        let places = template.url_places().map_err(|error| error.to_string())?;
        all(places.into_iter().map(|(place, placeholder)| {
            if place == Place::Origin && placeholder.namespace == Namespace::Field {
                return Err(format!("write the scheme before {placeholder}: a person does not name a whole origin"));
            }
            if placeholder.namespace == Namespace::Account && matches!(place, Place::Origin | Place::Host | Place::Port)
            {
                return Err(format!("{placeholder} cannot stand in {place}"));
            }
            self.in_url(placeholder, stage)
        }))?;
        Ok(template)
    }

    /// A parameter's value; left out of the request while a placeholder of it has no value.
    pub(super) fn parameter(&self, text: &str, stage: Stage) -> Checked<Template> {
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        all(template.placeholders().map(|placeholder| {
            let field = self.placeholder(placeholder, stage)?;
            if stage == Stage::Browser { with_pattern(placeholder, field) } else { Ok(()) }
        }))?;
        Ok(template)
    }

    /// A header's value; left out of the request while a placeholder of it has no value.
    pub(super) fn header(&self, text: &str, stage: Stage) -> Checked<Template> {
        if !text.chars().all(is_header_character) {
            return Err("a header's value is visible ASCII in one line".to_owned());
        }
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        all(template.placeholders().map(|placeholder| self.placeholder(placeholder, stage).map(drop)))?;
        Ok(template)
    }

    pub(super) fn body(&self, text: &str, stage: Stage) -> Checked<Template> {
        if text.trim_start().starts_with(['{', '[']) && !is_json(text) {
            return Err("it begins like JSON and is none; placeholders stand inside of strings".to_owned());
        }
        let template = Template::parse_body(text).map_err(|error| error.to_string())?;
        all(template.placeholders().map(|placeholder| required(placeholder, self.placeholder(placeholder, stage)?)))?;
        Ok(template)
    }

    fn in_url(&self, placeholder: &Placeholder, stage: Stage) -> Checked<()> {
        let field = self.placeholder(placeholder, stage)?;
        with_pattern(placeholder, field)?;
        required(placeholder, field)
    }

    /// Whether the placeholder names something declared and known by then; its field, where it names one.
    fn placeholder(&self, placeholder: &Placeholder, stage: Stage) -> Checked<Option<&Asked>> {
        let name = placeholder.name.as_str();
        if placeholder.namespace == Namespace::Account && !self.has_accounts && !self.incomplete {
            return Err(format!("{placeholder}: without [accounts] there is never an account"));
        }
        if !stage.knows(placeholder.namespace) {
            return Err(format!("{placeholder} is not known yet where this is sent"));
        }
        match placeholder.namespace {
            _ if self.incomplete => Ok(None),
            Namespace::Field => self.field(placeholder, stage).map(Some),
            Namespace::Token => declared(placeholder, &self.token, "[auth] `keep`").map(|()| None),
            Namespace::Identity => declared(placeholder, &self.identity, "[identity] `keep`").map(|()| None),
            Namespace::Config if stage == Stage::Browser && name == "CLIENT_SECRET" => Err(in_browser(placeholder)),
            Namespace::Config | Namespace::Account => Ok(None),
        }
    }

    fn field(&self, placeholder: &Placeholder, stage: Stage) -> Checked<&Asked> {
        let Some(field) = self.fields.iter().find(|field| field.name == placeholder.name) else {
            let hint = hint(&placeholder.name, self.fields.iter().map(|field| field.name.as_str()));
            return Err(format!("{placeholder} names no [[field]]{hint}"));
        };
        if stage == Stage::Browser && field.secret { Err(in_browser(placeholder)) } else { Ok(field) }
    }
}

/// All faults as one.
fn all(checks: impl Iterator<Item = Checked<()>>) -> Checked<()> {
    let mut faults: Vec<String> = checks.filter_map(Result::err).collect();
    faults.dedup();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

fn declared(placeholder: &Placeholder, keep: &[Kept], place: &str) -> Checked<()> {
    if keep.iter().any(|kept| kept.name == placeholder.name) {
        return Ok(());
    }
    let hint = hint(&placeholder.name, keep.iter().map(|kept| kept.name.as_str()));
    Err(format!("{placeholder} is not among what {place} names{hint}"))
}

fn in_browser(placeholder: &Placeholder) -> String {
    format!("{placeholder} is a secret, and this is shown in a browser")
}

fn with_pattern(placeholder: &Placeholder, field: Option<&Asked>) -> Checked<()> {
    match field {
        Some(field) if !field.has_pattern => {
            Err(format!("{placeholder} lands in a URL, so its [[field]] needs a `pattern`"))
        }
        _ => Ok(()),
    }
}

fn required(placeholder: &Placeholder, field: Option<&Asked>) -> Checked<()> {
    match field {
        Some(field) if !field.required => {
            Err(format!("{placeholder} is needed here, so its [[field]] cannot be optional"))
        }
        _ => Ok(()),
    }
}
