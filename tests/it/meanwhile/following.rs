//! Between the look-up of a viewer and the moment when they follow the journal, they may be barred or become someone else.

use std::sync::Arc;

use entity::Topic;
use patchbay::{
    access::{Authenticator, JwtSecret, Viewer},
    error::Error,
};
use serde_json::json;

use crate::harness::{JWT_SECRET, Person, Stage};

impl Stage {
    /// Who asks with this person's token, as of now.
    async fn looks_up(&self, person: &Person) -> Viewer {
        let secret = JwtSecret::new(&JWT_SECRET.into()).unwrap();
        let (db, clock, tasks) = (self.db.clone(), Arc::clone(&self.clock), self.tasks.clone());
        let authenticator = Authenticator::new(db, Some(secret), None, clock, tasks);
        authenticator.viewer(&person.token, None).await.unwrap()
    }

    /// What comes of following, from here on, as a viewer who was looked up before.
    async fn follows(&self, viewer: &Viewer) -> Option<Error> {
        let here = self.jobs.journal.head(viewer.workspace()).await.unwrap();
        self.jobs.journal.follow_as(viewer, Topic::Connections, Some(here)).await.err()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_who_was_barred_or_changed_since_the_look_up_does_not_begin_to_follow() {
    let stage = Stage::new().await;
    let (sam, rita) = (stage.person("Sam", "STAFF", None).await, stage.person("Rita", "ADMIN", None).await);
    let (key_id, key) = rita.makes_key(json!({ "name": "CI", "role": "STAFF" })).await;
    let (as_sam, as_rita, as_key) =
        (stage.looks_up(&sam).await, stage.looks_up(&rita).await, stage.looks_up(&key).await);
    for viewer in [&as_sam, &as_rita, &as_key] {
        assert!(stage.follows(viewer).await.is_none(), "nothing happened to them yet");
    }
    // What happens to another is no reason.
    stage.admin.does("updateUser", json!({ "userId": sam.id, "active": false }), "").await;
    assert!(matches!(stage.follows(&as_sam).await, Some(Error::Unauthenticated)));
    assert!(stage.follows(&as_rita).await.is_none());
    rita.does("revokeApiKey", json!({ "apiKeyId": key_id }), "").await;
    assert!(matches!(stage.follows(&as_key).await, Some(Error::Unauthenticated)));
    stage.admin.does("updateUser", json!({ "userId": rita.id, "role": "MEMBER" }), "").await;
    assert!(matches!(stage.follows(&as_rita).await, Some(Error::CursorExpired)));
    // Whoever is back since then was looked up after it.
    stage.admin.does("updateUser", json!({ "userId": sam.id, "active": true }), "").await;
    let as_sam = stage.looks_up(&sam).await;
    assert!(stage.follows(&as_sam).await.is_none());
    // What they missed they may not have been shown: where they were is no place to go on from.
    let everything = stage.jobs.journal.follow_as(&as_sam, Topic::Connections, Some(0)).await;
    assert!(matches!(everything.err(), Some(Error::CursorExpired)));
}
