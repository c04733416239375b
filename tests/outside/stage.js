// What a test begins with: a server of its own, a workspace with people in every role, two clients, and the provider.
// Everything is taken down again when the test ends, in reverse.

import { Browser } from './browser.js';
import { sqlite } from './databases.js';
import { startFaultyProxy } from './faults.js';
import { startKeyRing } from './keyring.js';
import { signIn, startOidcProvider } from './oidc.js';
import { pagings, startOrdersApi } from './ordersapi.js';
import { freePort, Patchbay } from './patchbay.js';
import { Person } from './people.js';
import { openWindow } from './sockets.js';

/** Origin of a front end that people may be sent back to. It is never contacted. */
export const FRONT_END = 'https://app.example';

class Stage {
  #nodes = [];
  #takenDown = [];

  constructor(t) {
    t.after(async () => {
      if (!t.passed) this.#showLogs();
      const failures = [];
      for (const takeDown of this.#takenDown.reverse()) await takeDown().catch((error) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    });
  }

  /** What has to happen when the test ends; the last one first. */
  atTheEnd(takeDown) {
    this.#takenDown.push(async () => takeDown());
  }

  /** Opens a window in which a person listens. */
  window(person, options) {
    const window = openWindow(person, options);
    this.atTheEnd(() => window.close());
    return window;
  }

  /** One more node on the same database, until the test ends. */
  async anotherNode(env) {
    return this.#run(await this.patchbay.anotherNode(env));
  }

  async startPatchbay({ database = sqlite, port, connectors = {}, allowedHosts = [], env = {} }) {
    const db = await database.create();
    this.db = db;
    this.atTheEnd(() => db.remove());
    const node = new Patchbay({
      databaseUrl: db.url,
      port: port ?? (await freePort()),
      connectors,
      env: { PATCHBAY_ALLOWED_HOSTS: allowedHosts.join(','), PATCHBAY_ALLOWED_ORIGINS: FRONT_END, ...env },
    });
    this.patchbay = await this.#run(node);
  }

  /**
   * Ada runs the workspace, Sam and Sue are staff, Mia and Max are members, Carl is a login of the client Acme.
   * Globex is the other client.
   */
  async fillWorkspace() {
    const email = 'ada@agency.example';
    const { userId, token } = await this.patchbay.createWorkspace('Agency', email);
    this.ada = new Person({ origin: this.patchbay.origin, token, email, id: userId });
    this.acme = await this.#addClient('Acme');
    this.globex = await this.#addClient('Globex');
    this.sam = await this.#addPerson('Sam', { role: 'STAFF' });
    this.sue = await this.#addPerson('Sue', { role: 'STAFF' });
    this.mia = await this.#addPerson('Mia', { role: 'MEMBER' });
    this.max = await this.#addPerson('Max', { role: 'MEMBER' });
    this.carl = await this.#addPerson('Carl', { role: 'CLIENT', clientId: this.acme });
  }

  #run(node) {
    this.#nodes.push(node);
    this.atTheEnd(() => node.dismantle());
    return node.start();
  }

  #showLogs() {
    for (const node of this.#nodes) console.error(`\n── the end of what ${node.origin} logged ──\n${node.logTail()}\n`);
  }

  async #addClient(name) {
    return (await this.ada.does('createClient', { name }, 'client { id }')).client.id;
  }

  async #addPerson(name, rights) {
    const email = `${name.toLowerCase()}@agency.example`;
    const { user } = await this.ada.does('createUser', { name, email, ...rights }, 'user { id }');
    return new Person({ origin: this.patchbay.origin, token: await this.patchbay.token(email), email, id: user.id });
  }
}

/** A server with nothing connected and no provider. */
export async function emptyStage(t, options = {}) {
  const stage = new Stage(t);
  await stage.startPatchbay(options);
  await stage.fillWorkspace();
  return stage;
}

/** A server whose connector `oidc-provider` leads to npm's oidc-provider, as `stage.oidc`. */
export const oidcStage = (t, options) => startOidcStage(t, options);

/** The same, through a proxy that fails where the test wants it to, as `stage.proxy`. */
export const badProviderStage = (t, options) => startOidcStage(t, options, { throughProxy: true });

/** A server with the three connectors of an API behind npm's oidc-provider, as `stage.api`. */
export async function ordersStage(t, { accessTokenSeconds = 3_600, ...options } = {}) {
  return startOidcStage(t, { accessTokenSeconds, ...options }, { Kind: OrdersStage });
}

/** The connectors that lead to npm's oidc-provider. */
const SLUGS = ['oidc-provider', ...Object.keys(pagings).map((paging) => `orders-${paging}`)];

async function startOidcStage(t, { accessTokenSeconds, ...options } = {}, { throughProxy = false, Kind = OidcStage } = {}) {
  const stage = new Kind(t);
  const port = await freePort();
  const redirectUris = SLUGS.map((slug) => `http://127.0.0.1:${port}/oauth/callback/${slug}`);
  stage.oidc = await startOidcProvider({ redirectUris, accessTokenSeconds });
  stage.atTheEnd(() => stage.oidc.close());
  if (throughProxy) {
    stage.proxy = await startFaultyProxy(stage.oidc);
    stage.atTheEnd(() => stage.proxy.close());
  }
  const more = await stage.prepare();
  await stage.startPatchbay({
    ...options,
    port,
    connectors: { 'oidc-provider.toml': await (stage.proxy ?? stage.oidc).connectorFile(), ...more.connectors, ...options.connectors },
    allowedHosts: [stage.oidc.host, ...(stage.proxy?.hosts ?? []), ...(more.hosts ?? []), ...(options.allowedHosts ?? [])],
    env: { ...stage.oidc.environment, ...more.environment, ...options.env },
  });
  await stage.fillWorkspace();
  return stage;
}

class OidcStage extends Stage {
  /** What stands behind the provider: connector files, hosts and settings. */
  async prepare() {
    return {};
  }

  /** Asks for a connection by browser; the attempt waits for someone to sign in. `more` is of the input. */
  async startConnecting(person, clientId, browser = {}, more = {}) {
    const { attempt } = await person.does(
      'connect',
      { connector: 'oidc-provider', clientId, using: { browser }, ...more },
      'attempt { id status authorizationUrl }',
    );
    return attempt;
  }

  /** A person connects a client by signing in at the provider as `login`. */
  async connectByBrowser(person, clientId, login, more) {
    const attempt = await this.startConnecting(person, clientId, {}, more);
    await signIn(new Browser(), attempt.authorizationUrl, login);
    const [connection] = await this.#connectionsOf(person, attempt);
    return person.connection(connection.id);
  }

  /** A person connects a client through an authorization that exists; no browser. */
  async connectThrough(person, clientId, authorizationId, more = {}) {
    const { connection } = await person.does(
      'connect',
      { connector: 'oidc-provider', clientId, using: { authorizationId }, ...more },
      'connection { id }',
    );
    return person.connection(connection.id);
  }

  /** Mia connects Acme by browser, then Globex through the same authorization. */
  async connectBothClients(login = 'olga') {
    const first = await this.connectByBrowser(this.mia, this.acme, login);
    const second = await this.connectThrough(this.mia, this.globex, first.authorization.id);
    return [first, second];
  }

  /** A person reconnects by signing in, in a browser of their own. Returns what works again. */
  async reconnectByBrowser(person, connectionId, login = 'olga') {
    const { attempt } = await person.does('reconnect', { connectionId }, 'attempt { id status authorizationUrl }');
    await signIn(new Browser(), attempt.authorizationUrl, login);
    return this.#connectionsOf(person, attempt);
  }

  async #connectionsOf(person, { id }) {
    const { authorizationAttempt: attempt } = await person.ask(
      `query ($id: ID!) {
         authorizationAttempt(id: $id) { status error { code message } connections { id } stillDisconnected { id } }
       }`,
      { id },
    );
    if (attempt.status !== 'SUCCEEDED') throw new Error(`the attempt is ${attempt.status}: ${JSON.stringify(attempt.error)}`);
    return attempt.connections;
  }
}

class OrdersStage extends OidcStage {
  async prepare() {
    this.api = await startOrdersApi(this.oidc);
    this.atTheEnd(() => this.api.close());
    const { hosts, environment } = this.api;
    return { connectors: await this.api.connectorFiles(), hosts, environment };
  }

  /** A person connects a client's shop, signing in as `login`. */
  connectShop(person, clientId, { shop = 'shop-1', paging = 'link', login = 'olga' } = {}) {
    return this.connectByBrowser(person, clientId, login, { connector: `orders-${paging}`, accountId: shop });
  }

  /** A person connects another shop through an authorization that exists; no browser. */
  connectShopThrough(person, clientId, { authorization }, { shop = 'shop-2', paging = 'link' } = {}) {
    return this.connectThrough(person, clientId, authorization.id, { connector: `orders-${paging}`, accountId: shop });
  }
}

/** A server beside a database server of the tests', `source.server`, with a database in it, as `stage.source`. */
export async function sourceStage(t, { source, server, ...options }) {
  const stage = new SourceStage(t);
  stage.connector = source.connector;
  stage.source = await server.database();
  await stage.startPatchbay({ ...options, allowedHosts: [server.host] });
  await stage.fillWorkspace();
  return stage;
}

class SourceStage extends Stage {
  /** Tries to connect a client to the database as `role`; returns the payload. */
  tryToConnect(person, clientId, role, fields) {
    const using = { credentials: this.source.credentials(role, fields) };
    return person.tries('connect', { connector: this.connector, clientId, using }, 'connection { id } attempt { id }');
  }

  async connect(person, clientId, role) {
    const { connection, errors } = await this.tryToConnect(person, clientId, role);
    if (!connection) throw new Error(`not connected: ${JSON.stringify(errors)}`);
    return person.connection(connection.id);
  }

  /** Tries to reconnect as `role`; returns the payload. */
  tryToReconnect(person, connectionId, role, more = {}) {
    return person.tries(
      'reconnect',
      { connectionId, credentials: this.source.credentials(role), ...more },
      'connections { id } authorization { id status } disconnection { id endedAt endedBy } attempt { id }',
    );
  }
}

/** A server whose connector `key-ring` leads to a provider with API keys, as `stage.keyRing`. */
export async function keyRingStage(t, { requirements, ...options } = {}) {
  const stage = new KeyRingStage(t);
  stage.keyRing = await startKeyRing();
  stage.atTheEnd(() => stage.keyRing.close());
  await stage.startPatchbay({
    ...options,
    connectors: { 'key-ring.toml': await stage.keyRing.connectorFile({ requirements }) },
    allowedHosts: [stage.keyRing.host],
  });
  await stage.fillWorkspace();
  return stage;
}

class KeyRingStage extends Stage {
  /** Tries to connect a client with a key; returns the payload. */
  tryToConnect(person, clientId, key) {
    return person.tries(
      'connect',
      { connector: 'key-ring', clientId, using: { credentials: credentials(key) } },
      'connection { id } attempt { id }',
    );
  }

  async connect(person, clientId, key) {
    const { connection, errors } = await this.tryToConnect(person, clientId, key);
    if (!connection) throw new Error(`not connected: ${JSON.stringify(errors)}`);
    return person.connection(connection.id);
  }

  /** Tries to reconnect with a key; returns the payload. */
  tryToReconnect(person, connectionId, key) {
    return person.tries(
      'reconnect',
      { connectionId, credentials: credentials(key) },
      'connections { id } authorization { id status } disconnection { id endedAt endedBy } attempt { id }',
    );
  }
}

const credentials = (key) => [{ name: 'api_key', value: key }];
