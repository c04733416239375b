//! The whole permission table, on one page.

use entity::Role;

/// What someone may want to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See connections, authorizations, disconnections, datasets, metrics, and their subscriptions.
    See,
    /// See clients, with counts of what one may see.
    SeeClients,
    Connect,
    /// Reconnect, update, check, make a reconnect link; create, edit, refresh and remove datasets and metrics.
    Tend,
    /// Remove, share, unshare.
    Dispose,
    /// Use an authorization for more connections, and list the accounts under it.
    UseAuthorization,
    /// Have a tray.
    BeNotified,
    /// List users.
    SeePeople,
    /// Create, rename and remove clients; make connect links; report disconnections.
    ManageClients,
    /// Change users, keys and the workspace; list keys; read the audit log.
    Administer,
}

/// How far a permission reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    Nothing,
    /// What belongs to the one client of a CLIENT.
    OwnClient,
    /// What the viewer made.
    Made,
    /// What the viewer made, or was shared with them.
    MadeOrShared,
    Everything,
}

impl Action {
    /// How far `role` may do this.
    pub fn reach(self, role: Role) -> Reach {
        use Reach::{Everything, Made, MadeOrShared, Nothing, OwnClient};
        use Role::{Admin, Client, Member, Staff};
        match (self, role) {
            (Self::See, Admin | Staff) => Everything,
            (Self::See, Member) => MadeOrShared,
            (Self::See, Client) => OwnClient,

            (Self::SeeClients, Admin | Staff | Member) => Everything,
            (Self::SeeClients, Client) => OwnClient,

            (Self::Connect, Admin | Staff | Member) => Everything,
            (Self::Connect, Client) => Nothing,

            (Self::Tend | Self::BeNotified, Admin | Staff) => Everything,
            (Self::Tend | Self::BeNotified, Member) => MadeOrShared,
            (Self::Tend | Self::BeNotified, Client) => Nothing,

            (Self::Dispose | Self::UseAuthorization, Admin | Staff) => Everything,
            (Self::Dispose | Self::UseAuthorization, Member) => Made,
            (Self::Dispose | Self::UseAuthorization, Client) => Nothing,

            (Self::SeePeople, Admin | Staff | Member) => Everything,
            (Self::SeePeople, Client) => Nothing,

            (Self::ManageClients, Admin | Staff) => Everything,
            (Self::ManageClients, Member | Client) => Nothing,

            (Self::Administer, Admin) => Everything,
            (Self::Administer, Staff | Member | Client) => Nothing,
        }
    }
}

/// The role in which an API key of the role `key` acts while whoever made it has the role `maker`: its own, and never
/// beyond what that person may do now. None: it is refused.
pub fn acting(key: Role, maker: Role) -> Option<Role> {
    use Role::{Admin, Client, Member, Staff};
    match (key, maker) {
        (Admin, Admin) => Some(Admin),
        (Admin, Staff) | (Staff, Admin | Staff) => Some(Staff),
        // What the maker made, or was shared with them.
        (Admin | Staff, Member) => Some(Member),
        (Client, Admin | Staff) => Some(Client),
        // A MEMBER does not see all that a client's login sees.
        (Client, Member) => None,
        // Keys are for those who look after connections.
        (_, Client) => None,
        // There are no such keys: what a person made is theirs, not a program's.
        (Member, Admin | Staff | Member) => None,
    }
}
