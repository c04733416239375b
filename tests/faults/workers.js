// The people: they connect, reconnect, rename, share, remove, read their trays and refresh datasets, all the time. What they
// meant to do is written down, for the checks at the end.

import { Browser, CookieJar } from '../outside/browser.js';
import { pause } from '../outside/waiting.js';
import { ACCOUNTS_PER_LOGIN } from './ledger.js';
import { connector } from './provider.js';

const LOGINS = Array.from({ length: 14 }, (_, index) => `login-${index + 1}`);
const CLIENTS = 6;

/** Below it people connect more than they remove, and above it less. */
const WANTED_CONNECTIONS = 45;
const WANTED_DATASETS = 15;

/** More at once than a node has handles to its database. */
const BURST = 20;

const PAUSE_MS = [100, 1_100];

const ACTIONS = {
  signIn: 14,
  connectThrough: 8,
  connectByKey: 3,
  reconnect: 16,
  rename: 10,
  moveToClient: 4,
  share: 6,
  unshare: 4,
  remove: 7,
  check: 5,
  createClient: 5,
  importClients: 1,
  renameClient: 3,
  readTray: 6,
  createDataset: 6,
  refreshDataset: 10,
  readRows: 5,
};

export class Workers {
  /** Every sign-in that was begun: `{ id, person, login, ended, left, callbackSent }`. */
  attempts = [];
  clients = [];

  #stopped = false;
  #named = 0;

  constructor({ people, requests, provider, random, report, everything, datasets, trays, publicUrl }) {
    Object.assign(this, { people, requests, provider, random, report, everything, datasets, trays, publicUrl });
  }

  /** What is there before anything fails. */
  async settleIn() {
    for (let index = 0; index < CLIENTS; index += 1) await this.createClient();
    for (const login of LOGINS.slice(0, 8)) await this.signIn(login);
  }

  begin(count) {
    this.running = Array.from({ length: count }, () => this.#work());
  }

  async stop() {
    this.#stopped = true;
    await Promise.all(this.running);
  }

  async #work() {
    while (!this.#stopped) {
      const action = this.#choose();
      this.report.count(`action: ${action}`);
      try {
        await this[action]();
      } catch (error) {
        this.report.problem('a person gave up', `${action}: ${String(error.stack ?? error).slice(0, 400)}`);
      }
      await pause(this.random.int(...PAUSE_MS));
    }
  }

  #choose() {
    const crowded = this.everything.items.size > WANTED_CONNECTIONS;
    const weights = { ...ACTIONS, remove: crowded ? 20 : 3, connectThrough: crowded ? 2 : 8, signIn: crowded ? 8 : 14 };
    if (this.datasets.items.size > WANTED_DATASETS) weights.createDataset = 0;
    return this.random.weighted(weights);
  }

  // What people do.

  async createClient() {
    const name = this.#newName('Client');
    const externalId = this.random.chance(0.5) ? `crm-${name}` : null;
    const payload = await this.requests.mutate(this.#manager(), 'createClient', { name, externalId }, 'client { id }', { effect: { client: name } });
    if (payload?.client) this.clients.push({ id: payload.client.id, name });
  }

  /** A program that sends all it has at once. */
  async importClients() {
    await Promise.all(Array.from({ length: BURST }, () => this.createClient()));
  }

  async renameClient() {
    const client = this.random.pick(this.clients);
    const name = `${this.#newName('Client')} ${markOf(client.name)}`;
    await this.requests.mutate(this.#manager(), 'updateClient', { clientId: client.id, name });
  }

  async signIn(login = this.random.pick(LOGINS)) {
    const person = this.random.pick([this.people.sam, this.people.mia]);
    const name = this.#newName('Signed');
    const payload = await this.requests.mutate(
      person,
      'connect',
      { connector: connector.byBrowser, clientId: this.#aClient(), accountId: this.#anAccount(login), name, using: { browser: {} } },
      'attempt { id authorizationUrl }',
      { effect: { connection: name, isPromise: true } },
    );
    if (payload?.attempt) await this.#browse(person, payload.attempt, login);
  }

  async connectThrough() {
    const connection = this.#aConnection(({ status, authorization }) => status !== 'DISCONNECTED' && authorization);
    if (!connection) return;
    const found = await this.requests.read(
      this.people.sam,
      'query accountOf($id: ID!) { authorization(id: $id) { connector { slug } account { accountId } } }',
      { id: connection.authorization.id },
    );
    if (found.authorization?.connector.slug !== connector.byBrowser) return;
    const name = this.#newName('Through');
    await this.requests.mutate(
      this.people.sam,
      'connect',
      {
        connector: connector.byBrowser,
        clientId: this.#aClient(),
        accountId: this.#anAccount(found.authorization.account.accountId),
        name,
        using: { authorizationId: connection.authorization.id },
      },
      'connection { id }',
      { effect: { connection: name } },
    );
  }

  async connectByKey() {
    const name = this.#newName('Keyed');
    const credentials = this.#aKey(`shop-${this.#named}`);
    const input = { connector: connector.byKey, clientId: this.#aClient(), name, using: { credentials } };
    await this.requests.mutate(this.people.sam, 'connect', input, 'connection { id }', { effect: { connection: name } });
  }

  async reconnect() {
    const broken = this.#aConnection(({ status }) => status === 'DISCONNECTED');
    const connection = broken ?? (this.random.chance(0.2) ? this.#aConnection() : null);
    if (connection) await this.reconnectThis(connection.id);
  }

  /** By a new key or in a browser, as its connector asks. Returns whether it was carried out to the end. */
  async reconnectThis(connectionId, { patient = false } = {}) {
    const { connection } = await this.requests.read(
      this.people.sam,
      'query grantOf($id: ID!) { connection(id: $id) { removedAt connector { slug } authorization { account { accountId } } } }',
      { id: connectionId },
    );
    if (!connection || connection.removedAt) return true;
    const { accountId } = connection.authorization.account;
    if (connection.connector.slug === connector.byKey) {
      const payload = await this.requests.mutate(this.people.sam, 'reconnect', { connectionId, credentials: this.#aKey(accountId) }, 'connections { id }');
      return payload?.errors.length === 0;
    }
    const login = !patient && this.random.chance(0.1) ? this.random.pick(LOGINS) : accountId;
    const payload = await this.requests.mutate(
      this.people.sam,
      'reconnect',
      { connectionId, accountChange: 'REFUSE' },
      'attempt { id authorizationUrl }',
    );
    if (!payload?.attempt) return false;
    return this.#browse(this.people.sam, payload.attempt, login, { patient });
  }

  /** The mark that its first name had stays in it. */
  async rename() {
    const connection = this.#aConnection();
    if (!connection) return;
    const name = `${this.#newName('Named')} ${markOf(connection.name) ?? ''}`.trim();
    await this.requests.mutate(this.people.sam, 'updateConnection', { connectionId: connection.id, name });
  }

  async moveToClient() {
    const connection = this.#aConnection();
    if (connection) await this.requests.mutate(this.people.sam, 'updateConnection', { connectionId: connection.id, clientId: this.#aClient() });
  }

  async share() {
    const connection = this.#aConnection();
    if (connection) await this.requests.mutate(this.people.sam, 'shareConnection', { connectionId: connection.id, userIds: [this.people.mia.id] });
  }

  async unshare() {
    const connection = this.#aConnection(({ sharedWith }) => sharedWith.length > 0);
    if (connection) await this.requests.mutate(this.people.sam, 'unshareConnection', { connectionId: connection.id, userIds: [this.people.mia.id] });
  }

  async remove() {
    const connection = this.#aConnection();
    if (connection) await this.requests.mutate(this.people.sam, 'removeConnection', { connectionId: connection.id });
  }

  async check() {
    const connection = this.#aConnection();
    if (connection) await this.requests.mutate(this.people.sam, 'checkConnection', { connectionId: connection.id });
  }

  /** In two windows at once, now and then. */
  async readTray() {
    const { person, items } = this.random.pick(this.trays);
    const newest = [...items.keys()].at(-1);
    if (!newest) return;
    const read = () => this.requests.mutate(person, 'markNotificationsRead', { through: newest }, 'notifications { id }');
    await Promise.all(this.random.chance(0.3) ? [read(), read()] : [read()]);
  }

  async createDataset() {
    const connection = this.#aConnection(({ status }) => status !== 'DISCONNECTED');
    if (!connection) return;
    const name = this.#newName('Dataset');
    const query = { http: { path: '/rows/{account.id}', rowsPointer: '/rows' } };
    const input = { connectionId: connection.id, name, query, refreshEveryMinutes: 1 };
    await this.requests.mutate(this.people.sam, 'createDataset', input, 'dataset { id }', { effect: { dataset: name } });
  }

  async refreshDataset() {
    const datasetId = this.#aDataset();
    if (datasetId) await this.requests.mutate(this.people.sam, 'refreshDataset', { datasetId }, 'dataset { id status }');
  }

  async readRows() {
    const id = this.#aDataset();
    if (id) await this.requests.read(this.people.ada, 'query readRows($id: ID!) { dataset(id: $id) { rows(first: 10) { nodes } } }', { id });
  }

  // Browsers.

  /** Signs in; impatient people leave before, or in the middle. Returns whether this one came back to a page. */
  async #browse(person, { id, authorizationUrl }, login, { patient = false } = {}) {
    const attempt = { id, person, login, callback: null, callbackSent: null, left: null, page: null };
    this.attempts.push(attempt);
    if (!patient && this.random.chance(0.08)) {
      attempt.left = 'before the start';
      return false;
    }
    const node = this.random.pick(this.requests.nodes);
    const leaves = !patient && this.random.chance(0.2);
    const closing = new AbortController();
    const jar = new CookieJar();
    const browser = new Browser({
      jar,
      signal: closing.signal,
      via: (url) => {
        if (url.pathname === '/authorize') url.searchParams.set('login', login);
        if (url.origin !== this.publicUrl) return url;
        if (url.pathname.startsWith('/oauth/callback')) {
          attempt.callback = url.href;
          attempt.callbackSent = { node: node.name, at: Date.now() };
          if (leaves) setTimeout(() => closing.abort(), this.random.int(1, 400));
        }
        return new URL(`${url.pathname}${url.search}`, node.origin);
      },
    });
    attempt.comesBack = (later) => new Browser({ jar, via: (url) => new URL(`${url.pathname}${url.search}`, later.origin) }).open(attempt.callback);
    const began = Date.now();
    const page = await browser.open(authorizationUrl).catch(() => null);
    if (attempt.callbackSent) attempt.callbackSent.until = Date.now();
    this.report.took('a sign-in', Date.now() - began - this.requests.disturbances.stoodStill(node.name, began, Date.now()));
    if (!page) {
      attempt.left = closing.signal.aborted ? 'left in the middle' : 'got no answer';
      this.report.count(`browsers that ${attempt.left}`);
      return false;
    }
    attempt.page = page.status;
    this.report.count(`sign-ins answered ${page.status}`);
    return page.status === 200;
  }

  /** How far an attempt has come. */
  async statusOf({ id, person }, requests) {
    const { authorizationAttempt } = await requests.read(person, 'query attemptOf($id: ID!) { authorizationAttempt(id: $id) { status } }', { id });
    return authorizationAttempt?.status ?? 'gone';
  }

  /** The logins whose attempts wait for a decision, with a grant sealed in them. */
  async attemptsThatWait(requests) {
    const waiting = new Set();
    for (const attempt of this.attempts) {
      if ((await this.statusOf(attempt, requests)) === 'NEEDS_DECISION') waiting.add(attempt.login);
    }
    return waiting;
  }

  // What they choose from.

  #manager() {
    return this.random.pick([this.people.ada, this.people.sam]);
  }

  #aClient() {
    return this.random.pick(this.clients).id;
  }

  #anAccount(login) {
    return `${login}-${this.random.int(1, ACCOUNTS_PER_LOGIN)}`;
  }

  #aKey(account) {
    return [{ name: 'api_key', value: this.provider.ledger.issueKey(account) }];
  }

  #aConnection(which = () => true) {
    const fitting = [...this.everything.items.values()].filter(which);
    return fitting.length > 0 ? this.random.pick(fitting) : null;
  }

  #aDataset() {
    const ids = [...this.datasets.items.keys()];
    return ids.length > 0 ? this.random.pick(ids) : null;
  }

  /**
   * No two things are called alike. A third of the connections is found by the follower that searches, and no client is: that
   * a client has another name is no change of its connections.
   */
  #newName(kind) {
    this.#named += 1;
    const mark = kind === 'Named' ? this.#named : `#${this.#named}#`;
    const isFound = kind !== 'Client' && this.#named % 3 === 0;
    return `${kind} ${mark}${isFound ? ' zeta' : ''}`;
  }
}

/** What tells the things apart that were made: a new name keeps it as its last. */
export const markOf = (name) => name.match(/#\d+#/g)?.at(-1) ?? null;
