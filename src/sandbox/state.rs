//! Everything at the sandbox that changes, in one place behind one lock.

use std::collections::{BTreeMap, BTreeSet};

use super::{Endpoint, Options, TokenCalls, fault::Faults, ledger::Ledger};

/// An API key and whom it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// What the control endpoints call it, and the `id` of `/keyed/me`; a changed key keeps it.
    pub id: &'static str,
    /// The `name` of `/keyed/me`.
    pub name: &'static str,
    /// What the `X-Api-Key` header has to hold.
    pub value: String,
}

/// The sandbox's memory; see [`super::Sandbox`] for its lock.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) ledger: Ledger,
    pub(super) keys: Vec<Key>,
    /// Ids of accounts that answer 403 at the moment.
    pub(super) withdrawn: BTreeSet<&'static str>,
    pub(super) outage: bool,
    /// Shops whose API answers 503 at the moment.
    pub(super) failing_shops: BTreeSet<String>,
    pub(super) faults: Faults,
    pub(super) calls: BTreeMap<Endpoint, u64>,
    pub(super) token_calls: TokenCalls,
}

impl State {
    pub(super) fn new(options: Options, keys: Vec<Key>) -> Self {
        Self {
            options,
            ledger: Ledger::default(),
            keys,
            withdrawn: BTreeSet::new(),
            outage: false,
            failing_shops: BTreeSet::new(),
            faults: Faults::default(),
            calls: BTreeMap::new(),
            token_calls: TokenCalls::default(),
        }
    }
}
