//! OAuth 2.0 (RFC 6749) with PKCE (RFC 7636): sending a person out, redeeming the code, renewing, revoking (RFC 7009).
//!
//! The `oauth2` crate writes the requests; they go through [`Outbound`], and their answers are judged by `classify.rs`
//! and straightened by `token.rs` before the crate reads them. State, cookies and who may finish an attempt are the
//! connections' matter.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, Scope, StandardRevocableToken, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::{Origin, Url, form_urlencoded};

use crate::{
    catalogue::{ClientAuth, Connector, OAuth2, Refresh, Template, Values},
    clock::{self, Entropy},
};

use super::{
    Provider, classify,
    classify::Failure,
    credential::{Credential, Grant},
    outbound::{Call, Redirects},
    settings::OAuthClient,
    token::{self, TokenAnswer},
};

/// The crate's client, reading token answers our way.
type Client<AtAuthorization, AtToken> = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    AtAuthorization,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    AtToken,
>;

/// What a person is sent to the provider with.
#[derive(Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// Comes back with the code, and is good for once.
    pub state: &'a str,
    /// From [`new_verifier`]; only its hash (S256) is sent.
    pub verifier: &'a SecretString,
    /// Where the provider sends the person back to.
    pub redirect_uri: &'a Url,
    /// Whose account is expected, on a reconnect; sent where the provider has a parameter for it.
    pub login_hint: Option<&'a str>,
}

/// A fresh PKCE verifier: 43 characters out of 256 random bits (RFC 7636 §4.1).
pub fn new_verifier(entropy: &dyn Entropy) -> SecretString {
    BASE64_URL_SAFE_NO_PAD.encode(clock::random::<32>(entropy)).into()
}

/// A connector's authorization server, as this server is its client.
struct Server<'a> {
    oauth: &'a OAuth2,
    client: &'a OAuthClient,
    values: Values<'a>,
}

impl Provider {
    /// Where to send a person's browser.
    ///
    /// # Errors
    /// Transient when the connector is not one that signs in by OAuth, or not configured, or its URL cannot be made of
    /// `fields`.
    pub fn authorization_url(
        &self,
        connector: &Connector,
        fields: &BTreeMap<String, String>,
        request: AuthorizationRequest<'_>,
    ) -> Result<Url, Failure> {
        let server = self.server(connector, self.values(connector, fields))?;
        let url = server.oauth.authorize_url.render_url(&server.values)?;
        if !self.outbound.may_visit(&url) {
            return Err(Failure::transient("the provider's sign-in page has no address that a browser may be sent to"));
        }
        server.authorization_url(url, request)
    }

    /// Whether the `iss` of a callback (RFC 9207) is this connector's: it must be the issuer of the connector's file, or where
    /// that names none, be at the origin of its sign-in page or token endpoint. It may be missing only where the file does
    /// not demand it.
    ///
    /// # Errors
    /// Transient when the issuer, or one of these addresses, cannot be made of `fields`.
    pub fn accepts_issuer(
        &self,
        connector: &Connector,
        fields: &BTreeMap<String, String>,
        iss: Option<&str>,
    ) -> Result<bool, Failure> {
        let server = self.server(connector, self.values(connector, fields))?;
        Ok(match (iss, &server.oauth.issuer) {
            (None, _) => !server.oauth.iss_required,
            (Some(iss), Some(issuer)) => issuer.render_url_text(&server.values)? == iss,
            (Some(iss), None) => {
                let endpoints = [&server.oauth.authorize_url, &server.oauth.token_url];
                let mut own = Vec::with_capacity(endpoints.len());
                for endpoint in endpoints {
                    own.push(endpoint.render_url(&server.values)?.origin());
                }
                let iss = Url::parse(iss).map(|url| url.origin()).ok().filter(Origin::is_tuple);
                iss.is_some_and(|iss| own.contains(&iss))
            }
        })
    }

    /// The id of this server's OAuth client for a connector; none where it has no such client.
    pub fn oauth_client(&self, connector: &Connector) -> Option<String> {
        connector.oauth()?;
        Some(self.settings(connector)?.client.as_ref()?.id.clone())
    }

    /// Redeems the code that a person came back with. Where long-lived tokens are exchanged for (Meta), the first exchange
    /// is part of it; if only that fails, the short-lived grant is returned and can be renewed later.
    ///
    /// # Errors
    /// [`super::Rejection::InvalidGrant`]: the code is not valid, not for this verifier, or used already.
    pub async fn exchange_code(
        &self,
        connector: &Connector,
        fields: &BTreeMap<String, String>,
        code: &SecretString,
        verifier: &SecretString,
        redirect_uri: &Url,
    ) -> Result<Grant, Failure> {
        let server = self.server(connector, self.values(connector, fields))?;
        let asked_at = self.clock.now();
        let client = server.at_token_endpoint()?;
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(redirect_uri.clone())));
        for (name, value) in filled(&server.oauth.token_params, &server.values)? {
            request = request.add_extra_param(name, value);
        }
        if server.oauth.pkce {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
        }
        let answer = request.request_async(&self.token_endpoint(server.oauth)).await.map_err(why)?;
        let before = Credential { fields: fields.clone(), ..Credential::default() };
        let grant = token::grant(server.oauth, &answer, &before, asked_at);
        if server.oauth.refresh == Refresh::Exchange {
            return Ok(self.renew(connector, &grant.credential).await.unwrap_or(grant));
        }
        Ok(grant)
    }

    /// Whether [`Provider::renew`] has anything to renew this credential with.
    pub fn can_renew(&self, connector: &Connector, credential: &Credential) -> bool {
        match (connector.oauth().map(|oauth| oauth.refresh), &credential.oauth) {
            (Some(Refresh::Token), Some(tokens)) => tokens.refresh_token.is_some(),
            (Some(Refresh::Exchange), Some(_)) => true,
            (Some(Refresh::None) | None, _) | (_, None) => false,
        }
    }

    /// Fresh tokens: by the refresh token (RFC 6749 §6), or by exchanging the access token. The old refresh token stays
    /// where the answer has none, and so does what was kept of earlier answers.
    ///
    /// # Errors
    /// [`super::Rejection::InvalidGrant`]: the provider ended the grant. Transient, without a call, where there is nothing
    /// to renew with ([`Provider::can_renew`]).
    pub async fn renew(&self, connector: &Connector, credential: &Credential) -> Result<Grant, Failure> {
        let server = self.server(connector, self.values_of(connector, credential))?;
        let asked_at = self.clock.now();
        let tokens = credential.oauth.as_ref();
        let refresh_token = tokens.and_then(|tokens| tokens.refresh_token.as_ref());
        let answer = match (server.oauth.refresh, refresh_token, tokens) {
            (Refresh::Token, Some(token), _) => self.refresh(&server, token).await?,
            (Refresh::Exchange, _, Some(tokens)) => self.exchange(&server, &tokens.access_token).await?,
            _ => return Err(Failure::transient("there is nothing to renew this grant with")),
        };
        Ok(token::grant(server.oauth, &answer, credential, asked_at))
    }

    async fn refresh(&self, server: &Server<'_>, token: &SecretString) -> Result<TokenAnswer, Failure> {
        let (client, token) = (server.at_token_endpoint()?, RefreshToken::new(token.expose_secret().to_owned()));
        let mut request = client.exchange_refresh_token(&token);
        for (name, value) in filled(&server.oauth.token_params, &server.values)? {
            request = request.add_extra_param(name, value);
        }
        request.request_async(&self.token_endpoint(server.oauth)).await.map_err(why)
    }

    /// Meta's own grant: a longer-lived access token for this one. By POST, which keeps the secrets out of the URL.
    async fn exchange(&self, server: &Server<'_>, token: &SecretString) -> Result<TokenAnswer, Failure> {
        let mut form = vec![("grant_type", "fb_exchange_token"), ("fb_exchange_token", token.expose_secret())];
        let params = filled(&server.oauth.token_params, &server.values)?;
        form.extend(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let url = server.oauth.token_url.render_url(&server.values)?;
        let answer = self.token_endpoint(server.oauth).ask(server.form(url, form)).await?;
        serde_json::from_value(answer).map_err(|_| unreadable())
    }

    /// Whether [`Provider::revoke`] has anything to do for this credential.
    pub fn can_revoke(&self, connector: &Connector, credential: &Credential) -> bool {
        credential.oauth.is_some() && connector.oauth().is_some_and(|oauth| oauth.revoke_url.is_some())
    }

    /// Gives the grant back (RFC 7009): the refresh token first, which ends the grant; then the access token, for servers
    /// that would let it live on. `Ok` where the provider has no revocation, and where it says that there was nothing left.
    ///
    /// # Errors
    /// Of the refresh token's revocation; of the access token's only where there is no refresh token.
    pub async fn revoke(&self, connector: &Connector, credential: &Credential) -> Result<(), Failure> {
        let (Some(oauth), Some(tokens)) = (connector.oauth(), &credential.oauth) else { return Ok(()) };
        let Some(revoke_url) = &oauth.revoke_url else { return Ok(()) };
        let server = self.server(connector, self.values_of(connector, credential))?;
        let url = revoke_url.render_url(&server.values)?;
        let Some(refresh_token) = &tokens.refresh_token else {
            return self.revoke_token(&server, url, &tokens.access_token, "access_token").await;
        };
        self.revoke_token(&server, url.clone(), refresh_token, "refresh_token").await?;
        if let Err(failure) = self.revoke_token(&server, url, &tokens.access_token, "access_token").await {
            tracing::debug!(connector = connector.slug, %failure, "the access token of a revoked grant ends by itself");
        }
        Ok(())
    }

    async fn revoke_token(
        &self,
        server: &Server<'_>,
        url: Url,
        token: &SecretString,
        hint: &str,
    ) -> Result<(), Failure> {
        let form = vec![("token", token.expose_secret()), ("token_type_hint", hint)];
        let answer = self.outbound.send(server.form(url, form)).await?;
        classify::revocation_answer(&answer, self.clock.now())
    }

    fn server<'a>(&'a self, connector: &'a Connector, values: Values<'a>) -> Result<Server<'a>, Failure> {
        let oauth = connector.oauth().ok_or_else(|| Failure::transient("this connector does not sign in by OAuth"))?;
        let client = self.settings(connector).and_then(|settings| settings.client.as_ref());
        let client = client.ok_or_else(|| Failure::transient("this server has no OAuth client for this connector"))?;
        Ok(Server { oauth, client, values })
    }

    fn token_endpoint<'a>(&'a self, oauth: &'a OAuth2) -> TokenEndpoint<'a> {
        TokenEndpoint { provider: self, oauth }
    }
}

impl Server<'_> {
    fn client(&self) -> Client<EndpointNotSet, EndpointNotSet> {
        let client = Client::new(ClientId::new(self.client.id.clone())).set_auth_type(match self.oauth.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        });
        match &self.client.secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
            None => client,
        }
    }

    fn at_token_endpoint(&self) -> Result<Client<EndpointNotSet, EndpointSet>, Failure> {
        let url = self.oauth.token_url.render_url(&self.values)?;
        Ok(self.client().set_token_uri(TokenUrl::from_url(url)))
    }

    fn authorization_url(&self, url: Url, request: AuthorizationRequest<'_>) -> Result<Url, Failure> {
        let client = self.client().set_auth_uri(AuthUrl::from_url(url));
        let mut built = client
            .authorize_url(|| CsrfToken::new(request.state.to_owned()))
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(request.redirect_uri.clone())));
        let scopes: Vec<&str> =
            self.oauth.scopes.iter().chain(&self.oauth.optional_scopes).map(String::as_str).collect();
        if !scopes.is_empty() {
            // The crate parts scopes by spaces, some providers by commas: joined here, they are one scope to the crate.
            built = built.add_scope(Scope::new(scopes.join(&self.oauth.scope_separator)));
        }
        if self.oauth.pkce {
            built = built.set_pkce_challenge(challenge(request.verifier)?);
        }
        for (name, value) in filled(&self.oauth.authorize_params, &self.values)? {
            built = built.add_extra_param(name, value);
        }
        if let (Some(name), Some(hint)) = (&self.oauth.login_hint_param, request.login_hint) {
            built = built.add_extra_param(name, hint);
        }
        Ok(built.url().0)
    }

    /// A form for this authorization server, signed as its client (RFC 6749 §2.3.1), for the requests that the crate does
    /// not write.
    fn form<'f>(&'f self, url: Url, mut form: Vec<(&'f str, &'f str)>) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        match (self.oauth.client_auth, &self.client.secret) {
            (ClientAuth::Basic, Some(secret)) => {
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let (id, secret) = (encoded(&self.client.id), encoded(secret.expose_secret()));
                headers.insert(AUTHORIZATION, super::api::basic(&id, &secret));
            }
            (_, secret) => {
                form.push(("client_id", &self.client.id));
                form.extend(secret.iter().map(|secret| ("client_secret", secret.expose_secret())));
            }
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into_bytes();
        Call { method: Method::POST, url, headers, body, redirects: Redirects::Never }
    }
}

/// Parameters whose placeholders all have values; one that lacks a value is left out of its request.
fn filled(params: &BTreeMap<String, Template>, values: &Values<'_>) -> Result<Vec<(String, String)>, Failure> {
    let there = params.iter().filter(|(_, template)| template.is_filled_by(values));
    there.map(|(name, template)| Ok((name.clone(), template.render_text(values)?))).collect()
}

/// The S256 challenge of a verifier (RFC 7636 §4.2). The crate panics on one of another length.
fn challenge(verifier: &SecretString) -> Result<PkceCodeChallenge, Failure> {
    let verifier = verifier.expose_secret();
    if !(43..=128).contains(&verifier.len()) {
        return Err(Failure::transient("a PKCE verifier has 43 to 128 characters"));
    }
    Ok(PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned())))
}

fn why(error: RequestTokenError<Failure, BasicErrorResponse>) -> Failure {
    match error {
        RequestTokenError::Request(failure) => failure,
        // These hold the answer's body.
        RequestTokenError::ServerResponse(_) | RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            unreadable()
        }
    }
}

fn unreadable() -> Failure {
    Failure::transient("the provider's token answer cannot be read")
}

/// The HTTP client that the `oauth2` crate is given: its answers are judged and straightened already.
struct TokenEndpoint<'a> {
    provider: &'a Provider,
    oauth: &'a OAuth2,
}

impl TokenEndpoint<'_> {
    async fn ask(&self, call: Call) -> Result<Value, Failure> {
        let answer = self.provider.outbound.send(call).await?;
        let answer = classify::token_answer(&answer, &self.oauth.answers, self.now())?;
        Ok(token::normalised(answer, &self.oauth.scope_separator))
    }

    fn now(&self) -> DateTime<Utc> {
        self.provider.clock.now()
    }
}

impl<'c> AsyncHttpClient<'c> for TokenEndpoint<'_> {
    type Error = Failure;
    type Future = BoxFuture<'c, Result<HttpResponse, Failure>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string().parse().map_err(|_| unreadable())?;
            let mut headers = parts.headers;
            if let Some(authorization) = headers.get_mut(AUTHORIZATION) {
                authorization.set_sensitive(true);
            }
            let call = Call { method: parts.method, url, headers, body, redirects: Redirects::Never };
            Ok(HttpResponse::new(self.ask(call).await?.to_string().into_bytes()))
        })
    }
}
