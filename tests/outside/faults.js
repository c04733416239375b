// A bad provider: a proxy between Patchbay and npm's oidc-provider that fails where, how and as often as a test says.
// The token endpoint and userinfo go through it; the browser signs in at the provider itself.

import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';

import { endListening, hostOf, listening } from './listening.js';
import { before } from './waiting.js';

const MIB = 1 << 20;
const HUGE_BYTES = 256 * MIB;

/** The paths of oidc-provider that are called through the proxy. */
const ROUTES = { '/token': 'token', '/me': 'userinfo' };

/** Starts it on a free port, in front of `oidc`. */
export async function startFaultyProxy(oidc) {
  const proxy = new FaultyProxy(oidc);
  proxy.server = await listening((request, response) => proxy.hear(request, response).catch(() => response.destroy()));
  proxy.elsewhere.server = await listening((request, response) => proxy.elsewhere.hear(request, response));
  return proxy;
}

/** What a test has go wrong in a server of the tests: its calls, and the faults that they meet. */
export class Failures {
  /** Every call, oldest first. */
  calls = [];

  #faults = [];

  /**
   * From now on calls like `which` meet `fault`, until `times` of them have, or it is over. `which` names some of a
   * call's own members, e.g. `{ route: 'token', login: 'olga' }`. Of several faults the newest is met.
   */
  fail(which, fault, { times = Infinity } = {}) {
    const failing = { which, fault, left: times, calls: [], over: () => (failing.left = 0) };
    this.#faults.unshift(failing);
    return failing;
  }

  /** Every fault is over. */
  heal() {
    for (const failing of this.#faults) failing.over();
  }

  /** Holds the next call like `which` before it reaches the provider: `arrived` tells of it, `release` lets it go on. */
  hold(which, { answered = false } = {}) {
    const [arrival, arrive] = promised();
    const [going, release] = promised();
    this.fail(which, async ({ call, response, ask, answer }) => {
      const said = answered ? await ask() : null;
      arrive(call);
      await going;
      // Whoever asked may have gone meanwhile.
      if (!response.destroyed) answer(said ?? (await ask()));
    }, { times: 1 });
    return { arrived: () => before(20_000, 'a call to hold', arrival), release };
  }

  /** The same, with the provider's answer to it. */
  holdAnswer(which) {
    return this.hold(which, { answered: true });
  }

  callsLike(which) {
    return this.calls.filter((call) => isLike(call, which));
  }

  /** The first call like `which` that came after `call`. */
  after(call, which) {
    return this.calls.slice(this.calls.indexOf(call) + 1).find((later) => isLike(later, which));
  }

  /** An exchange meets the newest fault for its call, or is answered as ever. */
  async meet(exchange) {
    const { call, ask, answer } = exchange;
    const failing = this.#faults.find(({ which, left }) => left > 0 && isLike(call, which));
    if (!failing) return answer(await ask());
    failing.left -= 1;
    failing.calls.push(call);
    await failing.fault(exchange);
  }
}

class FaultyProxy extends Failures {
  /** Where `faults.redirects` leads. */
  elsewhere = new Elsewhere();

  #oidc;
  #logins = new Map();

  constructor(oidc) {
    super();
    this.#oidc = oidc;
  }

  /** The connector file that calls the provider through here. */
  async connectorFile() {
    const direct = await this.#oidc.connectorFile();
    return direct.replaceAll(new RegExp(`^(token_url|url) = "${this.#oidc.issuer}/`, 'gm'), `$1 = "${this.origin}/`);
  }

  get origin() {
    return `http://${hostOf(this.server)}`;
  }

  /** What Patchbay has to be allowed to call. */
  get hosts() {
    return [hostOf(this.server), hostOf(this.elsewhere.server)];
  }

  /** The renewals that were asked for, of one login or of all. */
  renewals(which = {}) {
    return this.callsLike({ grantType: 'refresh_token', ...which });
  }

  async hear(request, response) {
    const call = new Call(request, await text(request));
    call.login = this.#logins.get(call.refreshToken ?? call.accessToken);
    this.calls.push(call);
    const answer = ({ status, headers = {}, body = '' }) => {
      if (response.destroyed) return;
      call.status = status;
      response.writeHead(status, headers).end(body);
    };
    const exchange = { call, response, answer, ask: () => this.#ask(call), elsewhere: this.elsewhere };
    response.once('close', () => (call.ended = response.writableFinished ? 'answered' : 'broken off'));
    await this.meet(exchange);
  }

  async close() {
    endListening(this.server, this.elsewhere.server);
  }

  /** Hands a call on to the provider. */
  async #ask(call) {
    const { method, url, headers, body } = call.request;
    const response = await fetch(`${this.#oidc.issuer}${url}`, { method, headers, body: method === 'POST' ? body : undefined });
    const said = { status: response.status, headers: { 'content-type': response.headers.get('content-type') }, body: await response.text() };
    call.providerStatus = said.status;
    if (call.route === 'token' && said.status === 200) this.#learn(call, JSON.parse(said.body));
    return said;
  }

  #learn(call, { access_token: access, refresh_token: refresh, id_token: identity }) {
    call.login ??= JSON.parse(Buffer.from(identity.split('.')[1], 'base64url')).sub;
    call.granted = digest(refresh);
    for (const token of [access, refresh]) this.#logins.set(digest(token), call.login);
  }
}

/** One call of Patchbay's: what was sent, and what became of it. Tokens are known by their digests. */
class Call {
  at = Date.now();
  /** What Patchbay was answered; null where nothing was. */
  status = null;
  /** What the provider answered; null where it was not asked. */
  providerStatus = null;
  /** The refresh token in the provider's answer. */
  granted = null;
  /** Whose tokens they are. */
  login = undefined;
  /** 'answered' or 'broken off', once it is. */
  ended = null;
  /** Bytes that a huge answer got rid of. */
  bytesTaken = 0;

  constructor({ method, url, headers: { authorization, accept, 'content-type': contentType } }, body) {
    const form = new URLSearchParams(body);
    this.route = ROUTES[new URL(url, 'http://proxy').pathname] ?? 'unknown';
    this.grantType = form.get('grant_type');
    this.refreshToken = digest(form.get('refresh_token'));
    this.accessToken = this.route === 'userinfo' ? digest(authorization?.replace(/^Bearer /i, '')) : null;
    const headers = { accept, authorization, 'content-type': contentType };
    this.request = { method, url, body, headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value)) };
  }
}

/** Another origin, which Patchbay may call as well: it refuses whoever comes. */
export class Elsewhere {
  /** Method, headers and body of every call. */
  calls = [];

  get url() {
    return `http://${hostOf(this.server)}/elsewhere`;
  }

  async hear(request, response) {
    this.calls.push({ method: request.method, headers: request.headers, body: await text(request) });
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"unauthorized"}');
  }
}

/** What happens to a call instead of being handed on. */
export const faults = {
  status: (status, headers = {}) => ({ answer }) => answer({ status, headers: { 'content-type': 'text/plain', ...headers }, body: 'Not now.' }),

  /** 429 with a `Retry-After`: seconds, or a date. */
  tooMany: (retryAfter) => faults.status(429, { 'retry-after': String(retryAfter) }),

  /** An OAuth error (RFC 6749 §5.2). */
  refuses: (error, status = 400) => ({ answer }) => answer({ status, ...json({ error }) }),

  garbage: ({ answer }) => answer({ status: 200, headers: { 'content-type': 'application/json' }, body: '{"access_token": "half an answ' }),

  html: ({ answer }) =>
    answer({ status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Maintenance</title><p>Back soon.' }),

  /** 256 MiB, for whoever reads on. */
  async huge({ call, response }) {
    call.status = 200;
    response.writeHead(200, { 'content-type': 'application/json' });
    const part = Buffer.alloc(MIB, 'a');
    const answer = function* () {
      yield Buffer.from('{"access_token": "');
      for (; call.bytesTaken < HUGE_BYTES; call.bytesTaken += MIB) yield part;
      yield Buffer.from('"}');
    };
    await pipeline(answer, response).catch(() => {}); // Patchbay hung up.
  },

  /** With everything that was sent, as 307 asks for. */
  redirects: ({ answer, elsewhere }) => answer({ status: 307, headers: { location: elsewhere.url } }),

  /** Never answers. */
  hangs() {},

  /** Says how long it is, and ends half-way. */
  async cutOff({ call, ask, response }) {
    const { status, headers, body } = await ask();
    call.status = status;
    response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
    response.write(body.slice(0, body.length / 2), () => response.destroy());
  },

  /** Dropped before the provider hears of it. */
  dropped: ({ response }) => void response.destroy(),

  /** Dropped once the provider has answered. */
  async lost({ ask, response }) {
    await ask();
    response.destroy();
  },

  /** The provider's answer with other members; `undefined` takes one out. */
  changed: (members) => async ({ ask, answer }) => {
    const said = await ask();
    answer(said.status === 200 ? { ...said, ...json({ ...JSON.parse(said.body), ...members }) } : said);
  },
};

const json = (value) => ({ headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });

const digest = (token) => (token ? createHash('sha256').update(token).digest('hex') : null);

const isLike = (call, which) => Object.entries(which).every(([member, value]) => call[member] === value);

/** A promise, and what fulfils it. */
function promised() {
  let fulfil;
  return [new Promise((resolve) => (fulfil = resolve)), fulfil];
}

async function text(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}
