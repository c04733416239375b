//! The executor behind [`super::execution`]: async-graphql, with a schema of any roots.

use async_graphql::{ObjectType, Request, Schema, SubscriptionType};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// A schema, whatever its root types.
pub(super) trait Engine: Send + Sync {
    fn execute(&self, request: Request) -> BoxFuture<'static, async_graphql::Response>;
    fn stream(&self, request: Request) -> BoxStream<'static, async_graphql::Response>;
}

impl<Q, M, S> Engine for Schema<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    fn execute(&self, request: Request) -> BoxFuture<'static, async_graphql::Response> {
        let schema = self.clone();
        async move { schema.execute(request).await }.boxed()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, async_graphql::Response> {
        self.execute_stream(request)
    }
}
