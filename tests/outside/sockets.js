// Windows that listen, by npm's graphql-ws; and a bare socket, for what its client would never send.

import { once } from 'node:events';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

import { before, eventually } from './waiting.js';

export { WebSocket };

const EVENT_DEADLINE_MS = 20_000;

export const bearer = (token) => ({ authorization: `Bearer ${token}` });
const socketUrl = (origin) => `${origin.replace(/^http/, 'ws')}/graphql`;

/**
 * One window of a person's front end: a graphql-ws client that comes back by itself.
 * `window.closed` are the close events so far, `window.attempts` counts how often it has tried to connect,
 * `window.sockets` are the sockets beneath, oldest first.
 */
export function openWindow(person, options = {}) {
  const window = { attempts: 0, closed: [], pongs: 0, sockets: [] };
  class ObservedWebSocket extends WebSocket {
    constructor(...args) {
      super(...args);
      window.sockets.push(this);
    }
  }
  const client = createClient({
    url: socketUrl(person.origin),
    webSocketImpl: ObservedWebSocket,
    connectionParams: person.token ? bearer(person.token) : undefined,
    retryAttempts: Infinity,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 100)),
    shouldRetry: () => true,
    ...options,
    on: {
      connecting: () => (window.attempts += 1),
      closed: (event) => window.closed.push({ code: event.code, reason: event.reason }),
      pong: (received) => (window.pongs += received ? 1 : 0),
    },
  });
  window.client = client;

  /** Follows a subscription whose events carry a cursor, from `after` on; comes back with the last one it saw. */
  window.follow = (query, { after, ...variables } = {}) => new Following(client, query, { after, ...variables });

  /** Closes the window; nothing reaches it any more. */
  window.close = async () => {
    const open = window.sockets.filter((socket) => socket.readyState !== WebSocket.CLOSED);
    // graphql-ws hands on a refusal that it meets on its way out.
    await Promise.resolve(client.dispose()).catch(() => {});
    await Promise.all(open.map((socket) => eventually('the socket closes', () => socket.readyState === WebSocket.CLOSED)));
  };
  return window;
}

/** The events of one subscription, in the order they came. CHECKPOINTs only move the cursor, here as in any front end. */
export class Following {
  events = [];
  error = null;
  completed = false;

  #read = 0;

  constructor(client, query, variables) {
    // graphql-ws sends this very object again when it comes back, so the cursor in it moves along.
    this.payload = { query, variables };
    this.stop = client.subscribe(this.payload, {
      next: (answer) => this.#hear(answer),
      error: (error) => (this.error = error),
      complete: () => (this.completed = true),
    });
  }

  get cursor() {
    return this.payload.variables.after;
  }

  /** The next event that was not taken yet. */
  async next(what = 'an event', { within = EVENT_DEADLINE_MS } = {}) {
    await eventually(what, () => {
      this.#throwWhatEndedIt(what);
      return this.events.length > this.#read;
    }, { within, every: 5 });
    this.#read += 1;
    return this.events[this.#read - 1];
  }

  /** The error that ends it. */
  async failure(what = 'the subscription fails') {
    return eventually(what, () => this.error, { within: EVENT_DEADLINE_MS });
  }

  async completion(what = 'the subscription completes') {
    await eventually(what, () => this.completed || this.#throwWhatEndedIt(what), { within: EVENT_DEADLINE_MS });
  }

  get kinds() {
    return this.events.map((event) => event.kind);
  }

  #hear(answer) {
    if (answer.errors) {
      this.error = answer.errors;
      return;
    }
    const [event] = Object.values(answer.data);
    if (event.cursor) this.payload.variables.after = event.cursor;
    if (event.kind !== 'CHECKPOINT') this.events.push(event);
  }

  #throwWhatEndedIt(what) {
    if (this.error && this.events.length <= this.#read) {
      throw new Error(`ended while waiting for ${what}: ${JSON.stringify(this.error.errors ?? this.error)} ${this.error.code ?? ''} ${this.error.message ?? ''}`);
    }
  }
}

/** How a server answers a handshake: 'opened', or the HTTP status or whatever else it refuses with. */
export async function handshake(origin, { protocol = 'graphql-transport-ws', headers } = {}) {
  const socket = new WebSocket(socketUrl(origin), protocol, { headers });
  const outcome = new Promise((resolve) => {
    socket.once('unexpected-response', (_request, response) => resolve(response.statusCode));
    socket.once('error', () => resolve('no common protocol'));
    socket.once('open', () => resolve('opened'));
  });
  return before(EVENT_DEADLINE_MS, 'an answer to the handshake', outcome).finally(() => socket.terminate());
}

/** A socket whose every frame is the test's own. */
export class BareSocket {
  messages = [];

  #read = 0;

  static async open(origin, { protocol = 'graphql-transport-ws', headers } = {}) {
    const bare = new BareSocket();
    bare.socket = new WebSocket(socketUrl(origin), protocol, { headers });
    bare.closed = new Promise((resolve) => bare.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })));
    bare.socket.on('message', (data) => bare.messages.push(JSON.parse(data.toString())));
    await once(bare.socket, 'open');
    bare.socket.on('error', () => {});
    return bare;
  }

  /** One that has said who it is, and was acknowledged. */
  static async acknowledged(person) {
    const bare = await BareSocket.open(person.origin);
    bare.send({ type: 'connection_init', payload: bearer(person.token) });
    await bare.next('connection_ack');
    return bare;
  }

  send(message) {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  subscribe(id, query, variables = {}) {
    this.send({ id, type: 'subscribe', payload: { query, variables } });
  }

  /** The next message of this type that was not taken yet; those before it are passed over. */
  next(type) {
    return eventually(`a message of type ${type}`, () => {
      while (this.#read < this.messages.length) {
        const message = this.messages[this.#read];
        this.#read += 1;
        if (message.type === type) return message;
      }
      return null;
    }, { within: EVENT_DEADLINE_MS, every: 5 });
  }

  /** Everything sent so far has been read by the server, since frames keep their order. */
  async settled() {
    this.send({ type: 'ping' });
    await this.next('pong');
  }

  /** The code the server closes it with. */
  async closeCode({ within = EVENT_DEADLINE_MS } = {}) {
    return (await before(within, 'the server closes the socket', this.closed)).code;
  }

  end() {
    this.socket.terminate();
  }
}
