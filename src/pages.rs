//! Keyset pages: every list that can grow is walked by the keys of its rows, never by an offset.
//!
//! A list says its [`Order`]; this turns the contract's `first`, `after`, `last` and `before` into a condition, an
//! order and a limit, and the rows that come back into a [`Page`] with a cursor for each.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, Order as Direction, QueryFilter, QueryOrder,
    QuerySelect, Select, Value,
    sea_query::{Expr, ExprTrait as _, SimpleExpr},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    cursor::CursorKey,
    error::{Error, Result},
};

/// How many rows a page has when nobody says.
pub const DEFAULT: u64 = 50;
/// How many rows a page has at most.
pub const MOST: u64 = 100;

/// What a client asks of a list, as the contract has it.
#[derive(Debug, Clone, Default)]
pub struct PageArgs {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

/// One value of a row's sort key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Key {
    Int(i64),
    Text(String),
    /// Microseconds since 1970.
    Time(i64),
    Id(Uuid),
}

impl From<DateTime<Utc>> for Key {
    fn from(at: DateTime<Utc>) -> Self {
        Self::Time(at.timestamp_micros())
    }
}

impl Key {
    fn value(&self) -> Value {
        match self {
            Self::Int(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
            Self::Time(micros) => DateTime::from_timestamp_micros(*micros).unwrap_or_default().into(),
            Self::Id(id) => (*id).into(),
        }
    }
}

/// How a list is sorted: its columns from the weightiest to the one that breaks ties.
pub struct Order<M> {
    /// Names list and order; a cursor is valid for the order that made it.
    pub name: &'static str,
    pub columns: Vec<(SimpleExpr, Direction)>,
    /// A row's value in each column.
    pub keys: fn(&M) -> Vec<Key>,
}

impl<M> Order<M> {
    /// The order by id alone, for lists without an `orderBy`.
    pub fn by(name: &'static str, column: impl ColumnTrait, direction: Direction, keys: fn(&M) -> Vec<Key>) -> Self {
        Self { name, columns: vec![(Expr::col(column.as_column_ref()), direction)], keys }
    }

    /// The order with one more column.
    #[must_use]
    pub fn then(mut self, column: impl ColumnTrait, direction: Direction) -> Self {
        self.columns.push((Expr::col(column.as_column_ref()), direction));
        self
    }
}

/// The part of a list that is asked for.
#[derive(Debug, Clone)]
pub struct Window {
    limit: u64,
    backward: bool,
    after: Option<Vec<Key>>,
    before: Option<Vec<Key>>,
}

impl Window {
    /// Reads `args` for the order `name` of a list of the workspace whose key is `key`.
    pub fn new(args: &PageArgs, name: &str, key: &CursorKey) -> Result<Self> {
        if args.first.is_some() && args.last.is_some() {
            return Err(Error::BadInput("Ask for `first` or for `last`, not for both.".to_owned()));
        }
        let (argument, asked) = if args.last.is_some() { ("last", args.last) } else { ("first", args.first) };
        let open = |cursor: &Option<String>, argument: &str| match cursor {
            None => Ok(None),
            Some(cursor) => key
                .open(name, cursor)
                .map(Some)
                .map_err(|_| Error::BadInput(format!("`{argument}` is not a cursor of this list in this order."))),
        };
        Ok(Self {
            limit: limit(argument, asked, DEFAULT)?,
            backward: args.last.is_some(),
            after: open(&args.after, "after")?,
            before: open(&args.before, "before")?,
        })
    }
}

/// How many rows `argument` asks for; `default` where nobody says.
pub fn limit(argument: &str, asked: Option<i32>, default: u64) -> Result<u64> {
    let limit = asked.map_or(Ok(default), u64::try_from).ok().filter(|limit| *limit <= MOST);
    limit.ok_or_else(|| Error::BadInput(format!("`{argument}`: a page has 0 to {MOST} rows.")))
}

/// A part of a list, in the list's order.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Each row with its cursor.
    pub rows: Vec<(String, T)>,
    pub has_next: bool,
    pub has_previous: bool,
}

impl<T> Page<T> {
    /// A page without rows.
    pub fn empty() -> Self {
        Self { rows: Vec::new(), has_next: false, has_previous: false }
    }

    /// The same page of other things.
    pub fn map<U>(self, turn: impl FnMut(T) -> U) -> Page<U> {
        let mut turn = turn;
        Page {
            rows: self.rows.into_iter().map(|(cursor, row)| (cursor, turn(row))).collect(),
            has_next: self.has_next,
            has_previous: self.has_previous,
        }
    }

    /// The same page of other things, without those that `turn` makes nothing of.
    pub fn filter_map<U>(self, turn: impl Fn(T) -> Option<U>) -> Page<U> {
        Page {
            rows: self.rows.into_iter().filter_map(|(cursor, row)| Some((cursor, turn(row)?))).collect(),
            has_next: self.has_next,
            has_previous: self.has_previous,
        }
    }

    /// The rows without their cursors.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|(_, row)| row)
    }
}

/// Reads the part of `select` that `args` ask for.
pub async fn read<E, M, C>(
    db: &C,
    select: Select<E>,
    args: &PageArgs,
    order: Order<M>,
    key: &CursorKey,
) -> Result<Page<M>>
where
    E: EntityTrait,
    M: FromQueryResult + Send + Sync,
    C: ConnectionTrait,
{
    let window = Window::new(args, order.name, key)?;
    if window.limit == 0 {
        return Ok(Page { rows: Vec::new(), has_next: false, has_previous: window.after.is_some() });
    }
    let (start, end) = if window.backward { (&window.before, &window.after) } else { (&window.after, &window.before) };
    let mut select = select;
    if let Some(keys) = end {
        let any = stretches(&order, keys, window.backward)?.into_iter().fold(Condition::any(), Condition::add);
        select = select.filter(any);
    }
    let stretches = match start {
        Some(keys) => stretches(&order, keys, !window.backward)?,
        None => vec![Condition::all()],
    };
    for (column, direction) in &order.columns {
        select = select.order_by(column.clone(), turned(direction, window.backward));
    }
    let mut rows = Vec::new();
    for stretch in stretches {
        let left = window.limit + 1 - rows.len() as u64;
        rows.extend(select.clone().filter(stretch).limit(left).into_model::<M>().all(db).await?);
        if rows.len() as u64 > window.limit {
            break;
        }
    }
    Ok(cut(rows, &window, |row| key.seal(order.name, &(order.keys)(row))))
}

/// What stands after `keys` (or before, where not `following`) in the order, in stretches of it, the nearest first. In each,
/// the weightier columns are the same and those that go one way with it are compared at once: that is a range of an index,
/// where one condition for all would make a database walk there from the list's start.
fn stretches<M>(order: &Order<M>, keys: &[Key], following: bool) -> Result<Vec<Condition>> {
    if keys.len() != order.columns.len() {
        return Err(Error::BadInput("This is not a cursor of this list.".to_owned()));
    }
    let columns: Vec<_> = order.columns.iter().zip(keys).collect();
    let mut stretches = Vec::new();
    let mut place = 0;
    for run in columns.chunk_by(|((_, one), _), ((_, next), _)| one == next) {
        let same = columns.iter().take(place);
        let all = same.fold(Condition::all(), |all, ((column, _), key)| all.add(column.clone().eq(key.value())));
        let ascending = run.iter().all(|((_, direction), _)| matches!(direction, Direction::Asc));
        let here = Expr::tuple(run.iter().map(|((column, _), _)| column.clone()));
        let there = Expr::tuple(run.iter().map(|(_, key)| Expr::value(key.value())));
        stretches.push(all.add(if ascending == following { here.gt(there) } else { here.lt(there) }));
        place += run.len();
    }
    stretches.reverse();
    Ok(stretches)
}

fn turned(direction: &Direction, backward: bool) -> Direction {
    if matches!(direction, Direction::Asc) == backward { Direction::Desc } else { Direction::Asc }
}

fn cut<M>(mut rows: Vec<M>, window: &Window, cursor: impl Fn(&M) -> String) -> Page<M> {
    let more = rows.len() as u64 > window.limit;
    rows.truncate(usize::try_from(window.limit).unwrap_or(usize::MAX));
    if window.backward {
        rows.reverse();
    }
    let rows = rows.into_iter().map(|row| (cursor(&row), row)).collect();
    let (has_next, has_previous) =
        if window.backward { (window.before.is_some(), more) } else { (more, window.after.is_some()) };
    Page { rows, has_next, has_previous }
}

/// The part that `args` ask for of `rows` in memory, which are sorted by a text that is unique among them: what `text`
/// gives of a row. `name` names the list, as in an [`Order`].
pub fn slice<T>(
    rows: impl IntoIterator<Item = T>,
    text: impl Fn(&T) -> &str,
    args: &PageArgs,
    name: &str,
    key: &CursorKey,
) -> Result<Page<T>> {
    let window = Window::new(args, name, key)?;
    let (after, before) = (one_text(window.after.as_deref())?, one_text(window.before.as_deref())?);
    let within =
        |row: &T| after.is_none_or(|after| text(row) > after) && before.is_none_or(|before| text(row) < before);
    let mut rows: Vec<T> = rows.into_iter().filter(within).collect();
    if window.limit == 0 {
        return Ok(Page { rows: Vec::new(), has_next: false, has_previous: window.after.is_some() });
    }
    if window.backward {
        rows.reverse();
    }
    Ok(cut(rows, &window, |row| key.seal(name, &vec![Key::Text(text(row).to_owned())])))
}

fn one_text(keys: Option<&[Key]>) -> Result<Option<&str>> {
    match keys {
        None => Ok(None),
        Some([Key::Text(text)]) => Ok(Some(text)),
        Some(_) => Err(Error::BadInput("This is not a cursor of this list.".to_owned())),
    }
}

/// `text` folded for sorting and searching: compatibility forms joined, case forgotten.
pub fn fold(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    text.trim().nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// A condition that the folded `column` contains `search`, in which `%` and `_` are themselves.
pub fn contains(column: impl ColumnTrait, search: &str) -> SimpleExpr {
    let mut pattern = String::from("%");
    for letter in fold(search).chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Expr::col(column.as_column_ref()).like(sea_orm::sea_query::LikeExpr::new(pattern).escape('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice_of(args: &PageArgs) -> Page<&'static str> {
        slice(["a", "b", "c", "d", "e"], |row| row, args, "letters", &CursorKey::new(vec![1])).unwrap()
    }

    fn letters(page: &Page<&'static str>) -> String {
        page.items().copied().collect()
    }

    #[test]
    fn rows_in_memory_are_walked_forward() {
        let (mut seen, mut args) = (Vec::new(), PageArgs { first: Some(2), ..PageArgs::default() });
        loop {
            let page = slice_of(&args);
            seen.push((letters(&page), page.has_previous));
            if !page.has_next {
                break;
            }
            args.after = page.rows.last().map(|(cursor, _)| cursor.clone());
        }
        assert_eq!(seen, [("ab".to_owned(), false), ("cd".to_owned(), true), ("e".to_owned(), true)]);
    }

    #[test]
    fn rows_in_memory_are_walked_backward() {
        let (mut seen, mut args) = (Vec::new(), PageArgs { last: Some(2), ..PageArgs::default() });
        loop {
            let page = slice_of(&args);
            seen.push((letters(&page), page.has_next));
            if !page.has_previous {
                break;
            }
            args.before = page.rows.first().map(|(cursor, _)| cursor.clone());
        }
        assert_eq!(seen, [("de".to_owned(), false), ("bc".to_owned(), true), ("a".to_owned(), true)]);
    }

    #[test]
    fn a_page_has_0_to_100_rows_and_one_direction() {
        assert_eq!(slice_of(&PageArgs { first: Some(0), ..PageArgs::default() }).rows.len(), 0);
        let bad = [(Some(101), None), (Some(-1), None), (None, Some(i32::MAX)), (Some(1), Some(1))];
        for (first, last) in bad {
            let args = PageArgs { first, last, ..PageArgs::default() };
            let refused = slice(["a"], |row| row, &args, "letters", &CursorKey::new(vec![1]));
            assert!(matches!(refused, Err(Error::BadInput(_))), "{args:?}");
        }
    }
}
