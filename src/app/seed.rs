//! The demo's people, clients and connections, made by the same calls that everybody makes: only the clicks at the
//! provider are the sandbox's own.

use std::{collections::HashMap, time::Duration};

use entity::user;
use url::Url;
use uuid::Uuid;

use super::{App, StartError};
use crate::{
    access::{Role, Viewer},
    connections::{Arrived, Callback, Connect, ConnectUsing, Started},
    error::Error,
    people::{CreateClient, CreateUser, CreateWorkspace},
    sandbox::Sandbox,
};

/// What the demo starts with.
pub(super) struct Seeded {
    pub(super) admin: user::Model,
    /// A connection that Ada's sign-in feeds, and that the demo breaks and mends.
    pub(super) ads: Uuid,
}

/// How long the sandbox is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to make: connector, client, account.
type Wanted = (&'static str, &'static str, Option<&'static str>);

/// Whom each person's sign-in feeds; the first one of a connector signs in, the others share its authorization.
const SIGNED_IN: [(&str, &[Wanted]); 2] = [
    (
        "ada",
        &[
            ("sandbox-ads", LAMPS, Some("100-301")),
            ("sandbox-ads", HOTELS, Some("100-302")),
            ("sandbox-ads", LAMPS, Some("100-303")),
            ("sandbox-ads", HOTELS, Some("100-301")),
            ("sandbox-analytics", LAMPS, None),
            ("sandbox-analytics", HOTELS, None),
        ],
    ),
    ("ben", &[("sandbox-ads", LAMPS, Some("100-404")), ("sandbox-ads", HOTELS, Some("100-404"))]),
];
const SHOPS: [(&str, &str); 2] = [("northwind-lamps", LAMPS), ("harbor-hotels", HOTELS)];
/// By the names that the sandbox has for them.
const KEYS: [(&str, &str); 2] = [("lamps", LAMPS), ("hotels", HOTELS)];

const LAMPS: &str = "Northwind Lamps";
const HOTELS: &str = "Harbor Hotels";

/// Fills an empty server.
pub(super) async fn seed(app: &App, sandbox: &Sandbox) -> Result<Seeded, StartError> {
    let workspace = CreateWorkspace {
        name: "Lighthouse Agency".to_owned(),
        admin_name: Some("Mara Lindgren".to_owned()),
        admin_email: "mara@lighthouse.example".to_owned(),
    };
    let founded = app.people.create_workspace(workspace).await.map_err(told)?;
    let viewer = Viewer::person(&founded.admin, &founded.workspace, None, i64::MAX);
    for (name, email, role) in [
        ("Tomás Vidal", "tomas@lighthouse.example", Role::Staff),
        ("Yuki Arai", "yuki@lighthouse.example", Role::Member),
    ] {
        let person = CreateUser { name: name.to_owned(), email: email.to_owned(), role, client: None };
        app.people.create_user(&viewer, person).await.map_err(told)?;
    }
    let mut seeding = Seeding { app, sandbox, viewer, clients: HashMap::new() };
    for name in [LAMPS, HOTELS] {
        let client = CreateClient { name: name.to_owned(), external_id: None };
        let client = app.people.create_client(&seeding.viewer, client).await.map_err(told)?;
        seeding.clients.insert(name, client.id);
    }
    let ads = seeding.connect_all().await?;
    Ok(Seeded { admin: founded.admin, ads })
}

struct Seeding<'a> {
    app: &'a App,
    sandbox: &'a Sandbox,
    viewer: Viewer,
    clients: HashMap<&'static str, Uuid>,
}

impl Seeding<'_> {
    async fn connect_all(&self) -> Result<Uuid, StartError> {
        let mut first = None;
        for (person, wanted) in SIGNED_IN {
            let mut authorizations: HashMap<&str, Uuid> = HashMap::new();
            for (connector, client, account) in wanted {
                let (connection, authorization) = match authorizations.get(connector) {
                    Some(authorization) => {
                        self.connect_at_once(connector, client, *account, ConnectUsing::Authorization(*authorization))
                            .await?
                    }
                    None => self.sign_in(connector, client, *account, Vec::new(), person).await?,
                };
                authorizations.insert(connector, authorization);
                first.get_or_insert(connection);
            }
        }
        for (shop, client) in SHOPS {
            let fields = vec![("shop".to_owned(), shop.to_owned())];
            self.sign_in("sandbox-shop", client, None, fields, "ada").await?;
        }
        for (key, client) in KEYS {
            let known = self.sandbox.keys().into_iter().find(|known| known.id == key);
            let value = known.ok_or("the sandbox has lost a key")?.value;
            let fields = vec![("api_key".to_owned(), value)];
            self.connect_at_once("sandbox-billing", client, None, ConnectUsing::Credentials(fields)).await?;
        }
        first.ok_or_else(|| "nothing was connected".into())
    }

    fn wish(&self, connector: &str, client: &str, account: Option<&str>, using: ConnectUsing) -> Connect {
        Connect {
            connector: connector.to_owned(),
            client: self.clients.get(client).copied(),
            name: None,
            account: account.map(str::to_owned),
            external_id: None,
            using,
        }
    }

    async fn connect_at_once(
        &self,
        connector: &str,
        client: &str,
        account: Option<&str>,
        using: ConnectUsing,
    ) -> Result<(Uuid, Uuid), StartError> {
        let wish = self.wish(connector, client, account, using);
        match self.app.connections.connect(&self.viewer, wish).await.map_err(told)? {
            Started::Connected(row) => Ok((row.id, row.authorization_id)),
            Started::Attempt(_) => Err("a browser was asked for where none is needed".into()),
        }
    }

    /// Connects in the browser, with the sandbox's person in the browser's place.
    async fn sign_in(
        &self,
        connector: &str,
        client: &str,
        account: Option<&str>,
        fields: Vec<(String, String)>,
        person: &str,
    ) -> Result<(Uuid, Uuid), StartError> {
        let connections = &self.app.connections;
        let using = ConnectUsing::Browser { fields, return_url: None };
        let wish = self.wish(connector, client, account, using);
        let Started::Attempt(attempt) = connections.connect(&self.viewer, wish).await.map_err(told)? else {
            return Err("no browser was asked for where one is needed".into());
        };
        let departure = connections.depart(attempt.id).await.map_err(told)??;
        let back = self.sandbox.approve(&departure.location, person)?;
        let cookie = |name: &str| {
            (name == departure.cookie_name)
                .then(|| secrecy::ExposeSecret::expose_secret(&departure.cookie_value).to_owned())
        };
        let Arrived::Returned(returned) =
            connections.arrive(callback(&back), cookie, PATIENCE).await.map_err(told)??
        else {
            return Err("the sandbox takes too long".into());
        };
        let attempt = connections.attempt(&self.viewer, attempt.id).await.map_err(told)?;
        let connected = attempt.as_ref().and_then(|attempt| attempt.connections["first"][0].as_str());
        let id: Uuid = connected.ok_or(returned.message)?.parse()?;
        let row = connections.connection(&self.viewer, id).await.map_err(told)?.ok_or("a connection was lost")?;
        Ok((row.id, row.authorization_id))
    }
}

fn callback(back: &Url) -> Callback {
    let find = |wanted: &str| back.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
    Callback {
        connector: back.path().rsplit('/').next().unwrap_or_default().to_owned(),
        state: find("state").unwrap_or_default(),
        code: find("code").map(Into::into),
        error: find("error"),
        iss: find("iss"),
    }
}

fn told(error: Error) -> StartError {
    format!("the sample data could not be made: {error:?}").into()
}
