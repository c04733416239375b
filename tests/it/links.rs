//! Links: somebody without a login reconnects or connects, once, in the name of whoever made the link.

mod at_once;
mod connecting;
mod making;
mod pages;
mod reconnecting;
mod spent;
mod trying;

use serde_json::{Value, json};

use crate::harness::{Browser, Landing, Person, Stage};

impl Person {
    /// A link to reconnect the connection.
    async fn makes_reconnect_link(&self, connection: &str) -> String {
        let made = self.does("createReconnectLink", json!({ "connectionId": connection }), "url").await;
        made["url"].as_str().unwrap().to_owned()
    }

    /// A link to connect these for the client.
    async fn makes_connect_link(&self, client: &str, connectors: &[&str]) -> String {
        let input = json!({ "clientId": client, "connectors": connectors });
        let made = self.does("createConnectLink", input, "url").await;
        made["url"].as_str().unwrap().to_owned()
    }
}

impl Browser {
    /// Sets out from a link's page to sign in: where the attempt starts.
    async fn sets_out(&self, link: &str, connector: &str) -> String {
        let away = self.submits(link, &[("connector", connector)]).await;
        assert_eq!(away.status, 200, "{}", away.body);
        onward(&away)
    }

    /// The same, and signs in as `person`: the link's page that they come back to.
    async fn follows(&self, link: &str, connector: &str, person: &str) -> Landing {
        let start = self.sets_out(link, connector).await;
        let back = self.signs_in(&start, person).await;
        self.comes_back(link, &back).await
    }

    /// Lets itself be sent back to the link's page.
    async fn comes_back(&self, link: &str, back: &Landing) -> Landing {
        let page = back.location.as_ref().unwrap_or_else(|| panic!("{} {}", back.status, back.body));
        assert!(back.status == 303 && page.as_str().starts_with(&format!("{link}?attempt=")), "{page}");
        self.opens(page.as_str()).await
    }
}

/// Where a page sends the browser by itself.
fn onward(away: &Landing) -> String {
    let address = away.body.split("content=\"0;url=").nth(1).unwrap_or_else(|| panic!("{}", away.body));
    address.split('"').next().unwrap().to_owned()
}

/// What a page says: its texts, without the tags.
fn said(page: &Landing) -> String {
    let mut said = String::new();
    let mut within = false;
    for letter in page.body.chars() {
        match letter {
            '<' => within = true,
            '>' => within = false,
            letter if !within => said.push(letter),
            _ => {}
        }
    }
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The link is of no use: what it says.
async fn spent(browser: &Browser, link: &str) -> String {
    let (seen, sent) = (browser.opens(link).await, browser.submits(link, &[("connector", "sandbox-ads")]).await);
    assert_eq!((seen.status, sent.status), (410, 410), "{}", seen.body);
    assert_eq!(said(&seen), said(&sent));
    said(&seen)
}

const OVER: &str = "This link does not work any more";
const DONE: &str = "This is done already";

/// Every connection there is, as the ADMIN sees it, by name.
async fn connections(stage: &Stage) -> Vec<Value> {
    let query = "{ connections(orderBy: { field: NAME }) { nodes { id name connector { slug } status client { id } \
                 createdBy { id } sharedWith { id } account { accountId } } } }";
    crate::harness::nodes(&stage.admin_now().sees(query).await["connections"])
}
