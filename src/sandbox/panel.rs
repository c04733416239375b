//! The control panel at `/`: what is granted, which keys and accounts there are, and a button for everything that
//! can go wrong with them. The buttons post to [`super::control`].

use std::fmt::{Display, Write};

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    Ended, Grant, Sandbox,
    page::{self, Text},
    state::{Key, State as Memory},
    world::{ACCOUNTS, Account, PEOPLE},
};

/// Grants that have ended are shown up to this many, the latest first.
const ENDED_SHOWN: usize = 10;

/// `GET /`
pub(super) async fn show(State(sandbox): State<Sandbox>) -> Response {
    let body = body(&sandbox.state(), &sandbox.inner.base_url);
    page::page(StatusCode::OK, "Sandbox provider", &body)
}

fn body(memory: &Memory, base_url: &str) -> String {
    format!(
        "<header>\n<p class=\"brand\">Sandbox provider</p>\n<h1>Control panel</h1>\n\
         <p>Patchbay's demo is connected to this make-believe provider. Break something here and watch Patchbay notice.</p>\n</header>\n\
         {outage}{grants}{keys}{accounts}{commands}",
        outage = outage(memory.outage),
        grants = section(
            "grants",
            "Grants",
            "What people have allowed Patchbay. A revoked grant takes its tokens with it.",
            &grants(memory)
        ),
        keys = section(
            "keys",
            "API keys",
            "A changed key stops working at once; the new one is shown here.",
            &keys(&memory.keys)
        ),
        accounts = section(
            "accounts",
            "Advertising accounts",
            "A withdrawn account answers 403 while its grant lives on.",
            &accounts(memory)
        ),
        commands = commands(base_url),
    )
}

fn section(id: &str, title: &str, about: &str, rows: &str) -> String {
    format!(
        "<section class=\"card\" id=\"{id}\">\n<h2>{title}</h2>\n<p class=\"note\">{about}</p>\n<ul>\n{rows}</ul>\n</section>\n"
    )
}

fn outage(on: bool) -> String {
    let (state, says, value, label) = if on {
        ("bad", "Outage: everything answers 503", false, "End the outage")
    } else {
        ("good", "Everything answers", true, "Start an outage")
    };
    let button = button("outage", &[("on", &value)], label);
    format!(
        "<section class=\"card row\" id=\"outage\"><span class=\"dot {state}\"></span><b class=\"grow\">{says}</b>{button}</section>\n"
    )
}

fn grants(memory: &Memory) -> String {
    let live = memory.ledger.grants().filter(|grant| grant.ended.is_none());
    let ended = memory.ledger.grants().rev().filter(|grant| grant.ended.is_some()).take(ENDED_SHOWN);
    let rows: String = live.chain(ended).map(grant).collect();
    if rows.is_empty() { "<li class=\"empty\">Nothing has been allowed yet.</li>\n".to_owned() } else { rows }
}

fn grant(grant: &Grant) -> String {
    let shop = grant.shop.as_deref().map(|shop| format!(" · {}", Text(shop))).unwrap_or_default();
    let action = match grant.ended {
        None => button("revoke", &[("grant", &grant.id)], "Revoke"),
        Some(Ended::ByPerson) => tag("revoked here"),
        Some(Ended::ByClient) => tag("given back by Patchbay"),
        Some(Ended::ByReuse) => tag("ended: a used token came again"),
    };
    let details = format!("{}{shop} · {}", grant.product.name(), Text(&grant.scopes.join(", ")));
    let since = grant.since.format("since %H:%M:%S UTC");
    row(&format!("grant-{}", grant.id), &grant.ended, grant.person.name, &format!("{details} · {since}"), &action)
}

fn keys(keys: &[Key]) -> String {
    let key = |key: &Key| {
        let action = button("change-key", &[("key", &key.id)], "Change key");
        row(&format!("key-{}", key.id), &None::<()>, key.name, &format!("<code>{}</code>", Text(&key.value)), &action)
    };
    keys.iter().map(key).collect()
}

fn accounts(memory: &Memory) -> String {
    let account = |account: &Account| {
        let withdrawn = memory.withdrawn.contains(account.id);
        let (action, label) = if withdrawn { ("give-back", "Give back") } else { ("withdraw", "Withdraw access") };
        let state = withdrawn.then_some("withdrawn");
        let people = PEOPLE.iter().filter(|person| account.people.contains(&person.key));
        let seen_by = people.map(|person| person.name).collect::<Vec<_>>().join(" and ");
        let details = format!("<code>{}</code> · seen by {}", Text(account.id), Text(&seen_by));
        row(
            &format!("account-{}", account.id),
            &state,
            account.name,
            &details,
            &button(action, &[("account", &account.id)], label),
        )
    };
    ACCOUNTS.iter().map(account).collect()
}

/// One line of a list; what is over is greyed. `details` and `action` are markup.
fn row<T>(id: &str, over: &Option<T>, name: &str, details: &str, action: &str) -> String {
    let class = if over.is_some() { "row over" } else { "row" };
    let name = Text(name);
    format!(
        "<li class=\"{class}\" id=\"{id}\"><span class=\"grow\"><b>{name}</b><br><small>{details}</small></span>{action}</li>\n"
    )
}

fn tag(text: &str) -> String {
    format!("<span class=\"tag\">{text}</span>")
}

fn button(action: &str, values: &[(&str, &dyn Display)], label: &str) -> String {
    let hidden = values.iter().fold(String::new(), |mut html, (name, value)| {
        let _ = write!(html, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", Text(&value.to_string()));
        html
    });
    format!("<form method=\"post\" action=\"/control/{action}\">{hidden}<button>{label}</button></form>")
}

fn commands(base_url: &str) -> String {
    let lines = [
        ("revoke", "person=ada"),
        ("revoke", "person=ada -d product=ads"),
        ("change-key", "key=lamps"),
        ("withdraw", "account=100-303"),
        ("give-back", "account=100-303"),
        ("outage", "on=true"),
    ];
    let text =
        lines.map(|(action, data)| format!("curl -X POST {}/control/{action} -d {data}\n", Text(base_url))).concat();
    format!("<section class=\"card\">\n<h2>The same from a shell</h2>\n<pre>{text}</pre>\n</section>\n")
}
