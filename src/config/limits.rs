//! How much one request, one socket and one viewer may ask for. Those that depend on who uses the server are settings;
//! the others are what every installation wants.
//!
//! What goes beyond a limit is refused with an error that names it, never queued without end.

use std::time::Duration;

use super::{parse, reader::Reader};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The limits. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A request's body.
    pub body_bytes: usize,
    /// How long the body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request's head may take to arrive; on a new connection, from its very beginning.
    pub header_timeout: Duration,
    /// How long a connection may stay open between two requests: longer than proxies keep theirs, which must not meet a
    /// connection that closes while they send.
    pub idle_timeout: Duration,
    /// Connections open at once: of one address, trusted proxies left out, and in all.
    pub connections_per_address: usize,
    pub connections: usize,
    /// How long a browser waits for a sign-in, or a link's form: less than proxies do. What was begun goes on.
    pub browser_patience: Duration,
    /// Requests in one HTTP body.
    pub batch: usize,

    /// A document's text.
    pub document_bytes: usize,
    /// Its tokens (names, numbers, strings, punctuation).
    pub tokens: usize,
    /// Fields within fields, fragments expanded. The usual introspection query needs 15.
    pub depth: u32,
    /// Selected fields, fragments expanded.
    pub fields: u32,
    /// Fields that the answer may hold: each page counts its nodes by their number.
    pub complexity: u64,
    /// An answer, those of a batch together, or an event.
    pub answer_bytes: usize,
    /// Whether the schema is described to those who ask for it.
    pub introspection: bool,
    /// Renamed fields, fragments expanded.
    pub aliases: u32,
    /// Directives, fragments expanded.
    pub directives: u32,
    /// Text of the documents that are kept parsed.
    pub kept_documents_bytes: usize,

    /// A message from a socket's client.
    pub frame_bytes: usize,
    /// The read and the write buffer of a socket, each.
    pub socket_buffer_bytes: usize,
    /// How long a socket may stay without `connection_init`, and how long it may stay idle without a viewer.
    pub init_timeout: Duration,
    /// How often a socket is pinged; who is silent for two of these is gone.
    pub ping_interval: Duration,
    /// Operations that run on one socket at once.
    pub subscriptions_per_socket: usize,
    /// Sockets and event streams that one viewer may hold open.
    pub sockets_per_viewer: usize,
    /// Messages that wait for a client to read.
    pub outbox_messages: usize,
    /// Their size, the one being written left out.
    pub outbox_bytes: usize,
    /// How long a client may take nothing of an answer or of a full outbox, before it counts as one that does not read.
    pub read_timeout: Duration,
    /// How long a closing socket waits for its client.
    pub farewell: Duration,

    /// Operations a viewer may start each second, by whatever way.
    pub requests_per_second: u32,
    /// Operations a viewer may start at once.
    pub request_burst: u32,
    /// Operations that callers without a viewer may start each second, from one address.
    pub address_requests_per_second: u32,
    /// Those they may start at once.
    pub address_request_burst: u32,

    /// How long a provider may take until it accepts a token that it has just given out.
    pub token_taken_within: Duration,
    /// How long whoever reconnects waits until connections that had lost access on their own have been asked about.
    pub regain_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 2 * MIB,
            body_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            connections_per_address: 2_000,
            connections: 20_000,
            browser_patience: Duration::from_secs(4),
            batch: 10,
            document_bytes: 128 * KIB,
            tokens: 5_000,
            depth: 15,
            fields: 2_000,
            complexity: 50_000,
            answer_bytes: 32 * MIB,
            introspection: true,
            aliases: 100,
            directives: 50,
            kept_documents_bytes: 512 * KIB,
            frame_bytes: 256 * KIB,
            socket_buffer_bytes: KIB,
            init_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            subscriptions_per_socket: 100,
            sockets_per_viewer: 200,
            outbox_messages: 1_000,
            outbox_bytes: MIB,
            read_timeout: Duration::from_secs(10),
            farewell: Duration::from_secs(5),
            requests_per_second: 200,
            request_burst: 1_000,
            address_requests_per_second: 50,
            address_request_burst: 250,
            token_taken_within: Duration::from_secs(5),
            regain_within: Duration::from_secs(5),
        }
    }
}

/// The defaults, with the operator's own numbers over them.
pub(super) fn read(reader: &mut Reader) -> Limits {
    let defaults = Limits::default();
    Limits {
        body_bytes: reader.read("max_body", parse::size).unwrap_or(defaults.body_bytes),
        batch: reader.read("max_batch", parse::count).unwrap_or(defaults.batch),
        tokens: reader.read("max_tokens", parse::count).unwrap_or(defaults.tokens),
        depth: reader.read("max_depth", parse::count).unwrap_or(defaults.depth),
        complexity: reader.read("max_complexity", parse::count).unwrap_or(defaults.complexity),
        answer_bytes: reader.read("max_answer", parse::size).unwrap_or(defaults.answer_bytes),
        introspection: reader.read("introspection", parse::switch).unwrap_or(defaults.introspection),
        aliases: reader.read("max_aliases", parse::count).unwrap_or(defaults.aliases),
        directives: reader.read("max_directives", parse::count).unwrap_or(defaults.directives),
        frame_bytes: reader.read("max_frame", parse::size).unwrap_or(defaults.frame_bytes),
        subscriptions_per_socket: reader
            .read("max_subscriptions", parse::count)
            .unwrap_or(defaults.subscriptions_per_socket),
        sockets_per_viewer: reader.read("max_sockets", parse::count).unwrap_or(defaults.sockets_per_viewer),
        requests_per_second: reader.read("max_rate", parse::count).unwrap_or(defaults.requests_per_second),
        request_burst: reader.read("max_burst", parse::count).unwrap_or(defaults.request_burst),
        connections: reader.read("max_connections", parse::count).unwrap_or(defaults.connections),
        connections_per_address: reader
            .read("max_connections_per_address", parse::count)
            .unwrap_or(defaults.connections_per_address),
        ..defaults
    }
}
