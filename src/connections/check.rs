//! Somebody asks whether a connection works, or says that it does not: it is looked at now.

use entity::{Detector, DisconnectionReason, Endpoint, Status, Topic, authorization, connection};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Connections,
    checks::Occasion,
    held::last_checked,
    lifecycle::{Change, Fault},
    settle::meanwhile,
};
use crate::{
    access::{Action, Viewer},
    error::{Result, UserError, UserErrorCode},
    ids::Kind,
    journal::{Facts, NewEntry},
    people::names,
};

/// What somebody outside says of a connection.
#[derive(Debug, Clone)]
pub struct Report {
    pub connection: Uuid,
    pub reason: DisconnectionReason,
    pub message: String,
}

impl Connections {
    /// Looks at a connection now.
    pub async fn check(&self, viewer: &Viewer, connection: Uuid) -> Result<connection::Model> {
        viewer.may(Action::Tend)?;
        let row = self.tended(viewer, connection, Action::Tend).await?;
        let behind = self.authorization_of(&row).await?;
        self.require_not_quiet(&behind).await?;
        Box::pin(self.examine(Occasion::Check, connection)).await?;
        let found = self.tended(viewer, connection, Action::Tend).await?;
        let seen = last_checked(&found, &self.authorization_of(&found).await?);
        // Null where the provider did not say.
        let works = (seen > last_checked(&row, &behind)).then_some(found.status != Status::Disconnected);
        let details = json!({ "works": works });
        self.note_looked(viewer, "connection.checked", &found, details).await?;
        Ok(found)
    }

    /// Takes a report that a connection was refused. It is believed when a look at it says so too; where there is no way
    /// to look, as it comes.
    pub async fn report(&self, viewer: &Viewer, report: Report) -> Result<connection::Model> {
        viewer.may(Action::ManageClients)?;
        let message = names::message("message", &report.message)?;
        let row = self.tended(viewer, report.connection, Action::Tend).await?;
        let connector = self.connector_of(&row.connector);
        let connector = connector.ok_or_else(|| {
            let gone = "This server has no such connector any more, so nothing can be asked of it.";
            UserError::new(UserErrorCode::NotConfigured, gone).at(["connectionId"])
        })?;
        if connector.has_probe() || connector.probe.asks_of(row.account_id.as_deref()).is_some() {
            self.require_not_quiet(&self.authorization_of(&row).await?).await?;
            Box::pin(self.examine(Occasion::Report, row.id)).await?;
        } else {
            self.believe(viewer, &row, &report, &connector.name, &message).await?;
        }
        let found = self.tended(viewer, row.id, Action::Tend).await?;
        let believed = found.status == Status::Disconnected;
        let details = json!({ "reason": report.reason.as_str(), "message": message, "believed": believed });
        self.note_looked(viewer, "connection.reported", &found, details).await?;
        Ok(found)
    }

    /// Disconnects what nobody can look at. Only what has a key or password of its own has no probe, so that is all.
    async fn believe(
        &self,
        viewer: &Viewer,
        row: &connection::Model,
        report: &Report,
        connector: &str,
        message: &str,
    ) -> Result<()> {
        let before = self.authorization_of(row).await?;
        let mut change = Change::begin(self, viewer).await?;
        let held = change.hold_one(row.authorization_id).await?;
        let mut held = held.filter(|held| held.member(row.id).is_some()).ok_or_else(meanwhile)?;
        // It was reconnected since: what was refused is not what it has now.
        if !held.is_still(&before) {
            return Ok(());
        }
        let message = format!("A reader of {connector} was refused: {message}");
        let fault = Fault { reason: report.reason, detector: Detector::Report, message };
        change.disconnect(&mut held, fault).await?;
        change.commit().await
    }

    /// The API must not have asked to be left alone, about it or altogether.
    async fn require_not_quiet(&self, row: &authorization::Model) -> Result<()> {
        match self.quiet_left(row, Endpoint::Api).await? {
            Some(left) => {
                let message = format!("The provider asks to be left alone for {} more seconds.", left.as_secs().max(1));
                Err(UserError::new(UserErrorCode::ProviderUnavailable, message).at(["connectionId"]).into())
            }
            None => Ok(()),
        }
    }

    /// That somebody looked, for the audit log: a look that changed nothing is told nowhere else.
    async fn note_looked(
        &self,
        viewer: &Viewer,
        action: &'static str,
        found: &connection::Model,
        details: Value,
    ) -> Result<()> {
        let mut change = Change::begin(self, viewer).await?;
        let subject = Kind::Connection.of(found.id);
        let (actor, facts) = (viewer.actor(), Facts::None);
        change.note([NewEntry { topic: Topic::Audit, action, actor, subject, facts, details }]);
        change.commit().await
    }
}
