//! The authorization endpoint's rules (RFC 6749 §4.1.1, PKCE by RFC 7636, `iss` by RFC 9207): what a request must
//! have, and what comes of a decision. The page that people see is [`super::consent`]'s.

use url::Url;

use super::{
    CLIENT_ID, CallbackFault, Sandbox,
    ledger::Consent,
    params::Params,
    world::{Person, Product, Scope, is_shop},
};

/// A request that may be shown to a person.
pub(super) struct Request {
    pub(super) product: Product,
    pub(super) shop: Option<String>,
    pub(super) scopes: Vec<&'static Scope>,
    pub(super) hint: Option<&'static Person>,
    redirect_uri: String,
    challenge: String,
    callback: Callback,
}

/// What the person says.
pub(super) enum Decision<'a> {
    Allow { person: &'static Person, scopes: &'a dyn Fn(&Scope) -> bool },
    Cancel,
}

/// Why there is nothing to decide.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody knows that the client is who it says: the person is told, nothing is sent anywhere (RFC 6749 §4.1.2.1).
    Page(&'static str),
    /// The client is told.
    Callback(Url),
}

/// Where the answer goes, with the client's `state`.
struct Callback {
    to: Url,
    state: Option<String>,
    issuer: String,
}

impl Callback {
    fn url(&self, name: &str, value: &str, issuer: Option<&str>) -> Url {
        let mut url = self.to.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair(name, value);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        if let Some(issuer) = issuer {
            query.append_pair("iss", issuer);
        }
        drop(query);
        url
    }

    fn error(&self, code: &str) -> Url {
        self.url("error", code, Some(&self.issuer))
    }
}

impl Sandbox {
    /// Checks an authorization request. `shop` comes from the path.
    pub(super) fn read_request(&self, shop: Option<&str>, params: &Params) -> Result<Request, Refusal> {
        if shop.is_some_and(|shop| !is_shop(shop)) {
            return Err(Refusal::Page("There is no shop of that name."));
        }
        if params.get("client_id") != Some(CLIENT_ID) {
            return Err(Refusal::Page(
                "The application that sent you here is not known: its client_id is missing or wrong.",
            ));
        }
        let redirect_uri = params.get("redirect_uri").unwrap_or_default().to_owned();
        let to = self.check_redirect(&redirect_uri).ok_or(Refusal::Page(
            "The application wants you sent back to an address (redirect_uri) that is not registered for it.",
        ))?;
        let state = params.get("state").map(str::to_owned);
        let callback = Callback { to, state, issuer: self.issuer(shop) };
        let refuse = |code| Refusal::Callback(callback.error(code));
        if params.has_repeated() || callback.state.is_none() {
            return Err(refuse("invalid_request"));
        }
        let challenge = challenge(params).map_err(refuse)?;
        let (product, scopes) =
            scopes(shop, params.get("scope").unwrap_or_default()).ok_or_else(|| refuse("invalid_scope"))?;
        let hint = params.get("login_hint").and_then(Person::find);
        Ok(Request { product, shop: shop.map(str::to_owned), scopes, hint, redirect_uri, challenge, callback })
    }

    /// Carries out a decision; the answer is where the browser goes next.
    pub(super) fn decide(&self, request: Request, decision: Decision<'_>) -> Url {
        let code = self.mint("code");
        let now = self.now();
        let mut state = self.state();
        let fault = state.faults.take_callback();
        if let Some(CallbackFault::Error(error)) = fault {
            return request.callback.error(error);
        }
        let Decision::Allow { person, scopes } = decision else {
            return request.callback.error("access_denied");
        };
        let scopes = request.scopes.iter().filter(|scope| scopes(scope)).map(|scope| scope.name).collect();
        let Request { product, shop, redirect_uri, challenge, callback, .. } = request;
        state.ledger.add_code(code.clone(), Consent { person, product, shop, scopes, redirect_uri, challenge }, now);
        let issuer = match fault {
            Some(CallbackFault::NoIss) => None,
            Some(CallbackFault::WrongIss) => Some("https://another-issuer.example"),
            _ => Some(callback.issuer.as_str()),
        };
        callback.url("code", &code, issuer)
    }

    /// A registered address is compared as a text; on loopback any port and path will do (RFC 8252 §7.3).
    fn check_redirect(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| url.fragment().is_none())?;
        let registered = self.state().options.redirect_uri.as_ref().is_some_and(|known| known.as_str() == text);
        (registered || is_loopback(&url)).then_some(url)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let plain = url.username().is_empty() && url.password().is_none();
    host && plain && matches!(url.scheme(), "http" | "https")
}

/// `response_type=code` with an S256 challenge, or the error's code.
fn challenge(params: &Params) -> Result<String, &'static str> {
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => return Err("unsupported_response_type"),
        None => return Err("invalid_request"),
    }
    // The base64url of a SHA-256 always has 43 characters.
    let challenge = params.get("code_challenge").filter(|challenge| challenge.len() == 43);
    match (params.get("code_challenge_method"), challenge) {
        (Some("S256"), Some(challenge)) => Ok(challenge.to_owned()),
        _ => Err("invalid_request"),
    }
}

/// The scopes asked for, all known and of one product, which is the shop's exactly where the path names a shop.
fn scopes(shop: Option<&str>, text: &str) -> Option<(Product, Vec<&'static Scope>)> {
    let mut scopes: Vec<&'static Scope> = text.split_ascii_whitespace().map(Scope::find).collect::<Option<_>>()?;
    scopes.dedup();
    let mut products = scopes.iter().filter_map(|scope| scope.product);
    let product = products.next()?;
    let whole = products.all(|other| other == product) && (product == Product::Shop) == shop.is_some();
    whole.then_some((product, scopes))
}
