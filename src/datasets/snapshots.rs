//! Rows at rest: one snapshot a refresh, in parts, compressed. The last two are kept, so that whoever walks the pages of
//! one is not cut off by the next.

use chrono::{DateTime, Utc};
use entity::{snapshot, snapshot_part};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Datasets;
use crate::{
    db::Transaction,
    error::{Error, Result},
};

/// How many snapshots of a dataset are kept.
const KEPT: u64 = 2;
/// A part ends with the row that makes it so long, in bytes of JSON, or so many.
const PART_BYTES: usize = 256 << 10;
const PART_ROWS: usize = 1_000;

/// A part of a dataset's rows, in their order.
#[derive(Debug, Clone)]
pub struct RowPage {
    /// JSON objects, each with the cursor of its place.
    pub rows: Vec<(String, Box<RawValue>)>,
    pub has_next: bool,
    pub has_previous: bool,
    /// How many rows there are in all.
    pub total: u64,
}

impl RowPage {
    /// The JSON of its rows.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(|(_, row)| row.get().len()).sum()
    }
}

impl Datasets {
    /// The rows from the place `first` on, up to `most`; none when the snapshot is not kept any more.
    #[expect(clippy::disallowed_methods, reason = "it only computes")]
    pub(super) async fn snapshot_rows(&self, snapshot: Uuid, first: u64, most: u64) -> Result<Vec<Box<RawValue>>> {
        let (first, last) = (number(first), number(first.saturating_add(most)));
        let parts = snapshot_part::Entity::find()
            .filter(snapshot_part::Column::SnapshotId.eq(snapshot))
            .filter(snapshot_part::Column::FirstRow.gt(first - number(PART_ROWS as u64)))
            .filter(snapshot_part::Column::FirstRow.lt(last))
            .order_by_asc(snapshot_part::Column::FirstRow)
            .all(self.db.reader())
            .await?;
        // There may be many.
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut rows = Vec::new();
            for part in parts {
                let places = part.first_row..;
                let within = places.zip(unpack(&part.body)?).filter(|(place, _)| (first..last).contains(place));
                rows.extend(within.map(|(_, row)| row));
            }
            Ok(rows)
        });
        unpacked.await?
    }

    /// All rows of a snapshot.
    pub(super) async fn all_rows(&self, snapshot: Uuid) -> Result<Vec<Box<RawValue>>> {
        self.snapshot_rows(snapshot, 0, i64::MAX.unsigned_abs()).await
    }

    /// How many rows a snapshot has; none when it is not kept any more.
    pub(super) async fn snapshot_size(&self, snapshot: Uuid) -> Result<Option<u64>> {
        let row = snapshot::Entity::find_by_id(snapshot).one(self.db.reader()).await?;
        Ok(row.map(|row| row.row_count.unsigned_abs()))
    }
}

/// Some of the rows, packed.
pub(super) struct Part {
    row_count: usize,
    body: Vec<u8>,
}

/// Packs rows into parts.
pub(super) fn parts(rows: &[Box<RawValue>]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut left = rows;
    while !left.is_empty() {
        let (these, others) = left.split_at(part(left));
        parts.push(Part { row_count: these.len(), body: pack(these) });
        left = others;
    }
    parts
}

/// Writes `parts` as the dataset's newest snapshot, which gets the id `id`, and forgets those that are too old.
pub(super) async fn write(txn: &Transaction, dataset: Uuid, id: Uuid, at: DateTime<Utc>, parts: &[Part]) -> Result<()> {
    let all: usize = parts.iter().map(|part| part.row_count).sum();
    let row = snapshot::ActiveModel {
        id: Set(id),
        dataset_id: Set(dataset),
        taken_at: Set(at),
        row_count: Set(number(all as u64)),
    };
    row.insert(txn).await?;
    let mut first = 0;
    for part in parts {
        let row = snapshot_part::ActiveModel {
            snapshot_id: Set(id),
            first_row: Set(number(first as u64)),
            row_count: Set(number(part.row_count as u64)),
            body: Set(part.body.clone()),
        };
        snapshot_part::Entity::insert(row).exec_without_returning(txn).await?;
        first += part.row_count;
    }
    let kept: Vec<Uuid> = snapshot::Entity::find()
        .select_only()
        .column(snapshot::Column::Id)
        .filter(snapshot::Column::DatasetId.eq(dataset))
        .order_by_desc(snapshot::Column::TakenAt)
        .order_by_desc(snapshot::Column::Id)
        .limit(KEPT)
        .into_tuple()
        .all(txn)
        .await?;
    // Its parts go with it.
    snapshot::Entity::delete_many()
        .filter(snapshot::Column::DatasetId.eq(dataset))
        .filter(snapshot::Column::Id.is_not_in(kept))
        .exec(txn)
        .await?;
    Ok(())
}

/// Forgets every snapshot of a dataset.
pub(super) async fn forget(txn: &Transaction, dataset: Uuid) -> Result<()> {
    snapshot::Entity::delete_many().filter(snapshot::Column::DatasetId.eq(dataset)).exec(txn).await?;
    Ok(())
}

/// How many rows the next part holds: one at least.
fn part(rows: &[Box<RawValue>]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(PART_ROWS).take_while(|row| {
        let before = bytes;
        bytes += row.get().len();
        before < PART_BYTES
    });
    fits.count()
}

fn pack(rows: &[Box<RawValue>]) -> Vec<u8> {
    let bytes: usize = rows.iter().map(|row| row.get().len() + 1).sum();
    let mut text = String::with_capacity(bytes);
    for row in rows {
        // A source may write a row on several lines; within a string none can be.
        text.extend(row.get().chars().filter(|letter| !matches!(letter, '\n' | '\r')));
        text.push('\n');
    }
    lz4_flex::compress_prepend_size(text.as_bytes())
}

fn unpack(body: &[u8]) -> Result<Vec<Box<RawValue>>> {
    let broken = || Error::internal("a part of a snapshot that cannot be read");
    let text = lz4_flex::decompress_size_prepended(body).map_err(|_| broken())?;
    let text = String::from_utf8(text).map_err(|_| broken())?;
    text.lines().map(|row| RawValue::from_string(row.to_owned()).map_err(|_| broken())).collect()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn rows_come_back_with_every_digit_and_on_one_line_each() {
        let rows = [raw("{\"n\": 12345678901234567890.10,\n \"t\": \"a\\nb\"}"), raw("{}")];
        let back = unpack(&pack(&rows)).unwrap();
        let back: Vec<&str> = back.iter().map(|row| row.get()).collect();
        assert_eq!(back, ["{\"n\": 12345678901234567890.10, \"t\": \"a\\nb\"}", "{}"]);
    }

    #[test]
    fn a_part_holds_a_thousand_rows_or_as_many_as_fit_and_one_at_least() {
        let small: Vec<_> = (0..2_500).map(|n| raw(&format!("{{\"n\":{n}}}"))).collect();
        assert_eq!(part(&small), 1_000);
        assert_eq!(part(&small[2_000..]), 500);
        let long = format!("{{\"t\":\"{}\"}}", "x".repeat(PART_BYTES));
        assert_eq!(part(&[raw(&long), raw(&long)]), 1);
    }
}
