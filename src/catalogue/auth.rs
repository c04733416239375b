//! The `[auth]` table of a connector file: the four methods and the keys each of them has.

use std::collections::BTreeMap;

use super::{
    answers, check,
    connector::{Auth, ClientAuth, Driver, Field, OAuth2, Placement, Refresh},
    file::Context,
    known::Stage,
    section::Section,
    template::Template,
};

/// What a file calls the method of [`Auth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodName {
    OAuth2,
    ApiKey,
    Basic,
    Fields,
}

pub(super) const METHODS: [(&str, MethodName); 4] = [
    ("oauth2", MethodName::OAuth2),
    ("api_key", MethodName::ApiKey),
    ("basic", MethodName::Basic),
    ("fields", MethodName::Fields),
];

pub(super) const OAUTH2_KEYS: [&str; 18] = [
    "authorize_url",
    "token_url",
    "revoke_url",
    "issuer",
    "iss_required",
    "scopes",
    "optional_scopes",
    "scope_separator",
    "pkce",
    "client_auth",
    "authorize_params",
    "token_params",
    "placement",
    "login_hint_param",
    "keep",
    "refresh",
    "expires_after_days",
    "method",
];

/// The fields of a database: name, whether it has to be required, whether it is secret.
const DATABASE_FIELDS: [(&str, bool, bool); 6] = [
    ("host", true, false),
    ("port", false, false),
    ("database", true, false),
    ("username", true, false),
    ("password", true, true),
    ("tls", false, false),
];

/// A field that a method brings along; a file may declare it itself, for a label, help or a pattern of its own.
pub(super) struct CredentialField {
    pub(super) name: &'static str,
    label: &'static str,
    pub(super) secret: bool,
}

impl CredentialField {
    pub(super) fn field(&self) -> Field {
        Field {
            name: self.name.to_owned(),
            label: self.label.to_owned(),
            secret: self.secret,
            required: true,
            pattern: None,
            help: None,
        }
    }
}

impl MethodName {
    fn word(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("", |(word, _)| word)
    }

    /// The keys of `[auth]` under this method.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::OAuth2 => &OAUTH2_KEYS,
            Self::ApiKey => &["method", "placement"],
            Self::Basic => &["method"],
            Self::Fields => &["method", "driver"],
        }
    }

    pub(super) fn credentials(self) -> &'static [CredentialField] {
        match self {
            Self::ApiKey => &[CredentialField { name: "api_key", label: "API key", secret: true }],
            Self::Basic => &[
                CredentialField { name: "username", label: "User name", secret: false },
                CredentialField { name: "password", label: "Password", secret: true },
            ],
            Self::OAuth2 | Self::Fields => &[],
        }
    }
}

/// Reads `[auth]`, and reports what its method asks of the rest of the file. Without a method it is searched for unknown
/// keys only.
pub(super) fn read(
    root: &Section<'_>,
    section: Section<'_>,
    method: Option<MethodName>,
    context: &Context,
) -> Option<Auth> {
    let auth = method.and_then(|method| match method {
        MethodName::OAuth2 => oauth2(root, &section, context),
        MethodName::ApiKey => placement(&section).map(|placement| Auth::ApiKey { placement }),
        MethodName::Basic => Some(Auth::Basic),
        MethodName::Fields => fields(root, &section, context),
    });
    if let Some(method) = method {
        misplaced(&section, method);
    }
    METHODS.iter().for_each(|(_, method)| section.expect(method.keys()));
    section.close();
    auth
}

/// Reports keys that belong to another method.
fn misplaced(section: &Section<'_>, method: MethodName) {
    for (word, other) in METHODS {
        for key in other.keys().iter().filter(|key| section.has(key) && !method.keys().contains(key)) {
            let first = METHODS.iter().find(|(_, method)| method.keys().contains(key));
            if first.is_some_and(|(_, first)| *first == other) {
                let fault = format!("it belongs to `method = \"{word}\"`, and the method here is `{}`", method.word());
                section.fault(key, &section.key_span(key), &fault);
            }
        }
    }
}

fn fields(root: &Section<'_>, section: &Section<'_>, context: &Context) -> Option<Auth> {
    let driver = section.choice("driver", &[("postgres", Driver::Postgres), ("mysql", Driver::MySql)]);
    if context.known.fields.is_empty() && !root.has("field") {
        section.fault("method", &section.key_span("method"), "`fields` needs at least one [[field]]");
    }
    if section.has("driver") {
        for key in ["identity", "accounts", "probe", "api"].into_iter().filter(|key| root.has(key)) {
            root.fault(key, &root.key_span(key), "a database (`driver`) is not asked over HTTP");
        }
        database_fields(section, context);
    }
    Some(Auth::Fields { driver })
}

/// Reports the fields without which a database cannot be opened, and those that are secret or not the wrong way round:
/// what is not secret tells one database from another.
fn database_fields(section: &Section<'_>, context: &Context) {
    for (name, required, secret) in DATABASE_FIELDS {
        let Some(field) = context.known.fields.iter().find(|field| field.name == name) else {
            section.require_beside(&format!("a [[field]] `{name}`"), "driver");
            continue;
        };
        let span = section.key_span("driver");
        if field.secret != secret {
            let fault = if secret { "has to be secret" } else { "must not be secret" };
            section.fault("driver", &span, &format!("the field `{name}` {fault}"));
        }
        if required && !field.required {
            section.fault("driver", &span, &format!("the field `{name}` has to be required"));
        }
    }
}

fn placement(section: &Section<'_>) -> Option<Placement> {
    if section.has("placement") { section.parse("placement", check::placement) } else { Some(Placement::Bearer) }
}

fn oauth2(root: &Section<'_>, section: &Section<'_>, context: &Context) -> Option<Auth> {
    if !root.has("identity") {
        section.require_beside("[identity]", "method");
    }
    section.require("authorize_url");
    section.require("token_url");
    let url = |key, stage| section.parse(key, |text| context.known.url(text, stage));
    let authorize_url = url("authorize_url", Stage::Browser);
    let token_url = url("token_url", Stage::Asked);
    let revoke_url = url("revoke_url", Stage::Identified);
    let issuer = url("issuer", Stage::Asked);
    let iss_required = section.flag("iss_required").is_some_and(toml::Spanned::into_inner);
    if iss_required && !section.has("issuer") {
        section.require_beside("`issuer`", "iss_required");
    }
    let (scopes, optional_scopes, scope_separator) = scopes(section);
    let authorize_params = params(section, "authorize_params", check::authorize_parameter, context, Stage::Browser);
    let token_params = params(section, "token_params", check::token_parameter, context, Stage::Asked);
    let login_hint_param = section.parse("login_hint_param", check::authorize_parameter);
    if let Some(name) = login_hint_param.as_ref().filter(|name| authorize_params.contains_key(*name)) {
        let fault = format!("`{name}` is among `authorize_params` too");
        section.fault("login_hint_param", &section.key_span("login_hint_param"), &fault);
    }
    let client_auth = section.choice("client_auth", &[("basic", ClientAuth::Basic), ("body", ClientAuth::Body)]);
    let refresh = section
        .choice("refresh", &[("token", Refresh::Token), ("exchange", Refresh::Exchange), ("none", Refresh::None)]);
    let pkce = section.flag("pkce");
    let expires_after_days = section.count("expires_after_days");
    let placement = placement(section);
    Some(Auth::OAuth2(Box::new(OAuth2 {
        authorize_url: authorize_url?,
        token_url: token_url?,
        revoke_url,
        issuer,
        iss_required,
        scopes,
        optional_scopes,
        scope_separator,
        pkce: pkce.is_none_or(toml::Spanned::into_inner),
        client_auth: client_auth.unwrap_or(ClientAuth::Basic),
        authorize_params,
        token_params,
        placement: placement?,
        login_hint_param,
        keep: context.known.token.clone(),
        refresh: refresh.unwrap_or(Refresh::Token),
        expires_after_days,
        answers: answers::of_tokens(section),
    })))
}

/// The required scopes, the optional ones, and what separates them.
fn scopes(section: &Section<'_>) -> (Vec<String>, Vec<String>, String) {
    let separator = section.parse("scope_separator", check::scope_separator).unwrap_or_else(|| " ".to_owned());
    let required = section.list("scopes", |text| check::scope(text, &separator));
    let optional = section.list("optional_scopes", |text| {
        let scope = check::scope(text, &separator)?;
        if required.contains(&scope) { Err(format!("`{scope}` is among `scopes` too")) } else { Ok(scope) }
    });
    (required, optional, separator)
}

fn params(
    section: &Section<'_>,
    key: &'static str,
    name_check: fn(&str) -> Result<String, String>,
    context: &Context,
    stage: Stage,
) -> BTreeMap<String, Template> {
    let mut params = BTreeMap::new();
    for (name, value) in section.text_map(key) {
        let name = section.accept(key, &name, name_check);
        let value = section.accept(key, &value, |text| context.known.parameter(text, stage));
        params.extend(name.zip(value));
    }
    params
}
