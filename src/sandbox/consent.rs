//! The page on which a person allows or refuses: `GET /authorize` shows it, `POST /authorize` takes the decision.
//!
//! The form keeps the request in its own address, so the decision is checked by the same rules as the page was.

use std::fmt::Write;

use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use url::Url;

use super::{
    Sandbox,
    authorize::{Decision, Refusal, Request},
    page::{self, Text},
    params::Params,
    world::{PEOPLE, Person, Scope, shop_name},
};

/// With this header, naming a person, the request is allowed without a page: for `curl`, which presses no buttons. (No
/// browser sends it by itself.)
pub const PERSON_HEADER: &str = "sandbox-person";

/// `GET /authorize`, and the same below a shop.
pub(super) async fn show(
    State(sandbox): State<Sandbox>,
    here: Uri,
    shop: Option<Path<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let named = headers.get(PERSON_HEADER).and_then(|name| name.to_str().ok()).and_then(Person::find);
    match (sandbox.asked(shop, query), named) {
        (Ok(request), Some(person)) => {
            redirect(&sandbox.decide(request, Decision::Allow { person, scopes: &|_| true }))
        }
        (Ok(request), None) => page::page(StatusCode::OK, "Allow access", &consent(&request, &here.to_string())),
        (Err(refusal), _) => *refusal,
    }
}

/// `POST /authorize`, and the same below a shop.
pub(super) async fn decide(
    State(sandbox): State<Sandbox>,
    shop: Option<Path<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    form: Params,
) -> Response {
    if page::is_cross_site(&headers) {
        return page::message(StatusCode::FORBIDDEN, "Not from here", "This decision was sent by another site.");
    }
    let request = match sandbox.asked(shop, query) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    let ticked = |scope: &Scope| !scope.optional || form.all("scope").any(|name| name == scope.name);
    let decision = match (form.get("decision"), form.get("person").and_then(Person::find)) {
        (Some("allow"), Some(person)) => Decision::Allow { person, scopes: &ticked },
        (Some("cancel"), _) => Decision::Cancel,
        _ => {
            return page::message(StatusCode::BAD_REQUEST, "Nothing was decided", "Go back and choose.");
        }
    };
    redirect(&sandbox.decide(request, decision))
}

impl Sandbox {
    fn asked(&self, shop: Option<Path<String>>, query: Option<String>) -> Result<Request, Box<Response>> {
        if self.state().outage {
            let text = "The sandbox has an outage. It can be ended on its control panel.";
            let refusal = page::message(StatusCode::SERVICE_UNAVAILABLE, "Not available", text);
            return Err(Box::new(refusal));
        }
        let params = Params::parse(query.unwrap_or_default().as_bytes());
        let shop = shop.map(|Path(shop)| shop);
        self.read_request(shop.as_deref(), &params).map_err(|refusal| match refusal {
            Refusal::Page(text) => Box::new(page::message(StatusCode::BAD_REQUEST, "This link does not work", text)),
            Refusal::Callback(url) => Box::new(redirect(&url)),
        })
    }
}

/// 303, so that the decision is not posted on to the client (RFC 9700 §4.12).
fn redirect(to: &Url) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.as_str()), (header::CACHE_CONTROL, "no-store")]).into_response()
}

fn consent(request: &Request, here: &str) -> String {
    let what = match &request.shop {
        Some(shop) => format!("the shop <b>{}</b> at {}", Text(&shop_name(shop)), request.product.name()),
        None => format!("your data at <b>{}</b>", request.product.name()),
    };
    format!(
        "<form class=\"card narrow\" method=\"post\" action=\"{here}\">\n\
         <p class=\"brand\">Sandbox provider</p>\n<h1>Allow Patchbay to read {what}?</h1>\n\
         <fieldset>\n<legend>Who are you?</legend>\n{people}</fieldset>\n\
         <fieldset>\n<legend>Patchbay will be able to</legend>\n{scopes}</fieldset>\n\
         <div class=\"buttons\"><button name=\"decision\" value=\"cancel\" formnovalidate>Cancel</button>\
         <button class=\"primary\" name=\"decision\" value=\"allow\">Allow</button></div>\n\
         <p class=\"note\">Nobody real is asked here. You can take the grant back at any time on the <a href=\"/\">control panel</a>.</p>\n\
         </form>",
        here = Text(here),
        people = people(request.hint),
        scopes = scopes(&request.scopes),
    )
}

fn people(hint: Option<&Person>) -> String {
    let first = hint.unwrap_or(&PEOPLE[0]);
    PEOPLE.iter().fold(String::new(), |mut html, person| {
        let checked = if person == first { " checked" } else { "" };
        let (key, name, email, initials) = (Text(person.key), Text(person.name), Text(person.email), person.initials());
        let _ = writeln!(
            html,
            "<label class=\"choice\"><input type=\"radio\" name=\"person\" value=\"{key}\" required{checked}>\
             <span class=\"badge\" aria-hidden=\"true\">{initials}</span><span><b>{name}</b><br><small>{email}</small></span></label>"
        );
        html
    })
}

/// Required scopes are a list; the optional ones can be unticked.
fn scopes(scopes: &[&'static Scope]) -> String {
    scopes.iter().fold(String::new(), |mut html, scope| {
        let (name, meaning) = (Text(scope.name), Text(scope.meaning));
        let (state, note) = if scope.optional { ("", " <small>optional</small>") } else { (" disabled", "") };
        let _ = writeln!(
            html,
            "<label class=\"choice\"><input type=\"checkbox\" name=\"scope\" value=\"{name}\" checked{state}><span>{meaning}{note}</span></label>"
        );
        html
    })
}
