//! stub
use super::Notifications;
use entity::{user, workspace};
use url::Url;
impl Notifications {
    /// stub
    pub fn unsubscribe_url(&self, _user: &user::Model, _workspace: &workspace::Model) -> Url {
        #[allow(clippy::unwrap_used)]
        Url::parse("http://127.0.0.1/unsubscribe/x").unwrap()
    }
}
