//! From a request to its answer: prepare, then execute or subscribe.
//!
//! [`Api`] is the only thing that runs the executor. It owns that a document is guarded before, that the viewer is in the context, that a
//! panic stays within its operation, that no error leaves as the executor wrote it, and that what an operation came to is counted and
//! recorded in the [span](crate::telemetry::span) of its request. Transports own headers, frames and status codes.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::parser::{Error as ParseError, parse_query, types::OperationType};
use async_graphql::{Context, ObjectType, Schema, SubscriptionType};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};

use super::asked_accounts::AskedAccounts;
use super::asks::Asks;
use super::budget::{self, Budget};
use super::documents::{Document, Documents};
use super::engine::Engine;
use super::errors::{self, ApiError, Code};
use super::field_types::{self, FieldTypes};
use super::guard::Guard;
use super::kept_answers::{Found, IdempotencyKey, KeptAnswers};
use super::prepared::{Asked, Prepared};
use super::request::{RawRequest, RequestId};
use super::response::{Event, Refusal, Response};
use super::wording::Wording;
use crate::access::Viewer;
use crate::clock::{SharedEntropy, random};
use crate::config::Limits;
use crate::db;
use crate::error::Error;
use crate::journal::Refusals;
use crate::retries::{self, Work};
use crate::tasks::Tasks;
use crate::telemetry::{Telemetry, span};

/// How long a client waits until its answer is kept for its idempotency key.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// The API behind every transport. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

struct Parts {
    engine: Box<dyn Engine>,
    /// The same, which charges each field of an answer to its budget.
    metered: Box<dyn Engine>,
    guard: Guard,
    answer_bytes: usize,
    documents: Documents,
    wording: Wording,
    types: FieldTypes,
    tasks: Tasks,
    kept_answers: KeptAnswers,
    telemetry: Telemetry,
    entropy: SharedEntropy,
    /// Where refused mutations are noted.
    refusals: Option<Refusals>,
}

/// What a mutation with an idempotency key came to.
pub enum Answered {
    /// It was done now.
    Done(Response),
    /// It was done before: the answer of then, as JSON.
    Before(String),
}

impl Api {
    /// The API of `schema` within `limits`; `metered` is the same with a [meter](super::schema::build_metered).
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub fn new<Q, M, S>(
        schema: Schema<Q, M, S>,
        metered: Schema<Q, M, S>,
        limits: Limits,
        kept_answers: KeptAnswers,
        telemetry: Telemetry,
        entropy: SharedEntropy,
        refusals: Option<Refusals>,
        tasks: Tasks,
    ) -> Self
    where
        Q: ObjectType + 'static,
        M: ObjectType + 'static,
        S: SubscriptionType + 'static,
    {
        // Where the schema is not described, errors name nothing of it either.
        let wording = Wording::new(schema.names().into_iter().filter(|_| limits.introspection));
        let documents = Documents::new(limits.kept_documents_bytes);
        let definitions = field_types::definitions(&schema.sdl());
        let types = FieldTypes::read(&definitions);
        Self(Arc::new(Parts {
            engine: Box::new(schema),
            metered: Box::new(metered),
            answer_bytes: limits.answer_bytes,
            guard: Guard::new(limits, &definitions, &types),
            documents,
            wording,
            types,
            tasks,
            kept_answers,
            telemetry,
            entropy,
            refusals,
        }))
    }

    /// Parses and guards a request. Nothing is looked up and nobody needs to be signed in.
    ///
    /// # Errors
    /// A document that is no GraphQL, that asks for too much, or that does not have the operation.
    pub fn prepare(&self, request: RawRequest, id: RequestId) -> Result<Prepared, Refusal> {
        self.guarded(request, id).inspect_err(|refusal| self.0.telemetry.operations.invalid(refusal.code()))
    }

    fn guarded(&self, request: RawRequest, id: RequestId) -> Result<Prepared, Refusal> {
        let RawRequest { query, operation_name, variables, idempotency_key } = request;
        let document = self.document(&query)?;
        let operation = document.operation(operation_name.as_deref()).ok_or_else(|| {
            Refusal::invalid("The document has no such operation, or several and none is named.", Vec::new())
        })?;
        let fields = self.0.guard.check_operation(operation, &document.parsed, &variables, &self.0.types)?;
        let asks = Asks::of(operation, &document.parsed, &self.0.types);
        let (heavy, budget) = (fields > budget::LIGHT, self.budget());
        let accounts = AskedAccounts::default();
        Ok(Prepared { document, operation_name, asks, variables, idempotency_key, id, heavy, budget, accounts })
    }

    /// A budget for one answer, or for those of a batch.
    pub fn budget(&self) -> Budget {
        Budget::new(self.0.answer_bytes)
    }

    fn engine_for(&self, prepared: &Prepared) -> &dyn Engine {
        if prepared.heavy { &*self.0.metered } else { &*self.0.engine }
    }

    fn document(&self, text: &str) -> Result<Arc<Document>, Refusal> {
        if let Some(document) = self.0.documents.get(text) {
            return Ok(document);
        }
        self.0.guard.check_text(text)?;
        let parsed = parse_query(text).map_err(|error| unparsable(&error))?;
        self.0.guard.check_document(&parsed)?;
        let document = Arc::new(Document { text: text.into(), parsed });
        self.0.documents.keep(&document);
        Ok(document)
    }

    /// Runs a query or a mutation. Without a viewer only what describes the schema is answered: one field that needs a viewer
    /// leaves the whole response without data.
    pub async fn execute(&self, viewer: Option<&Viewer>, prepared: Prepared) -> Response {
        let (asks, begun) = (prepared.asks.clone(), Instant::now());
        span::record_operation(asks.kind(), &asks);
        let answer = self.executed(viewer, prepared).await;
        span::record_code(answer.code());
        self.0.telemetry.operations.answered(asks.kind(), asks.field(), answer.code(), begun.elapsed());
        if let Some(viewer) = viewer
            && asks.kind == OperationType::Mutation
        {
            self.note_refused(viewer, &asks, &answer);
        }
        answer
    }

    /// Notes for the audit log what `viewer` tried and may not. Nobody waits for it, and nobody is told when it fails.
    fn note_refused(&self, viewer: &Viewer, asks: &Asks, answer: &Response) {
        let Some(refusals) = &self.0.refusals else { return };
        let mutations = answer.errors_with(Code::Forbidden).flat_map(|error| asks.kept_by(error));
        for noted in mutations.filter_map(|mutation| refusals.note(viewer, mutation)) {
            self.0.tasks.spawn("refusal", noted);
        }
    }

    async fn executed(&self, viewer: Option<&Viewer>, prepared: Prepared) -> Response {
        if prepared.operation() == OperationType::Subscription {
            return Refusal::invalid("A subscription needs a websocket, or Accept: text/event-stream.", Vec::new())
                .into();
        }
        let (id, kind, asked, budget) = (prepared.id, prepared.operation(), prepared.asked(), prepared.budget.clone());
        if budget.is_overdrawn() {
            return Refusal::about_document(budget.exceeded(), id).into();
        }
        if kind == OperationType::Mutation && viewer.is_some_and(Viewer::is_read_only) {
            return forbidden(id);
        }
        let answer = if kind == OperationType::Mutation {
            // On its own, so that a client that leaves does not stop a change half-way.
            let running = self.clone().changed(viewer.cloned(), prepared);
            let done = self.0.tasks.spawn("mutation", running).await.ok();
            done.map(|(answer, passing)| self.finish(answer, &asked, id).passing(passing))
        } else {
            let running = for_workspace_of(viewer, self.engine_for(&prepared).execute(prepared.request(viewer)));
            let running = AssertUnwindSafe(running).catch_unwind();
            let done = tokio::select! {
                done = running => done.ok(),
                // What is written by then goes with the future.
                () = budget.overdraft() => None,
            };
            match done {
                _ if budget.is_overdrawn() => Some(Refusal::about_document(budget.exceeded(), id).into()),
                done => done.map(|answer| self.finish(answer, &asked, id)),
            }
        };
        let answer = answer.unwrap_or_else(|| panicked(id));
        if viewer.is_none() && answer.has(Code::Unauthenticated) {
            return Refusal::nobody_asks(id).into();
        }
        answer
    }

    /// What came of a mutation, and whether it met what passes. One that the database gave up for the sake of another is
    /// done again, as long as nothing came of it.
    async fn changed(self, viewer: Option<Viewer>, prepared: Prepared) -> (async_graphql::Response, bool) {
        let mut times = 1;
        loop {
            let work = Arc::<Work>::default();
            let running = self.engine_for(&prepared).execute(prepared.request(viewer.as_ref()));
            let answer = work.scope(for_workspace_of(viewer.as_ref(), running)).await;
            let [chance] = random::<1>(&*self.0.entropy);
            if answer.is_ok() || !work.may_be_done_again() || !retries::pause(times, chance).await {
                return (answer, work.met_what_passes());
            }
            times += 1;
        }
    }

    /// Runs a query or a mutation, the latter once for its idempotency key where it has one.
    ///
    /// # Errors
    /// As [`Api::execute_once`].
    pub async fn answer(&self, viewer: Option<&Viewer>, prepared: Prepared) -> Result<Answered, Refusal> {
        match (viewer, prepared.idempotency_key()) {
            (Some(viewer), Some(key)) => self.execute_once(viewer, prepared, &key).await,
            _ => Ok(Answered::Done(self.execute(viewer, prepared).await)),
        }
    }

    /// Runs a mutation once for `key`: the same request again gets the same answer for a day, and another request under
    /// the same key is refused.
    ///
    /// # Errors
    /// Another request has the key, or the same one is being worked on.
    async fn execute_once(
        &self,
        viewer: &Viewer,
        prepared: Prepared,
        key: &IdempotencyKey,
    ) -> Result<Answered, Refusal> {
        let id = prepared.id;
        span::record_operation(prepared.asks.kind(), &prepared.asks);
        let claim = match self.0.kept_answers.find(viewer, key, &prepared.asked_as_json()).await {
            Ok(Found::Ours(claim)) => claim,
            Ok(Found::Kept(answer)) => return Ok(Answered::Before(answer)),
            Ok(Found::Another) => {
                return Err(Refusal::malformed("Another request was sent with this Idempotency-Key."));
            }
            Ok(Found::Running) => return Err(Refusal::still_running()),
            Err(error) => return Err(Refusal::because(error, id)),
        };
        let (api, viewer) = (self.clone(), viewer.clone());
        let running = async move {
            let response = claim.under(api.execute(Some(&viewer), prepared)).await;
            let answer = response.is_for_good().then(|| response.to_json());
            let settling = api.0.tasks.spawn("answer to keep", async move {
                if let Err(error) = claim.settle(answer).await {
                    tracing::error!(?error, "an answer could not be kept for its idempotency key");
                }
            });
            // A database that is away holds up the keeping, and not the client.
            let _ = tokio::time::timeout(SETTLED_WITHIN, settling).await;
            response
        };
        // On its own, so that the answer is kept for a client that left before it came.
        let response = self.0.tasks.spawn("mutation with a key", running).await;
        Ok(Answered::Done(response.unwrap_or_else(|_| panicked(id))))
    }

    /// Runs a subscription until it ends or is dropped. The last event is never [`Event::Next`].
    ///
    /// Nothing in the events tells one socket from another: equal [keys](Prepared::key) may share the stream.
    pub fn subscribe(&self, viewer: &Viewer, prepared: Prepared) -> BoxStream<'static, Event> {
        let (api, id, asked) = (self.clone(), prepared.id, prepared.asked());
        span::record_operation(prepared.asks.kind(), &prepared.asks);
        let mut running = self.0.telemetry.operations.run(prepared.asks.field().to_owned());
        let stream = self.engine_for(&prepared).stream(prepared.request(Some(viewer)));
        let (budget, accounts) = (prepared.budget, prepared.accounts);
        let events = AssertUnwindSafe(stream).catch_unwind().map(move |answer| {
            budget.renew();
            accounts.forget();
            let answer = answer.map_or_else(|_| panicked(id), |answer| api.finish(answer, &asked, id));
            let code = answer.code();
            let event = Event::of(answer);
            if !matches!(event, Event::Next(_)) {
                running.fails(code);
                span::record_code(code);
            }
            event
        });
        until_over(events.chain(stream::iter([Event::Complete]))).boxed()
    }

    /// Runs any operation as a stream of events: how it goes over a socket, or as an event stream.
    pub fn run(&self, viewer: &Viewer, prepared: Prepared) -> BoxStream<'static, Event> {
        if prepared.operation() == OperationType::Subscription {
            return self.subscribe(viewer, prepared);
        }
        let (api, viewer) = (self.clone(), viewer.clone());
        let answer = async move {
            match api.answer(Some(&viewer), prepared).await {
                Ok(Answered::Done(response)) => Event::of_single(response),
                Ok(Answered::Before(answer)) => Event::Next(answer.into()),
                Err(refusal) => {
                    span::record_code(refusal.code());
                    Event::refused(refusal)
                }
            }
        };
        until_over(stream::once(answer).chain(stream::iter([Event::Complete]))).boxed()
    }

    /// Rewrites what the executor wrote. A resolver's errors carry a path; an answer of errors without any was never executed.
    fn finish(&self, mut answer: async_graphql::Response, asked: &Asked, id: RequestId) -> Response {
        let executed = answer.errors.is_empty()
            || answer.data != async_graphql::Value::Null
            || answer.errors.iter().any(|error| !error.path.is_empty());
        if executed
            && !answer.errors.is_empty()
            && let Some(operation) = asked.document.operation(asked.operation_name.as_deref())
        {
            self.0.types.complete(&mut answer.data, operation, &asked.document.parsed, &answer.errors);
        }
        let mut ours = Vec::new();
        let mut foreign = Vec::new();
        for mut error in answer.errors {
            let list = if errors::finish(&mut error, id) { &mut ours } else { &mut foreign };
            list.push(error);
        }
        self.0.wording.reword(&mut foreign);
        ours.append(&mut foreign);
        if executed { Response::executed(answer.data, ours) } else { Refusal::of(ours).into() }
    }
}

/// The events up to and with the first that ends the operation.
fn until_over(
    events: impl stream::Stream<Item = Event> + Send + 'static,
) -> impl stream::Stream<Item = Event> + Send + 'static {
    events.scan(false, |over, event| {
        let go_on = !*over;
        *over = !matches!(event, Event::Next(_));
        std::future::ready(go_on.then_some(event))
    })
}

fn unparsable(error: &ParseError) -> Refusal {
    let message = match error {
        ParseError::MultipleOperations { .. } => "A document with an operation without a name has no other operation.",
        ParseError::OperationDuplicated { .. } => "Two operations have the same name.",
        ParseError::FragmentDuplicated { .. } => "Two fragments have the same name.",
        ParseError::MissingOperation => "The document has no operation.",
        ParseError::RecursionLimitExceeded => return Refusal::too_complex("The document is nested too deeply.", None),
        _ => "The document has a syntax error here.",
    };
    Refusal::invalid(message, error.positions().collect())
}

/// Nothing of it may be asked.
fn forbidden(id: RequestId) -> Response {
    Response::executed(async_graphql::Value::Null, vec![errors::reveal(Error::Forbidden, id)])
}

/// Runs an operation as its viewer's workspace's, which has a part of the database's handles.
async fn for_workspace_of<T>(viewer: Option<&Viewer>, running: impl Future<Output = T>) -> T {
    match viewer {
        Some(viewer) => db::of_workspace(viewer.workspace(), running).await,
        None => running.await,
    }
}

/// The panic hook has logged it, within the span of the request.
fn panicked(id: RequestId) -> Response {
    Response::executed(async_graphql::Value::Null, vec![errors::told(id)])
}

/// Who asks, for resolvers.
///
/// # Errors
/// [`Error::Unauthenticated`] when nobody does.
pub(super) fn viewer<'c>(context: &Context<'c>) -> Result<&'c Viewer, ApiError> {
    context.data_opt::<Viewer>().ok_or_else(|| Error::Unauthenticated.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_graphql::{EmptyMutation, EmptySubscription, Object};

    use super::*;
    use crate::clock::{Clock, SystemClock, SystemEntropy};
    use crate::db::Db;
    use crate::graphql::RequestIds;
    use crate::vault::Vault;

    struct Query;

    #[Object]
    impl Query {
        async fn breaks(&self) -> u32 {
            "x".parse().expect("a secret was in here")
        }

        async fn works(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_resolver_that_panics_ends_its_own_operation_and_says_nothing_of_why() {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let vault = Vault::new(&format!("k:{}=", "A".repeat(43)).into(), entropy.clone()).unwrap();
        let db = Db::open("sqlite::memory:", 1).await.unwrap();
        let kept_answers = KeptAnswers::new(db, vault, clock.clone(), entropy.clone());
        let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
        let telemetry = Telemetry::new(clock.now());
        let api = Api::new(
            schema.clone(),
            schema,
            Limits::default(),
            kept_answers,
            telemetry,
            entropy.clone(),
            None,
            Tasks::default(),
        );
        let ids = RequestIds::new(clock, entropy);
        let answer = async |query: &str| {
            let request = RawRequest { query: query.to_owned(), ..RawRequest::default() };
            let Ok(prepared) = api.prepare(request, ids.next()) else { panic!("{query}") };
            api.execute(None, prepared).await.to_json()
        };
        let broken = answer("{ breaks }").await;
        assert!(broken.contains("INTERNAL") && broken.contains("requestId"), "{broken}");
        assert!(!broken.contains("secret"), "{broken}");
        assert_eq!(answer("{ works }").await, r#"{"data":{"works":true}}"#);
    }
}
