//! The people: workspaces, their users and API keys, and the clients whose data sources are connected.
//!
//! This room owns those four tables: who may read and change them, what a name or an address may be, and that a
//! workspace never loses its last administrator. Every change leaves an audit entry in the journal, which is also how
//! open sockets hear that a viewer's role has changed. Who is asking is for [`crate::access`] to say; which connections
//! belong to a client, and how many, is for the room of connections.

mod api_keys;
mod bindings;
mod clients;
mod departed_clients;
pub mod names;
mod settings;
mod user_changes;
mod users;
mod workspaces;

use entity::{Topic, workspace};
use sea_orm::{EntityTrait, QuerySelect, sea_query::LockType};
use serde_json::Value;
use uuid::Uuid;

pub use api_keys::CreateApiKey;
pub use clients::{ClientOrder, ClientOrderField, CreateClient, UpdateClient, client_stays, clients_of};
pub use departed_clients::remove_client;
pub use settings::{CONNECTION_PLACE, UpdateWorkspace};
pub use user_changes::{CreateUser, UpdateUser};
pub use users::{User, users_of};
pub use workspaces::{CreateWorkspace, Founded};

use crate::{
    access::Actor,
    clock::{SharedClock, SharedEntropy},
    db::{Db, Transaction},
    error::Result,
    ids::{self, Kind, NodeId},
    journal::{Facts, Journal, NewEntry},
};

/// Reads and changes workspaces, users, API keys and clients; cheap to clone.
#[derive(Clone)]
pub struct People {
    db: Db,
    journal: Journal,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl People {
    pub fn new(db: Db, journal: Journal, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { db, journal, clock, entropy }
    }

    /// A transaction in which nobody else changes the people of `workspace`: what it reads of them stays true until it
    /// ends, be it that an address is free or that another administrator is left.
    async fn begin(&self, workspace: Uuid) -> Result<Transaction> {
        let txn = self.db.begin().await?;
        hold_people(&txn, workspace).await?;
        Ok(txn)
    }

    fn new_id(&self) -> Uuid {
        ids::new(self.clock.now(), &*self.entropy)
    }
}

/// Lets nobody else change the people of `workspace` until the transaction ends.
pub async fn hold_people(txn: &Transaction, workspace: Uuid) -> Result<()> {
    // SQLite has one writer anyway. NO KEY UPDATE lets rows that refer to the workspace be written meanwhile.
    workspace::Entity::find_by_id(workspace).lock(LockType::NoKeyUpdate).one(txn).await?;
    Ok(())
}

/// What a change of the people leaves in the journal.
fn audit(action: &'static str, actor: Actor, kind: Kind, id: Uuid, details: Value) -> NewEntry {
    NewEntry { topic: Topic::Audit, action, actor, subject: NodeId { kind, id }, facts: Facts::None, details }
}
