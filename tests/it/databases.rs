//! A database as a data source: plugged in with a user's name and password, noticed when these no longer open it. What is
//! read of it, and what is not, the tests of `src/provider/sql` have.

use sea_orm::{ConnectionTrait, Database as SeaOrm, DatabaseConnection};
use serde_json::{Value, json};
use url::Url;

use crate::harness::{CONNECTION, Database, Setup, Stage, leave_out};

/// A server, and a database beside its own, with a role that is a person's.
struct Scene {
    stage: Stage,
    _source: Database,
    admin: DatabaseConnection,
    url: Url,
    role: String,
}

impl Scene {
    async fn new() -> Option<Self> {
        let source = Database::new().await;
        if source.is_sqlite() {
            leave_out("a database as a data source has to be there");
            return None;
        }
        let url: Url = source.url().parse().unwrap();
        let admin = SeaOrm::connect(source.url()).await.unwrap();
        let role = url.path().trim_start_matches('/').replace("patchbay_it", "patchbay_reader");
        admin.execute_unprepared(&format!("CREATE ROLE {role} LOGIN PASSWORD 'first'")).await.unwrap();
        let also_allowed = vec![format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432))];
        let stage = Stage::with(Setup { also_allowed, ..Setup::default() }).await;
        Some(Self { stage, _source: source, admin, url, role })
    }

    /// The role's credentials, and these fields in the place of others.
    fn credentials(&self, fields: &[(&str, &str)]) -> Value {
        let port = self.url.port().unwrap_or(5432).to_string();
        let mut given = vec![
            ("host", self.url.host_str().unwrap()),
            ("port", &port),
            ("database", self.url.path().trim_start_matches('/')),
            ("username", &self.role),
            ("password", "first"),
        ];
        given.retain(|(name, _)| !fields.iter().any(|(other, _)| name == other));
        given.extend(fields);
        given.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    }

    async fn connects(&self) -> Value {
        let input = json!({ "connector": "postgresql", "using": { "credentials": self.credentials(&[]) } });
        let fields = format!("connection {{ {CONNECTION} }}");
        self.stage.admin.does("connect", input, &fields).await["connection"].clone()
    }

    /// Why a connection is disconnected, once it has been looked at.
    async fn looked_at(&self, connection: &Value) -> Option<String> {
        let input = json!({ "connectionId": connection["id"] });
        let seen =
            self.stage.admin_now().does("checkConnection", input, &format!("connection {{ {CONNECTION} }}")).await;
        seen["connection"]["disconnection"]["reason"].as_str().map(str::to_owned)
    }

    async fn may_sign_in(&self, may: bool) {
        let may = if may { "LOGIN" } else { "NOLOGIN" };
        self.admin.execute_unprepared(&format!("ALTER ROLE {} {may}", self.role)).await.unwrap();
    }

    async fn gone(self) {
        self.admin.execute_unprepared(&format!("DROP ROLE {}", self.role)).await.unwrap();
        self.admin.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_tried_before_it_is_connected() {
    let Some(scene) = Scene::new().await else { return };
    let connect = |fields: &[(&str, &str)]| json!({ "connector": "postgresql", "using": { "credentials": scene.credentials(fields) } });
    let refused = scene.stage.admin.refused("connect", connect(&[("username", "patchbay_nobody")])).await;
    assert_eq!(refused["code"], "REJECTED", "{refused}");
    let absent = scene.stage.admin.refused("connect", connect(&[("database", "patchbay_none")])).await;
    let unreachable = scene.stage.admin.refused("connect", connect(&[("port", "1")])).await;
    let forbidden = scene.stage.admin.refused("connect", connect(&[("host", "10.0.0.1")])).await;
    assert_eq!(unreachable, forbidden, "what is not there and what may not be asked read the same");
    for error in [&refused, &absent, &unreachable] {
        let told = error.to_string();
        assert!(!["patchbay_", "first", "10.0.0.1"].iter().any(|planted| told.contains(planted)), "{told}");
    }
    let connection = scene.connects().await;
    assert_eq!(connection["status"], "CONNECTED", "{connection}");
    scene.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_let_in_no_more_disconnects_and_recovers() {
    let Some(scene) = Scene::new().await else { return };
    let connection = scene.connects().await;
    assert_eq!(scene.looked_at(&connection).await, None);
    scene.may_sign_in(false).await;
    assert_eq!(scene.looked_at(&connection).await.as_deref(), Some("CREDENTIALS_REJECTED"));
    scene.may_sign_in(true).await;
    assert_eq!(scene.looked_at(&connection).await, None);

    scene.may_sign_in(false).await;
    scene.stage.after_a_probe_interval().await;
    let seen = scene.stage.admin_now().connection(connection["id"].as_str().unwrap()).await;
    assert_eq!(seen["disconnection"]["reason"], "CREDENTIALS_REJECTED", "{seen:#}");
    scene.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_user_of_the_same_database_is_the_same_account() {
    let Some(scene) = Scene::new().await else { return };
    let connection = scene.connects().await;
    let reconnect = |fields: &[(&str, &str)]| {
        let credentials = scene.credentials(fields);
        json!({ "connectionId": connection["id"], "credentials": credentials, "accountChange": "REFUSE" })
    };
    scene.stage.admin.does("reconnect", reconnect(&[("tls", "disable")]), "connections { id }").await;
    let owner = [("username", scene.url.username()), ("password", scene.url.password().unwrap_or("none"))];
    let other = scene.stage.admin.refused("reconnect", reconnect(&owner)).await;
    assert_eq!(other["code"], "ACCOUNT_MISMATCH", "{other}");
    scene.gone().await;
}
