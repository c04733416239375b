// A tab of a front end made with Apollo Client, by the recipe of docs/front-ends.md and nothing else.

import WebSocket from 'ws';

import { bearer } from './sockets.js';

// As in a browser, and in Node 22: GraphQLWsLink looks for it when a subscription fails.
globalThis.WebSocket ??= WebSocket;

const DISCONNECTED = { status: ['DISCONNECTED'] };

/** Made from the folder into which the recipe's files were written. */
export async function apolloFrontEnd(folder) {
  const { openSockets } = await import(`${folder}/sockets.js`);
  const { patchbayClient } = await import(`${folder}/client.js`);
  const documents = await import(`${folder}/documents.js`);
  const following = await import(`${folder}/following.js`);

  return {
    name: 'Apollo Client',
    openTab: (person, clientId) => new Tab({ person, clientId, openSockets, patchbayClient, documents, following }),
  };
}

class Tab {
  #following;

  constructor({ person, clientId, openSockets, patchbayClient, documents, following }) {
    this.documents = documents;
    this.clientId = clientId;
    const { host } = new URL(person.origin);
    const headers = bearer(person.token);
    this.sockets = openSockets({ url: `ws://${host}/graphql`, webSocketImpl: WebSocket, connectionParams: headers, retryWait: shortly });
    this.client = patchbayClient({ uri: `http://${host}/graphql`, headers, sockets: this.sockets });
    this.#following = [
      following.followConnections(this.client),
      following.followConnections(this.client, DISCONNECTED),
      following.followClient(this.client, clientId),
      following.followNotifications(this.client),
    ];
  }

  /** What the pages show: read from the cache. */
  shown() {
    return this.#pages((query, variables) => this.client.readQuery({ query, variables }));
  }

  /** What they would show had everything been loaded just now; the cache is left alone. */
  async fresh() {
    const { CONNECTIONS, CLIENT, NOTIFICATIONS } = this.documents;
    const answers = new Map();
    const load = async (query, variables) => {
      const { data } = await this.client.query({ query, variables, fetchPolicy: 'no-cache' });
      answers.set(key(query, variables), data);
    };
    for (const filter of [null, DISCONNECTED]) await load(CONNECTIONS, { filter });
    await load(CLIENT, { id: this.clientId });
    await load(NOTIFICATIONS, {});
    return this.#pages((query, variables) => answers.get(key(query, variables)));
  }

  /** Loads one more page of everything. */
  async loadMore() {
    const list = this.client.watchQuery({ query: this.documents.CONNECTIONS, variables: { filter: null } });
    const watching = list.subscribe(() => {});
    await list.fetchMore({ variables: { after: list.getCurrentResult().data.connections.pageInfo.endCursor } });
    watching.unsubscribe();
  }

  async close() {
    for (const one of this.#following) one.unsubscribe();
    this.client.stop();
    await this.sockets.dispose();
  }

  #pages(read) {
    const { CONNECTIONS, CLIENT, NOTIFICATIONS } = this.documents;
    const everything = read(CONNECTIONS, { filter: null });
    const { connections, ...client } = read(CLIENT, { id: this.clientId }).client;
    const { viewer } = read(NOTIFICATIONS, {});
    return {
      everything: everything.connections.nodes,
      disconnected: read(CONNECTIONS, { filter: DISCONNECTED }).connections.nodes,
      counts: everything.viewer.workspace.connectionCounts,
      client,
      clientRows: connections.nodes,
      unread: viewer.unreadNotificationCount,
      notifications: viewer.notifications.nodes,
    };
  }
}

const shortly = () => new Promise((resolve) => setTimeout(resolve, 100));
const key = (query, variables) => JSON.stringify([query.loc.source.body, variables]);
