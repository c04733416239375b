// Front ends that stay open: each begins with a list, keeps it by events alone, and comes back with its cursor whenever it is
// cut off. At the end its copy has to be what the list says, and what it heard has to be what the journal replays.

import { openWindow } from '../outside/sockets.js';
import { pause } from '../outside/waiting.js';

const CONNECTION = 'id name status client { id } createdBy { id } sharedWith { id } authorization { id } disconnection { reason }';
const DATASET = 'id name status error { message } lastRefreshedAt connection { id }';
const NOTIFICATION = 'id kind readAt';

const COMES_BACK_MS = 500;

/** What all of them share: a window, a cursor, and the cursors heard so far. */
class Follower {
  heard = [];
  items = new Map();
  resumed = 0;

  #stopped = false;
  #told = new Set();

  constructor(person, requests, report) {
    Object.assign(this, { person, requests, report });
    const { random, nodes } = requests;
    this.window = openWindow({ ...person, origin: nodes[0].origin }, { url: () => `${random.pick(nodes).origin.replace(/^http/, 'ws')}/graphql` });
  }

  /** Reads the list, then follows it until it is stopped. */
  async begin() {
    await this.load();
    this.first = this.cursor;
    this.following = this.#follow();
  }

  cut() {
    this.window.sockets.at(-1)?.terminate();
  }

  async stop() {
    this.#stopped = true;
    await this.window.close();
    await this.following;
  }

  /** The items of the list as it is now, with the cursor read before them. */
  async load() {
    const { cursor, items } = await this.list();
    this.cursor = cursor;
    this.items = items;
  }

  /** Whether an event has brought this one before. (The list may have: it is younger than its cursor.) */
  isTold({ id }) {
    const before = this.#told.has(id);
    this.#told.add(id);
    return before;
  }

  /** Every page of a list; the cursor is the first page's. */
  async pages(query, variables, pageOf) {
    const items = new Map();
    let cursor = null;
    let after = null;
    do {
      const data = await this.requests.read(this.person, query, { ...variables, after });
      cursor ??= data.eventCursor;
      const { nodes, pageInfo } = pageOf(data);
      for (const node of nodes) items.set(node.id, node);
      after = pageInfo.hasNextPage ? pageInfo.endCursor : null;
    } while (after);
    return { cursor, items };
  }

  async #follow() {
    while (!this.#stopped) {
      const ended = await this.#subscribe();
      if (this.#stopped) return;
      this.resumed += 1;
      const codes = [ended].flat().map((error) => error?.extensions?.code);
      if (codes.includes('CURSOR_EXPIRED')) {
        this.report.problem('CURSOR_EXPIRED, and nothing had expired', this.name);
        await this.load();
        this.first = this.cursor;
        this.heard = [];
      } else if (codes.includes('INTERNAL')) {
        this.report.problem('INTERNAL told to a subscriber', `${this.name}: ${JSON.stringify(ended).slice(0, 300)}`);
      }
      await pause(COMES_BACK_MS);
    }
  }

  /** One subscription until it ends; resolves with what ended it. graphql-ws sends this very object again when it comes back. */
  #subscribe() {
    const payload = { query: this.subscription, variables: { ...this.variables, after: this.cursor } };
    return new Promise((resolve) => {
      const leave = this.window.client.subscribe(payload, {
        next: ({ data, errors }) => {
          if (errors) {
            resolve(errors);
            return leave();
          }
          const [event] = Object.values(data);
          payload.variables.after = this.cursor = event.cursor;
          this.report.count('events');
          if (event.kind === 'CHECKPOINT') return;
          this.heard.push({ cursor: event.cursor, kind: event.kind });
          this.apply(event);
        },
        error: resolve,
        complete: () => resolve(null),
      });
    });
  }
}

export class ConnectionsFollower extends Follower {
  subscription = `subscription ($filter: ConnectionFilter, $after: String) {
    connectionsChanged(filter: $filter, after: $after) { cursor kind connections { ${CONNECTION} } removedConnectionIds }
  }`;

  constructor(name, person, requests, report, filter = null) {
    super(person, requests, report);
    Object.assign(this, { name: `connections, ${name}`, filter, variables: { filter } });
  }

  list() {
    return this.pages(
      `query listConnections($filter: ConnectionFilter, $after: String) {
         eventCursor connections(filter: $filter, first: 100, after: $after) { nodes { ${CONNECTION} } pageInfo { hasNextPage endCursor } }
       }`,
      { filter: this.filter },
      ({ connections }) => connections,
    );
  }

  apply({ connections, removedConnectionIds }) {
    for (const connection of connections) this.items.set(connection.id, connection);
    for (const id of removedConnectionIds) this.items.delete(id);
  }

  /** What the journal has to say to this follower since it began. */
  async replay(after = this.first) {
    const events = [];
    for (;;) {
      const { connectionChanges: page } = await this.requests.read(
        this.person,
        `query replayChanges($filter: ConnectionFilter, $after: String!) {
           connectionChanges(filter: $filter, after: $after, first: 100) { nodes { cursor kind } endCursor hasNextPage }
         }`,
        { filter: this.filter, after },
      );
      events.push(...page.nodes.filter(({ kind }) => kind !== 'CHECKPOINT'));
      after = page.endCursor;
      if (!page.hasNextPage) return events;
    }
  }
}

export class DatasetsFollower extends Follower {
  subscription = `subscription ($after: String) { datasetsChanged(after: $after) { cursor kind datasetId dataset { ${DATASET} } } }`;

  constructor(name, person, requests, report) {
    super(person, requests, report);
    Object.assign(this, { name: `datasets, ${name}`, variables: {} });
  }

  list() {
    return this.pages(
      `query listDatasets($after: String) { eventCursor datasets(first: 100, after: $after) { nodes { ${DATASET} } pageInfo { hasNextPage endCursor } } }`,
      {},
      ({ datasets }) => datasets,
    );
  }

  apply({ datasetId, dataset }) {
    if (dataset) this.items.set(datasetId, dataset);
    else this.items.delete(datasetId);
  }
}

const tray = `query listNotifications($after: String) {
  eventCursor
  viewer { notifications(first: 100, after: $after) { nodes { ${NOTIFICATION} } pageInfo { hasNextPage endCursor } } }
}`;

export class TrayFollower extends Follower {
  subscription = `subscription ($after: String) { notificationAdded(after: $after) { cursor notification { ${NOTIFICATION} } } }`;

  constructor(name, person, requests, report) {
    super(person, requests, report);
    Object.assign(this, { name: `tray, ${name}`, variables: {} });
  }

  list() {
    return this.pages(tray, {}, ({ viewer }) => viewer.notifications);
  }

  apply({ notification }) {
    if (this.isTold(notification)) this.report.problem('a notification added twice', `${this.name}: ${notification.id}`);
    this.items.set(notification.id, notification);
  }

  /** Whether it was read is another follower's business. */
  essence({ id, kind }) {
    return { id, kind };
  }
}

export class ReadingFollower extends Follower {
  subscription = `subscription ($after: String) { notificationsRead(after: $after) { cursor notifications { ${NOTIFICATION} } } }`;

  constructor(name, person, requests, report) {
    super(person, requests, report);
    Object.assign(this, { name: `what is read, ${name}`, variables: {} });
  }

  /** Only what was read: what is added is another follower's business. */
  async list() {
    const { cursor, items } = await this.pages(tray, {}, ({ viewer }) => viewer.notifications);
    for (const [id, { readAt }] of items) if (readAt === null) items.delete(id);
    return { cursor, items };
  }

  apply({ notifications }) {
    for (const notification of notifications) {
      if (this.isTold(notification)) this.report.problem('a notification told as read twice', `${this.name}: ${notification.id}`);
      this.items.set(notification.id, notification);
    }
  }

  essence({ id }) {
    return { id };
  }
}

/** One that polls instead, page by page; what it gathers has to be what a subscriber hears. */
export class Poller {
  heard = [];
  name = 'the one that polls';

  #stopped = false;

  constructor(person, requests) {
    Object.assign(this, { person, requests });
  }

  async begin() {
    this.first = this.cursor = (await this.requests.read(this.person, 'query cursor { eventCursor }')).eventCursor;
    this.following = this.#poll();
  }

  async stop() {
    this.#stopped = true;
    await this.following;
    await this.#take();
  }

  async #poll() {
    while (!this.#stopped) {
      await this.#take().catch(() => {});
      await pause(this.requests.random.int(500, 3_000));
    }
  }

  async #take() {
    for (;;) {
      const { connectionChanges: page } = await this.requests.read(
        this.person,
        'query pollChanges($after: String!) { connectionChanges(after: $after, first: 20) { nodes { cursor kind } endCursor hasNextPage } }',
        { after: this.cursor },
      );
      this.heard.push(...page.nodes.filter(({ kind }) => kind !== 'CHECKPOINT'));
      this.cursor = page.endCursor;
      if (!page.hasNextPage) return;
    }
  }
}
