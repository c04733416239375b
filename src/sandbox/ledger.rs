//! Grants, and the codes and tokens made under them (RFC 6749 §4.1, §5, §6).
//!
//! Pure bookkeeping: the time and every fresh token come in as arguments. Nothing here derives `Debug`,
//! since it is made of secrets.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::world::{Person, Product, Scope};

/// RFC 6749 §4.1.2 recommends at most ten minutes; nobody needs more than one here.
const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(1);

/// Numbers a grant, from 1.
pub(super) type GrantId = u64;

/// What a person has allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// From 1, in the order of consent.
    pub id: u64,
    /// Who allowed it.
    pub person: &'static Person,
    /// What it is for.
    pub product: Product,
    /// The shop it is for, where the product is one.
    pub shop: Option<String>,
    /// What was allowed.
    pub scopes: Vec<&'static str>,
    /// When the code was redeemed.
    pub since: DateTime<Utc>,
    /// How it ended; `None` while it works.
    pub ended: Option<Ended>,
}

/// How a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The person revoked it, here at the provider.
    ByPerson,
    /// The client gave it back (RFC 7009).
    ByClient,
    /// A code or refresh token came a second time: it may have been stolen (RFC 9700 §4.14.2).
    ByReuse,
}

/// What a person decided on, waiting behind a code.
pub(super) struct Consent {
    pub(super) person: &'static Person,
    pub(super) product: Product,
    pub(super) shop: Option<String>,
    pub(super) scopes: Vec<&'static str>,
    pub(super) redirect_uri: String,
    /// PKCE, S256 (RFC 7636 §4.2).
    pub(super) challenge: String,
}

/// What the client shows at the token endpoint for a code.
pub(super) struct Redemption<'a> {
    pub(super) code: &'a str,
    pub(super) redirect_uri: &'a str,
    /// The S256 challenge that its verifier makes.
    pub(super) challenge: String,
    /// The shop in the token endpoint's path.
    pub(super) shop: Option<&'a str>,
}

/// Why the token endpoint says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    InvalidGrant,
    InvalidScope,
}

/// Fresh random texts for one answer of the token endpoint.
pub(super) struct Fresh {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
}

/// How tokens are made at the moment.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: DateTime<Utc>,
    pub(super) lifetime: TimeDelta,
    pub(super) rotate: bool,
}

/// What the token endpoint hands out.
pub(super) struct Tokens {
    pub(super) access_token: String,
    /// `None`: the client goes on with the one it has (RFC 6749 §6).
    pub(super) refresh_token: Option<String>,
    pub(super) scopes: Vec<&'static str>,
    pub(super) product: Product,
    /// The access token's.
    pub(super) lifetime: TimeDelta,
}

/// What an access token opens.
pub(super) struct Access {
    pub(super) person: &'static Person,
    pub(super) shop: Option<String>,
    pub(super) scopes: Vec<&'static str>,
}

struct Code {
    consent: Consent,
    expires_at: DateTime<Utc>,
    /// Set when it was shown the first time; the grant only where that made one.
    spent: Option<Option<GrantId>>,
}

struct AccessToken {
    grant: GrantId,
    scopes: Vec<&'static str>,
    expires_at: DateTime<Utc>,
}

struct RefreshToken {
    grant: GrantId,
    spent: bool,
}

/// All grants, codes and tokens. A grant that ends takes its tokens with it; the grant itself stays to be shown.
#[derive(Default)]
pub(super) struct Ledger {
    grants: BTreeMap<GrantId, Grant>,
    codes: HashMap<String, Code>,
    access: HashMap<String, AccessToken>,
    refresh: HashMap<String, RefreshToken>,
}

impl Ledger {
    pub(super) fn grants(&self) -> impl DoubleEndedIterator<Item = &Grant> {
        self.grants.values()
    }

    /// Puts a decision behind a code.
    pub(super) fn add_code(&mut self, code: String, consent: Consent, now: DateTime<Utc>) {
        self.codes.retain(|_, code| code.expires_at > now);
        self.codes.insert(code, Code { consent, expires_at: now + CODE_LIFETIME, spent: None });
    }

    /// Makes a grant of a code. A code can be shown once, rightly or wrongly; the second time ends what the first made.
    pub(super) fn redeem(&mut self, shown: &Redemption<'_>, fresh: Fresh, terms: Terms) -> Result<Tokens, Denied> {
        let code = self.codes.get_mut(shown.code).ok_or(Denied::InvalidGrant)?;
        if let Some(earlier) = code.spent {
            if let Some(grant) = earlier {
                self.end(grant, Ended::ByReuse);
            }
            return Err(Denied::InvalidGrant);
        }
        code.spent = Some(None);
        if code.expires_at <= terms.now || !code.consent.allows(shown) {
            return Err(Denied::InvalidGrant);
        }
        let id = self.grants.keys().next_back().map_or(1, |last| last + 1);
        code.spent = Some(Some(id));
        let grant = code.consent.grant(id, terms.now);
        let scopes = grant.scopes.clone();
        self.grants.insert(id, grant);
        self.issue(id, scopes, fresh, Terms { rotate: true, ..terms })
    }

    /// Renews (RFC 6749 §6). With rotation, a refresh token that was used before ends its grant.
    pub(super) fn renew(
        &mut self,
        token: &str,
        shop: Option<&str>,
        scope: Option<&str>,
        fresh: Fresh,
        terms: Terms,
    ) -> Result<Tokens, Denied> {
        let shown = self.refresh.get_mut(token).ok_or(Denied::InvalidGrant)?;
        let id = shown.grant;
        let grant = self.grants.get(&id).ok_or(Denied::InvalidGrant)?;
        if grant.shop.as_deref() != shop {
            return Err(Denied::InvalidGrant);
        }
        if shown.spent {
            self.end(id, Ended::ByReuse);
            return Err(Denied::InvalidGrant);
        }
        let scopes = narrowed(&grant.scopes, scope)?;
        shown.spent = terms.rotate;
        self.issue(id, scopes, fresh, terms)
    }

    fn issue(
        &mut self,
        grant: GrantId,
        scopes: Vec<&'static str>,
        fresh: Fresh,
        terms: Terms,
    ) -> Result<Tokens, Denied> {
        let product = self.grants.get(&grant).ok_or(Denied::InvalidGrant)?.product;
        self.access.retain(|_, token| token.expires_at > terms.now);
        let token = AccessToken { grant, scopes: scopes.clone(), expires_at: terms.now + terms.lifetime };
        self.access.insert(fresh.access_token.clone(), token);
        let refresh_token = terms.rotate.then_some(fresh.refresh_token);
        if let Some(token) = &refresh_token {
            self.refresh.insert(token.clone(), RefreshToken { grant, spent: false });
        }
        Ok(Tokens { access_token: fresh.access_token, refresh_token, scopes, product, lifetime: terms.lifetime })
    }

    /// What the access token opens; `None` when it is unknown, expired or revoked.
    pub(super) fn open(&self, token: &str, now: DateTime<Utc>) -> Option<Access> {
        let token = self.access.get(token).filter(|token| token.expires_at > now)?;
        let grant = self.grants.get(&token.grant)?;
        Some(Access { person: grant.person, shop: grant.shop.clone(), scopes: token.scopes.clone() })
    }

    /// RFC 7009: either kind of token ends the whole grant, as Google has it.
    pub(super) fn give_back(&mut self, token: &str) {
        let access = self.access.get(token).map(|token| token.grant);
        if let Some(grant) = self.refresh.get(token).map(|token| token.grant).or(access) {
            self.end(grant, Ended::ByClient);
        }
    }

    /// The person revokes every grant that `which` picks. Answers how many there were.
    pub(super) fn revoke(&mut self, which: impl Fn(&Grant) -> bool) -> usize {
        let live = self.grants.values().filter(|grant| grant.ended.is_none() && which(grant));
        let ids: Vec<_> = live.map(|grant| grant.id).collect();
        for &id in &ids {
            self.end(id, Ended::ByPerson);
        }
        ids.len()
    }

    /// Every access token dies; the grants and refresh tokens live on.
    pub(super) fn expire_access(&mut self) {
        self.access.clear();
    }

    fn end(&mut self, id: GrantId, how: Ended) {
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.ended.get_or_insert(how);
        }
        self.access.retain(|_, token| token.grant != id);
        self.refresh.retain(|_, token| token.grant != id);
    }
}

impl Consent {
    fn allows(&self, shown: &Redemption<'_>) -> bool {
        self.redirect_uri == shown.redirect_uri
            && self.challenge == shown.challenge
            && self.shop.as_deref() == shown.shop
    }

    fn grant(&self, id: GrantId, since: DateTime<Utc>) -> Grant {
        let (shop, scopes) = (self.shop.clone(), self.scopes.clone());
        Grant { id, person: self.person, product: self.product, shop, scopes, since, ended: None }
    }
}

/// A renewal may ask for less than was granted, never for more (RFC 6749 §6).
fn narrowed(granted: &[&'static str], asked: Option<&str>) -> Result<Vec<&'static str>, Denied> {
    let Some(asked) = asked else {
        return Ok(granted.to_vec());
    };
    let find = |name: &str| Scope::find(name).map(|scope| scope.name).filter(|name| granted.contains(name));
    asked.split_ascii_whitespace().map(|name| find(name).ok_or(Denied::InvalidScope)).collect()
}
