//! Rotating keys: everything that another key than the first one sealed is sealed anew, while the server is at work.
//!
//! It goes a part of a table at a time, each in a short transaction, and writes a secret only where it still is what was
//! read: whoever changed it meanwhile wins, and what they wrote is looked at in the next round. There is nothing to resume:
//! what is left shows by what it begins with. So one that was killed begins again, and two at once do no harm.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DbErr, QueryResult,
    sea_query::{Alias, Expr, ExprTrait as _, Func, Order, Query, SelectStatement},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{SealedColumn, Unreadable, Vault, mark};
use crate::{
    db::Db,
    error::{Result, while_away},
};

/// How many rows are looked at in one transaction.
const PART: u64 = 200;
/// How often all is looked at: others may write with an older key meanwhile.
const ROUNDS: u32 = 10;
/// How long a database is waited for that is away, or whose row is locked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seals anew what older keys sealed.
pub struct Rotation {
    db: Db,
    vault: Vault,
}

/// What came of a rotation.
#[derive(Debug)]
pub struct Rotated {
    /// How many secrets were sealed anew.
    pub resealed: u64,
    /// How many each key of the ring has sealed now; the first one first.
    pub keys: Vec<KeyUse>,
    /// How many were sealed with a key that is not in the ring, or are no sealed secrets at all.
    pub unknown: u64,
    /// What could not be opened, and stays as it is.
    pub unopened: Vec<Unopened>,
}

/// How many secrets a key has sealed.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub name: String,
    pub secrets: u64,
}

/// A secret that could not be opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Unopened {
    pub column: SealedColumn,
    pub row: Uuid,
    pub why: Unreadable,
}

/// A secret as it was read.
struct Secret {
    row: Uuid,
    sealed: Vec<u8>,
}

/// What one round, or a part of it, came to.
#[derive(Default)]
struct Round {
    resealed: u64,
    /// How many were changed by others between reading and writing.
    overtaken: u64,
    unopened: Vec<Unopened>,
}

impl Rotation {
    pub fn new(db: Db, vault: Vault) -> Self {
        Self { db, vault }
    }

    /// Seals anew what there is, then counts what each key has sealed.
    pub async fn run(&self) -> Result<Rotated> {
        let mut resealed = 0;
        let mut unopened = Vec::new();
        for _ in 0..ROUNDS {
            let round = self.round().await?;
            resealed += round.resealed;
            unopened = round.unopened;
            if round.resealed == 0 && round.overtaken == 0 {
                break;
            }
            tracing::info!(resealed, "secrets were sealed anew");
        }
        let (mut keys, mut known) = (Vec::new(), 0);
        for name in self.vault.key_names() {
            let secrets = self.count(Some(name)).await?;
            known += secrets;
            keys.push(KeyUse { name: name.to_owned(), secrets });
        }
        let unknown = self.count(None).await?.saturating_sub(known);
        Ok(Rotated { resealed, keys, unknown, unopened })
    }

    /// Looks at every secret once.
    async fn round(&self) -> Result<Round> {
        let mut round = Round::default();
        for column in SealedColumn::ALL {
            let mut after = Uuid::nil();
            loop {
                let part = waited(|| self.read(column, after)).await?;
                let Some(last) = part.last() else { break };
                after = last.row;
                let done = waited(|| self.reseal(column, &part)).await?;
                round.resealed += done.resealed;
                round.overtaken += done.overtaken;
                round.unopened.extend(done.unopened);
            }
        }
        Ok(round)
    }

    /// The next secrets of a column, by their rows.
    async fn read(&self, column: SealedColumn, after: Uuid) -> Result<Vec<Secret>> {
        let (table, name) = names(column);
        let select = Query::select()
            .columns([Alias::new("id"), name.clone()])
            .from(table)
            .and_where(Expr::col(Alias::new("id")).gt(after))
            .and_where(Expr::col(name).is_not_null())
            .order_by(Alias::new("id"), Order::Asc)
            .limit(PART)
            .to_owned();
        let rows = self.db.reader().query_all(&select).await?;
        Ok(rows.iter().map(|row| read(row, column)).collect::<Result<_, DbErr>>()?)
    }

    /// Seals those of a part anew that the first key did not seal, where they still are what was read.
    async fn reseal(&self, column: SealedColumn, part: &[Secret]) -> Result<Round> {
        let mut round = Round::default();
        let mut fresh = Vec::new();
        for secret in part {
            match self.vault.reseal(column.of(secret.row), &secret.sealed) {
                Ok(None) => {}
                Ok(Some(sealed)) => fresh.push((secret, sealed)),
                Err(why) => round.unopened.push(Unopened { column, row: secret.row, why }),
            }
        }
        if fresh.is_empty() {
            return Ok(round);
        }
        let (table, name) = names(column);
        let txn = self.db.begin().await?;
        for (before, sealed) in fresh {
            let update = Query::update()
                .table(table.clone())
                .value(name.clone(), sealed)
                .and_where(Expr::col(Alias::new("id")).eq(before.row))
                .and_where(Expr::col(name.clone()).eq(before.sealed.clone()))
                .to_owned();
            match txn.execute(&update).await?.rows_affected() {
                0 => round.overtaken += 1,
                _ => round.resealed += 1,
            }
        }
        txn.commit().await?;
        Ok(round)
    }

    /// How many secrets there are, of this key or in all.
    async fn count(&self, key: Option<&str>) -> Result<u64> {
        let mut all = 0;
        for column in SealedColumn::ALL {
            let counted = waited(|| async {
                let row = self.db.reader().query_one(&counting(column, key)).await?;
                let row = row.ok_or_else(|| DbErr::RecordNotFound("a count".to_owned()))?;
                Ok(row.try_get::<i64>("", "n")?)
            });
            all += u64::try_from(counted.await?).unwrap_or_default();
        }
        Ok(all)
    }
}

/// Does `work` once more while the database is away. It bears being done twice.
async fn waited<T, F: Future<Output = Result<T>>>(work: impl Fn() -> F) -> Result<T> {
    while_away(Instant::now() + PATIENCE, work).await
}

fn counting(column: SealedColumn, key: Option<&str>) -> SelectStatement {
    let (table, name) = names(column);
    let mut select = Query::select();
    select.expr_as(Expr::col(Alias::new("id")).count(), Alias::new("n")).from(table);
    select.and_where(Expr::col(name.clone()).is_not_null());
    if let Some(key) = key {
        let mark = mark(key);
        let length = i32::try_from(mark.len()).unwrap_or_default();
        let beginning = Func::cust(Alias::new("substr")).args([Expr::col(name), Expr::val(1), Expr::val(length)]);
        select.and_where(Expr::expr(beginning).eq(mark));
    }
    select
}

fn names(column: SealedColumn) -> (Alias, Alias) {
    (Alias::new(column.table()), Alias::new(column.column()))
}

fn read(row: &QueryResult, column: SealedColumn) -> Result<Secret, DbErr> {
    Ok(Secret { row: row.try_get("", "id")?, sealed: row.try_get("", column.column())? })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemEntropy;

    const OLD: &str = "old:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const NEW: &str = "new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const COLUMN: SealedColumn = SealedColumn::GiveBackCredential;

    fn vault(keys: &str) -> Vault {
        Vault::new(&keys.into(), Arc::new(SystemEntropy)).unwrap()
    }

    async fn database() -> (Db, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let db = Db::open(&url, 1).await.unwrap();
        db.migrate().await.unwrap();
        (db, folder)
    }

    async fn write(db: &Db, row: u128, sealed: Vec<u8>) {
        let insert = Query::insert()
            .into_table(Alias::new("give_back"))
            .columns(["id", "workspace_id", "connector", "credential", "created_at", "due_at", "tries"].map(Alias::new))
            .values_panic([
                Expr::val(Uuid::from_u128(row)),
                Expr::val(Uuid::nil()),
                Expr::val("x"),
                Expr::val(sealed),
                Expr::val(chrono::DateTime::UNIX_EPOCH),
                Expr::val(chrono::DateTime::UNIX_EPOCH),
                Expr::val(0),
            ])
            .to_owned();
        db.writer().execute(&insert).await.unwrap();
    }

    async fn change(db: &Db, row: u128, sealed: Vec<u8>) {
        let update = Query::update()
            .table(Alias::new("give_back"))
            .value(Alias::new("credential"), sealed)
            .and_where(Expr::col(Alias::new("id")).eq(Uuid::from_u128(row)))
            .to_owned();
        db.writer().execute(&update).await.unwrap();
    }

    #[tokio::test]
    async fn what_others_write_between_reading_and_writing_stands() {
        let (db, _folder) = database().await;
        let (old, both) = (vault(OLD), vault(&format!("{NEW},{OLD}")));
        let place = |row| COLUMN.of(Uuid::from_u128(row));
        for row in 1..=3 {
            write(&db, row, old.seal(place(row), b"first")).await;
        }
        let rotation = Rotation::new(db.clone(), both.clone());
        let part = rotation.read(COLUMN, Uuid::nil()).await.unwrap();
        // Between the two, one is changed by a node that seals with the old key still, and one is gone.
        change(&db, 2, old.seal(place(2), b"second")).await;
        let gone = Query::delete()
            .from_table(Alias::new("give_back"))
            .and_where(Expr::col(Alias::new("id")).eq(Uuid::from_u128(3)))
            .to_owned();
        db.writer().execute(&gone).await.unwrap();
        let done = rotation.reseal(COLUMN, &part).await.unwrap();
        assert_eq!((done.resealed, done.overtaken), (1, 2));

        let rotated = rotation.run().await.unwrap();
        assert_eq!((rotated.resealed, rotated.unknown, rotated.unopened.len()), (1, 0, 0));
        let left: Vec<u64> = rotated.keys.iter().map(|key| key.secrets).collect();
        assert_eq!(left, [2, 0]);
        let now = rotation.read(COLUMN, Uuid::nil()).await.unwrap();
        let opened = now.iter().map(|secret| vault(NEW).open(COLUMN.of(secret.row), &secret.sealed).unwrap().to_vec());
        assert_eq!(opened.collect::<Vec<_>>(), [b"first".to_vec(), b"second".to_vec()]);
    }

    #[tokio::test]
    async fn what_does_not_open_stays_as_it_is_and_is_named() {
        let (db, _folder) = database().await;
        let place = |row| COLUMN.of(Uuid::from_u128(row));
        let mut damaged = vault(OLD).seal(place(1), b"secret");
        *damaged.last_mut().unwrap() ^= 1;
        write(&db, 1, damaged.clone()).await;
        write(&db, 2, vault(NEW).seal(place(2), b"secret")).await;
        write(&db, 3, b"nothing that was sealed".to_vec()).await;
        let rotation = Rotation::new(db.clone(), vault(OLD));
        let rotated = rotation.run().await.unwrap();
        assert_eq!((rotated.resealed, rotated.unknown), (0, 2));
        let unopened = |row, why| Unopened { column: COLUMN, row: Uuid::from_u128(row), why };
        assert_eq!(rotated.unopened, [unopened(2, Unreadable::UnknownKey), unopened(3, Unreadable::Damaged)]);
        let both = Rotation::new(db.clone(), vault(&format!("{NEW},{OLD}"))).run().await.unwrap();
        assert_eq!(both.unopened, [unopened(1, Unreadable::Damaged), unopened(3, Unreadable::Damaged)]);
        assert_eq!(both.keys, [KeyUse { name: "new".into(), secrets: 1 }, KeyUse { name: "old".into(), secrets: 1 }]);
        assert_eq!(rotation.read(COLUMN, Uuid::nil()).await.unwrap()[0].sealed, damaged);
    }
}
