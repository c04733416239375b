//! What people do at the provider, as calls instead of clicks: for the demo's first connections and for tests.

use url::Url;

use super::{
    ACCOUNTS, CallbackFault, Endpoint, Fault, Grant, Key, Options, Person, Product, Sandbox,
    authorize::{Decision, Refusal},
    fault::Faults,
    params::Params,
    world::Scope,
};

/// Why nobody could decide on an authorization request in the browser's stead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoDecision {
    /// The address is not an authorization endpoint of this sandbox.
    #[error("not an authorization endpoint of this sandbox")]
    NotHere,
    /// Nobody is called that.
    #[error("there is no such person")]
    UnknownPerson,
    /// A browser would have shown this text and gone nowhere.
    #[error("refused: {0}")]
    Refused(&'static str),
}

/// What people and their browsers would do, without a browser.
impl Sandbox {
    /// The person (`ada`, `ben`) allows everything that is asked for. The answer is the address the browser would be
    /// sent to: the client's callback, with a code or with an error. Works during an outage too.
    pub fn approve(&self, authorize_url: &Url, person: &str) -> Result<Url, NoDecision> {
        self.allow(authorize_url, person, &|_| true)
    }

    /// As [`Self::approve`], but only these of the scopes that are asked for.
    pub fn approve_only(&self, authorize_url: &Url, person: &str, scopes: &[&str]) -> Result<Url, NoDecision> {
        self.allow(authorize_url, person, &|scope| scopes.contains(&scope.name))
    }

    /// Somebody cancels: the callback has `error=access_denied`.
    pub fn cancel(&self, authorize_url: &Url) -> Result<Url, NoDecision> {
        self.decide_at(authorize_url, Decision::Cancel)
    }

    fn allow(&self, url: &Url, person: &str, scopes: &dyn Fn(&Scope) -> bool) -> Result<Url, NoDecision> {
        let person = Person::find(person).ok_or(NoDecision::UnknownPerson)?;
        self.decide_at(url, Decision::Allow { person, scopes })
    }

    fn decide_at(&self, url: &Url, decision: Decision<'_>) -> Result<Url, NoDecision> {
        let path = url.as_str().split('?').next().and_then(|start| start.strip_prefix(&self.inner.base_url));
        let shop = match path.map(|path| path.split('/').collect::<Vec<_>>()).as_deref() {
            Some(["", "authorize"]) => None,
            Some(["", "shops", shop, "authorize"]) => Some(*shop),
            _ => return Err(NoDecision::NotHere),
        };
        match self.read_request(shop, &Params::parse(url.query().unwrap_or_default().as_bytes())) {
            Ok(request) => Ok(self.decide(request, decision)),
            Err(Refusal::Callback(url)) => Ok(url),
            Err(Refusal::Page(text)) => Err(NoDecision::Refused(text)),
        }
    }
}

/// What goes wrong at a provider. The control panel offers most of it.
impl Sandbox {
    /// The person (`ada`, `ben`) revokes everything. Answers how many grants ended.
    pub fn revoke_person(&self, person: &str) -> usize {
        Person::find(person).map_or(0, |person| self.revoke_grants(person, None))
    }

    /// The person revokes what is granted for the product, or for all.
    pub fn revoke_grants(&self, person: &Person, product: Option<Product>) -> usize {
        let picked = |grant: &Grant| grant.person == person && product.is_none_or(|product| grant.product == product);
        self.state().ledger.revoke(picked)
    }

    /// One grant is revoked; `false` when there is none of that number, or it has ended.
    pub fn revoke_grant(&self, id: u64) -> bool {
        self.state().ledger.revoke(|grant| grant.id == id) == 1
    }

    /// Every access token dies at once; the refresh tokens live.
    pub fn expire_access_tokens(&self) {
        self.state().ledger.expire_access();
    }

    /// Replaces a key, named by its id or its present value. `None` when there is none.
    pub fn change_key(&self, key: &str) -> Option<Key> {
        let value = self.mint("key");
        let mut state = self.state();
        let key = state.keys.iter_mut().find(|known| known.id == key || known.value == key)?;
        key.value = value;
        Some(key.clone())
    }

    /// The account leaves `/accounts` and answers 403, for everyone. `false` when there is no such account.
    pub fn withdraw(&self, account: &str) -> bool {
        let account = ACCOUNTS.iter().find(|known| known.id == account);
        self.state().withdrawn.extend(account.map(|account| account.id));
        account.is_some()
    }

    /// Takes [`Self::withdraw`] back.
    pub fn give_back(&self, account: &str) {
        self.state().withdrawn.remove(account);
    }

    /// While it lasts, everything but the control panel answers 503.
    pub fn set_outage(&self, on: bool) {
        self.state().outage = on;
    }

    /// While it lasts, the API of that shop answers 503; the other shops go on.
    pub fn set_shop_outage(&self, shop: &str, on: bool) {
        let failing = &mut self.state().failing_shops;
        let _ = if on { failing.insert(shop.to_owned()) } else { failing.remove(shop) };
    }

    /// The next `calls` calls of the endpoint meet the fault, after those set before.
    pub fn fail_next(&self, endpoint: Endpoint, fault: Fault, calls: usize) {
        self.state().faults.add(endpoint, fault, calls);
    }

    /// The next `decisions` are sent back to the client with this wrong.
    pub fn fail_next_callback(&self, fault: CallbackFault, decisions: usize) {
        self.state().faults.add_callback(fault, decisions);
    }

    /// Forgets the faults that are still to come.
    pub fn clear_faults(&self) {
        self.state().faults = Faults::default();
    }

    /// Changes how it behaves from now on.
    pub fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.state().options);
    }
}
