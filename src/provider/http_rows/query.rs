//! What a dataset may ask of an API, and the request that it becomes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::{
    super::{Failure, HttpQuery, NoRows, api, outbound::Call},
    acts,
};
use crate::catalogue::{Api, Connector, Method, Namespace, RenderError, Template, Values, pointer};

/// Bytes of a path, and of a pointer.
const LONGEST: usize = 2_000;
/// Steps of a pointer.
const DEEPEST: usize = 32;

/// What is percent-encoded in a parameter: all but what may stand in a query (RFC 3986 §3.4) and separates nothing there.
/// Some servers tell `(` from `%28`.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// What is wrong with a query, whatever its source says to it. A sentence for people, which repeats nothing of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    #[error("A path has at most {LONGEST} characters.")]
    PathLength,
    #[error("Datasets may not ask at this path: this data source is asked at those only that read.")]
    PathWrites,
    #[error("Datasets may not ask where this data source gives out and ends its tokens.")]
    PathOfTokens,
    #[error("A path goes down from the API's own address: without empty parts, “.” and “..”.")]
    PathClimbs,
    #[error("A path has no “?”: what is asked for goes into the parameters.")]
    PathQuery,
    #[error("A path is written as it is sent: what is not a letter, a digit or a sign of paths is percent-encoded.")]
    PathCharacters,
    #[error("{{account.id}} is the one placeholder that a path may have.")]
    PathPlaceholder,
    #[error("This data source has no accounts that a path could name.")]
    PathAccount,
    #[error("A parameter is a text, a number, true, false, null, or a list of these.")]
    Parameters,
    #[error("Datasets only read: a parameter does not ask for another method.")]
    ParameterActs,
    #[error("A JSON Pointer has at most {DEEPEST} steps here.")]
    PointerLength,
    #[error("A JSON Pointer is empty or begins with “/”; “~” is written “~0” in it, and “/” inside of a name “~1”.")]
    Pointer,
}

impl QueryFault {
    /// The field of the query that it is about.
    pub fn field(self) -> &'static str {
        match self {
            Self::PathLength
            | Self::PathClimbs
            | Self::PathWrites
            | Self::PathOfTokens
            | Self::PathQuery
            | Self::PathCharacters
            | Self::PathPlaceholder
            | Self::PathAccount => "path",
            Self::Parameters | Self::ParameterActs => "parameters",
            Self::PointerLength | Self::Pointer => "rowsPointer",
        }
    }
}

impl From<QueryFault> for NoRows {
    fn from(fault: QueryFault) -> Self {
        Self::Query(fault.to_string())
    }
}

impl HttpQuery {
    /// Whether this can be asked of such a connector at all, before anybody is.
    ///
    /// A path stays below the API's own address, whatever it says: it is parts of a URL's path (RFC 3986 §3.3), of which
    /// none climbs, not even percent-encoded. `{account.id}` is escaped as one part. Parameters of a GET are scalars and
    /// lists of scalars, those of a POST any JSON.
    pub fn check(&self, connector: &Connector) -> Result<(), QueryFault> {
        check_path(&self.path, connector.accounts.is_some())?;
        let paths = connector.api.as_ref().and_then(|api| api.paths.as_ref());
        if paths.is_some_and(|paths| !paths.matches(self.path.strip_prefix('/').unwrap_or(&self.path))) {
            return Err(QueryFault::PathWrites);
        }
        if let Some(api) = &connector.api
            && acts::is_of_tokens(connector, &below(api.base_url.source(), &self.path)?)
        {
            return Err(QueryFault::PathOfTokens);
        }
        let is_post = connector.api.as_ref().is_some_and(|api| api.method == Method::Post);
        if !is_post && !self.parameters.values().all(is_scalar_or_list) {
            return Err(QueryFault::Parameters);
        }
        if !is_post && acts::overrides_method(&self.parameters) {
            return Err(QueryFault::ParameterActs);
        }
        if self.rows.len() > LONGEST || self.rows.matches('/').count() > DEEPEST {
            return Err(QueryFault::PointerLength);
        }
        if self.rows.contains(char::is_control) || pointer::fault(&self.rows, true).is_some() {
            return Err(QueryFault::Pointer);
        }
        Ok(())
    }

    /// The request for the first page, without anything that says who asks. The query has been checked.
    pub(super) fn call(&self, api: &Api, values: &Values<'_>) -> Result<Call, NoRows> {
        let mut url = below(api.base_url.source(), &self.path)?.render_url(values).map_err(unwritten)?;
        let mut body = Vec::new();
        match api.method {
            Method::Post => body = Value::Object(self.parameters.clone()).to_string().into_bytes(),
            Method::Get => {
                let pairs = self.parameters.iter().flat_map(|(name, value)| pairs(name, value));
                let query = pairs.collect::<Vec<_>>().join("&");
                url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
            }
        }
        let kind = (api.method == Method::Post).then_some(api::JSON);
        Ok(api::unsigned(api.method, url, kind, body))
    }
}

fn check_path(path: &str, has_accounts: bool) -> Result<(), QueryFault> {
    if path.len() > LONGEST {
        return Err(QueryFault::PathLength);
    }
    if path.contains('?') {
        return Err(QueryFault::PathQuery);
    }
    let template = Template::parse(path).map_err(|_| QueryFault::PathPlaceholder)?;
    for (namespace, _) in template.names() {
        match namespace {
            Namespace::Account if has_accounts => {}
            Namespace::Account => return Err(QueryFault::PathAccount),
            _ => return Err(QueryFault::PathPlaceholder),
        }
    }
    if path.contains("//") || path.split('/').any(climbs) {
        return Err(QueryFault::PathClimbs);
    }
    let decoded = acts::decoded(path);
    let is_text = percent_decode_str(&decoded).decode_utf8().is_ok();
    let written = below("https://api.example", path)?.render_url(&Values::default().account(Some("1")));
    if !is_text || decoded.contains(char::is_control) || written.is_err() {
        return Err(QueryFault::PathCharacters);
    }
    Ok(())
}

/// Whether a part of a path is `.` or `..`, or is made of parts that are to a server which decodes it first, takes the
/// parameters of a part off (`..;`), or takes other dots for dots.
fn climbs(part: &str) -> bool {
    let decoded = acts::decoded(part).replace(['\u{ff0e}', '\u{2024}'], ".");
    let mut parts = decoded.split(['/', '\\']).map(|part| part.split_once(';').map_or(part, |(part, _)| part));
    parts.any(|part| matches!(part.trim(), "." | ".."))
}

/// What lies below a URL; the URL itself where the path is empty.
fn below(base: &str, path: &str) -> Result<Template, QueryFault> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let url = if path.is_empty() { base.to_owned() } else { format!("{}/{path}", base.trim_end_matches('/')) };
    Template::parse(&url).map_err(|_| QueryFault::PathPlaceholder)
}

/// Why a URL could not be written, where the connector's file is sound.
fn unwritten(error: RenderError) -> NoRows {
    match error {
        RenderError::Missing(placeholder) if placeholder.namespace == Namespace::Account => {
            NoRows::Query("The path names the account, and this connection has none.".to_owned())
        }
        RenderError::Unfit { placeholder, .. } if placeholder.namespace == Namespace::Account => unfit_account(),
        RenderError::NotAUrl(_) => unfit_account(),
        other => Failure::from(other).into(),
    }
}

/// The path was sound with another account.
fn unfit_account() -> NoRows {
    NoRows::Query("The account's id cannot stand in this path.".to_owned())
}

fn is_scalar_or_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| !item.is_array() && !item.is_object()),
        value => !value.is_object(),
    }
}

/// A parameter as it stands in a query: a list once for each member, and `null` not at all.
fn pairs(name: &str, value: &Value) -> Vec<String> {
    let encoded = |text: &str| utf8_percent_encode(text, IN_QUERY).to_string();
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(|item| pairs(name, item)).collect(),
        Value::String(text) => vec![format!("{}={}", encoded(name), encoded(text))],
        other => vec![format!("{}={}", encoded(name), encoded(&other.to_string()))],
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
