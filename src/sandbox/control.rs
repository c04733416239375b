//! What is done to the sandbox by hand: the forms of the control panel, the same by `curl`.
//!
//! A browser is sent back to the panel, anything else gets a line of text. Outages do not stop this part.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Sandbox, page,
    params::Params,
    world::{ACCOUNTS, Person, Product},
};

/// What was done, or what is wrong with the request.
type Outcome = Result<Done, String>;

struct Done {
    text: String,
    /// Where on the panel it shows.
    anchor: String,
}

/// `POST /control/{action}`
pub(super) async fn act(
    State(sandbox): State<Sandbox>,
    Path(action): Path<String>,
    headers: HeaderMap,
    form: Result<Params, Response>,
) -> Response {
    let form = form.unwrap_or_default();
    if page::is_cross_site(&headers) {
        return reply(&headers, StatusCode::FORBIDDEN, "This was sent by another site.");
    }
    let outcome = match action.as_str() {
        "revoke" => revoke(&sandbox, &form),
        "change-key" => change_key(&sandbox, &form),
        "withdraw" => withdraw(&sandbox, &form, true),
        "give-back" => withdraw(&sandbox, &form, false),
        "outage" => outage(&sandbox, &form),
        _ => {
            return reply(&headers, StatusCode::NOT_FOUND, "Try revoke, change-key, withdraw, give-back or outage.");
        }
    };
    match outcome {
        Ok(done) if page::wants_html(&headers) => {
            (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/#{}", done.anchor))]).into_response()
        }
        Ok(done) => reply(&headers, StatusCode::OK, &done.text),
        Err(problem) => reply(&headers, StatusCode::BAD_REQUEST, &problem),
    }
}

fn reply(headers: &HeaderMap, status: StatusCode, text: &str) -> Response {
    if page::wants_html(headers) {
        return page::message(status, "That did not work", text);
    }
    (status, [(header::CACHE_CONTROL, "no-store")], format!("{text}\n")).into_response()
}

/// `grant=3`, or `person=ada`, which `product=ads` narrows.
fn revoke(sandbox: &Sandbox, form: &Params) -> Outcome {
    let count = if let Some(id) = form.get("grant") {
        let id: u64 = id.parse().map_err(|_| "grant is a number, as the control panel lists them.".to_owned())?;
        usize::from(sandbox.revoke_grant(id))
    } else {
        let person = form.get("person").and_then(Person::find).ok_or("Name a person (ada or ben) or a grant.")?;
        let product = form.get("product").map(|key| Product::find(key).ok_or("A product is ads, analytics or shop."));
        sandbox.revoke_grants(person, product.transpose()?)
    };
    let noun = if count == 1 { "grant" } else { "grants" };
    Ok(Done { text: format!("Revoked {count} {noun}."), anchor: "grants".to_owned() })
}

/// `key=lamps`, or the key's present value.
fn change_key(sandbox: &Sandbox, form: &Params) -> Outcome {
    let name = form.get("key").unwrap_or_default();
    let key = sandbox.change_key(name).ok_or("Name a key: lamps, hotels or orchards, or its present value.")?;
    Ok(Done { text: format!("The new key of {} is {}", key.name, key.value), anchor: format!("key-{}", key.id) })
}

/// `account=100-301`
fn withdraw(sandbox: &Sandbox, form: &Params, away: bool) -> Outcome {
    let id = form.get("account").unwrap_or_default();
    let account = ACCOUNTS.iter().find(|account| account.id == id);
    let account =
        account.ok_or_else(|| format!("Name an account: {}.", ACCOUNTS.map(|account| account.id).join(", ")))?;
    let text = if away {
        sandbox.withdraw(account.id);
        format!("Nobody can reach {} ({}) any more.", account.name, account.id)
    } else {
        sandbox.give_back(account.id);
        format!("{} ({}) can be reached again.", account.name, account.id)
    };
    Ok(Done { text, anchor: format!("account-{}", account.id) })
}

/// `on=true` or `on=false`
fn outage(sandbox: &Sandbox, form: &Params) -> Outcome {
    let on = form.get("on").and_then(|on| on.parse().ok()).ok_or("Say on=true or on=false.")?;
    sandbox.set_outage(on);
    let text = if on { "Everything answers 503 now." } else { "Everything answers again." };
    Ok(Done { text: text.to_owned(), anchor: "outage".to_owned() })
}
