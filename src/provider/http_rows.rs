//! Reading rows of an API, page by page.
//!
//! - `query.rs`: what may be asked, and the request that it becomes; `acts.rs`: what would do something
//! - `list.rs`: the list of rows in an answer; `columns.rs`: the columns of rows
//!
//! What an answer means is judged by `classify.rs` as everywhere. Beside that a query may be at fault here, since a person
//! wrote it, and there may be more than is read.

mod acts;
mod columns;
mod list;
mod query;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, value::RawValue};
use tokio::time::{Instant, timeout};

use super::{
    Credential, Haste, HttpQuery, NoRows, Provider, RowLimits, Rows, classify,
    classify::{Failure, Rejection},
    outbound::{Answer, Call, NoAnswer},
    pages::{self, Astray, Pages},
};
use crate::catalogue::{Connector, KnownAnswer, Page};

use columns::Columns;
use list::{Found, List};
pub use query::QueryFault;

/// Bytes of a secret that is looked for in rows. A shorter one is there by chance.
const SHORTEST_SECRET: usize = 8;

impl Provider {
    /// Rows of the connector's API, as far as its file says how a list goes on.
    pub(super) async fn read_http(
        &self,
        connector: &Connector,
        credential: &Credential,
        account: Option<&str>,
        query: &HttpQuery,
        limits: &RowLimits,
        haste: Haste,
    ) -> Result<Rows, NoRows> {
        let Some(api) = &connector.api else {
            return Err(NoRows::Query("This data source has no API to ask.".to_owned()));
        };
        query.check(connector)?;
        let first = query.call(api, &self.values_of(connector, credential).account(account))?;
        let mut pages = Pages::new(api.pagination.as_ref(), first)?;
        let mut reading = Reading {
            list: List {
                at: query.rows.clone(),
                may_be_missing: api.omits_empty_lists,
                reads_last: api.pagination.as_ref().is_some_and(|paging| paging.reads_last()),
            },
            answers: api.answers.clone(),
            limits: *limits,
            secrets: credential.secrets(connector),
            bytes: 0,
            rows: Vec::new(),
            columns: Columns::default(),
        };
        let mut left = limits.time;
        for _ in 0..limits.pages {
            let call = self.signed(pages.call(), connector, credential, &BTreeMap::new(), account)?;
            let turn = self.turn_in(connector, haste).await?;
            let answer = self.answer_in(&mut left, call, &reading).await?;
            drop(turn);
            let link = pages::next_link(&answer.headers);
            let read;
            (reading, read) = reading.page(answer, self.clock.now()).await?;
            let page =
                Page { answer: &read.answer, link: link.as_deref(), members: read.members, last: read.last.as_ref() };
            if !pages.turn(page)? {
                return Ok(Rows { columns: reading.columns.into_names(), rows: reading.rows });
            }
        }
        Err(NoRows::TooMuch(format!("The rows come in more than {} pages, and so many are not read.", limits.pages)))
    }

    /// The answer within what is left of the time, which it takes its own from. Waiting for a turn is nobody's slowness.
    async fn answer_in(&self, left: &mut Duration, call: Call, reading: &Reading) -> Result<Answer, NoRows> {
        let begun = Instant::now();
        let answer = timeout(*left, self.outbound.send_for(call, reading.bytes_left())).await;
        *left = left.saturating_sub(begun.elapsed());
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(NoAnswer::TooLarge)) => Err(reading.too_large()),
            Ok(Err(why)) => Err(Failure::from(why).into()),
            Err(_) => {
                let time = humantime::format_duration(reading.limits.time);
                Err(NoRows::TooMuch(format!("Reading the rows takes longer than {time}.")))
            }
        }
    }
}

/// What has been read so far.
struct Reading {
    list: List,
    answers: Vec<KnownAnswer>,
    limits: RowLimits,
    secrets: Vec<SecretString>,
    /// Of the rows.
    bytes: usize,
    rows: Vec<Box<RawValue>>,
    columns: Columns,
}

/// What a page says beside its rows.
struct ReadPage {
    answer: Value,
    members: usize,
    last: Option<Value>,
}

impl Reading {
    /// With the rows of one more page. A page can be large, so that this is done beside what the server has to do at once.
    #[expect(clippy::disallowed_methods, reason = "it only computes")]
    async fn page(mut self, answer: Answer, now: DateTime<Utc>) -> Result<(Self, ReadPage), NoRows> {
        let read = move || self.add(&answer, now).map(|page| (self, page));
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(NoRows::Stopping),
            },
        }
    }

    fn add(&mut self, answer: &Answer, now: DateTime<Utc>) -> Result<ReadPage, NoRows> {
        // What says no is short, and is looked at as a whole.
        let outline = if answer.status.is_success() { self.list.outline(&answer.body) } else { None };
        let (said, found) = match outline {
            Some(outline) => (Some(outline.answer), outline.found),
            None => (classify::parsed(answer), Found::Nothing),
        };
        classify::judge(answer, said.as_ref(), &self.answers, now)
            .map_err(|failure| refused(failure, answer, said.as_ref(), &self.answers))?;
        let Some(said) = said else {
            // An answer without a body (204).
            return Ok(ReadPage { answer: Value::Null, members: 0, last: None });
        };
        let members = match found {
            Found::List(list) => {
                let most = self.limits.rows - self.rows.len();
                list::members(list, most).map_err(|_| unreadable())?.ok_or_else(|| self.too_many())?
            }
            Found::Object(row) => vec![row],
            Found::Nothing if self.list.may_be_missing => Vec::new(),
            Found::Nothing | Found::Scalar => {
                return Err(NoRows::Query("The answer has no list of rows at rowsPointer.".to_owned()));
            }
        };
        self.bytes += members.iter().map(|row| row.get().len()).sum::<usize>();
        if self.bytes > self.limits.bytes {
            return Err(self.too_large());
        }
        if self.rows.len() + members.len() > self.limits.rows {
            return Err(self.too_many());
        }
        if members.iter().any(|row| self.holds_a_secret(row.get())) {
            return Err(NoRows::Query("The rows hold the credential itself, which is not shown.".to_owned()));
        }
        for row in &members {
            let row = list::as_object(row).map_err(|_| unreadable())?;
            self.columns.add(&row)?;
            self.rows.push(row);
        }
        let last = members.last().filter(|_| self.list.reads_last);
        let last = last.and_then(|row| serde_json::from_str(row.get()).ok());
        Ok(ReadPage { answer: said, members: members.len(), last })
    }

    /// Some APIs put the credential into their answers: Meta into the addresses of further pages.
    fn holds_a_secret(&self, row: &str) -> bool {
        let secrets = self.secrets.iter().map(|secret| secret.expose_secret());
        let mut secrets = secrets.filter(|secret| secret.len() >= SHORTEST_SECRET);
        // An API may write a character as an escape.
        let read: Option<Value> = row.contains('\\').then(|| serde_json::from_str(row).ok()).flatten();
        secrets.any(|secret| row.contains(secret) || read.as_ref().is_some_and(|row| says(row, secret)))
    }

    fn bytes_left(&self) -> usize {
        self.limits.bytes - self.bytes
    }

    fn too_large(&self) -> NoRows {
        NoRows::TooMuch(format!("The rows are larger than {}, and so much is not read.", self.limits.size()))
    }

    fn too_many(&self) -> NoRows {
        NoRows::TooMuch(format!("There are more than {} rows, and so many are not read.", self.limits.rows))
    }
}

/// Whether a text within `value` holds `secret`.
fn says(value: &Value, secret: &str) -> bool {
    match value {
        Value::String(text) => text.contains(secret),
        Value::Array(items) => items.iter().any(|item| says(item, secret)),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains(secret) || says(member, secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What a failure means where a person wrote the request.
fn refused(failure: Failure, answer: &Answer, said: Option<&Value>, rows: &[KnownAnswer]) -> NoRows {
    let is_judged = matches!(failure, Failure::Transient { .. } | Failure::Rejected(Rejection::Missing));
    if !is_judged || !classify::blames_the_request(answer, said, rows) {
        return failure.into();
    }
    NoRows::Query(match answer.status.as_u16() {
        status @ (404 | 410) => format!("The API has nothing at this path ({status})."),
        status => format!("The API does not accept this request ({status})."),
    })
}

fn unreadable() -> NoRows {
    classify::not_json().into()
}

impl From<Astray> for NoRows {
    fn from(why: Astray) -> Self {
        Self::Query(match why {
            Astray::Elsewhere => "The list of rows goes on at another address, where it is not followed.".to_owned(),
            Astray::NoPlace => "The parameters have no place for what leads to the next page.".to_owned(),
        })
    }
}
