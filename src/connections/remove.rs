//! Unplugging: tombstones. What nobody uses any more then is given back, which is [`super::give_backs`]'s.

use entity::DisconnectionEnd;
use uuid::Uuid;

use super::{Connections, held::Held, lifecycle::Change};
use crate::{
    access::{Action, Viewer},
    error::{Error, Result},
};

/// What was removed.
#[derive(Debug, Clone)]
pub struct Removed {
    pub connection: Uuid,
    pub client: Option<Uuid>,
    pub authorization: Uuid,
    /// How many datasets stay with their last rows.
    pub kept_datasets: u64,
}

impl Connections {
    /// Removes a connection. The provider's grant is given back when no other connection uses it.
    pub async fn remove(&self, viewer: &Viewer, id: Uuid) -> Result<Removed> {
        viewer.may(Action::Dispose)?;
        let client = self.tended(viewer, id, Action::Dispose).await?.client_id;
        let locked = Change::of_connection(self, viewer, id).await?;
        let (mut change, mut held) = locked.ok_or_else(|| Error::not_found("connectionId"))?;
        held.place_of(id, viewer, Action::Dispose)?;
        let authorization = held.id();
        let kept_datasets = change.datasets_of(id).await?;
        change.unplug(&mut held, id).await?;
        change.commit().await?;
        Ok(Removed { connection: id, client, authorization, kept_datasets })
    }
}

impl Change<'_> {
    /// Removes one connection of a held authorization, which goes with its last.
    pub(super) async fn unplug(&mut self, held: &mut Held, id: Uuid) -> Result<()> {
        self.unplug_all(std::slice::from_mut(held), &[id]).await
    }

    /// Tombstones an authorization without connections, and erases its secret; its grant is to be given back.
    pub(super) async fn retire(&mut self, held: &mut Held, how: DisconnectionEnd, by: Option<Uuid>) -> Result<()> {
        self.retire_all(vec![held], how, by).await
    }
}
