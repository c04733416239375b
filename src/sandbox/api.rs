//! The API behind the grants and keys: whose account it is, which accounts there are, and a few rows.
//!
//! 401 means the token or key is dead (RFC 6750 §3.1), 403 that it lives but not for this.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    Endpoint, Sandbox,
    answer::Answer,
    ledger::Access,
    rows,
    state::Key,
    world::{ACCOUNTS, Account, MANAGER, Shown, managed, shop_name},
};

/// The one region whose API answers; the token answer of the analytics product names it.
pub(super) const REGION: &str = "north";

type Reply = Result<Answer, Answer>;

/// `GET /userinfo`
pub(super) async fn userinfo(State(sandbox): State<Sandbox>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let person = sandbox.bearer(&headers, "profile")?.person;
        Ok(Answer::ok(json!({ "sub": person.sub, "name": person.name, "email": person.email })))
    };
    sandbox.reply(Endpoint::Identity, work).await
}

/// `GET /accounts`: what the person sees, less what was withdrawn.
pub(super) async fn accounts(State(sandbox): State<Sandbox>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let access = sandbox.bearer(&headers, "ads.read")?;
        let list: Vec<Value> =
            sandbox.seen(&access).map(|account| json!({ "id": account.id, "name": account.name })).collect();
        Ok(Answer::ok(json!({ "accounts": list })))
    };
    sandbox.reply(Endpoint::Accounts, work).await
}

/// `GET /accounts/{id}`
pub(super) async fn account(State(sandbox): State<Sandbox>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let (account, _) = sandbox.open_account(&headers, &id)?;
        Ok(Answer::ok(json!({ "id": account.id, "name": account.name })))
    };
    sandbox.reply(Endpoint::Account, work).await
}

/// `GET /accounts/{id}/report`: a row per day; with `ads.spend` also what each has cost.
pub(super) async fn report(State(sandbox): State<Sandbox>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let (account, access) = sandbox.open_account(&headers, &id)?;
        let mut columns = vec![("impressions", 2_000..9_000), ("clicks", 40..400)];
        if access.scopes.contains(&"ads.spend") {
            columns.push(("spend", 50..500));
        }
        Ok(rows::answer(&account.id, &columns, sandbox.now()))
    };
    sandbox.reply(Endpoint::Report, work).await
}

/// `GET /regions/{region}/visits`
pub(super) async fn visits(State(sandbox): State<Sandbox>, Path(region): Path<String>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let access = sandbox.bearer(&headers, "analytics.read")?;
        if region != REGION {
            return Err(Answer::error(StatusCode::NOT_FOUND, "not_found", "Your data is kept in another region."));
        }
        Ok(rows::answer(access.person.sub, &[("visits", 200..2_000), ("visitors", 100..900)], sandbox.now()))
    };
    sandbox.reply(Endpoint::Report, work).await
}

/// `GET /shops/{shop}/identity`: a shop is itself, whoever connected it.
pub(super) async fn shop(State(sandbox): State<Sandbox>, Path(shop): Path<String>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let access = sandbox.open_shop(&headers, &shop, "profile")?;
        let about = json!({ "id": format!("shop-{shop}"), "name": shop_name(&shop), "shop": shop });
        Ok(Answer::ok(json!({ "shop": about, "connected_by": access.person.email })))
    };
    sandbox.reply(Endpoint::Identity, work).await
}

/// `GET /shops/{shop}/orders`: with `shop.customers` also how many customers are new.
pub(super) async fn orders(State(sandbox): State<Sandbox>, Path(shop): Path<String>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let access = sandbox.open_shop(&headers, &shop, "shop.read")?;
        let mut columns = vec![("orders", 5..60), ("revenue", 300..4_000)];
        if access.scopes.contains(&"shop.customers") {
            columns.push(("new_customers", 0..20));
        }
        Ok(rows::answer(&shop, &columns, sandbox.now()))
    };
    sandbox.reply(Endpoint::Report, work).await
}

/// `GET /keyed/me`
pub(super) async fn keyed(State(sandbox): State<Sandbox>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let key = sandbox.open_key(&headers)?;
        Ok(Answer::ok(json!({ "id": key.id, "name": key.name })))
    };
    sandbox.reply(Endpoint::Keyed, work).await
}

/// `GET /keyed/invoices`
pub(super) async fn invoices(State(sandbox): State<Sandbox>, headers: HeaderMap) -> Response {
    let work = || -> Reply {
        let key = sandbox.open_key(&headers)?;
        Ok(rows::answer(key.id, &[("invoices", 1..9), ("amount", 100..3_000)], sandbox.now()))
    };
    sandbox.reply(Endpoint::Keyed, work).await
}

impl Sandbox {
    async fn reply(&self, endpoint: Endpoint, work: impl FnOnce() -> Reply) -> Response {
        self.through(endpoint, || work().unwrap_or_else(|refusal| refusal)).await
    }

    /// What the bearer token opens, if that includes the scope.
    fn bearer(&self, headers: &HeaderMap, scope: &str) -> Result<Access, Answer> {
        let dead = || {
            Answer::error(StatusCode::UNAUTHORIZED, "invalid_token", "The access token is unknown, expired or revoked.")
                .challenge("Bearer error=\"invalid_token\"")
        };
        let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = text.and_then(|text| text.split_once(' ')).ok_or_else(dead)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(dead());
        }
        let access = self.state().ledger.open(token, self.now()).ok_or_else(dead)?;
        if !access.scopes.contains(&scope) {
            return Err(Answer::error(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "This was not allowed on the consent page.",
            )
            .challenge("Bearer error=\"insufficient_scope\""));
        }
        Ok(access)
    }

    /// The accounts that whoever granted it sees now.
    fn seen(&self, access: &Access) -> impl Iterator<Item = Shown> + use<> {
        let state = self.state();
        let own = ACCOUNTS.iter().filter(|account| sees(access, account) && !state.withdrawn.contains(account.id));
        let own: Vec<Shown> = own.map(Shown::from).collect();
        let count = if access.person.key == MANAGER { state.options.managed_accounts } else { 0 };
        own.into_iter().chain(managed(count))
    }

    fn open_account(&self, headers: &HeaderMap, id: &str) -> Result<(Shown, Access), Answer> {
        let access = self.bearer(headers, "ads.read")?;
        if let Some(account) = self.seen(&access).find(|account| account.id == id) {
            return Ok((account, access));
        }
        if ACCOUNTS.iter().any(|account| account.id == id) {
            return Err(Answer::error(
                StatusCode::FORBIDDEN,
                "access_withdrawn",
                "You no longer have access to this account.",
            ));
        }
        Err(Answer::error(StatusCode::NOT_FOUND, "not_found", "There is no such account."))
    }

    /// A grant of one shop does not open another.
    fn open_shop(&self, headers: &HeaderMap, shop: &str, scope: &str) -> Result<Access, Answer> {
        if self.state().failing_shops.contains(shop) {
            return Err(Answer::error(StatusCode::SERVICE_UNAVAILABLE, "outage", "This shop has an outage."));
        }
        let access = self.bearer(headers, scope)?;
        let own = access.shop.as_deref() == Some(shop);
        own.then_some(access)
            .ok_or_else(|| Answer::error(StatusCode::FORBIDDEN, "wrong_shop", "The token is for another shop."))
    }

    fn open_key(&self, headers: &HeaderMap) -> Result<Key, Answer> {
        let shown = headers.get("x-api-key").map(|value| value.as_bytes());
        let key = self.state().keys.iter().find(|key| shown == Some(key.value.as_bytes())).cloned();
        key.ok_or_else(|| {
            Answer::error(StatusCode::UNAUTHORIZED, "invalid_key", "The API key is missing or no longer valid.")
        })
    }
}

fn sees(access: &Access, account: &Account) -> bool {
    account.people.contains(&access.person.key)
}
