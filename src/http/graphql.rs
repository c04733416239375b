//! GraphQL over HTTP (<https://graphql.github.io/graphql-over-http/draft/>): `POST` of JSON, `GET` for queries.
//!
//! | what | `application/graphql-response+json` | `application/json` |
//! | --- | --- | --- |
//! | executed, with or without errors | 200 | 200 |
//! | the document is refused: syntax, limits, validation, variables | 400 | 200 (section 6.4.1) |
//! | nobody asks for what needs somebody | 401 | 200 |
//! | no GraphQL request: broken JSON, wrong parameters | 400 | 400 |
//! | the bearer is refused | 401 | 401 |
//! | too many requests · unavailable | 429 · 503 | 429 · 503 |
//!
//! A refused bearer is 401 for both: HTTP authenticates (RFC 6750, section 3.1) before there is a GraphQL request to be well-formed.
//! No media type is read that a web page can send without a preflight, so no page of a stranger can make a browser mutate.

use std::collections::HashMap;
use std::time::Instant;

use async_graphql::parser::types::OperationType;
use axum::body::{Body, Bytes};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tracing::Instrument;

use super::accept::{self, Media};
use super::address::CallerAddress;
use super::credentials::Credentials;
use super::quota::CountedBy;
use super::{Transport, observed, sse};
use crate::access::Viewer;
use crate::graphql::errors::Code;
use crate::graphql::{
    self, Answered, AskedAccounts, Budget, IdempotencyKey, Prepared, RawRequest, Refusal, RequestId, Subject,
};
use crate::telemetry::span;

/// Names a mutation, so that sending it again does not do it again; see [`crate::graphql::KeptAnswers`].
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Answers one HTTP request.
pub(super) async fn handle(transport: Transport, parts: Parts, body: Body) -> Response {
    let request = Request::from_parts(parts, body);
    let id = request.extensions().get().copied().unwrap_or_else(|| transport.0.request_ids.next());
    let Some(media) = Media::of(request.headers()) else {
        return refuse(
            StatusCode::NOT_ACCEPTABLE,
            "Answers are application/graphql-response+json, application/json or text/event-stream.",
        );
    };
    let method = request.method().clone();
    if method != Method::GET && method != Method::POST {
        let mut refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "GraphQL is asked by POST, queries also by GET.");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
        return refused;
    }
    let address = CallerAddress::of_request(request.extensions());
    let caller = match Caller::of(&transport, request.headers(), address, media, id).await {
        Ok(caller) => caller,
        Err(refusal) => return answer_refusal(refusal, media),
    };
    if method == Method::GET {
        return match parameters(request.uri()) {
            Ok(raw) => caller.answer(raw, true).await,
            Err(refusal) => answer_refusal(refusal, media),
        };
    }
    match read(request, &transport).await {
        Ok(body) => caller.answer_body(&body).await,
        Err(refused) => refused,
    }
}

/// Who asks, and how the answer is to be written.
pub(super) struct Caller {
    pub(super) transport: Transport,
    pub(super) viewer: Option<Viewer>,
    pub(super) id: RequestId,
    address: CallerAddress,
    media: Media,
    idempotency_key: Option<IdempotencyKey>,
}

impl Caller {
    /// The caller that the headers name. One without a viewer is counted here, before the body is read.
    async fn of(
        transport: &Transport,
        headers: &HeaderMap,
        address: CallerAddress,
        media: Media,
        id: RequestId,
    ) -> Result<Self, Refusal> {
        let because = |error| Refusal::because(transport.count_refused(error, address), id);
        let credentials = Credentials::of_headers(headers).map_err(because)?;
        let viewer = match credentials {
            Some(credentials) => Some(credentials.verify(&transport.0.authenticator).await.map_err(because)?),
            None => {
                transport.count(CountedBy::Address(address), 1).map_err(because)?;
                None
            }
        };
        viewer.iter().for_each(observed::record);
        let idempotency_key = idempotency_key(headers)?;
        Ok(Self { transport: transport.clone(), viewer, id, address, media, idempotency_key })
    }

    fn counted_by(&self) -> CountedBy {
        self.viewer.as_ref().map_or(CountedBy::Address(self.address), |viewer| CountedBy::Viewer(viewer.principal()))
    }

    async fn answer_body(self, body: &Bytes) -> Response {
        match serde_json::from_slice(body) {
            Ok(Value::Array(requests)) => self.answer_batch(requests).await,
            Ok(request) => match RawRequest::from_json(request) {
                Ok(raw) => self.answer(raw, false).await,
                Err(refusal) => answer_refusal(refusal, self.media),
            },
            Err(_) => answer_refusal(Refusal::malformed("The body is not JSON."), self.media),
        }
    }

    /// `safe`: the request came by GET, which must not change anything.
    async fn answer(self, raw: RawRequest, safe: bool) -> Response {
        let prepared = match raw.under(self.idempotency_key.as_ref()).and_then(|raw| self.prepare(raw)) {
            Ok(prepared) => prepared,
            Err(refusal) if self.media == Media::EventStream && refusal.subject == Subject::Document => {
                return sse::refused(refusal);
            }
            Err(refusal) => return answer_refusal(refusal, self.media),
        };
        if safe && prepared.operation() == OperationType::Mutation {
            let mut refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "A mutation is sent by POST.");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return refused;
        }
        if self.media == Media::EventStream {
            return sse::answer(self, prepared);
        }
        match self.transport.0.api.answer(self.viewer.as_ref(), prepared).await {
            Ok(Answered::Done(response)) => written(&response, self.media),
            Ok(Answered::Before(answer)) => repeated(answer, self.media),
            Err(refusal) => answer_refusal(refusal, self.media),
        }
    }

    /// One after the other: a later mutation may rely on an earlier one.
    async fn answer_batch(self, requests: Vec<Value>) -> Response {
        if self.idempotency_key.is_some() {
            let message = "The header Idempotency-Key names one request: each of a batch names its own by \
                           extensions.idempotencyKey.";
            return answer_refusal(Refusal::malformed(message), self.media);
        }
        let most = self.transport.0.limits.batch;
        if self.media == Media::EventStream || requests.is_empty() || requests.len() > most {
            let message = format!("A batch holds 1 to {most} requests, and is not answered as an event stream.");
            return answer_refusal(Refusal::malformed(message), self.media);
        }
        if self.viewer.is_none() {
            let others = u32::try_from(requests.len() - 1).unwrap_or(u32::MAX);
            if let Err(error) = self.transport.count(self.counted_by(), others) {
                return answer_refusal(Refusal::because(error, self.id), self.media);
            }
        }
        span::record_operation("batch", "");
        let (budget, accounts) = (self.transport.0.api.budget(), AskedAccounts::default());
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(self.answer_one(request, &budget, &accounts).instrument(span::operation(self.id)).await);
        }
        respond(StatusCode::OK, self.media, format!("[{}]", answers.join(",")))
    }

    /// One request of a batch, with a line of its own in the log.
    async fn answer_one(&self, request: Value, budget: &Budget, accounts: &AskedAccounts) -> String {
        let begun = Instant::now();
        self.viewer.iter().for_each(observed::record);
        let answered = match RawRequest::from_json(request).and_then(|raw| self.prepare(raw)) {
            Ok(prepared) => self.transport.0.api.answer(self.viewer.as_ref(), prepared.within(budget, accounts)).await,
            Err(refusal) => Err(refusal),
        };
        let answer = match answered {
            Ok(Answered::Done(response)) => response.to_json(),
            Ok(Answered::Before(answer)) => answer,
            Err(refusal) => {
                span::record_code(refusal.code());
                graphql::Response::from(refusal).to_json()
            }
        };
        tracing::info!(duration_ms = observed::milliseconds(begun), "answered, within a batch");
        answer
    }

    fn prepare(&self, raw: RawRequest) -> Result<Prepared, Refusal> {
        if self.viewer.is_some() {
            self.transport.count(self.counted_by(), 1).map_err(|error| Refusal::because(error, self.id))?;
        }
        self.transport.prepare(self.counted_by(), raw, self.id)
    }
}

/// What the sender calls this request, so that sending it again does not do it again.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Refusal::malformed("A request has one Idempotency-Key."));
    }
    let key = value.to_str().ok().and_then(IdempotencyKey::parse);
    key.map(Some).ok_or_else(|| Refusal::malformed(IdempotencyKey::WANTED))
}

/// The body, if it is JSON, small enough and arrives in time.
async fn read(request: Request<Body>, transport: &Transport) -> Result<Bytes, Response> {
    let limits = &transport.0.limits;
    if !accept::is_json(request.headers()) {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "A request is application/json in UTF-8."));
    }
    let too_large =
        || refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("A request holds at most {} bytes.", limits.body_bytes));
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.body_bytes) {
        return Err(too_large());
    }
    match tokio::time::timeout(limits.body_timeout, axum::body::to_bytes(request.into_body(), limits.body_bytes)).await
    {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "The request took too long to arrive.")),
    }
}

/// The parameters of a GET: `variables` and `extensions` are JSON texts.
fn parameters(uri: &Uri) -> Result<RawRequest, Refusal> {
    let given: HashMap<_, _> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut request = Map::new();
    for (name, text) in given {
        let value = match name.as_str() {
            "variables" | "extensions" => serde_json::from_str(&text)
                .map_err(|_| Refusal::malformed(format!("The parameter {name} must be a JSON object.")))?,
            _ => Value::String(text),
        };
        request.insert(name, value);
    }
    RawRequest::from_json(Value::Object(request))
}

/// The answer to a request that was refused before it was executed.
pub(super) fn answer_refusal(refusal: Refusal, media: Media) -> Response {
    span::record_code(refusal.code());
    written(&refusal.into(), media)
}

fn written(response: &graphql::Response, media: Media) -> Response {
    let status = status(response, media);
    let mut answer = respond(status, media, response.to_json());
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = response.retry_after_seconds() {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// An answer that was given before.
fn repeated(answer: String, media: Media) -> Response {
    let mut response = respond(StatusCode::OK, media, answer);
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn status(response: &graphql::Response, media: Media) -> StatusCode {
    let Some(subject) = response.refused() else { return StatusCode::OK };
    if media == Media::Json && subject == Subject::Document {
        return StatusCode::OK;
    }
    let by_code = [
        (Code::Unauthenticated, StatusCode::UNAUTHORIZED),
        (Code::Forbidden, StatusCode::FORBIDDEN),
        (Code::RateLimited, StatusCode::TOO_MANY_REQUESTS),
        (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
        (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    ];
    by_code.into_iter().find(|(code, _)| response.has(*code)).map_or(StatusCode::BAD_REQUEST, |(_, status)| status)
}

/// A refusal by HTTP's own means, in words all the same.
fn refuse(status: StatusCode, message: impl Into<String>) -> Response {
    respond(status, Media::Json, graphql::Response::from(Refusal::malformed(message)).to_json())
}

fn respond(status: StatusCode, media: Media, body: String) -> Response {
    let media = if media == Media::EventStream { Media::Json } else { media };
    (status, [(CONTENT_TYPE, media.content_type()), (CACHE_CONTROL, "no-store")], body).into_response()
}
