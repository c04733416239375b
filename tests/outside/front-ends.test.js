// Front ends with a cache of their own, by the recipes of docs/front-ends.md: after every step of the story the cache shows what
// the server would answer; and the foot of a metric, which shows what there is to do.

import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';

import { apolloFrontEnd } from './apollo.js';
import { createDataset, createMetric, failsToRefresh } from './datasets.js';
import { Document } from './markdown.js';
import { relayFrontEnd } from './relay.js';
import { bearer } from './sockets.js';
import { postgresSource } from './sources.js';
import { keyRingStage, oidcStage, sourceStage } from './stage.js';
import { eventually } from './waiting.js';

/** Seconds of an access token that is not renewed while the test looks. */
const LONG_LIVED = 12 * 3_600;

const FIRST_PAGE = 50;

/** How many connections an event names at most. */
const MOST_OF_AN_EVENT = 100;

const recipes = await Document.open('docs/front-ends.md');
const SHARED = 'A socket that goes on where it was';
const FOOT = 'The foot of a metric';

const ids = (rows) => rows.map((row) => row.id);
const statuses = (rows) => rows.map((row) => row.status);

/** A folder with the files under these headings, and with what they import. */
async function recipesFolder(headings) {
  const folder = await mkdtemp(join(tmpdir(), 'patchbay-front-end-'));
  await symlink(join(import.meta.dirname, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await recipes.writeFiles(folder, headings);
  return folder;
}

for (const [heading, frontEndOf] of [['Apollo Client', apolloFrontEnd], ['Relay', relayFrontEnd]]) {
  describe(heading, () => {
    let folder, frontEnd;

    before(async () => {
      folder = await recipesFolder([SHARED, heading]);
      if (heading === 'Relay') await writeFile(join(folder, 'relay.config.json'), recipes.block('json', 'eagerEsModules'));
      frontEnd = await frontEndOf(folder);
    });

    after(() => rm(folder, { recursive: true, force: true }));

    /** A tab with the pages of everything, of what is disconnected, of a client, and the tray. */
    function openTab(stage, person, clientId) {
      const tab = frontEnd.openTab(person, clientId);
      stage.atTheEnd(() => tab.close());

      /** What the tab shows becomes what the server would answer, and what is expected. */
      tab.comesToShow = (what, looks, { except } = {}) =>
        eventually(what, async () => {
          const [shown, fresh] = [tab.shown(), await tab.fresh()];
          assert.deepEqual({ ...shown, [except]: null }, { ...fresh, [except]: null });
          looks(shown);
          return true;
        });
      return tab;
    }

    test('stays right while others connect, break, reconnect, move, rename and remove', async (t) => {
      const stage = await oidcStage(t, { accessTokenSeconds: LONG_LIVED });
      const { oidc, mia, sam, sue, acme, globex } = stage;
      const tab = openTab(stage, sue, acme);
      await tab.comesToShow('nothing yet', ({ everything, counts }) => {
        assert.deepEqual(everything, []);
        assert.equal(counts.total, 0);
      });

      const first = await stage.connectByBrowser(mia, acme, 'olga');
      await tab.comesToShow('the first connection', ({ everything, clientRows, counts, client }) => {
        assert.deepEqual(ids(everything), [first.id]);
        assert.deepEqual(ids(clientRows), [first.id]);
        assert.deepEqual([counts.connected, client.connectionCounts.connected], [1, 1]);
      });
      const second = await stage.connectThrough(mia, globex, first.authorization.id);
      await tab.comesToShow('the second', ({ everything, clientRows, counts, client }) => {
        assert.deepEqual(ids(everything), [first.id, second.id]);
        assert.deepEqual(ids(clientRows), [first.id]);
        assert.deepEqual([counts.connected, client.connectionCounts.connected], [2, 1]);
      });

      await oidc.revokeEverythingOf('olga');
      await tab.comesToShow('the disconnection', ({ everything, disconnected, counts, client, unread, notifications }) => {
        assert.deepEqual(statuses(everything), ['DISCONNECTED', 'DISCONNECTED']);
        assert.deepEqual(ids(disconnected), [first.id, second.id]);
        assert.deepEqual([counts.disconnected, client.connectionCounts.disconnected, unread], [2, 1, 1]);
        assert.ok(notifications[0].disconnection.reconnectConnectionId, 'a button');
      });

      await sue.does('markNotificationsRead', {}, 'notifications { id }');
      await tab.comesToShow('no red dot', ({ unread, notifications }) => {
        assert.equal(unread, 0);
        assert.ok(notifications[0].readAt);
      });

      await stage.reconnectByBrowser(sam, first.id);
      await tab.comesToShow('the reconnection', ({ everything, disconnected, counts, notifications }) => {
        assert.deepEqual(statuses(everything), ['CONNECTED', 'CONNECTED']);
        assert.deepEqual(disconnected, []);
        assert.deepEqual([counts.connected, counts.disconnected], [2, 0]);
        assert.equal(notifications[0].disconnection.reconnectConnectionId, null, 'no button');
      });

      await sam.does('updateConnection', { connectionId: first.id, name: 'Another name' }, 'connection { id }');
      await tab.comesToShow('the new name', ({ everything }) => assert.equal(everything[0].name, 'Another name'));

      await sam.does('removeConnection', { connectionId: first.id }, 'removedConnectionId');
      await tab.comesToShow('the removal', ({ everything, clientRows, counts, client }) => {
        assert.deepEqual([ids(everything), ids(clientRows)], [[second.id], []]);
        assert.deepEqual([counts.total, client.connectionCounts.total], [1, 0]);
      });

      await sam.does('updateConnection', { connectionId: second.id, clientId: acme }, 'connection { id }');
      await tab.comesToShow('the move', ({ clientRows, client }) => {
        assert.deepEqual(ids(clientRows), [second.id]);
        assert.equal(client.connectionCounts.total, 1);
      });
    });

    test('stays right while things are shared with someone, and taken back', async (t) => {
      const stage = await keyRingStage(t);
      const { keyRing, mia, max, acme } = stage;
      const tab = openTab(stage, max, acme);
      const [early, late] = [
        await stage.connect(mia, acme, keyRing.issue('early', { id: '1', name: 'Early' })),
        await stage.connect(mia, acme, keyRing.issue('late', { id: '2', name: 'Late' })),
      ];
      await tab.comesToShow('nothing of it', ({ everything, counts }) => assert.deepEqual([everything, counts.total], [[], 0]));

      const share = ({ id }) => mia.does('shareConnection', { connectionId: id, userIds: [max.id] }, 'connection { id }');
      const unshare = ({ id }) => mia.does('unshareConnection', { connectionId: id, userIds: [max.id] }, 'connection { id }');
      await share(late);
      await tab.comesToShow('what was shared', ({ everything, counts }) => assert.deepEqual([ids(everything), counts.total], [[late.id], 1]));
      keyRing.withdraw('late');
      await tab.comesToShow('its disconnection', ({ disconnected, unread }) => assert.deepEqual([ids(disconnected), unread], [[late.id], 1]));

      await unshare(late);
      await tab.comesToShow('nothing any more', ({ everything, disconnected, clientRows, counts }) => {
        assert.deepEqual([everything, disconnected, clientRows, counts.total], [[], [], [], 0]);
      }, { except: 'notifications' }); // what was told keeps its button until the tray is loaded again
      await share(late);
      await tab.comesToShow('it again', ({ everything, disconnected }) => {
        assert.deepEqual([ids(everything), ids(disconnected)], [[late.id], [late.id]]);
      });
      await mia.does('removeConnection', { connectionId: late.id }, 'removedConnectionId');
      await share(early);
      await tab.comesToShow('the other one', ({ everything, counts }) => assert.deepEqual([ids(everything), counts.total], [[early.id], 1]));
    });

    test('shows page after page, and what happens on each', async (t) => {
      const stage = await keyRingStage(t);
      const { keyRing, mia, sam, globex } = stage;
      const connect = (n) => stage.connect(mia, globex, keyRing.issue(`key ${n}`, { id: `${n}`, name: `Shop ${n}` }));
      const connections = [];
      for (let n = 0; n < FIRST_PAGE + 3; n += 1) connections.push(await connect(n));
      const tab = openTab(stage, sam, globex);
      const all = async () => (await sam.ask('{ connections(first: 100) { nodes { id } } }')).connections.nodes;
      const shows = (what, expected) => eventually(what, async () => {
        assert.deepEqual(ids(tab.shown().everything), ids(await expected()));
        return true;
      });

      await shows('the first page', async () => (await all()).slice(0, FIRST_PAGE));
      connections.push(await connect(FIRST_PAGE + 3));
      await eventually('it is counted', () => tab.shown().counts.total === connections.length);
      await tab.loadMore();
      await shows('all of them', all);

      connections.push(await connect(FIRST_PAGE + 4));
      await shows('one more', all);
      await mia.does('removeConnection', { connectionId: connections[FIRST_PAGE + 1].id }, 'removedConnectionId');
      await mia.does('removeConnection', { connectionId: connections[1].id }, 'removedConnectionId');
      await shows('two less', all);
      keyRing.withdraw(`key ${FIRST_PAGE + 2}`);
      const broken = connections[FIRST_PAGE + 2].id;
      await eventually('one is disconnected', () => tab.shown().everything.find(({ id }) => id === broken).status === 'DISCONNECTED');
    });

    test('shows nothing that is over when more breaks at once than an event names', async (t) => {
      const stage = await oidcStage(t, { accessTokenSeconds: LONG_LIVED });
      const { oidc, ada, sam, acme } = stage;
      const { authorization } = await stage.connectByBrowser(ada, acme, 'olga');
      for (let n = 0; n < MOST_OF_AN_EVENT; n += 1) {
        const { client } = await ada.does('createClient', { name: `Client ${n}` }, 'client { id }');
        await ada.does('connect', { connector: 'oidc-provider', clientId: client.id, using: { authorizationId: authorization.id } }, 'connection { id }');
      }
      const tab = openTab(stage, sam, acme);
      await eventually('the first page', () => tab.shown().everything.length === FIRST_PAGE);
      await tab.loadMore();
      await tab.loadMore();
      await eventually('all pages', () => tab.shown().everything.length === MOST_OF_AN_EVENT + 1);

      await oidc.revokeEverythingOf('olga');
      await eventually('all that is shown is disconnected', () => {
        const { everything, counts } = tab.shown();
        assert.deepEqual([...new Set(statuses(everything))], ['DISCONNECTED']);
        return counts.disconnected === MOST_OF_AN_EVENT + 1;
      });
    });

    test('catches up after a SIGKILL, and after a new role', async (t) => {
      const stage = await keyRingStage(t);
      const { keyRing, patchbay, ada, mia, max, acme } = stage;
      const connection = await stage.connect(mia, acme, keyRing.issue('key', { id: '1', name: 'Shop' }));
      await mia.does('shareConnection', { connectionId: connection.id, userIds: [max.id] }, 'connection { id }');
      const tab = openTab(stage, max, acme);
      await tab.comesToShow('what is shared', ({ everything }) => assert.deepEqual(ids(everything), [connection.id]));

      await patchbay.restart();
      await mia.does('updateConnection', { connectionId: connection.id, name: 'After the restart' }, 'connection { id }');
      await tab.comesToShow('what happened since', ({ everything }) => assert.equal(everything[0].name, 'After the restart'));

      const another = await stage.connect(mia, acme, keyRing.issue('another key', { id: '2', name: 'Another shop' }));
      await ada.does('updateUser', { userId: max.id, role: 'STAFF' }, 'user { id }');
      await tab.comesToShow('everything', ({ everything }) => assert.deepEqual(ids(everything), [connection.id, another.id]));
      await mia.does('updateConnection', { connectionId: another.id, name: 'Seen by staff' }, 'connection { id }');
      await tab.comesToShow('what happens then', ({ everything }) => assert.equal(everything[1].name, 'Seen by staff'));
    });
  });
}

describe(FOOT, { skip: postgresSource.skip }, () => {
  let folder, server;

  before(async () => {
    folder = await recipesFolder([SHARED, FOOT]);
    server = await postgresSource.start();
  });

  after(async () => {
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A page of metrics, which shows each by its value and its foot. */
  async function openPage(stage, person) {
    const { openSockets } = await import(`${folder}/sockets.js`);
    const { followMetrics, footOf } = await import(`${folder}/metrics.js`);
    const url = `${person.origin.replace('http', 'ws')}/graphql`;
    const sockets = openSockets({ url, webSocketImpl: WebSocket, connectionParams: bearer(person.token) });
    let page;
    const ask = (query, variables) => person.ask(query, variables);
    const stop = followMetrics({ ask, sockets, show: (metrics) => (page = metrics.map((metric) => [metric.exactValue, footOf(metric)])) });
    stage.atTheEnd(async () => {
      stop();
      await sockets.dispose();
    });
    return {
      shows: (what, looks) => eventually(what, async () => {
        looks(page);
        return true;
      }),
    };
  }

  test('has a button where reconnecting helps, for whoever may, and nothing once all is well', async (t) => {
    const stage = await sourceStage(t, { source: postgresSource, server });
    const { source: db, mia, carl, acme } = stage;
    await db.sql('CREATE TABLE orders (id int, total int)');
    await db.sql('INSERT INTO orders VALUES (1, 20), (2, 22)');
    const role = await db.createRole();
    const connection = await stage.connect(mia, acme, role);
    const [mias, carls] = [await openPage(stage, mia), await openPage(stage, carl)];
    await mias.shows('nothing yet', (page) => assert.deepEqual(page, []));
    const dataset = await createDataset(mia, connection, { sql: 'SELECT total FROM orders' });
    await createMetric(mia, dataset, 'SUM', 'total');
    for (const page of [mias, carls]) await page.shows('the metric', (shown) => assert.deepEqual(shown, [['42', null]]));

    const altered = await db.alterPassword(role);
    await mias.shows('a button', ([[value, foot]]) => {
      assert.deepEqual([value, foot.reconnect], ['42', connection.id]);
      assert.match(foot.text, /Reconnect/);
    });
    await carls.shows('no button', ([[value, foot]]) => {
      assert.deepEqual([value, foot.reconnect], ['42', null]);
      assert.match(foot.text, /Reconnect/);
    });

    await failsToRefresh(mia, dataset);
    await db.sql('INSERT INTO orders VALUES (3, 8)');
    assert.deepEqual((await stage.tryToReconnect(mia, connection.id, altered)).errors, []);
    for (const page of [mias, carls]) await page.shows('the new value', (shown) => assert.deepEqual(shown, [['50', null]]));

    await db.sql('ALTER TABLE orders RENAME COLUMN total TO amount');
    await failsToRefresh(mia, dataset);
    await mias.shows('that it is the query', ([[value, foot]]) => {
      assert.deepEqual([value, foot.reconnect], ['50', null]);
      assert.match(foot.text, /query/);
    });
    await mia.does('updateDataset', { datasetId: dataset.id, query: { sql: 'SELECT amount AS total FROM orders' } }, 'dataset { id }');
    await mias.shows('nothing at its foot', (shown) => assert.deepEqual(shown, [['50', null]]));

    await mia.does('removeConnection', { connectionId: connection.id }, 'keptDatasets');
    await mias.shows('that its source is gone', ([[value, foot]]) => {
      assert.deepEqual([value, foot.reconnect], ['50', null]);
      assert.match(foot.text, /removed/);
    });
    await mia.does('removeDataset', { datasetId: dataset.id }, 'removedDatasetId');
    await mias.shows('nothing any more', (page) => assert.deepEqual(page, []));
  });

  test('is there for every metric, however many pages they fill', async (t) => {
    const stage = await sourceStage(t, { source: postgresSource, server });
    const connection = await stage.connect(stage.mia, stage.acme, await stage.source.createRole());
    for (let n = 0; n < 2; n += 1) {
      const dataset = await createDataset(stage.mia, connection, { sql: 'SELECT 1 AS one' });
      for (let metrics = 0; metrics <= FIRST_PAGE; metrics += 1) await createMetric(stage.mia, dataset, 'COUNT');
    }
    const page = await openPage(stage, stage.mia);
    await page.shows('all of them', (shown) => assert.deepEqual(shown, Array(2 * (FIRST_PAGE + 1)).fill(['1', null])));
  });
});

test('has no block that nobody runs', () => {
  if (postgresSource.skip) recipes.block('js', 'footOf');
  recipes.hasNothingUnread();
});
