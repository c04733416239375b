//! Strings with placeholders, and the values that go into them.
//!
//! A [`Template`] is read once, when its file is. Rendering escapes each value for the place its placeholder stands in:
//! [`super::place`] knows the places of a URL, the rest is here. No error and no `Debug` shows a value.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;
use url::Url;

use super::place::{Place, UrlWriter, escape};
use crate::spelling::hint;

/// A string with placeholders such as `{field.shop}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

/// What stands between the braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    pub namespace: Namespace,
    pub name: String,
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}.{}}}", self.namespace.word(), self.name)
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// A field asked of the person.
    Field,
    /// Kept from the token answer.
    Token,
    /// Kept from the identity answer.
    Identity,
    /// This server's configuration.
    Config,
    /// The chosen account; `id` is its one name.
    Account,
}

impl Namespace {
    const ALL: [Self; 5] = [Self::Field, Self::Token, Self::Identity, Self::Config, Self::Account];

    fn word(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Token => "token",
            Self::Identity => "identity",
            Self::Config => "config",
            Self::Account => "account",
        }
    }

    /// Whether a name can stand behind the dot.
    fn admits(self, name: &str) -> bool {
        match self {
            Self::Config => name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
            Self::Account => name == "id",
            Self::Field | Self::Token | Self::Identity => true,
        }
    }
}

/// Why a string is not a template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A brace that opens or closes no placeholder.
    #[error("a brace stands alone; a placeholder is written `{{field.name}}`")]
    StrayBrace,
    /// `hint` is `; did you mean …?` or nothing.
    #[error("`{{{given}}}` is no placeholder{hint}")]
    Unknown { given: String, hint: String },
    /// Configuration is named in capitals, an account has an `id` only.
    #[error("`{0}` is no placeholder: `{{config.…}}` is followed by capitals, digits and `_`, `{{account.…}}` by `id`")]
    BadName(Placeholder),
}

/// Why a template could not be filled in. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    #[error("{0} has no value")]
    Missing(Placeholder),
    #[error("the value of {placeholder} cannot stand in {place}")]
    Unfit { placeholder: Placeholder, place: Place },
    /// The text around the placeholders is no URL, or a value would have changed what it points to.
    #[error("{0}")]
    NotAUrl(&'static str),
}

impl Template {
    /// Reads a template in which every brace belongs to a placeholder: a URL, a header, a parameter.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::read(text, true)
    }

    /// Reads the template of a request's body: braces that do not look like a placeholder stand for themselves.
    pub fn parse_body(text: &str) -> Result<Self, TemplateError> {
        Self::read(text, false)
    }

    fn read(text: &str, strict: bool) -> Result<Self, TemplateError> {
        let mut template = Self { source: text.to_owned(), pieces: Vec::new() };
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            template.push_text(before);
            if let Some((placeholder, length)) = placeholder(from)? {
                template.pieces.push(Piece::Value(placeholder));
                rest = &from[length..];
            } else if strict {
                return Err(stray(from));
            } else {
                template.push_text(&from[..1]);
                rest = &from[1..];
            }
        }
        template.push_text(rest);
        Ok(template)
    }

    fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// As the file has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The placeholders in order, repeated as they are.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(placeholder) => Some(placeholder),
        })
    }

    /// What the placeholders name.
    pub fn names(&self) -> impl Iterator<Item = (Namespace, &str)> {
        self.placeholders().map(|placeholder| (placeholder.namespace, placeholder.name.as_str()))
    }

    /// The text, when there are no placeholders.
    pub fn as_literal(&self) -> Option<&str> {
        self.placeholders().next().is_none().then_some(self.source.as_str())
    }

    /// Whether each placeholder has a value. A header or a parameter that lacks one is left out of its request.
    pub fn is_filled_by(&self, values: &Values<'_>) -> bool {
        self.placeholders().all(|placeholder| values.get(placeholder).is_some())
    }

    /// The placeholders of a URL with the places they stand in, or why this is not a URL.
    pub fn url_places(&self) -> Result<Vec<(Place, &Placeholder)>, RenderError> {
        let mut places = Vec::new();
        self.write_url(|place, placeholder| {
            places.push((place, placeholder));
            Ok(place.sample())
        })?;
        Ok(places)
    }

    /// The URL. Values in its host are host characters only, in its path and query they are percent-encoded; a
    /// placeholder at the very start holds an http(s) URL without user, query and fragment.
    pub fn render_url(&self, values: &Values<'_>) -> Result<Url, RenderError> {
        self.write_url(|_, placeholder| values.require(placeholder)).map(|(url, _)| url)
    }

    /// The URL as text, without the normalising that parsing brings (`https://issuer.example` gets no slash), for what is
    /// compared as a string: an issuer.
    pub fn render_url_text(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.write_url(|_, placeholder| values.require(placeholder)).map(|(_, text)| text)
    }

    fn write_url<'t, 'v>(
        &'t self,
        mut value: impl FnMut(Place, &'t Placeholder) -> Result<&'v str, RenderError>,
    ) -> Result<(Url, String), RenderError> {
        let mut writer = UrlWriter::default();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => writer.text(text).map_err(RenderError::NotAUrl)?,
                Piece::Value(placeholder) => {
                    let place = writer.place();
                    let value = value(place, placeholder)?;
                    writer.value(value).ok_or_else(|| unfit(placeholder, place))?;
                }
            }
        }
        writer.finish().map_err(RenderError::NotAUrl)
    }

    /// The value of a header: visible ASCII, spaces and tabs (RFC 9110 §5.5).
    pub fn render_header(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.render(Place::Header, values)
    }

    /// A JSON document whose placeholders stand inside its strings.
    pub fn render_json(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.render(Place::Json, values)
    }

    /// A form (`application/x-www-form-urlencoded`).
    pub fn render_form(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.render(Place::Form, values)
    }

    /// The text with the values as they are, for whoever escapes the whole: `Url::query_pairs_mut`, say.
    pub fn render_text(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.render(Place::Plain, values)
    }

    fn render(&self, place: Place, values: &Values<'_>) -> Result<String, RenderError> {
        let mut rendered = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Value(placeholder) => {
                    let value = escape(place, values.require(placeholder)?);
                    rendered.push_str(&value.ok_or_else(|| unfit(placeholder, place))?);
                }
            }
        }
        Ok(rendered)
    }
}

fn unfit(placeholder: &Placeholder, place: Place) -> RenderError {
    RenderError::Unfit { placeholder: placeholder.clone(), place }
}

/// The placeholder that `text` begins with, and its length; `None` where the braces hold something else.
fn placeholder(text: &str) -> Result<Option<(Placeholder, usize)>, TemplateError> {
    let Some((inside, _)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return Ok(None) };
    let Some((word, name)) = inside.split_once('.') else { return Ok(None) };
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !plain(word) || !plain(name) {
        return Ok(None);
    }
    let Some(namespace) = Namespace::ALL.into_iter().find(|namespace| namespace.word() == word) else {
        let hint = hint(word, Namespace::ALL.map(Namespace::word));
        return Err(TemplateError::Unknown { given: inside.to_owned(), hint });
    };
    let placeholder = Placeholder { namespace, name: name.to_owned() };
    if !namespace.admits(name) {
        return Err(TemplateError::BadName(placeholder));
    }
    Ok(Some((placeholder, inside.len() + 2)))
}

/// Why the brace that `text` begins with belongs to no placeholder.
fn stray(text: &str) -> TemplateError {
    match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((inside, _)) if !inside.contains('{') => {
            let given = inside.escape_debug().to_string();
            TemplateError::Unknown { given, hint: "; one is written `{field.name}`".to_owned() }
        }
        _ => TemplateError::StrayBrace,
    }
}

/// What the placeholders stand for in one request. Shows none of it in `Debug`.
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    fields: Option<&'a BTreeMap<String, String>>,
    token: Option<&'a BTreeMap<String, String>>,
    identity: Option<&'a BTreeMap<String, String>>,
    config: Option<&'a BTreeMap<String, String>>,
    account: Option<&'a str>,
}

impl<'a> Values<'a> {
    #[must_use]
    pub fn fields(self, fields: &'a BTreeMap<String, String>) -> Self {
        Self { fields: Some(fields), ..self }
    }

    #[must_use]
    pub fn token(self, token: &'a BTreeMap<String, String>) -> Self {
        Self { token: Some(token), ..self }
    }

    #[must_use]
    pub fn identity(self, identity: &'a BTreeMap<String, String>) -> Self {
        Self { identity: Some(identity), ..self }
    }

    #[must_use]
    pub fn config(self, config: &'a BTreeMap<String, String>) -> Self {
        Self { config: Some(config), ..self }
    }

    /// The chosen account's id.
    #[must_use]
    pub fn account(self, id: Option<&'a str>) -> Self {
        Self { account: id, ..self }
    }

    fn get(&self, placeholder: &Placeholder) -> Option<&'a str> {
        let map = match placeholder.namespace {
            Namespace::Field => self.fields,
            Namespace::Token => self.token,
            Namespace::Identity => self.identity,
            Namespace::Config => self.config,
            Namespace::Account => return self.account,
        };
        map?.get(&placeholder.name).map(String::as_str)
    }

    fn require(&self, placeholder: &Placeholder) -> Result<&'a str, RenderError> {
        self.get(placeholder).ok_or_else(|| RenderError::Missing(placeholder.clone()))
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
