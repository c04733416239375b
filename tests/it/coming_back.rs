//! Everyone comes back at once, after a restart.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Person, Socket, Stage, each, http};

const PEOPLE: usize = 4;
/// The windows that each of them has open.
const WINDOWS: usize = 50;

/// A window that listens from `cursor` on.
async fn window(person: &Person, cursor: &str) -> Socket {
    let mut socket = person.socket().await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { cursor } }";
    socket.subscribe("1", query, json!({ "after": cursor })).await;
    socket
}

/// The cursor of the next change that a window hears of.
async fn hears(socket: &mut Socket) -> String {
    socket.event().await["connectionsChanged"]["cursor"].as_str().unwrap().to_owned()
}

async fn rename(stage: &Stage, connection: &str, name: &str) {
    let input = json!({ "connectionId": connection, "name": name });
    stage.admin.does("updateConnection", input, "connection { id }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_with_everyone_else_is_let_in_misses_nothing_and_others_are_answered() {
    let stage = Stage::new().await;
    let client = stage.admin.creates_client("Acme").await;
    let connection = stage.keyed("lamps", &client).await;
    let mut people = vec![stage.admin.clone()];
    for number in 1..PEOPLE {
        people.push(stage.person(&format!("Sam{number}"), "STAFF", None).await);
    }
    let start = stage.admin.event_cursor().await;
    let everyone: Vec<&Person> = people.iter().flat_map(|person| std::iter::repeat_n(person, WINDOWS)).collect();
    let mut windows = join_all(everyone.iter().map(|person| window(person, &start))).await;
    rename(&stage, &connection, "before").await;
    let heard = join_all(windows.iter_mut().map(hears)).await;
    let cursor = heard[0].clone();
    assert!(heard.iter().all(|at| *at == cursor));

    // Some windows still hear this, and come back as if they had not.
    rename(&stage, &connection, "meanwhile").await;
    let stage = stage.restarts().await;
    for code in join_all(windows.iter_mut().map(Socket::ends)).await {
        assert_eq!(code, 1001);
    }

    let back = async {
        let mut windows = join_all(everyone.iter().map(|person| window(person, &cursor))).await;
        join_all(windows.iter_mut().map(async |socket| [hears(socket).await, hears(socket).await])).await
    };
    let beside = async {
        rename(&stage, &connection, "after").await;
        let ready = http().get(stage.url.join("/readyz").unwrap()).send().await.unwrap();
        (ready.status().as_u16(), stage.admin.connection(&connection).await["name"].clone())
    };
    let (heard, answered) = tokio::join!(back, beside);
    assert_eq!(answered, (200, json!("after")));
    assert_eq!(heard.len(), PEOPLE * WINDOWS);
    let missed = stage.changes_since(&cursor).await;
    for cursors in heard {
        assert_eq!(cursors.as_slice(), each(&missed, "cursor"));
    }
}
