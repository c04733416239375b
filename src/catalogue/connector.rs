//! A connector as its file describes it: read and checked, ready to use.
//!
//! Nothing here talks to a provider; [`crate::provider`] does, led by these descriptions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::{
    answers::KnownAnswer,
    paging::Paging,
    pointer,
    template::{Namespace, RenderError, Template, Values},
};

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
    pub pace: Pace,
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
    ApiKey {
        placement: Placement,
    },
    /// Credential fields `username` and `password`, sent as HTTP Basic (RFC 7617).
    Basic,
    /// The connector's own fields are the credentials. With a driver they are `host`, `port`, `database`, `username`,
    /// `password` and `tls`, and open a database.
    Fields {
        driver: Option<Driver>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Postgres,
    MySql,
}

impl Driver {
    /// Where such databases listen.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }
}

/// Where an API key or an access token goes in a request.
#[derive(Debug, Clone)]
pub enum Placement {
    /// `Authorization: Bearer <key>` (RFC 6750 §2.1)
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
    /// More parameters of every request to the token endpoint.
    pub token_params: BTreeMap<String, Template>,
    /// How the access token is presented to the API.
    pub placement: Placement,
    /// The parameter that names the expected person on a reconnect.
    pub login_hint_param: Option<String>,
    /// What to keep of the token answer, for `{token.NAME}`.
    pub keep: Vec<Kept>,
    pub refresh: Refresh,
    /// When nothing renews the grant and the provider does not say when it ends.
    pub expires_after_days: Option<u32>,
    /// What the token endpoint's answers mean, beside what every server's do.
    pub answers: Vec<KnownAnswer>,
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
    /// Sent as JSON when it parses as JSON in the file, as a form otherwise; see [`Request::payload`].
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
    /// What to keep of the answer, for `{identity.NAME}`.
    pub keep: Vec<Kept>,
}

/// A member of an answer that later requests need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub at: Pointer,
    /// The pointer's last segment.
    pub name: String,
}

/// The accounts under an authorization, one of which has to be chosen.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub request: Request,
    /// Where the list is; each member of it is an account. A segment `*` stands for each member of a list on the way.
    pub list: Pointer,
    /// Within an account.
    pub id: Pointer,
    /// What an id begins with and is shown and used without (`properties/`).
    pub id_prefix: Option<String>,
    pub name: Option<Pointer>,
    /// How the list goes on where the provider pages.
    pub next: Option<Paging>,
}

/// Does it still work?
#[derive(Debug, Clone)]
pub struct Probe {
    /// The probe's own request, else the identity's; none where the file has neither, as for databases.
    pub request: Option<Request>,
    /// Does this account (`{account.id}`) still answer?
    pub account_request: Option<Request>,
    pub account_interval: Duration,
}

impl Probe {
    /// What asks about that account on its own; none where the authorization's own probe speaks for it.
    pub fn asks_of(&self, account: Option<&str>) -> Option<&Request> {
        account.and(self.account_request.as_ref())
    }
}

/// How fast it may be asked by what nobody waits for: renewals, probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Calls at once.
    pub concurrent: u32,
    pub per_second: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { concurrent: 16, per_second: 50 }
    }
}

/// What datasets ask. The headers go with every request to the API's own origin (accounts and probes too), each as soon
/// as its placeholders have a value: one that names `{account.id}` goes with what is asked of a chosen account.
#[derive(Debug, Clone)]
pub struct Api {
    pub base_url: Template,
    pub headers: BTreeMap<String, Template>,
    /// GET: parameters go into the query. POST: they are the JSON body.
    pub method: Method,
    /// The paths that datasets may ask, as they write them, without the first `/`; none: all. What a POST does, only its
    /// path tells.
    pub paths: Option<Pattern>,
    /// An answer leaves a list out that is empty, as the JSON of Protocol Buffers does.
    pub omits_empty_lists: bool,
    /// How the list in an answer goes on where the API pages.
    pub pagination: Option<Paging>,
    /// What the API's answers mean, beside what every API's do.
    pub answers: Vec<KnownAnswer>,
}

/// A request's body, filled in.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    Json(String),
    /// `application/x-www-form-urlencoded`
    Form(String),
}

/// Whose account it is, or one of the accounts, as a provider's answer tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub id: String,
    /// The id, where the answer has no name.
    pub name: String,
}

impl Connector {
    pub fn is_oauth(&self) -> bool {
        matches!(self.auth, Auth::OAuth2(_))
    }

    pub fn oauth(&self) -> Option<&OAuth2> {
        match &self.auth {
            Auth::OAuth2(oauth) => Some(oauth),
            Auth::ApiKey { .. } | Auth::Basic | Auth::Fields { .. } => None,
        }
    }

    /// What its file says of its API's answers.
    pub fn known_answers(&self) -> &[KnownAnswer] {
        self.api.as_ref().map_or(&[], |api| &api.answers)
    }

    /// Of a database, which is asked in SQL.
    pub fn driver(&self) -> Option<Driver> {
        match self.auth {
            Auth::Fields { driver } => driver,
            Auth::OAuth2(_) | Auth::ApiKey { .. } | Auth::Basic => None,
        }
    }

    /// Whether anything can be asked to see that an authorization still works.
    pub fn has_probe(&self) -> bool {
        self.driver().is_some() || self.probe.request.is_some()
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Every `NAME` of a `{config.NAME}` in its file: what this server has to be configured with.
    pub fn config_names(&self) -> BTreeSet<String> {
        let names = self.templates().into_iter().flat_map(Template::names);
        names.filter(|(namespace, _)| *namespace == Namespace::Config).map(|(_, name)| name.to_owned()).collect()
    }

    fn templates(&self) -> Vec<&Template> {
        let mut all = Vec::new();
        if let Auth::OAuth2(oauth) = &self.auth {
            all.extend([&oauth.authorize_url, &oauth.token_url]);
            all.extend(oauth.revoke_url.iter().chain(&oauth.issuer));
            all.extend(oauth.authorize_params.values().chain(oauth.token_params.values()));
        }
        let identity = self.identity.iter().map(|identity| &identity.request);
        let accounts = self.accounts.iter().map(|accounts| &accounts.request);
        let probe = self.probe.request.iter().chain(&self.probe.account_request);
        for request in identity.chain(accounts).chain(probe) {
            all.push(&request.url);
            all.extend(request.body.iter().chain(request.headers.values()));
        }
        if let Some(api) = &self.api {
            all.push(&api.base_url);
            all.extend(api.headers.values());
        }
        all
    }
}

impl OAuth2 {
    /// What is kept of a token answer; members that are not there, or no scalars, are left out.
    pub fn kept(&self, answer: &Value) -> BTreeMap<String, String> {
        kept(&self.keep, answer)
    }
}

impl Request {
    /// The body, filled in; `None` when it has none.
    pub fn payload(&self, values: &Values<'_>) -> Result<Option<Payload>, RenderError> {
        let Some(body) = &self.body else { return Ok(None) };
        if is_json(body.source()) {
            body.render_json(values).map(|json| Some(Payload::Json(json)))
        } else {
            body.render_form(values).map(|form| Some(Payload::Form(form)))
        }
    }
}

impl Identity {
    /// Whose account it is; `None` when the answer does not say.
    pub fn read(&self, answer: &Value) -> Option<Named> {
        named(answer, &self.id, None, self.name.as_deref())
    }

    /// What is kept of the answer; members that are not there, or no scalars, are left out.
    pub fn kept(&self, answer: &Value) -> BTreeMap<String, String> {
        kept(&self.keep, answer)
    }
}

impl Accounts {
    /// The accounts in one answer, in its order. A member of the list without an id is left out.
    pub fn read(&self, answer: &Value) -> Vec<Named> {
        let prefix = self.id_prefix.as_deref();
        let members = self.members(answer).into_iter();
        members.filter_map(|account| named(account, &self.id, prefix, self.name.as_deref())).collect()
    }

    /// The members of the list in one answer, with an id or without. One account in the place of a list is a list of one.
    pub fn members<'v>(&self, answer: &'v Value) -> Vec<&'v Value> {
        let alone = pointer::one(answer, &self.list).filter(|place| place.is_object());
        let alone = alone.filter(|account| named(account, &self.id, self.id_prefix.as_deref(), None).is_some());
        alone.map_or_else(|| pointer::each(answer, &self.list), |account| vec![account])
    }
}

impl Kept {
    /// `dc`, or where it is: `/login/dc`.
    pub(super) fn of(text: &str) -> Self {
        let at = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        Self { name: at.rsplit('/').next().unwrap_or_default().to_owned(), at }
    }
}

/// Whether a body is JSON. Placeholders inside its strings do not keep it from being that.
pub(super) fn is_json(body: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok()
}

fn named(value: &Value, id: &str, id_prefix: Option<&str>, name: Option<&str>) -> Option<Named> {
    let id = pointer::one(value, id).and_then(pointer::text)?;
    let id = id_prefix.and_then(|prefix| id.strip_prefix(prefix)).unwrap_or(&id).to_owned();
    let name = name.and_then(|name| pointer::one(value, name)).and_then(pointer::text);
    (!id.is_empty()).then(|| Named { name: name.unwrap_or_else(|| id.clone()), id })
}

fn kept(keep: &[Kept], answer: &Value) -> BTreeMap<String, String> {
    let said = |kept: &Kept| pointer::one(answer, &kept.at).and_then(pointer::text);
    keep.iter().filter_map(|kept| Some((kept.name.clone(), said(kept)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accounts(list: &str, id: &str, id_prefix: Option<&str>) -> Accounts {
        let url = Template::parse("https://api.example/accounts").unwrap();
        Accounts {
            request: Request { method: Method::Get, url, body: None, headers: BTreeMap::new() },
            list: list.to_owned(),
            id: id.to_owned(),
            id_prefix: id_prefix.map(str::to_owned),
            name: Some("/name".to_owned()),
            next: None,
        }
    }

    #[test]
    fn one_account_in_the_place_of_a_list_is_a_list_of_one() {
        let accounts = accounts("/data", "/id", None);
        let ids = |answer: Value| accounts.read(&answer).into_iter().map(|account| account.id).collect::<Vec<_>>();
        assert_eq!(ids(json!({"data": {"id": "7", "name": "Seven"}})), ["7"]);
        assert_eq!(ids(json!({"data": {"a": {"id": "1"}, "b": {"id": "2"}}})), ["1", "2"]);
        assert_eq!(ids(json!({"data": {}})), Vec::<String>::new());
        assert_eq!(ids(json!({"data": null})), Vec::<String>::new());
    }

    #[test]
    fn accounts_are_read_with_number_ids_and_without_names() {
        let answer = json!({"data": [{"id": 7, "name": "Seven"}, {"name": "none"}, {"id": "8", "name": null}]});
        let named = |id: &str, name: &str| Named { id: id.to_owned(), name: name.to_owned() };
        assert_eq!(accounts("/data", "/id", None).read(&answer), [named("7", "Seven"), named("8", "8")]);
    }

    #[test]
    fn a_list_of_plain_ids_is_read_without_their_prefix() {
        let answer = json!({"resourceNames": ["customers/1", "customers/2", "other"]});
        let ids: Vec<String> =
            accounts("/resourceNames", "", Some("customers/")).read(&answer).into_iter().map(|a| a.id).collect();
        assert_eq!(ids, ["1", "2", "other"]);
    }

    #[test]
    fn an_identity_without_an_id_is_none() {
        let request = accounts("", "", None).request;
        let identity =
            Identity { request, id: "/sub".to_owned(), name: None, keep: vec![Kept::of("dc"), Kept::of("/user/id")] };
        assert_eq!(identity.read(&json!({"error": "no"})), None);
        assert_eq!(identity.read(&json!({"sub": "1"})).map(|named| named.name).as_deref(), Some("1"));
        let kept = identity.kept(&json!({"dc": "us1", "more": 1, "user": {"id": 7}}));
        assert_eq!(kept, BTreeMap::from([("dc", "us1"), ("id", "7")].map(|(name, value)| (name.into(), value.into()))));
        assert!(identity.kept(&json!({"dc": {"nested": 1}})).is_empty());
    }

    #[test]
    fn a_body_is_json_or_a_form_and_escaped_as_that() {
        let fields = BTreeMap::from([("q".to_owned(), "a\"&b".to_owned())]);
        let values = Values::default().fields(&fields);
        let payload = |body: &str| {
            let request = Request { body: Some(Template::parse_body(body).unwrap()), ..accounts("", "", None).request };
            request.payload(&values).unwrap()
        };
        let json = r#"{"query": "{ me { id } } {field.q}"}"#;
        let filled = r#"{"query": "{ me { id } } a\"&b"}"#;
        assert!(payload(json) == Some(Payload::Json(filled.to_owned())));
        assert!(payload("q={field.q}&x=1") == Some(Payload::Form("q=a%22%26b&x=1".to_owned())));
    }
}
