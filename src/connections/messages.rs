//! What an outage says to people: what happened and what to do.

use chrono::{DateTime, Utc};
use entity::DisconnectionReason;

/// What is known of a reason alone.
pub(super) fn message(reason: DisconnectionReason, connector: &str) -> String {
    match reason {
        DisconnectionReason::Revoked => {
            format!(
                "{connector} no longer accepts this authorization: it was revoked, or a password was changed. Reconnect to sign in again."
            )
        }
        DisconnectionReason::Expired => {
            format!("The authorization at {connector} has reached its end. Reconnect to sign in again.")
        }
        DisconnectionReason::CredentialsRejected => {
            format!("{connector} no longer accepts the key or password. Reconnect with the new one.")
        }
        DisconnectionReason::AccessLost => {
            format!(
                "{connector} no longer lets this sign-in read the account. Ask for access again, or reconnect as someone who has it."
            )
        }
        DisconnectionReason::Reported => format!("A reader of {connector} reported that it was refused."),
        DisconnectionReason::Unresponsive => format!("{connector} has not been seen to work for long."),
    }
}

/// The same, where the answer to an earlier renewal never came: it may have held the only token that is still good.
pub(super) fn lost_answer(connector: &str) -> String {
    format!(
        "{connector} no longer accepts this authorization. The answer to its last renewal was lost on the way, and with it perhaps the new token. Reconnect to sign in again."
    )
}

/// The grant was given to an OAuth client that the operator replaced.
pub(super) fn of_another_client(connector: &str) -> String {
    format!(
        "This authorization was given to another OAuth client of this server at {connector}, which has been replaced since. Reconnect to sign in again."
    )
}

/// It was asked again and again, and never seen to work. `what` is how it fails.
pub(super) fn unresponsive(connector: &str, since: DateTime<Utc>, what: &str) -> String {
    let since = since.format("%Y-%m-%d %H:%M UTC");
    format!(
        "{connector} has not been seen to work since {since}: {what}. It is still asked, and works again by itself once it answers. If you changed something there, reconnect."
    )
}
