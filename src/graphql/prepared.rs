//! A request that passed the guard: what is asked, by which variables, within which budget.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Variables};

use super::asked_accounts::AskedAccounts;
use super::asks::Asks;
use super::budget::Budget;
use super::documents::Document;
use super::guard;
use super::kept_answers::IdempotencyKey;
use super::loaders::Loaders;
use super::request::RequestId;
use crate::access::Viewer;

/// A guarded request, ready to run.
pub struct Prepared {
    pub(super) document: Arc<Document>,
    pub(super) operation_name: Option<String>,
    pub(super) asks: Asks,
    pub(super) variables: Variables,
    pub(super) idempotency_key: Option<IdempotencyKey>,
    pub(super) id: RequestId,
    /// It may hold many fields.
    pub(super) heavy: bool,
    pub(super) budget: Budget,
    pub(super) accounts: AskedAccounts,
}

/// What an answer is to.
pub(super) struct Asked {
    pub(super) document: Arc<Document>,
    pub(super) operation_name: Option<String>,
}

impl Prepared {
    pub(super) fn asked(&self) -> Asked {
        Asked { document: Arc::clone(&self.document), operation_name: self.operation_name.clone() }
    }

    /// Whether it is a query, a mutation or a subscription.
    pub fn operation(&self) -> OperationType {
        self.asks.kind
    }

    /// What names it to its sender, if it is a mutation: nothing else is done twice by being sent twice.
    pub(super) fn idempotency_key(&self) -> Option<IdempotencyKey> {
        self.idempotency_key.clone().filter(|_| self.operation() == OperationType::Mutation)
    }

    /// What makes two subscriptions the same, for viewers who see the same: their events are equal, byte for byte.
    pub fn key(&self, eyes: String) -> SubscriptionKey {
        SubscriptionKey {
            document: Arc::clone(&self.document.text),
            operation: self.operation_name.clone(),
            // Sorted by name: `Variables` is a tree.
            variables: serde_json::to_string(&self.variables).unwrap_or_default(),
            eyes,
        }
    }

    /// The same as part of a batch, whose answers share a budget, and what providers are asked for.
    pub fn within(self, budget: &Budget, accounts: &AskedAccounts) -> Self {
        Self { budget: budget.clone(), accounts: accounts.clone(), ..self }
    }

    /// How often the operation asks the root field that it asks most often: more than once under other names.
    pub fn repetitions(&self) -> u32 {
        let operation = self.document.operation(self.operation_name.as_deref());
        operation.map_or(1, |operation| guard::repetitions(operation, &self.document.parsed))
    }

    /// All that is asked: equal for equal requests.
    pub(super) fn asked_as_json(&self) -> String {
        // Sorted by name: `Variables` is a tree.
        serde_json::to_string(&(&self.document.text, &self.operation_name, &self.variables)).unwrap_or_default()
    }

    pub(super) fn request(&self, viewer: Option<&Viewer>) -> Request {
        // The text is only for the executor's own parser and its extensions, neither of which runs.
        let mut request = Request::new("").variables(self.variables.clone());
        request.operation_name.clone_from(&self.operation_name);
        request.set_parsed_query(self.document.parsed.clone());
        let request = request.data(self.budget.clone()).data(self.accounts.clone());
        match viewer {
            Some(viewer) => request.data(viewer.clone()).data(Loaders::default()),
            None => request,
        }
    }
}

/// Names a subscription by what it sends: document, operation, variables, and the eyes that look (workspace and what may be seen).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubscriptionKey {
    pub document: Arc<str>,
    pub operation: Option<String>,
    pub variables: String,
    pub eyes: String,
}
