// The provider: an authorization server and an API over one ledger, and the faults that its calls meet. Each node calls it
// below a path of its own, so that the books say who asked. A provider that is killed listens no more; its books remain.

import { once } from 'node:events';
import { createServer } from 'node:http';

import { freePort } from '../outside/patchbay.js';
import { pause } from '../outside/waiting.js';
import { Ledger } from './ledger.js';

const CONNECTOR = 'books';
const KEY_CONNECTOR = 'book-keys';

/** What the routes are called in a schedule. */
const isOf = (routes, route) => routes === 'everything' || (routes === 'token') === (route === 'token' || route === 'revoke');

export class Provider {
  calls = 0;
  faultsMet = {};

  #mood = null;

  static async start(random, { accessTokenSeconds }) {
    const provider = new Provider();
    provider.random = random;
    provider.ledger = new Ledger({ accessTokenSeconds });
    provider.port = await freePort();
    await provider.open();
    return provider;
  }

  get host() {
    return `127.0.0.1:${this.port}`;
  }

  get environment() {
    const { id, secret } = this.ledger.client;
    return { PATCHBAY_OAUTH_BOOKS_CLIENT_ID: id, PATCHBAY_OAUTH_BOOKS_CLIENT_SECRET: secret };
  }

  async open() {
    this.server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
      this.#hear(request, response).catch(() => response.destroy());
    }).listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** From now on a share of the calls meets this fault. */
  async fail({ kind, routes, share, lasts }) {
    if (kind === 'killed') return this.close();
    this.#mood = { kind, routes, share, until: Date.now() + lasts };
  }

  async heal({ kind }) {
    if (kind === 'killed') return this.open();
    this.#mood = null;
  }

  /** The connector files of one node. */
  connectorFiles(node) {
    const origin = `http://${this.host}`;
    const own = `${origin}/${node}`;
    const oauth = `
slug = "${CONNECTOR}"
name = "Books"
category = "finance"
mode = "warehouse"
requirements = "Any login will do."

[auth]
method = "oauth2"
authorize_url = "${origin}/authorize"
token_url = "${own}/token"
revoke_url = "${own}/revoke"
issuer = "${origin}"
iss_required = true
scopes = ["read"]

[identity]
url = "${own}/me"
id = "/sub"
name = "/email"

[accounts]
url = "${own}/accounts"
list = "/accounts"
id = "/id"
name = "/name"

[probe]
url = "${own}/me"
account_url = "${own}/accounts/{account.id}"
account_interval = "1m"

[api]
base_url = "${own}"
`;
    const keys = `
slug = "${KEY_CONNECTOR}"
name = "Books by key"
category = "finance"
mode = "warehouse"
requirements = "A key."

[auth]
method = "api_key"
placement = "header:X-Api-Key"

[identity]
url = "${own}/key"
id = "/account"
name = "/account"

[probe]
url = "${own}/key"

[api]
base_url = "${own}"
`;
    return { [`${CONNECTOR}.toml`]: oauth, [`${KEY_CONNECTOR}.toml`]: keys };
  }

  async #hear(request, response) {
    this.calls += 1;
    const url = new URL(request.url, `http://${this.host}`);
    if (url.pathname === '/authorize') return this.#authorize(url, response);
    const [, node, route, ...rest] = url.pathname.split('/');
    const body = new URLSearchParams(await text(request));
    const use = { at: Date.now(), node, answered: null };
    response.once('close', () => (use.answered = response.writableFinished));
    const call = { node, route, rest, body, use, headers: request.headers };
    this.#noteGiveBack(call);
    const answer = () => {
      const { status, body: said } = this.#answer(call);
      return { status, headers: { 'content-type': 'application/json' }, text: JSON.stringify(said) };
    };
    const fault = this.#faultFor(call);
    if (!fault) return send(response, answer());
    this.faultsMet[fault.kind] = (this.faultsMet[fault.kind] ?? 0) + 1;
    await this.#meet(fault, answer, response);
  }

  /** A login signs in, and consents to whatever is asked; `login` is what the browser's person types. */
  #authorize(url, response) {
    const asked = url.searchParams;
    const redirectUri = asked.get('redirect_uri');
    const code = this.ledger.issueCode({ login: asked.get('login'), challenge: asked.get('code_challenge'), redirectUri });
    const back = new URL(redirectUri);
    for (const [name, value] of Object.entries({ code, state: asked.get('state'), iss: `http://${this.host}` })) back.searchParams.set(name, value);
    response.writeHead(302, { location: back.href }).end();
  }

  #answer({ route, rest, body, use, headers }) {
    const { ledger } = this;
    if (route === 'token') return ledger.token(body, use);
    if (route === 'revoke') {
      ledger.takeBack(body.get('token'), use);
      return { status: 200, body: {} };
    }
    if (headers['x-api-key'] !== undefined) return this.#answerKey(ledger.keys.get(headers['x-api-key']), route);
    const grant = ledger.grantOfAccess(headers.authorization?.replace(/^Bearer /i, ''));
    if (!grant) return { status: 401, body: { error: 'invalid_token' } };
    grant.lastUsedAt = Date.now();
    if (route === 'me') grant.identities.push(use);
    if (route === 'me') return { status: 200, body: { sub: grant.login, email: `${grant.login}@books.example` } };
    const accounts = ledger.accountsOf(grant.login).filter(({ id }) => !ledger.withdrawn.has(id));
    if (route === 'accounts' && rest.length === 0) return { status: 200, body: { accounts } };
    const account = accounts.find(({ id }) => id === rest[0]);
    if (!account) return { status: 403, body: { error: { code: 'forbidden', message: 'This login may not read this account.' } } };
    return route === 'rows' ? rowsOf(account.id) : { status: 200, body: account };
  }

  #answerKey(key, route) {
    if (!key?.valid) return { status: 401, body: { error: 'unknown key' } };
    return route === 'rows' ? rowsOf(key.account) : { status: 200, body: { account: key.account } };
  }

  /** Whether or not it is heard: that Patchbay meant to give a grant back. */
  #noteGiveBack({ route, body, use }) {
    if (route === 'revoke') this.ledger.grantOf(body.get('token'))?.giveBacks.push(use);
  }

  /**
   * The answer to one refresh token is lost once at most by a fault of the provider's: a provider that loses it twice has lost
   * the grant, and nobody could help it.
   */
  #faultFor(call) {
    const mood = this.#mood;
    if (!mood || !isOf(mood.routes, call.route) || !this.random.chance(mood.share)) return null;
    const losesAnswers = ['cut', 'lost', 'answers late'].includes(mood.kind);
    if (losesAnswers && this.ledger.wasUsed(call.body.get('refresh_token'))) return { ...mood, kind: 'dropped' };
    return mood;
  }

  async #meet({ kind, until }, answer, response) {
    if (kind.startsWith('status ')) {
      const status = Number(kind.slice('status '.length));
      return send(response, { status, headers: { 'content-type': 'text/plain', ...(status === 429 ? { 'retry-after': '2' } : {}) }, text: 'Not now.' });
    }
    switch (kind) {
      case 'slow':
        await pause(this.random.int(200, 4_000));
        return send(response, answer());
      case 'silent':
        await pause(Math.max(0, until - Date.now()));
        return response.destroy();
      case 'answers late': {
        const said = answer();
        await pause(this.random.int(8_000, 14_000));
        return send(response, said);
      }
      case 'garbage':
        return send(response, { status: 200, headers: { 'content-type': 'application/json' }, text: '{"access_token": "half an answ' });
      case 'html':
        return send(response, { status: 200, headers: { 'content-type': 'text/html' }, text: '<!doctype html><title>Maintenance</title>' });
      case 'cut': {
        const { status, headers, text: said } = answer();
        response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(said) });
        return response.write(said.slice(0, said.length / 2), () => response.destroy());
      }
      case 'lost':
        answer();
        return response.destroy();
      default:
        return response.destroy(); // dropped
    }
  }
}

export const connector = { byBrowser: CONNECTOR, byKey: KEY_CONNECTOR };

let rowsRead = 0;

/** Other rows each time. */
function rowsOf(account) {
  rowsRead += 1;
  return { status: 200, body: { rows: [{ account, reading: rowsRead, amount: rowsRead * 2 }, { account, reading: rowsRead, amount: 1 }] } };
}

function send(response, { status, headers, text: said }) {
  if (!response.destroyed) response.writeHead(status, headers).end(said);
}

async function text(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}
