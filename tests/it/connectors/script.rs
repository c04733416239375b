//! What a provider's documentation shows, as a file tells it: requests that have to come, and the answers to them.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

/// `answers/SLUG.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The pages that the answers are taken from.
    pub documentation: Vec<String>,
    /// What the server has to be configured with beside its OAuth client.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// What the person types: the connector's fields, or the credentials.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Where a browser is sent; none where nobody signs in.
    pub authorize: Option<Authorize>,
    /// From the callback to the connection.
    pub connect: Vec<Exchange>,
    pub expect: Expect,
    /// What the jobs ask 27 hours later.
    pub day_later: Vec<Exchange>,
    /// What is found when somebody looks after that, one after the other.
    pub verdicts: Vec<Verdict>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorize {
    /// Without its parameters.
    pub url: String,
    /// Those that matter; `null` for one that must not be there.
    pub parameters: BTreeMap<String, Option<String>>,
    /// What comes back beside code and state.
    #[serde(default)]
    pub callback: BTreeMap<String, String>,
}

/// A request that has to come, and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    pub request: Request,
    pub answer: Answer,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    /// Whole.
    pub url: String,
    /// Those that matter; `null` for one that must not be there.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// Parameters of a form that matter.
    pub form: Option<BTreeMap<String, String>>,
    /// The whole of a JSON body.
    pub json: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    #[serde(default = "ok")]
    pub status: u16,
    /// A text is sent as it is, all else as JSON; `null` is nothing.
    #[serde(default)]
    pub body: Value,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Whose authorization it is.
    pub account: Account,
    /// The accounts to choose from, by id.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// The id of the one that is chosen.
    pub choose: Option<String>,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Seconds until the grant ends.
    pub lives: Option<i64>,
    pub lives_a_day_later: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub id: String,
    pub name: String,
}

/// What an answer makes of a connection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    pub when: String,
    /// What is not answered here is answered as a day later.
    pub exchanges: Vec<Exchange>,
    /// Why it is disconnected then; `null` when it is not.
    pub reason: Option<String>,
}

fn ok() -> u16 {
    200
}

impl Script {
    pub fn of(slug: &str) -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/connectors/answers").join(format!("{slug}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Whether a day later asks the token endpoint for fresh tokens.
    pub fn renews(&self) -> bool {
        self.day_later.iter().any(|it| it.request.form.as_ref().is_some_and(|form| form.contains_key("grant_type")))
    }

    /// Every exchange of it.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        let verdicts = self.verdicts.iter().flat_map(|verdict| &verdict.exchanges);
        self.connect.iter().chain(&self.day_later).chain(verdicts)
    }
}

impl Expect {
    pub fn chosen(&self) -> Option<&Account> {
        self.accounts.iter().find(|account| Some(&account.id) == self.choose.as_ref())
    }
}

impl Account {
    /// As the API shows one.
    pub fn json(&self) -> Value {
        json!({ "accountId": self.id, "name": self.name })
    }

    pub fn of(shown: &Value) -> Self {
        let text = |name: &str| shown[name].as_str().unwrap().to_owned();
        Self { id: text("accountId"), name: text("name") }
    }
}

impl Request {
    pub fn is(&self, method: &str, url: &str, body: &str) -> bool {
        let form = || url::form_urlencoded::parse(body.as_bytes()).into_owned().collect::<BTreeMap<_, _>>();
        self.method == method
            && self.url == url
            && self.form.as_ref().is_none_or(|wanted| {
                let sent = form();
                wanted.iter().all(|(name, value)| sent.get(name) == Some(value))
            })
            && self.json.as_ref().is_none_or(|wanted| serde_json::from_str::<Value>(body).ok().as_ref() == Some(wanted))
    }
}

impl Answer {
    pub fn text(&self) -> String {
        match &self.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        }
    }
}
