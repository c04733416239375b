// Datasets and metrics on real databases, whose passwords change and whose users leave while Patchbay runs.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { everyDatabase } from './databases.js';
import { createDataset, createMetric, datasetIs, failsToRefresh, refresh, refreshedSince, tryToCreateDataset } from './datasets.js';
import { shortest } from './decimals.js';
import { everySource } from './sources.js';
import { sourceStage } from './stage.js';
import { eventually } from './waiting.js';

const CHANGES = `subscription ($after: String) {
  connectionsChanged(after: $after) { cursor kind connections { id } disconnection { id reason detectedBy } by { id } }
}`;

/** Nothing is probed while the test looks. */
const WITHOUT_PROBES = { PATCHBAY_PROBE_INTERVAL: '1h' };

const ORDERS = { sql: 'SELECT id, total FROM orders ORDER BY id' };

const TOTAL = '12345678901234567890.423456789';

/** Mia has connected Acme's orders; a dataset reads them and a metric adds them up. */
async function aSum(t, options) {
  const stage = await sourceStage(t, options);
  const { acme, mia, source: db } = stage;
  await db.sql('CREATE TABLE orders (id int PRIMARY KEY, total numeric(38, 9))');
  await db.sql("INSERT INTO orders VALUES (1, 0.1), (2, 0.2), (3, 12345678901234567890.123456789)");
  const role = await db.createRole();
  const connection = await stage.connect(mia, acme, role);
  const dataset = await createDataset(mia, connection, ORDERS);
  const metric = await createMetric(mia, dataset, 'SUM', 'total');
  return { stage, db, role, connection, dataset, metric };
}

const sumOf = async (person, { id }) => shortest((await person.metric(id)).exactValue);

const failing = async (person) => (await person.ask('{ metrics(filter: { failing: true }) { nodes { id } } }')).metrics.nodes;

/** One more order for one, and what they add up to then. */
async function orderOnceMore(db) {
  await db.sql('INSERT INTO orders VALUES (4, 1)');
  return '12345678901234567891.423456789';
}

for (const source of everySource) {
  describe(`datasets on ${source.name}`, { skip: source.skip }, () => {
    let server;
    before(async () => (server = await source.start()));
    after(() => server?.close());

    for (const database of everyDatabase) {
      test(`a password is changed: the metric says so, a colleague reconnects, and the number is back (on ${database.name})`, async (t) => {
        const { stage, db, role, connection, dataset, metric } = await aSum(t, { source, server, database });
        const { ada, sam, sue, mia, max, carl } = stage;
        assert.equal(dataset.mode, 'DIRECT_QUERY');
        assert.deepEqual(dataset.columns, ['id', 'total']);
        assert.equal(dataset.rowCount, 3);
        assert.equal(await sumOf(mia, metric), TOTAL);
        assert.equal((await mia.metric(metric.id)).error, null);
        const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });

        const altered = await db.alterPassword(role);
        const broken = await changes.next('the disconnection');
        assert.deepEqual([broken.kind, broken.connections, broken.by], ['DISCONNECTED', [{ id: connection.id }], null]);
        assert.deepEqual([broken.disconnection.reason, broken.disconnection.detectedBy], ['CREDENTIALS_REJECTED', 'PROBE']);
        const { error } = await mia.metric(metric.id);
        assert.ok(error.message.length > 0);
        assert.deepEqual([error.connection, error.dataset], [{ id: connection.id }, { id: dataset.id }]);
        assert.equal(await sumOf(mia, metric), TOTAL, 'the last good value stays');
        assert.deepEqual(await failing(sam), [{ id: metric.id }]);
        for (const person of [ada, sam, sue, mia]) {
          const { notifications } = await person.tray();
          assert.deepEqual(notifications.map(({ kind }) => kind), ['DISCONNECTED'], `${person.email} is told`);
          assert.equal(notifications[0].disconnection.reconnectConnectionId, connection.id);
        }
        for (const person of [max, carl]) assert.deepEqual((await person.tray()).notifications, []);

        const failed = await failsToRefresh(sue, dataset);
        assert.equal(failed.error.needsReconnect, true);
        assert.equal(failed.rowCount, 3, 'the last rows are counted');
        await eventually('none is to be had, once what was read a moment ago is forgotten', async () => (await mia.rows(dataset.id)) === null);
        const expected = await orderOnceMore(db);

        const refused = await stage.tryToReconnect(sam, connection.id, role);
        assert.deepEqual(refused.errors.map(({ code }) => code), ['REJECTED'], 'the old password');
        assert.deepEqual(await failing(sam), [{ id: metric.id }]);
        const healed = await stage.tryToReconnect(sam, connection.id, altered);
        assert.deepEqual(healed.errors, []);
        assert.deepEqual([healed.disconnection.id, healed.disconnection.endedBy], [broken.disconnection.id, 'RECONNECTED']);

        const mended = await changes.next('the reconnection');
        assert.deepEqual([mended.kind, mended.by], ['RECONNECTED', { id: sam.id }]);
        const refreshed = await refreshedSince(mia, dataset);
        assert.deepEqual([refreshed.error, refreshed.rowCount], [null, 4]);
        assert.equal(await sumOf(mia, metric), expected);
        assert.equal((await mia.metric(metric.id)).error, null);
        assert.deepEqual(await failing(sam), []);
        const { createdBy, sharedWith } = await mia.connection(connection.id);
        assert.deepEqual([createdBy, sharedWith], [{ id: sam.id }, [{ id: mia.id }]], 'who reconnected owns it');
        assert.deepEqual(changes.kinds, ['DISCONNECTED', 'RECONNECTED']);
      });
    }

    for (const accountChange of ['THIS_CONNECTION', 'WHOLE_AUTHORIZATION']) {
      test(`someone left: another user of the database takes over by ${accountChange}, and only when it is meant`, async (t) => {
        const { stage, db, role, connection, dataset, metric } = await aSum(t, { source, server });
        const { sam } = stage;
        const successor = await db.createRole();
        await db.dropRole(role);
        const failed = await failsToRefresh(sam, dataset);
        assert.equal(failed.error.needsReconnect, true);
        await orderOnceMore(db);

        for (const meant of [{}, { accountChange: 'ASK' }, { accountChange: 'REFUSE' }]) {
          const { errors, connections } = await stage.tryToReconnect(sam, connection.id, successor, meant);
          assert.deepEqual(errors.map(({ code }) => code), ['ACCOUNT_MISMATCH'], JSON.stringify(meant));
          assert.equal(connections, null);
        }
        assert.equal((await sam.connection(connection.id)).status, 'DISCONNECTED', 'nothing has moved');
        assert.equal((await sam.dataset(dataset.id)).status, 'FAILED');

        const moved = await stage.tryToReconnect(sam, connection.id, successor, { accountChange });
        assert.deepEqual(moved.errors, []);
        const refreshed = await refreshedSince(sam, dataset);
        assert.deepEqual(refreshed.connection, { id: connection.id });
        assert.equal(await sumOf(sam, metric), '12345678901234567891.423456789');
        assert.equal((await sam.metric(metric.id)).error, null);
        const { status, createdBy } = await sam.connection(connection.id);
        assert.deepEqual([status, createdBy], ['CONNECTED', { id: sam.id }]);
      });
    }

    test('a refresh notices what no probe has looked for', async (t) => {
      const { stage, db, role, connection, dataset, metric } = await aSum(t, { source, server, env: WITHOUT_PROBES });
      const { mia, sam } = stage;
      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });

      const altered = await db.alterPassword(role);
      assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
      await refresh(mia, dataset);
      const broken = await changes.next('the disconnection');
      assert.deepEqual([broken.kind, broken.disconnection.reason], ['DISCONNECTED', 'CREDENTIALS_REJECTED']);
      assert.equal(broken.disconnection.detectedBy, 'DATASET_REFRESH');
      const { error } = await datasetIs(mia, dataset, 'FAILED');
      assert.equal(error.needsReconnect, true);
      assert.deepEqual((await mia.metric(metric.id)).error.connection, { id: connection.id });

      assert.deepEqual((await stage.tryToReconnect(mia, connection.id, altered)).errors, []);
      await refreshedSince(mia, dataset);
      assert.equal((await mia.metric(metric.id)).error, null);
      assert.deepEqual(changes.kinds, ['DISCONNECTED', 'RECONNECTED']);
    });

    test('whoever tries a new query notices that the password is an old one, too', async (t) => {
      const { stage, db, role, connection } = await aSum(t, { source, server, env: WITHOUT_PROBES });
      const { mia } = stage;
      const altered = await db.alterPassword(role);
      const refused = await tryToCreateDataset(mia, connection, ORDERS);
      assert.equal(refused.dataset, null);
      assert.deepEqual(refused.errors.map(({ code }) => code), ['REJECTED']);
      assert.equal((await mia.connection(connection.id)).status, 'DISCONNECTED');

      assert.deepEqual((await stage.tryToReconnect(mia, connection.id, altered)).errors, []);
      await createDataset(mia, connection, ORDERS);
    });

    test('a database that is away flags nobody, and its datasets go on by themselves once it is back', async (t) => {
      const { stage, connection, dataset, metric } = await aSum(t, { source, server });
      const { mia, sam } = stage;
      await server.stop();
      const failed = await failsToRefresh(mia, dataset).finally(() => server.resume());

      assert.ok(failed.error.message.length > 0);
      assert.equal(failed.error.needsReconnect, false);
      assert.equal(failed.rowCount, 3);
      const { error } = await mia.metric(metric.id);
      assert.deepEqual([error.connection, error.dataset], [null, { id: dataset.id }]);
      const { error: over } = await refreshedSince(mia, dataset);
      assert.deepEqual([over, (await mia.metric(metric.id)).error], [null, null]);
      assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
      assert.deepEqual(await sam.disconnectionsOf(connection.id), []);
      assert.deepEqual((await sam.tray()).notifications, []);
    });

    test('a query that no longer fits fails without anybody having to reconnect, and says that it is the query', async (t) => {
      const { stage, db, connection, dataset, metric } = await aSum(t, { source, server });
      const { mia } = stage;
      await db.sql('ALTER TABLE orders RENAME COLUMN total TO amount');
      const failed = await failsToRefresh(mia, dataset);
      assert.equal(failed.error.needsReconnect, false);
      assert.match(failed.error.message, /query/i);
      assert.doesNotMatch(failed.error.message, /SELECT|orders|total/, 'nothing of the query is repeated');
      assert.equal(await sumOf(mia, metric), TOTAL);
      assert.equal((await mia.connection(connection.id)).status, 'CONNECTED');

      const input = { datasetId: dataset.id, query: { sql: 'SELECT id, amount AS total FROM orders' } };
      await mia.does('updateDataset', input, 'dataset { id }');
      await refreshedSince(mia, dataset);
      assert.equal((await mia.metric(metric.id)).error, null);
    });
  });
}
