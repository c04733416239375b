//! Whose work asks for handles: a workspace's operations have a part of them, so that what one asks of the database leaves
//! handles to the others. The jobs' work is nobody's, and has what is free.

use std::future::Future;

use uuid::Uuid;

tokio::task_local! {
    static WORKSPACE: Uuid;
}

/// Does `work` for a workspace. What it starts beside is nobody's.
pub async fn of_workspace<T>(workspace: Uuid, work: impl Future<Output = T>) -> T {
    WORKSPACE.scope(workspace, work).await
}

/// Whose work this is, if a workspace's.
pub(super) fn workspace() -> Option<Uuid> {
    WORKSPACE.try_with(|workspace| *workspace).ok()
}
