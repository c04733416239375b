//! Somebody in several workspaces.

use patchbay::people::CreateWorkspace;
use serde_json::{Value, json};

use super::{House, VIEWER, greeted};
use crate::{
    agency::ask_with,
    harness::{Answer, Person, Socket, Stage},
};

const MARA: &str = "mara@lighthouse.example";

/// Asks who they are, in the workspace that is named.
async fn asks(stage: &Stage, token: &str, workspace: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    ask_with(&stage.url, &[("authorization", &bearer), ("patchbay-workspace", workspace)], VIEWER).await
}

/// Another workspace that Mara runs: its id, and her as she is there.
async fn second(stage: &Stage) -> (String, Person) {
    use patchbay::ids::{self, Kind};
    let new = CreateWorkspace { name: "Harbour".to_owned(), admin_name: None, admin_email: MARA.to_owned() };
    let founded = stage.people.create_workspace(new).await.unwrap();
    (ids::encode(Kind::Workspace, founded.workspace.id), stage.signed_in(&ids::encode(Kind::User, founded.admin.id)))
}

async fn own(person: &Person) -> String {
    person.sees("{ viewer { workspace { id } } }").await["viewer"]["workspace"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_several_names_one() {
    let house = House::new().await;
    let (stage, token) = (&house.stage, house.key.signs(&house.mara()));
    let first = own(&stage.admin).await;
    let (harbour, there) = second(stage).await;

    let answer = house.viewer(&token).await;
    assert_eq!((answer.status, answer.code()), (401, Some("UNAUTHENTICATED")), "{:#}", answer.body);
    let message = answer.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("Patchbay-Workspace") && !message.contains("workspace_"), "{message}");
    assert!(answer.body["data"].is_null());
    assert_eq!(greeted(stage, json!({ "authorization": format!("Bearer {token}") })).await, 4403);

    for (workspace, person) in [(&first, &stage.admin), (&harbour, &there)] {
        let answer = asks(stage, &token, workspace).await;
        assert_eq!(answer.body["data"]["viewer"]["user"]["id"], json!(person.id), "{:#}", answer.body);
        let mut socket = Socket::open(&stage.url).await;
        let bearer = format!("Bearer {token}");
        socket.init(json!({ "authorization": bearer, "Patchbay-Workspace": workspace })).await;
        socket.subscribe("1", VIEWER, Value::Null).await;
        assert_eq!(socket.event().await["viewer"]["user"]["id"], json!(person.id));
    }
    house.accepts(&stage.admin.token, &stage.admin).await;
    house.accepts(&there.token, &there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workspace_opens_to_somebody_who_is_not_in_it() {
    let house = House::new().await;
    let stage = &house.stage;
    let elsewhere = own(&stage.stranger().await).await;
    let token = house.key.signs(&house.mara());
    house.accepts(&token, &stage.admin).await;
    for workspace in [&elsewhere, "", "garbage", &stage.admin.id, "workspace_01h455vb4pex5vsknk084sn02q"] {
        let answer = asks(stage, &token, workspace).await;
        assert_eq!((answer.status, answer.code()), (401, Some("UNAUTHENTICATED")), "{workspace}: {:#}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_where_somebody_is_active_counts() {
    let house = House::new().await;
    let (stage, token) = (&house.stage, house.key.signs(&house.mara()));
    let (harbour, there) = second(stage).await;
    let kim = json!({ "name": "Kim", "email": "kim@harbour.example", "role": "ADMIN" });
    let kim = there.does("createUser", kim, "user { id }").await["user"]["id"].as_str().unwrap().to_owned();
    stage.signed_in(&kim).does("updateUser", json!({ "userId": there.id, "active": false }), "").await;
    house.accepts(&token, &stage.admin).await;
    assert_eq!(asks(stage, &token, &harbour).await.code(), Some("UNAUTHENTICATED"));
}

/// Nobody can change, by adding somebody to their workspace, what that person's tools see in another.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_joined_later_is_entered_by_its_name_first() {
    let house = House::new().await;
    let (stage, token) = (&house.stage, house.key.signs(&house.mara()));
    house.accepts(&token, &stage.admin).await;
    let (harbour, there) = second(stage).await;
    house.accepts(&token, &stage.admin).await;
    assert_eq!(asks(stage, &token, &harbour).await.body["data"]["viewer"]["user"]["id"], json!(there.id));
    assert_eq!(house.viewer(&token).await.code(), Some("UNAUTHENTICATED"));
}
