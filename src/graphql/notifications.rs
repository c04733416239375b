//! The tray: notifications as the API shows them, reading them, and hearing of them.

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject, Subscription};
use entity::notification;
use futures_util::{Stream, StreamExt, future};

use super::{
    ApiError, beside,
    catalogue::Connector,
    connection_inputs::given_each,
    connections::{Connection, connector},
    disconnections::Disconnection,
    execution::viewer,
    loaders::loaders,
    page::{Page, asked},
    people::{Client, Viewer},
    scalars::{DateTime, given, shown},
    services::{counted, services},
    user_error::{UserError, settle},
};
use crate::{
    access,
    error::{Error, Result},
    ids::Kind,
    notifications::{Read, TrayEvent, UpdatePreferences},
};

/// What a notification tells. New values may come: show their title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::NotificationKind")]
pub enum NotificationKind {
    /// Something stopped working: someone has to reconnect it.
    Disconnected,
    /// Something is about to stop working: someone has to reconnect it before.
    Expiring,
    /// It works again by itself; nobody has to act.
    Recovered,
    /// A connector fails for everyone. To ADMINs.
    Incident,
}

/// What one person was told.
pub struct Notification(notification::Model);

impl From<notification::Model> for Notification {
    fn from(row: notification::Model) -> Self {
        Self(row)
    }
}

/// What one person was told: once per occasion and kind, however many connections it covers.
#[Object]
impl Notification {
    /// The notification's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Notification, self.0.id)
    }

    /// What it tells.
    async fn kind(&self) -> NotificationKind {
        self.0.kind.into()
    }

    /// E.g. Google Ads disconnected for Acme, Globex and 3 more.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// Its `reconnectConnectionId` is the button, and turns null everywhere once it works again.
    async fn disconnection(&self, ctx: &Context<'_>) -> Result<Option<Disconnection>, ApiError> {
        let Some(id) = self.0.disconnection_id else { return Ok(None) };
        Ok(loaders(ctx)?.disconnections.load_one(id).await?.map(Disconnection::from))
    }

    /// The kind of data source it is about.
    async fn connector(&self, ctx: &Context<'_>) -> Result<Option<Connector>, ApiError> {
        self.0.connector.as_deref().map(|slug| connector(services(ctx)?, slug)).transpose()
    }

    /// The clients concerned that the viewer may see.
    async fn clients(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Client>, ApiError> {
        let (told, args) = (self.0.clone(), asked(first, after, last, before));
        let page = services(ctx)?.connections.clients_concerned(viewer(ctx)?, &told, &args).await?;
        let total = counted(ctx, move |services, viewer| {
            let told = told.clone();
            async move { services.connections.count_clients_concerned(&viewer, &told).await }
        })?;
        Ok(Page::new(page, total))
    }

    /// The connections concerned that the viewer may see.
    async fn connections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Connection>, ApiError> {
        let (told, args) = (self.0.clone(), asked(first, after, last, before));
        let page = services(ctx)?.connections.connections_concerned(viewer(ctx)?, &told, &args).await?;
        let total = counted(ctx, move |services, viewer| {
            let told = told.clone();
            async move { services.connections.count_connections_concerned(&viewer, &told).await }
        })?;
        beside::page(ctx, page, total).await
    }

    /// When it was told.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was read, in any window; null before.
    async fn read_at(&self) -> Option<DateTime> {
        self.0.read_at.map(Into::into)
    }
}

/// A page of the tray of `viewer`, newest first.
pub(super) async fn tray(
    ctx: &Context<'_>,
    viewer: &access::Viewer,
    unread_only: bool,
    args: &crate::pages::PageArgs,
) -> Result<Page<Notification>, ApiError> {
    let page = services(ctx)?.notifications.list(viewer, unread_only, args).await?;
    let total =
        counted(ctx, move |services, viewer| async move { services.notifications.count(&viewer, unread_only).await })?;
    Ok(Page::new(page, total))
}

/// One of the two; neither: all of them.
#[derive(InputObject)]
pub struct MarkNotificationsReadInput {
    /// These.
    notification_ids: Option<Vec<ID>>,
    /// This one and all older.
    through: Option<ID>,
}

impl MarkNotificationsReadInput {
    fn decoded(self) -> Result<Read> {
        match (self.notification_ids, self.through) {
            (None, None) => Ok(Read::All),
            (Some(ids), None) => Ok(Read::These(given_each(Kind::Notification, &ids))),
            (None, Some(id)) => Ok(Read::Through(given(Kind::Notification, &id))),
            (Some(_), Some(_)) => Err(Error::invalid("through", "Give `notificationIds` or `through`, not both.")),
        }
    }
}

/// What came of marking notifications as read.
#[derive(SimpleObject)]
pub struct MarkNotificationsReadPayload {
    /// Whose tray it is, with the count of what is unread still.
    viewer: Option<Viewer>,
    /// Those that were unread and no longer are, newest first.
    notifications: Option<Vec<Notification>>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Changes of the viewer's own preferences. What is absent stays as it is.
#[derive(InputObject)]
pub struct UpdateNotificationPreferencesInput {
    /// Whether to be reminded by e-mail, once a day, of what stays disconnected.
    reminder_emails: MaybeUndefined<bool>,
}

/// What came of changing preferences.
#[derive(SimpleObject)]
pub struct UpdateNotificationPreferencesPayload {
    /// Whose preferences they are.
    viewer: Option<Viewer>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Changes of the tray, and of what leaves it by e-mail.
#[derive(Default)]
pub struct NotificationsMutation;

#[Object]
impl NotificationsMutation {
    /// Marks notifications of the viewer's own tray as read, in every window.
    async fn mark_notifications_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them.")] input: MarkNotificationsReadInput,
    ) -> Result<MarkNotificationsReadPayload, ApiError> {
        let (tray, who) = (&services(ctx)?.notifications, viewer(ctx)?);
        let read = match input.decoded() {
            Ok(which) => tray.mark_read(who, which).await,
            Err(error) => Err(error),
        };
        let (rows, errors) = settle(read)?;
        Ok(MarkNotificationsReadPayload {
            viewer: rows.is_some().then(|| who.clone().into()),
            notifications: rows.map(|rows| rows.into_iter().map(Notification::from).collect()),
            errors,
        })
    }

    /// Changes how the viewer is told of what happens. For ADMIN, STAFF and MEMBER; not for an API key.
    async fn update_notification_preferences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateNotificationPreferencesInput,
    ) -> Result<UpdateNotificationPreferencesPayload, ApiError> {
        let who = viewer(ctx)?;
        let change = UpdatePreferences { reminder_emails: input.reminder_emails.into() };
        let (done, errors) = settle(services(ctx)?.notifications.update_preferences(who, change).await)?;
        Ok(UpdateNotificationPreferencesPayload { viewer: done.map(|()| who.clone().into()), errors })
    }
}

/// One more notification in the viewer's tray.
#[derive(SimpleObject)]
pub struct NotificationAdded {
    /// Its place in the journal, for `after` of a subscription.
    cursor: String,
    /// The new one.
    notification: Notification,
    /// Whose tray it is, with the count of what is unread.
    viewer: Viewer,
}

/// Read in another window.
#[derive(SimpleObject)]
pub struct NotificationsRead {
    /// Its place in the journal, for `after` of a subscription.
    cursor: String,
    /// Those that were read, up to 100 in one event.
    notifications: Vec<Notification>,
    /// Whose tray it is, with the count of what is unread still.
    viewer: Viewer,
}

/// Not true any more, so that it left the viewer's tray.
#[derive(SimpleObject)]
pub struct NotificationsRemoved {
    /// Its place in the journal, for `after` of a subscription.
    cursor: String,
    /// Those that left it, up to 100 in one event.
    notification_ids: Vec<ID>,
    /// Whose tray it is, with the count of what is unread still.
    viewer: Viewer,
}

/// The subscriptions about the tray.
#[derive(Default)]
pub struct NotificationsSubscription;

#[Subscription]
impl NotificationsSubscription {
    /// Each notification as it comes into the viewer's tray.
    async fn notification_added(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A journal cursor: what came since, then live. Without it: from now on.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<NotificationAdded, ApiError>>, ApiError> {
        let (tray, viewer) = (&services(ctx)?.notifications, viewer(ctx)?.clone());
        let added = tray.added(&viewer, after.as_deref()).await?;
        // The tray tells of one notification in an event.
        Ok(added.filter_map(move |event| future::ready(one(event, &viewer).transpose())))
    }

    /// What the viewer marks as read, in any window.
    async fn notifications_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A journal cursor: what came since, then live. Without it: from now on.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<NotificationsRead, ApiError>>, ApiError> {
        let (tray, viewer) = (&services(ctx)?.notifications, viewer(ctx)?.clone());
        let read = tray.read(&viewer, after.as_deref()).await?;
        Ok(read.map(move |event| {
            let TrayEvent { cursor, notifications, .. } = event?;
            let notifications = notifications.into_iter().map(Notification::from).collect();
            Ok(NotificationsRead { cursor, notifications, viewer: viewer.clone().into() })
        }))
    }

    /// What leaves the viewer's tray because it is not true any more: that something works again which broke once more
    /// within ten minutes, or that something ends soon which was reconnected.
    async fn notifications_removed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A journal cursor: what came since, then live. Without it: from now on.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<NotificationsRemoved, ApiError>>, ApiError> {
        let (tray, viewer) = (&services(ctx)?.notifications, viewer(ctx)?.clone());
        let removed = tray.removed(&viewer, after.as_deref()).await?;
        Ok(removed.map(move |event| {
            let TrayEvent { cursor, ids, .. } = event?;
            let notification_ids = ids.into_iter().map(|id| shown(Kind::Notification, id)).collect();
            Ok(NotificationsRemoved { cursor, notification_ids, viewer: viewer.clone().into() })
        }))
    }
}

fn one(event: Result<TrayEvent>, viewer: &access::Viewer) -> Result<Option<NotificationAdded>, ApiError> {
    let TrayEvent { cursor, notifications, .. } = event?;
    let added = notifications.into_iter().next();
    Ok(added.map(|row| NotificationAdded { cursor, notification: row.into(), viewer: viewer.clone().into() }))
}
