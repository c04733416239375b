//! Answers that are kept for a day, so that a mutation that is sent again is not done again.
//!
//! Whoever sends a mutation with a key of their own (`Idempotency-Key`, after the IETF's draft
//! draft-ietf-httpapi-idempotency-key-header) gets the same answer under the same key, whichever node they ask. An answer
//! may hold what is shown only once, so it is sealed; what was asked is kept as a hash within.
//!
//! Before an answer is handed out, whoever asks is judged again: with a lesser role than when it was kept, another client, or
//! without sight of what it tells of, they do not get it.
//!
//! A claim keeps a second sending away while the first is worked on. When its holder is killed, the claim ends and the
//! next sending is worked on as if it were the first: what the first one did before it was killed may then be found done.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use entity::kept_answer::{ActiveModel, Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Expr, LockType, OnConflict},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::kept_sight::{connections_seen, ids_in, sees_still};
use crate::{
    access::{Principal, Role, Sight, Standing, Viewer},
    claims::{self, CLAIMED},
    clock::{SharedClock, SharedEntropy},
    db::{Db, Transaction},
    error::{Error, Result, while_away},
    ids::{self, NodeId},
    retention,
    vault::{Place, SealedColumn, Vault},
};

/// How long an answer is kept.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// How long it is tried: a database that is away for longer loses the answer, and this server does not fill up with them.
const TRIED_FOR: Duration = Duration::from_hours(1);
/// How many answers are kept for one person or key.
const MOST: u64 = 20_000;
/// The longest key, in characters.
const LONGEST_KEY: usize = 255;

/// What names one mutation to whoever sends it: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// What a key is, for a sender of something else.
    pub const WANTED: &str = "An idempotency key is 1 to 255 visible ASCII characters.";

    /// The key that a header's value says, with or without the quotation marks of a structured field (RFC 9651 §3.3.3).
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        let fits = !bare.is_empty() && bare.len() <= LONGEST_KEY && bare.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(bare.to_owned()))
    }
}

/// Keeps answers; cheap to clone.
#[derive(Clone)]
pub struct KeptAnswers(Arc<Parts>);

struct Parts {
    db: Db,
    vault: Vault,
    clock: SharedClock,
    entropy: SharedEntropy,
}

/// What there is under a key.
pub(super) enum Found {
    /// Nothing: the work is the finder's to do.
    Ours(Claim),
    /// The answer to the same request.
    Kept(String),
    /// Another request.
    Another,
    /// The same request, which is being worked on.
    Running,
}

/// The same, before whoever asks is judged again.
enum Judged {
    Found(Found),
    Kept(String, Option<Given>),
}

/// The right to work on a request, and to keep its answer.
pub(super) struct Claim {
    answers: KeptAnswers,
    row: Uuid,
    /// Tells this claim from a later one of the same row.
    run: Uuid,
    request: String,
    /// For whom it is worked on, and what they named.
    viewer: Viewer,
    named: HashSet<NodeId>,
}

/// What a row holds sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// SHA-256 of what was asked, in hexadecimal digits.
    request: String,
    answer: Option<String>,
    /// To whom it was given first; none where an older version kept it.
    #[serde(default)]
    given: Option<Given>,
}

#[derive(Serialize, Deserialize)]
struct Given {
    /// What they were.
    standing: Standing,
    /// The connections that it tells of.
    connections: Vec<Uuid>,
}

/// What is asked, and by whom.
struct Asked<'a> {
    viewer: &'a Viewer,
    principal: Uuid,
    /// SHA-256 of it.
    request: String,
    named: HashSet<NodeId>,
}

impl KeptAnswers {
    pub fn new(db: Db, vault: Vault, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self(Arc::new(Parts { db, vault, clock, entropy }))
    }

    /// What the viewer has under `key`; `asked` is all that they ask now.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where there is an answer, and they may not have it any more. [`Error::RateLimited`] where there
    /// are as many as are kept for one.
    pub(super) async fn find(&self, viewer: &Viewer, key: &IdempotencyKey, asked: &str) -> Result<Found> {
        let principal = match viewer.principal() {
            Principal::User(user) => user,
            Principal::ApiKey { key, .. } => key,
            Principal::Job(_) => return Err(Error::Forbidden),
        };
        let request = format!("{:x}", Sha256::digest(asked));
        let asked = Asked { viewer, principal, request, named: ids_in(asked) };
        let txn = self.0.db.begin().await?;
        let found = Entity::find()
            .filter(Column::Principal.eq(principal))
            .filter(Column::IdempotencyKey.eq(&key.0))
            .lock(LockType::Update)
            .one(&txn)
            .await?;
        let found = match found {
            Some(row) => self.judge(&txn, row, &asked).await?,
            None => Judged::Found(self.claim(&txn, &asked, key).await?),
        };
        txn.commit().await?;
        match found {
            Judged::Found(found) => Ok(found),
            Judged::Kept(answer, given) => {
                self.judge_again(viewer, given).await?;
                Ok(Found::Kept(answer))
            }
        }
    }

    /// Refuses the answer to who is less than they were when it was kept, or sees less of what it tells of.
    async fn judge_again(&self, viewer: &Viewer, given: Option<Given>) -> Result<()> {
        let may = match given {
            Some(given) if viewer.is_at_least(&given.standing) => {
                viewer.sight() == Sight::Everything || sees_still(&self.0.db, viewer, &given.connections).await?
            }
            Some(_) => false,
            // Nobody is more than an ADMIN.
            None => viewer.role() == Role::Admin,
        };
        if may { Ok(()) } else { Err(Error::Forbidden) }
    }

    async fn judge(&self, txn: &Transaction, row: Model, asked: &Asked<'_>) -> Result<Judged> {
        let now = txn.time(self.0.clock.now()).await?;
        let expired = row.expires_at <= now;
        let kept = self.open(&row)?;
        if !expired && kept.request != asked.request {
            return Ok(Judged::Found(Found::Another));
        }
        match kept.answer.filter(|_| !expired) {
            Some(answer) => return Ok(Judged::Kept(answer, kept.given)),
            None if row.claimed_until.is_some_and(|until| until > now) => return Ok(Judged::Found(Found::Running)),
            None => {}
        }
        let claim = self.claim_of(row.id, asked);
        let mut taken = row.clone();
        taken.sealed = self.seal(row.id, &asked.request, None, None)?;
        (taken.claimed_by, taken.claimed_until) = (Some(claim.run), Some(now + CLAIMED));
        taken.expires_at = now + KEPT;
        taken.into_active_model().reset_all().update(txn).await?;
        Ok(Judged::Found(Found::Ours(claim)))
    }

    async fn claim(&self, txn: &Transaction, asked: &Asked<'_>, key: &IdempotencyKey) -> Result<Found> {
        let now = txn.time(self.0.clock.now()).await?;
        self.require_room(txn, asked.principal, now).await?;
        let id = ids::new(self.0.clock.now(), &*self.0.entropy);
        let claim = self.claim_of(id, asked);
        let row = Model {
            id,
            workspace_id: asked.viewer.workspace(),
            principal: asked.principal,
            idempotency_key: key.0.clone(),
            sealed: self.seal(id, &asked.request, None, None)?,
            claimed_by: Some(claim.run),
            claimed_until: Some(now + CLAIMED),
            expires_at: now + KEPT,
        };
        // Whoever sends the same at this moment, to this node or another, may be first.
        let once = OnConflict::columns([Column::Principal, Column::IdempotencyKey]).do_nothing().to_owned();
        let rows = Entity::insert(ActiveModel::from(row)).on_conflict(once).exec_without_returning(txn).await?;
        Ok(if rows == 1 { Found::Ours(claim) } else { Found::Running })
    }

    /// Refuses one more answer to who has [`MOST`], until the oldest is forgotten.
    async fn require_room(&self, txn: &Transaction, principal: Uuid, now: DateTime<Utc>) -> Result<()> {
        let theirs = || Entity::find().filter(Column::Principal.eq(principal)).filter(Column::ExpiresAt.gt(now));
        if theirs().count(txn).await? < MOST {
            return Ok(());
        }
        let oldest = theirs().order_by_asc(Column::ExpiresAt).one(txn).await?;
        let wait = oldest.map_or(TimeDelta::seconds(1), |row| row.expires_at - now);
        let retry_after_seconds = u32::try_from(wait.num_seconds() + 1).unwrap_or(u32::MAX);
        Err(Error::RateLimited { retry_after_seconds })
    }

    fn claim_of(&self, row: Uuid, asked: &Asked<'_>) -> Claim {
        let run = ids::new(self.0.clock.now(), &*self.0.entropy);
        let (request, viewer, named) = (asked.request.clone(), asked.viewer.clone(), asked.named.clone());
        Claim { answers: self.clone(), row, run, request, viewer, named }
    }

    /// Forgets what was kept long enough.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<()> {
        let now = self.0.db.time(self.0.clock.now()).await?;
        retention::delete_old(&self.0.db, Column::Id, &Entity::find().filter(Column::ExpiresAt.lte(now)), stop).await
    }

    fn seal(&self, row: Uuid, request: &str, answer: Option<String>, given: Option<Given>) -> Result<Vec<u8>> {
        let secret = serde_json::to_vec(&Sealed { request: request.to_owned(), answer, given }).map(Zeroizing::new);
        let secret = secret.map_err(|_| Error::internal("an answer that cannot be written"))?;
        Ok(self.0.vault.seal(place(row), &secret))
    }

    fn open(&self, row: &Model) -> Result<Sealed> {
        let secret = self.0.vault.open(place(row.id), &row.sealed);
        let secret = secret.map_err(|error| Error::internal(error.to_string()))?;
        serde_json::from_slice(&secret).map_err(|_| Error::internal("a kept answer that is none"))
    }
}

impl Claim {
    /// Does `work` under the claim, which is kept up meanwhile.
    pub(super) async fn under<T>(&self, work: impl Future<Output = T>) -> T {
        claims::under(work, || self.prolong()).await
    }

    async fn prolong(&self) -> Result<()> {
        let Parts { db, clock, .. } = &*self.answers.0;
        let txn = db.begin_lease().await?;
        let until = txn.time(clock.now()).await? + CLAIMED;
        Entity::update_many()
            .col_expr(Column::ClaimedUntil, Expr::value(until))
            .filter(self.is_ours())
            .exec(&txn)
            .await?;
        Ok(txn.commit().await?)
    }

    /// Keeps the answer for whoever sends the same again; without one the same may be tried again. Where another node has
    /// the claim by now, the answer is that node's to keep. While the database is away this goes on, since the same work
    /// would be done once more when the claim ends.
    pub(super) async fn settle(self, answer: Option<String>) -> Result<()> {
        let until = Instant::now() + TRIED_FOR;
        self.under(while_away(until, || self.keep(answer.as_deref()))).await
    }

    async fn keep(&self, answer: Option<&str>) -> Result<()> {
        let Some(answer) = answer else { return self.write(None).await };
        let mut named = ids_in(answer);
        named.extend(&self.named);
        let connections = connections_seen(&self.answers.0.db, &self.viewer, &named).await?;
        let given = Given { standing: self.viewer.standing(), connections };
        let sealed = self.answers.seal(self.row, &self.request, Some(answer.to_owned()), Some(given))?;
        self.write(Some(&sealed)).await
    }

    async fn write(&self, sealed: Option<&[u8]>) -> Result<()> {
        let db = self.answers.0.db.leases();
        let Some(sealed) = sealed else {
            Entity::delete_many().filter(self.is_ours()).exec(db).await?;
            return Ok(());
        };
        Entity::update_many()
            .col_expr(Column::Sealed, Expr::value(sealed))
            .col_expr(Column::ClaimedBy, Expr::value(None::<Uuid>))
            .col_expr(Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>))
            .filter(self.is_ours())
            .exec(db)
            .await?;
        Ok(())
    }

    fn is_ours(&self) -> Condition {
        Condition::all().add(Column::Id.eq(self.row)).add(Column::ClaimedBy.eq(self.run))
    }
}

fn place(row: Uuid) -> Place {
    SealedColumn::KeptAnswer.of(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_of_visible_characters_quoted_or_not() {
        let key = |value: &str| IdempotencyKey::parse(value).map(|key| key.0);
        assert_eq!(key(r#" "8e03978e-40d5" "#), key("8e03978e-40d5"));
        for value in ["", "\"\"", "two words", "ü", &"k".repeat(256)] {
            assert_eq!(key(value), None, "{value}");
        }
        assert!(key(&"k".repeat(255)).is_some());
    }
}
