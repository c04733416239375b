// A tab of a front end made with Relay, by the recipe of docs/front-ends.md and nothing else: without React, what its hooks do
// beneath (a query that is retained, the fragments read from the store) is done here.

import { execFile } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { register } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import relay from 'relay-runtime';
import compiler from 'relay-compiler';
import WebSocket from 'ws';

import { repository } from './markdown.js';
import { bearer } from './sockets.js';

const { createOperationDescriptor, fetchQuery, getSingularSelector } = relay;

// As a bundler does: what the compiler generates is imported without its ending.
const withEnding = 'export const resolve = (name, context, next) => next(name.endsWith(".graphql") ? `${name}.js` : name, context);';
register(`data:text/javascript,${encodeURIComponent(withEnding)}`);

/** Made from the folder into which the recipe's files were written: the compiler is run on them and on schema.graphql. */
export async function relayFrontEnd(folder) {
  await copyFile(join(repository, 'schema.graphql'), join(folder, 'schema.graphql'));
  await promisify(execFile)(compiler, ['relay.config.json'], { cwd: folder });

  const { openSockets } = await import(`${folder}/sockets.js`);
  const { patchbayEnvironment } = await import(`${folder}/environment.js`);
  const following = await import(`${folder}/following.js`);
  const artifact = async (name) => (await import(`${folder}/__generated__/${name}.graphql.js`)).default;
  const artifacts = {};
  for (const name of ['SourcesQuery', 'ClientQuery', 'TrayQuery', 'SourcesPageQuery', 'Sources_list', 'Sources_row', 'Sources_counts',
    'Client_list', 'Tray_list', 'Tray_notification']) artifacts[name] = await artifact(name);

  return {
    name: 'Relay',
    openTab: (person, clientId) => new Tab({ person, clientId, openSockets, patchbayEnvironment, artifacts, following }),
  };
}

class Tab {
  #stops;

  constructor({ person, clientId, openSockets, patchbayEnvironment, artifacts, following }) {
    Object.assign(this, { clientId, artifacts });
    const { host } = new URL(person.origin);
    const headers = bearer(person.token);
    this.sockets = openSockets({ url: `ws://${host}/graphql`, webSocketImpl: WebSocket, connectionParams: headers, retryWait: shortly });
    this.newEnvironment = () => patchbayEnvironment({ uri: `http://${host}/graphql`, headers, sockets: this.sockets });
    this.environment = this.newEnvironment();
    const { SourcesQuery, ClientQuery, TrayQuery } = artifacts;
    this.queries = {
      everything: createOperationDescriptor(SourcesQuery, { filter: null }),
      disconnected: createOperationDescriptor(SourcesQuery, { filter: { status: ['DISCONNECTED'] } }),
      client: createOperationDescriptor(ClientQuery, { id: clientId }),
      tray: createOperationDescriptor(TrayQuery, {}),
    };
    for (const query of Object.values(this.queries)) this.environment.retain(query);
    this.#stops = [
      following.followEverything(this.environment),
      following.followList(this.environment, { status: ['DISCONNECTED'] }),
      following.followClient(this.environment, clientId),
      following.followTray(this.environment),
    ];
  }

  /** What the pages show: read from the store. */
  shown() {
    return this.#pages(this.environment);
  }

  /** What they would show had everything been loaded just now, into a store of its own. */
  async fresh() {
    const environment = this.newEnvironment();
    for (const { request, ...query } of Object.values(this.queries)) {
      environment.retain({ request, ...query });
      await fetchQuery(environment, request.node, request.variables).toPromise();
    }
    return this.#pages(environment);
  }

  /** Loads one more page of everything. */
  async loadMore() {
    const { connections } = this.#read(this.environment, 'Sources_list', this.#root(this.environment, 'everything'));
    const variables = { filter: null, first: 50, after: connections.pageInfo.endCursor };
    await fetchQuery(this.environment, this.artifacts.SourcesPageQuery, variables).toPromise();
  }

  async close() {
    for (const stop of this.#stops) stop();
    await this.sockets.dispose();
  }

  #pages(environment) {
    const root = (name) => this.#root(environment, name);
    const read = (fragment, at) => this.#read(environment, fragment, at);
    const rows = ({ edges }) => edges.filter(({ node }) => node).map(({ node }) => read('Sources_row', node)).sort(byId);
    const { client } = root('client');
    const { viewer } = root('tray');
    const { id, name, connectionCounts } = client;
    return {
      everything: rows(read('Sources_list', root('everything')).connections),
      disconnected: rows(read('Sources_list', root('disconnected')).connections),
      counts: read('Sources_counts', root('everything').viewer.workspace.connectionCounts),
      client: { id, name, connectionCounts: read('Sources_counts', connectionCounts) },
      clientRows: rows(read('Client_list', client).connections),
      unread: viewer.unreadNotificationCount,
      notifications: read('Tray_list', viewer).notifications.edges.map(({ node }) => read('Tray_notification', node)),
    };
  }

  #root(environment, name) {
    const snapshot = environment.lookup(this.queries[name].fragment);
    if (snapshot.isMissingData) throw new Error(`the store lacks data of ${name}`);
    return snapshot.data;
  }

  #read(environment, fragment, at) {
    const snapshot = environment.lookup(getSingularSelector(this.artifacts[fragment], at));
    if (snapshot.isMissingData) throw new Error(`the store lacks data of ${fragment}`);
    return snapshot.data;
  }
}

const byId = (one, other) => (one.id < other.id ? -1 : 1);
const shortly = () => new Promise((resolve) => setTimeout(resolve, 100));
