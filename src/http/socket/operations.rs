//! The operations that run on one socket.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, AbortHandle, BoxStream, SelectAll};

use super::message::Id;
use crate::graphql::Event;

/// Running operations by id; each gets its turn.
#[derive(Default)]
pub(super) struct Operations {
    running: HashMap<Id, AbortHandle>,
    streams: SelectAll<BoxStream<'static, (Id, Event)>>,
}

impl Operations {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn has(&self, id: &Id) -> bool {
        self.running.contains_key(id)
    }

    /// Runs `events` under `id`, which is free.
    pub(super) fn start(&mut self, id: Id, events: BoxStream<'static, Event>) {
        let (events, handle) = stream::abortable(events);
        let tag = Arc::clone(&id);
        self.streams.push(events.map(move |event| (Arc::clone(&tag), event)).boxed());
        self.running.insert(id, handle);
    }

    /// Ends an operation without a word; it may have ended by itself.
    pub(super) fn cancel(&mut self, id: &Id) {
        if let Some(handle) = self.running.remove(id) {
            handle.abort();
        }
    }

    /// The next event of any operation. After one that ends its operation the id is free.
    /// None while nothing runs. It can be dropped and called again without losing an event.
    pub(super) async fn next(&mut self) -> Option<(Id, Event)> {
        let (id, event) = self.streams.next().await?;
        if !matches!(event, Event::Next(_)) {
            self.running.remove(&id);
        }
        Some((id, event))
    }
}
