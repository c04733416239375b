//! Pages as the API shows them: `ClientPage` with its `ClientEdge`s, and so for every list that can grow.
//!
//! They are named `XxxPage` since "connection" is a word of the domain; relay-compiler takes the shape as it is.

use std::{borrow::Cow, future::Future};

use async_graphql::{Object, OutputType, SimpleObject, TypeName};
use futures_util::future::BoxFuture;

use super::ApiError;
use crate::{
    error::Result,
    pages::{self, PageArgs},
};

/// What the four arguments of a list ask for.
pub fn asked(first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>) -> PageArgs {
    PageArgs { first, after, last, before }
}

/// How many rows a list has in all: counted when, and only when, someone asks.
pub struct Total(Box<dyn Fn() -> BoxFuture<'static, Result<u64>> + Send + Sync>);

impl Total {
    /// A total that `count` finds out.
    pub fn new<F>(count: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<u64>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(count())))
    }
}

/// A part of a list, in the list's order.
pub struct Page<T: OutputType> {
    edges: Vec<Edge<T>>,
    info: PageInfo,
    total: Total,
}

impl<T: OutputType> Page<T> {
    /// The page that the domain read, of a list with this total.
    pub fn new<R: Into<T>>(page: pages::Page<R>, total: Total) -> Self {
        let info = PageInfo::of(&page.rows, page.has_next, page.has_previous);
        let edges = page.rows.into_iter().map(|(cursor, row)| Edge { cursor, node: row.into() }).collect();
        Self { edges, info, total }
    }
}

impl<T: OutputType> TypeName for Page<T> {
    fn type_name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Page", T::type_name()))
    }
}

/// A part of a list, in the list's order.
#[Object(name_type)]
impl<T: OutputType> Page<T> {
    /// The rows, each with its cursor.
    async fn edges(&self) -> &[Edge<T>] {
        &self.edges
    }

    /// The rows alone.
    async fn nodes(&self) -> Vec<&T> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Whether there is more, and how to ask for it.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }

    /// How many rows the whole list has.
    async fn total_count(&self) -> Result<i32, ApiError> {
        let count = (self.total.0)().await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// A row of a list, with its place.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub struct Edge<T: OutputType> {
    /// The row's place in this list in this order, for the arguments `after` and `before` of a list.
    cursor: String,
    /// The row.
    node: T,
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Edge", T::type_name()))
    }
}

/// What lies around a page.
#[derive(Debug, Clone, SimpleObject)]
pub struct PageInfo {
    /// Whether more rows follow. Walking backward: whether `before` was given.
    has_next_page: bool,
    /// Whether more rows come before. Walking forward: whether `after` was given.
    has_previous_page: bool,
    /// The first row's cursor; null on an empty page.
    start_cursor: Option<String>,
    /// The last row's cursor; null on an empty page.
    end_cursor: Option<String>,
}

impl PageInfo {
    /// What lies around `rows`, each of which comes with its cursor.
    pub(super) fn of<T>(rows: &[(String, T)], has_next_page: bool, has_previous_page: bool) -> Self {
        let cursor = |row: Option<&(String, T)>| row.map(|(cursor, _)| cursor.clone());
        Self { has_next_page, has_previous_page, start_cursor: cursor(rows.first()), end_cursor: cursor(rows.last()) }
    }
}
