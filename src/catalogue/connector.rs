//! A connector as its file describes it: read and checked, ready to use.
//!
//! Nothing here talks to a provider; [`crate::provider`] does, led by these descriptions.

use std::{collections::BTreeMap, time::Duration};

use url::Url;
use uuid::Uuid;

use super::template::Template;

/// A kind of data source, from one TOML file.
#[derive(Debug, Clone)]
pub struct Connector {
    /// UUIDv5 of the slug: the same on every server.
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub category: String,
    pub mode: DataMode,
    pub docs_url: Option<Url>,
    /// Markdown: what someone must have at hand before they connect.
    pub requirements: String,
    /// What is asked of the person: before the browser step (OAuth), or as the credentials.
    /// For `api_key` and `basic` it holds their credential fields too.
    pub fields: Vec<Field>,
    pub auth: Auth,
    pub identity: Option<Identity>,
    pub accounts: Option<Accounts>,
    pub probe: Probe,
    pub api: Option<Api>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataMode {
    Warehouse,
    DirectQuery,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub label: String,
    pub secret: bool,
    pub required: bool,
    /// Matches a value as a whole. `source` is the expression as the file has it.
    pub pattern: Option<Pattern>,
    pub help: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Pattern {
    pub source: String,
    pub whole: regex::Regex,
}

#[derive(Debug, Clone)]
pub enum Auth {
    OAuth2(Box<OAuth2>),
    /// Its one credential field is `api_key`.
    ApiKey { placement: Placement },
    /// Credential fields `username` and `password`, sent as HTTP Basic (RFC 7617).
    Basic,
    /// The connector's own fields are the credentials.
    Fields { driver: Option<Driver> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Postgres,
    MySql,
}

/// Where an API key goes in a request.
#[derive(Debug, Clone)]
pub enum Placement {
    /// `Authorization: Bearer <key>`
    Bearer,
    /// A header; the value holds `{key}` where the key goes.
    Header { name: String, value: String },
    /// A query parameter.
    Query { name: String },
}

#[derive(Debug, Clone)]
pub struct OAuth2 {
    pub authorize_url: Template,
    pub token_url: Template,
    pub revoke_url: Option<Template>,
    /// What `iss` must be where the provider sends it (RFC 9207).
    pub issuer: Option<Template>,
    pub iss_required: bool,
    /// Without one of these the connector cannot work.
    pub scopes: Vec<String>,
    pub optional_scopes: Vec<String>,
    pub scope_separator: String,
    pub pkce: bool,
    pub client_auth: ClientAuth,
    pub authorize_params: BTreeMap<String, Template>,
    /// The parameter that names the expected person on a reconnect.
    pub login_hint_param: Option<String>,
    /// Top-level members of the token answer to keep, for `{token.NAME}`.
    pub keep: Vec<String>,
    pub refresh: Refresh,
    /// When nothing renews the grant and the provider does not say when it ends.
    pub expires_after_days: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// HTTP Basic (RFC 6749 §2.3.1).
    Basic,
    /// In the request body.
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// By a refresh token (RFC 6749 §6).
    Token,
    /// By exchanging the access token for a longer-lived one (Meta's `fb_exchange_token`).
    Exchange,
    None,
}

/// A JSON Pointer (RFC 6901); the empty one is the value itself.
pub type Pointer = String;

/// One request to a provider's API, authenticated with the credential.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub url: Template,
    /// Sent as JSON when it parses as JSON in the file, as a form otherwise.
    pub body: Option<Template>,
    pub headers: BTreeMap<String, Template>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// Whose account it is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub request: Request,
    pub id: Pointer,
    pub name: Option<Pointer>,
    /// Top-level members of the answer to keep, for `{identity.NAME}`.
    pub keep: Vec<String>,
}

/// The accounts under an authorization, one of which has to be chosen.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub request: Request,
    /// Where the list is; each member of it is an account.
    pub list: Pointer,
    /// Within an account.
    pub id: Pointer,
    pub name: Option<Pointer>,
}

/// Does it still work?
#[derive(Debug, Clone)]
pub struct Probe {
    /// The probe's own request, else the identity's; none where the file has neither.
    pub request: Option<Request>,
    /// Does this account (`{account.id}`) still answer?
    pub account_request: Option<Request>,
    pub account_interval: Duration,
}

/// What datasets ask. The headers go with every request to the API's own origin (accounts and probes too).
#[derive(Debug, Clone)]
pub struct Api {
    pub base_url: Template,
    pub headers: BTreeMap<String, Template>,
}
