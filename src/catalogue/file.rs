//! The format of a connector file: which keys stand where, which have to be there, and what they become.
//!
//! The whole file is read even where something is wrong, so that all its problems are told at once. For those who write
//! connector files every key is described in `connectors/README.md`.

use std::{collections::BTreeMap, time::Duration};

use toml::de::DeTable;

use super::{
    answers,
    auth::{self, METHODS, MethodName},
    check,
    connector::{
        Accounts, Api, Auth, Connector, DataMode, Field, Identity, Kept, Method, Pace, Pattern, Placement, Probe,
        Request,
    },
    known::{Asked, Known, Stage},
    paging::{self, First},
    problem::{Problem, Report},
    section::Section,
    template::{Namespace, Template},
};

/// How often an account is probed where the file does not say.
const ACCOUNT_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a file; `file` is its name in the problems.
pub(super) fn read(file: &str, text: &str) -> Result<Connector, Vec<Problem>> {
    let mut report = Report::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.syntax(error);
    }
    let connector = connector(Section::root(document.get_ref(), &report));
    match (connector, report.into_problems()) {
        (Some(connector), problems) if problems.is_empty() => Ok(connector),
        (_, problems) => Err(problems),
    }
}

/// Reads the line in which a file names its slug.
pub(super) fn slug_line(text: &str) -> usize {
    let (document, _) = DeTable::parse_recoverable(text);
    let key = document.get_ref().get_key_value("slug");
    key.map_or(1, |(key, _)| super::problem::line_of(text, key.span().start))
}

/// What every part of a file is read with.
pub(super) struct Context {
    pub(super) known: Known,
    /// The header that carries the credential, in lower case.
    credential_header: Option<String>,
}

fn connector(root: Section<'_>) -> Option<Connector> {
    let slug = root.required("slug", check::slug);
    let name = root.required("name", check::line);
    let category = root.required("category", check::line);
    root.require("mode");
    let mode = root.choice("mode", &[("warehouse", DataMode::Warehouse), ("direct_query", DataMode::DirectQuery)]);
    let docs_url = root.parse("docs_url", check::page);
    let requirements = root.required("requirements", check::prose);

    // What placeholders may name comes before the placeholders.
    root.require("auth");
    let (auth_section, identity_section) = (root.section("auth"), root.section("identity"));
    let method = auth_section.as_ref().and_then(|auth| {
        auth.require("method");
        auth.choice("method", &METHODS)
    });
    let fields = fields(&root, method);
    let known = Known {
        fields: asked(&fields),
        token: auth_section.as_ref().map(|auth| keep(auth, check::token_member)).unwrap_or_default(),
        identity: identity_section.as_ref().map(|section| keep(section, check::member)).unwrap_or_default(),
        has_accounts: root.has("accounts"),
        incomplete: root.is_incomplete(),
    };
    let mut context = Context { known, credential_header: None };

    let auth = auth_section.and_then(|section| auth::read(&root, section, method, &context));
    context.credential_header = auth.as_ref().and_then(credential_header);
    let identity = identity_section.and_then(|section| identity(section, &context));
    let accounts = root.section("accounts").and_then(|section| accounts(section, &context));
    let api = root.section("api").and_then(|section| api(section, &context));
    let probe = probe(root.section("probe"), identity.as_ref(), api.as_ref(), &context);
    let pace = root.section("pace").map(pace).unwrap_or_default();
    root.close();
    let slug = slug?;
    Some(Connector {
        id: crate::ids::connector_id(&slug),
        slug,
        name: name?,
        category: category?,
        mode: mode?,
        docs_url,
        requirements: requirements?,
        fields: fields.into_iter().map(|(field, _)| field).collect(),
        auth: auth?,
        identity,
        accounts,
        probe,
        api,
        pace,
    })
}

/// What a table's `keep` names.
fn keep(section: &Section<'_>, check: fn(&str) -> Result<String, String>) -> Vec<Kept> {
    let mut keep: Vec<Kept> = Vec::new();
    for kept in section.list("keep", check).iter().map(|text| Kept::of(text)) {
        if keep.iter().any(|other| other.name == kept.name && other.at != kept.at) {
            let fault = format!("two of them would be named `{}`", kept.name);
            section.fault("keep", &section.key_span("keep"), &fault);
        }
        keep.push(kept);
    }
    keep
}

/// The fields, the credential fields of the method included, each with whether the file gives it a pattern.
fn fields(root: &Section<'_>, method: Option<MethodName>) -> Vec<(Field, bool)> {
    let credentials = method.map(MethodName::credentials).unwrap_or_default();
    let mut fields: Vec<(Field, bool)> = Vec::new();
    for section in root.sections("field") {
        let span = section.key_span("name");
        let has_pattern = section.has("pattern");
        let Some(field) = field(section, credentials) else { continue };
        if fields.iter().any(|(other, _)| other.name == field.name) {
            root.fault("field", &span, &format!("`{}` is declared twice", field.name));
        }
        fields.push((field, has_pattern));
    }
    for credential in credentials {
        if !fields.iter().any(|(field, _)| field.name == credential.name) {
            fields.push((credential.field(), false));
        }
    }
    fields
}

fn field(section: Section<'_>, credentials: &[auth::CredentialField]) -> Option<Field> {
    let name = section.required("name", check::field_name);
    let label = section.parse("label", check::line);
    let secret = section.flag("secret");
    let required = section.flag("required");
    let pattern = section.parse("pattern", Pattern::parse);
    let help = section.parse("help", check::prose);
    let credential = credentials.iter().find(|credential| Some(credential.name) == name.as_deref());
    if let Some(open) = secret.as_ref().filter(|secret| !secret.get_ref())
        && credential.is_some_and(|credential| credential.secret)
    {
        section.fault("secret", &open.span(), "this credential is a secret");
    }
    section.close();
    let name = name?;
    Some(Field {
        label: label.unwrap_or_else(|| name.clone()),
        secret: secret.map_or(credential.is_some_and(|credential| credential.secret), toml::Spanned::into_inner),
        required: required.is_none_or(toml::Spanned::into_inner),
        name,
        pattern,
        help,
    })
}

fn asked(fields: &[(Field, bool)]) -> Vec<Asked> {
    let asked = fields.iter().map(|(field, has_pattern)| Asked {
        name: field.name.clone(),
        secret: field.secret,
        required: field.required,
        has_pattern: *has_pattern,
    });
    asked.collect()
}

fn credential_header(auth: &Auth) -> Option<String> {
    let placement = match auth {
        Auth::OAuth2(oauth) => &oauth.placement,
        Auth::ApiKey { placement } => placement,
        // In the same header.
        Auth::Basic => &Placement::Bearer,
        Auth::Fields { .. } => return None,
    };
    match placement {
        Placement::Bearer => Some("authorization".to_owned()),
        Placement::Header { name, .. } => Some(name.to_ascii_lowercase()),
        Placement::Query { .. } => None,
    }
}

fn identity(section: Section<'_>, context: &Context) -> Option<Identity> {
    let request = request(&section, context, Stage::Granted);
    let id = section.required("id", check::member_pointer);
    let name = section.parse("name", check::member_pointer);
    section.expect(&["keep"]);
    section.close();
    Some(Identity { request: request?, id: id?, name, keep: context.known.identity.clone() })
}

fn accounts(section: Section<'_>, context: &Context) -> Option<Accounts> {
    let request = request(&section, context, Stage::Identified);
    let list = section.required("list", check::list_pointer);
    let id = section.required("id", check::member_pointer);
    let id_prefix = section.parse("id_prefix", check::line);
    let name = section.parse("name", check::member_pointer);
    let next = section.section("next").and_then(|next| paging::read(next, First::Accounts(request.as_ref())));
    section.close();
    Some(Accounts { request: request?, list: list?, id: id?, id_prefix, name, next })
}

fn api(section: Section<'_>, context: &Context) -> Option<Api> {
    let base_url = section.required("base_url", |text| {
        if text.contains('?') {
            return Err("paths are added to it, so it has no query".to_owned());
        }
        context.known.url(text, Stage::Chosen)
    });
    let headers = headers(&section, context, Stage::Chosen);
    let method = section.choice("method", &METHOD_WORDS).unwrap_or(Method::Get);
    let paths = section.parse("paths", Pattern::parse);
    if method == Method::Post && !section.has("paths") {
        section.require_beside("`paths`", "method");
    }
    let omits_empty_lists = section.flag("omits_empty_lists").is_some_and(toml::Spanned::into_inner);
    let pagination = section.section("pagination").and_then(|next| paging::read(next, First::Dataset(method)));
    let answers = answers::of_api(&section);
    section.close();
    Some(Api { base_url: base_url?, headers, method, paths, omits_empty_lists, pagination, answers })
}

fn pace(section: Section<'_>) -> Pace {
    let usual = Pace::default();
    let (concurrent, per_second) = (section.count("concurrent"), section.count("per_second"));
    section.close();
    Pace { concurrent: concurrent.unwrap_or(usual.concurrent), per_second: per_second.unwrap_or(usual.per_second) }
}

/// The probe; by default the identity's request.
fn probe(section: Option<Section<'_>>, identity: Option<&Identity>, api: Option<&Api>, context: &Context) -> Probe {
    let by_identity = identity.map(|identity| identity.request.clone());
    let Some(section) = section else {
        return Probe { request: by_identity, account_request: None, account_interval: ACCOUNT_INTERVAL };
    };
    let headers = headers(&section, context, Stage::Identified);
    let own = request_at(&section, REQUEST_KEYS, context, Stage::Identified, headers.clone());
    let account_request = request_at(&section, ACCOUNT_PROBE_KEYS, context, Stage::Chosen, headers);
    without_url(&section);
    if let Some(request) = &account_request {
        account_named(&section, request, api);
    }
    let account_interval = section.parse("account_interval", check::interval).unwrap_or(ACCOUNT_INTERVAL);
    section.close();
    Probe { request: own.or(by_identity), account_request, account_interval }
}

/// Reports what is said of a probe's request that has no URL.
fn without_url(section: &Section<'_>) {
    for [url, method, body] in [REQUEST_KEYS, ACCOUNT_PROBE_KEYS] {
        for key in [method, body].into_iter().filter(|key| section.has(key) && !section.has(url)) {
            section.require_beside(&format!("`{url}`"), key);
        }
    }
}

/// Reports an account's probe that would ask the same for every account.
fn account_named(section: &Section<'_>, request: &Request, api: Option<&Api>) {
    let api_headers = api.into_iter().flat_map(|api| api.headers.values());
    if !templates(request).chain(api_headers).any(names_account) {
        section.fault("account_url", &section.key_span("account_url"), "nothing in it names {account.id}");
    }
}

fn templates(request: &Request) -> impl Iterator<Item = &Template> {
    std::iter::once(&request.url).chain(&request.body).chain(request.headers.values())
}

fn names_account(template: &Template) -> bool {
    template.names().any(|(namespace, _)| namespace == Namespace::Account)
}

const METHOD_WORDS: [(&str, Method); 2] = [("GET", Method::Get), ("POST", Method::Post)];

/// The keys of one request: its URL, its method and its body.
type RequestKeys = [&'static str; 3];
const REQUEST_KEYS: RequestKeys = ["url", "method", "body"];
const ACCOUNT_PROBE_KEYS: RequestKeys = ["account_url", "account_method", "account_body"];

/// The one request of a table, which has to be there.
fn request(section: &Section<'_>, context: &Context, stage: Stage) -> Option<Request> {
    section.require("url");
    let headers = headers(section, context, stage);
    request_at(section, REQUEST_KEYS, context, stage, headers)
}

fn request_at(
    section: &Section<'_>,
    [url_key, method_key, body_key]: RequestKeys,
    context: &Context,
    stage: Stage,
    headers: BTreeMap<String, Template>,
) -> Option<Request> {
    let url = section.parse(url_key, |text| context.known.url(text, stage));
    let method = section.choice(method_key, &METHOD_WORDS);
    let body = section.parse(body_key, |text| context.known.body(text, stage));
    if section.has(body_key) && !section.has(method_key) || body.is_some() && method == Some(Method::Get) {
        let fault = format!("a body goes with `{method_key} = \"POST\"`");
        section.fault(body_key, &section.key_span(body_key), &fault);
    }
    Some(Request { method: method.unwrap_or(Method::Get), url: url?, body, headers })
}

fn headers(section: &Section<'_>, context: &Context, stage: Stage) -> BTreeMap<String, Template> {
    let mut headers: BTreeMap<String, Template> = BTreeMap::new();
    for (name, value) in section.text_map("headers") {
        let Some(header) = section.accept("headers", &name, check::header_name) else { continue };
        let value = section.accept(&header, &value, |text| context.known.header(text, stage));
        if context.credential_header == Some(header.to_ascii_lowercase()) {
            section.fault("headers", &name.span(), "this header carries the credential");
        }
        if headers.keys().any(|other| other.eq_ignore_ascii_case(&header)) {
            section.fault("headers", &name.span(), "this header is there twice");
        }
        headers.extend(value.map(|value| (header, value)));
    }
    headers
}
