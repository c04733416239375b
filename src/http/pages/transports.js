// How operations travel: one HTTP request each, or a websocket of their own that speaks graphql-transport-ws.
const PATH = "/graphql";

/**
 * Sends an operation by HTTP. The answer's `body` is what its JSON says, or its text where it is none.
 * Throws when there is no answer, and an AbortError once `signal` was given.
 */
export async function send(request, access, signal) {
  const started = performance.now();
  const answer = await fetch(PATH, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/graphql-response+json", ...access.headers() },
    body: JSON.stringify(request),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal,
  });
  const text = await answer.text();
  const took = Math.round(performance.now() - started);
  let body = text;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy's page, say. It is shown as it came.
  }
  return { status: answer.status, requestId: answer.headers.get("x-request-id"), took, body };
}

/** What a close code of the socket means, for people. */
const MEANINGS = {
  1000: "Closed as agreed.",
  1001: "The server stops. Run it again in a moment; nothing is lost if you continue after the last event.",
  1002: "One side broke the rules of websockets.",
  1006: "The line was cut without a word: the server cannot be reached, or something between does not let websockets through.",
  1009: "A message was bigger than the server takes.",
  1011: "The server failed.",
  1013: "The server asks to try again later: this page read too slowly, there are too many sockets, or the token could not be checked.",
  4400: "The server did not understand a message.",
  4401: "There is no token. Put one in the field at the top.",
  4403: "The token is refused, was withdrawn, or has expired.",
  4406: "The server does not speak graphql-transport-ws.",
  4408: "The conversation was not opened in time.",
  4409: "An operation with the same id runs already.",
  4429: "The conversation was opened twice.",
};

/**
 * Subscribes by websocket, and tells `on`: `started()`, `next(result)`, `failed(errors)`, `completed()`, and last of all
 * `closed({code, reason, meaning, ours})`, where `ours` says that this page hung up.
 */
export function subscribe(request, access, on) {
  const address = new URL(PATH, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address, "graphql-transport-ws");
  const say = (message) => socket.send(JSON.stringify(message));
  let ours = false;
  const hangUp = () => {
    ours = true;
    socket.close(1000);
  };

  const hear = {
    connection_ack() {
      say({ id: "1", type: "subscribe", payload: request });
      on.started();
    },
    next: ({ payload }) => on.next(payload),
    error({ payload }) {
      on.failed(payload);
      hangUp();
    },
    complete() {
      on.completed();
      hangUp();
    },
    ping: () => say({ type: "pong" }),
    pong() {},
  };
  socket.onopen = () => say({ type: "connection_init", payload: access.payload() });
  socket.onmessage = ({ data }) => {
    if (ours) return;
    const message = JSON.parse(data);
    hear[message.type]?.(message);
  };
  socket.onclose = ({ code, reason }) => {
    on.closed({ code, reason, meaning: MEANINGS[code] ?? "", ours });
  };

  return {
    stop() {
      if (socket.readyState === WebSocket.OPEN) say({ id: "1", type: "complete" });
      hangUp();
    },
  };
}
