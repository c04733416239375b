//! What is asked of a provider's API with a credential: whose account it is, and whether it still works. Which accounts
//! there are is asked in `accounts.rs`, and rows in `http_rows.rs`, by requests that are signed here.
//!
//! Which requests these are is in the connector's file; what their answers mean is in `classify.rs`.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use crate::{
    catalogue::{self, Auth, Connector, Named, Payload, Placement, Request, Template, Values},
    line::{is_shapeless, without_marks},
};

use super::{
    Provider, classify,
    classify::{Failure, Rejection},
    credential::{Account, Credential},
    outbound::{Call, Redirects},
    pages::set_parameter,
};

/// A media type.
pub(super) const JSON: &str = "application/json";

impl Provider {
    /// Whose account the credential opens; `None` where the connector's file has no `[identity]`. What the file wants kept
    /// of the answer goes into `credential.identity`.
    pub async fn identify(
        &self,
        connector: &Connector,
        credential: &mut Credential,
    ) -> Result<Option<Account>, Failure> {
        let Some(identity) = &connector.identity else { return Ok(None) };
        let answer = self.ask(connector, credential, &identity.request, None).await?;
        let account = identity.read(&answer).and_then(account);
        let account = account.ok_or_else(|| Failure::transient("the provider does not say whose account it is"))?;
        credential.identity.extend(identity.kept(&answer));
        Ok(Some(account))
    }

    /// Whether the credential still works: for that account where the connector can ask about one, else at all.
    ///
    /// # Errors
    /// [`Rejection::Unauthorized`]: not with this credential. [`Rejection::Forbidden`]: not for this account.
    /// [`Rejection::Missing`]: no such account, as far as this credential sees.
    pub async fn probe(
        &self,
        connector: &Connector,
        credential: &Credential,
        account: Option<&str>,
    ) -> Result<(), Failure> {
        if let Auth::Fields { driver: Some(driver) } = connector.auth {
            return self.probe_sql(driver, credential).await;
        }
        let of_account = connector.probe.asks_of(account);
        let identity = connector.identity.as_ref().map(|identity| &identity.request);
        let request = of_account.or(connector.probe.request.as_ref()).or(identity);
        let request = request.ok_or_else(|| Failure::transient("this connector has nothing to ask"))?;
        self.ask(connector, credential, request, account).await.map(drop)
    }

    async fn ask(
        &self,
        connector: &Connector,
        credential: &Credential,
        request: &Request,
        account: Option<&str>,
    ) -> Result<Value, Failure> {
        let call = call(request, &self.values_of(connector, credential).account(account))?;
        let call = self.signed(call, connector, credential, &request.headers, account)?;
        classify::api_answer(&self.outbound.send(call).await?, connector.known_answers(), self.clock.now())
    }

    /// The call with all that says who asks, and the headers of the API and of its own.
    pub(super) fn signed(
        &self,
        mut call: Call,
        connector: &Connector,
        credential: &Credential,
        headers: &BTreeMap<String, Template>,
        account: Option<&str>,
    ) -> Result<Call, Failure> {
        let values = self.values_of(connector, credential).account(account);
        sign(&mut call, connector, credential)?;
        add_api_headers(&mut call, connector, &values)?;
        add_headers(&mut call.headers, headers, &values)?;
        Ok(call)
    }
}

/// The request itself, without anything that says who asks.
pub(super) fn call(request: &Request, values: &Values<'_>) -> Result<Call, Failure> {
    let (kind, body) = match request.payload(values)? {
        None => (None, String::new()),
        Some(Payload::Json(text)) => (Some(JSON), text),
        Some(Payload::Form(text)) => (Some("application/x-www-form-urlencoded"), text),
    };
    Ok(unsigned(request.method, request.url.render_url(values)?, kind, body.into_bytes()))
}

/// A call for JSON; `kind` is the media type of its body.
pub(super) fn unsigned(method: catalogue::Method, url: Url, kind: Option<&'static str>, body: Vec<u8>) -> Call {
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(JSON))]);
    headers.extend(kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
    let method = match method {
        catalogue::Method::Get => Method::GET,
        catalogue::Method::Post => Method::POST,
    };
    Call { method, url, headers, body, redirects: Redirects::Follow }
}

/// Puts the credential where the connector's file says.
fn sign(call: &mut Call, connector: &Connector, credential: &Credential) -> Result<(), Failure> {
    let field = |name: &str| credential.fields.get(name).map(String::as_str).ok_or_else(nothing_to_show);
    match &connector.auth {
        Auth::OAuth2(oauth) => {
            let tokens = credential.oauth.as_ref().ok_or_else(nothing_to_show)?;
            place(call, &oauth.placement, tokens.access_token.expose_secret())
        }
        Auth::ApiKey { placement } => place(call, placement, field("api_key")?),
        Auth::Basic => {
            call.headers.insert(AUTHORIZATION, basic(field("username")?, field("password")?));
            Ok(())
        }
        // They stand in the request's own URL and headers.
        Auth::Fields { .. } => Ok(()),
    }
}

fn place(call: &mut Call, placement: &Placement, key: &str) -> Result<(), Failure> {
    match placement {
        Placement::Bearer => add_secret(&mut call.headers, AUTHORIZATION, &format!("Bearer {key}")),
        Placement::Header { name, value } => {
            add_secret(&mut call.headers, header_name(name)?, &value.replace("{key}", key))
        }
        Placement::Query { name } => {
            // In the place of one that a parameter or the provider's own next address brings.
            set_parameter(&mut call.url, name, key);
            Ok(())
        }
    }
}

/// The headers of `[api]` go to the API's own origin and nowhere else.
fn add_api_headers(call: &mut Call, connector: &Connector, values: &Values<'_>) -> Result<(), Failure> {
    let Some(api) = &connector.api else { return Ok(()) };
    // The API may live at an address that only the identity answer tells.
    let own = |url: &Url| api.base_url.render_url(values).is_ok_and(|base| base.origin() == url.origin());
    if own(&call.url) { add_headers(&mut call.headers, &api.headers, values) } else { Ok(()) }
}

/// Headers whose placeholders all have values; one that lacks a value is left out.
fn add_headers(
    headers: &mut HeaderMap,
    templates: &BTreeMap<String, Template>,
    values: &Values<'_>,
) -> Result<(), Failure> {
    for (name, template) in templates.iter().filter(|(_, template)| template.is_filled_by(values)) {
        add_secret(headers, header_name(name)?, &template.render_header(values)?)?;
    }
    Ok(())
}

/// Any header may hold a secret, so none is shown by whatever logs requests.
fn add_secret(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    // A key that does not fit into a header is nobody's key.
    let mut value = HeaderValue::from_str(value).map_err(|_| Failure::Rejected(Rejection::Unauthorized))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, Failure> {
    name.parse()
        .map_err(|_| Failure::transient("a request of this connector cannot be made: no header has such a name"))
}

/// `Authorization: Basic …` (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    // Base64 fits into a header.
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

pub(super) fn nothing_to_show() -> Failure {
    Failure::transient("the authorization holds no credential of this connector's kind")
}

/// An account that can be kept: providers' ids are short, and show what they hold; their names are cut, and shown on pages
/// and in mail, so that marks which turn the direction of what stands beside them are left out.
pub(super) fn account(named: Named) -> Option<Account> {
    let name: String = without_marks(&named.name).chars().take(Account::LONGEST).collect();
    let name = if name.trim().is_empty() { named.id.clone() } else { name };
    let fits = named.id.chars().count() <= Account::LONGEST && !named.id.contains(is_shapeless);
    fits.then_some(Account { id: named.id, name })
}
