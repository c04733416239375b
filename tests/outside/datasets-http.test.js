// Datasets of an HTTP API behind oidc-provider's tokens: pages in three ways, refusals, outages, and lists without end.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { everyDatabase } from './databases.js';
import {
  createDataset, createMetric, datasetIs, failsToRefresh, ORDERS, refresh, refreshedSince, tryToCreateDataset,
} from './datasets.js';
import { sum } from './decimals.js';
import { faults } from './faults.js';
import { all, endless, orders, pagings, tooLargeOrders, tooManyOrders } from './ordersapi.js';
import { ordersStage } from './stage.js';
import { eventually } from './waiting.js';

const CHANGES = `subscription ($after: String) {
  connectionsChanged(after: $after) { cursor kind connections { id } disconnection { id reason detectedBy connection { id } } by { id } }
}`;

/** Nothing is probed while the test looks. */
const WITHOUT_PROBES = { PATCHBAY_PROBE_INTERVAL: '1h' };

const ofFirstShop = { route: 'orders', shop: 'shop-1' };

/** What the API wrote, as a JavaScript program reads it: digits that no double holds are gone. */
const asRead = (list) => all(list).map(({ text }) => JSON.parse(text));

/** A dataset's rows, read likewise: what no double holds comes as text. */
const rowsOf = async (person, dataset, options) => (await person.rows(dataset.id, options)).map((row) => ({ ...row, total: Number(row.total) }));

/** Mia has connected Acme's shop; a dataset has its orders and a metric adds up what they cost. */
async function aShop(t, options) {
  const stage = await ordersStage(t, { env: WITHOUT_PROBES, ...options });
  const connection = await stage.connectShop(stage.mia, stage.acme);
  const dataset = await createDataset(stage.mia, connection, ORDERS);
  const metric = await createMetric(stage.mia, dataset, 'SUM', 'price');
  return { stage, connection, dataset, metric };
}

const pricesOf = (list) => sum(all(list).map(({ price }) => price));

/** The dataset has this list, whole, and the metric its sum. */
async function assertHas(person, { dataset, metric }, list) {
  assert.deepEqual(await rowsOf(person, dataset), asRead(list));
  assert.equal((await person.dataset(dataset.id)).rowCount, list.count);
  assert.equal((await person.metric(metric.id)).exactValue, pricesOf(list));
}

async function assertUntouched({ sam }, connection) {
  assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
  assert.deepEqual(await sam.disconnectionsOf(connection.id), []);
  assert.deepEqual((await sam.tray()).notifications, []);
}

for (const database of everyDatabase) {
  describe(`datasets of an API, on ${database.name}`, { concurrency: 2 }, () => {
    test('however an API pages, its list arrives whole, in its order, with every digit', async (t) => {
      const stage = await ordersStage(t, { database, env: WITHOUT_PROBES });
      const { acme, api, mia } = stage;
      for (const paging of Object.keys(pagings)) {
        const connection = await stage.connectShop(mia, acme, { paging });
        const asked = api.calls.length;
        const dataset = await createDataset(mia, connection, ORDERS, { externalId: `orders by ${paging}` });
        assert.deepEqual(dataset.columns, ['number', 'total', 'price', 'refund'], paging);
        assert.deepEqual([dataset.mode, dataset.rowCount, dataset.error], ['WAREHOUSE', 250, null], paging);
        assert.deepEqual(dataset.query.http, { path: '/shops/{account.id}/orders', parameters: null, rowsPointer: '/orders' });

        const pages = api.calls.slice(asked).filter((call) => call.route === 'orders').map(({ page }) => page);
        assert.deepEqual([...new Set(pages)].slice(0, 5), [1, 2, 3, 4, 5], `${paging}: page by page`);
        const before = api.calls.length;
        for (const first of [100, 64]) assert.deepEqual(await rowsOf(mia, dataset, { first }), asRead(orders()), paging);
        assert.equal(api.calls.length, before, 'the rows are here');

        const text = await mia.answer('query ($externalId: String!) { dataset(externalId: $externalId) { rows(first: 10) { nodes } } }', {
          externalId: `orders by ${paging}`,
        });
        assert.match(text, /"number":3,"total":"?12345678901234567890\.123456789"?,"price":"21\.74"/, 'in the order of the source');
        assert.match(text, /"total":"?9007199254740993"?,/);
      }
    });

    test('parameters reach the API on every page, with those that the pages need', async (t) => {
      const stage = await ordersStage(t, { database, env: WITHOUT_PROBES });
      const { acme, api, mia } = stage;
      const parameters = { status: 'paid & sent', since: '2026-01-01', limit: 50 };
      for (const paging of ['cursor', 'number']) {
        const connection = await stage.connectShop(mia, acme, { paging });
        const asked = api.calls.length;
        const dataset = await createDataset(mia, connection, { http: { ...ORDERS.http, parameters } });
        assert.equal(dataset.rowCount, 250);
        assert.deepEqual(dataset.query.http.parameters, parameters);
        const calls = api.calls.slice(asked).filter(({ route }) => route === 'orders');
        assert.ok(calls.length >= 5);
        for (const call of calls) {
          const { status, since, limit } = call.parameters;
          assert.deepEqual([status, since, limit], ['paid & sent', '2026-01-01', '50'], `${paging}, page ${call.page}`);
        }
      }
    });

    test('no path leads away from the API, and no answer does', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { api, mia } = stage;
      const { host } = new URL(api.elsewhere.url);
      for (const path of [api.elsewhere.url, `//${host}/`, `@${host}/`, `\\\\${host}\\`, `/../..//${host}/`, `:80@${host}`]) {
        const { dataset: made, errors } = await tryToCreateDataset(mia, connection, { http: { path, rowsPointer: '' } });
        assert.equal(made, null, path);
        assert.equal(errors.length, 1, path);
      }
      api.fail(ofFirstShop, async ({ ask, answer }) => {
        const said = await ask();
        answer({ ...said, headers: { ...said.headers, link: `<${api.elsewhere.url}>; rel="next"` } });
      });
      const failed = await failsToRefresh(mia, dataset);
      assert.equal(failed.error.needsReconnect, false);
      assert.deepEqual(api.elsewhere.calls, [], 'nobody was sent there with a token');
      await assertHas(mia, { dataset, metric }, orders());
      await assertUntouched(stage, connection);
    });

    test('a query that does not fit is refused when it is made', async (t) => {
      const { stage, connection } = await aShop(t, { database });
      const { mia } = stage;
      const wrong = [
        [{ http: { ...ORDERS.http, rowsPointer: '/bills' } }, 'no list there'],
        [{ http: { ...ORDERS.http, rowsPointer: 'orders' } }, 'no pointer'],
        [{ http: { path: '/shops/{account.id}/bills', rowsPointer: '/orders' } }, 'nothing there'],
        [{ http: { path: '/shops/{account.secret}/orders', rowsPointer: '/orders' } }, 'no such placeholder'],
        [{ sql: 'SELECT 1' }, 'no database'],
      ];
      for (const [query, why] of wrong) {
        const { dataset, errors } = await tryToCreateDataset(mia, connection, query);
        assert.equal(dataset, null, why);
        assert.deepEqual([errors.length, errors[0]?.code], [1, 'INVALID'], why);
      }
      const { datasets } = await mia.ask('{ datasets { totalCount } }');
      assert.equal(datasets.totalCount, 1, 'nothing was kept of them');
      await assertUntouched(stage, connection);
    });

    test('a token that ended early is renewed, and the list read on', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { api, mia, oidc } = stage;
      const renewals = oidc.tokenCalls('refresh_token');
      api.list('shop-1', orders(260, { raise: '1' }));
      await api.endAccessToken();
      await refresh(mia, dataset);
      await refreshedSince(mia, dataset);
      assert.equal(oidc.tokenCalls('refresh_token'), renewals + 1, 'renewed once');
      await assertHas(mia, { dataset, metric }, orders(260, { raise: '1' }));
      await assertUntouched(stage, connection);
    });

    test('a grant that was taken back is noticed by the refresh, and one sign-in brings the rows again', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { api, mia, oidc, sam } = stage;
      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });
      await oidc.revokeEverythingOf('olga');
      api.list('shop-1', orders(200));

      const failed = await failsToRefresh(mia, dataset);
      assert.equal(failed.error.needsReconnect, true);
      const broken = await changes.next('the disconnection');
      assert.deepEqual([broken.kind, broken.connections], ['DISCONNECTED', [{ id: connection.id }]]);
      const { reason, detectedBy } = broken.disconnection;
      assert.equal(reason, 'REVOKED');
      assert.equal(detectedBy, 'DATASET_REFRESH');
      assert.deepEqual((await mia.metric(metric.id)).error.connection, { id: connection.id });
      await assertHas(mia, { dataset, metric }, orders());

      await stage.reconnectByBrowser(sam, connection.id);
      await refreshedSince(mia, dataset);
      assert.equal((await mia.metric(metric.id)).error, null);
      await assertHas(mia, { dataset, metric }, orders(200));
      assert.deepEqual((await mia.connection(connection.id)).createdBy, { id: sam.id });
    });

    test('a shop that may not be read any more is lost alone; the other one under the same grant goes on', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { api, globex, mia, sam } = stage;
      const other = await stage.connectShopThrough(mia, globex, connection);
      const datasetOfOther = await createDataset(mia, other, ORDERS);

      const once = api.fail({ shop: 'shop-1' }, faults.status(403), { times: 1 });
      await refresh(mia, dataset);
      await eventually('the API has refused', () => once.calls.length === 1);
      await refreshedSince(mia, dataset);
      await assertUntouched(stage, connection);

      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });
      api.closeShop('shop-1');
      await refresh(mia, dataset);
      const broken = await changes.next('the disconnection');
      assert.deepEqual([broken.kind, broken.connections], ['DISCONNECTED', [{ id: connection.id }]]);
      const { reason, detectedBy, connection: lost } = broken.disconnection;
      assert.deepEqual([reason, detectedBy, lost], ['ACCESS_LOST', 'DATASET_REFRESH', { id: connection.id }]);
      assert.equal((await datasetIs(mia, dataset, 'FAILED')).error.needsReconnect, true);
      await assertHas(mia, { dataset, metric }, orders());

      assert.equal((await sam.connection(other.id)).status, 'CONNECTED');
      await refresh(mia, datasetOfOther);
      await refreshedSince(mia, datasetOfOther);

      api.openShop('shop-1');
      await stage.reconnectByBrowser(sam, connection.id);
      await refreshedSince(mia, dataset);
      assert.equal((await mia.metric(metric.id)).error, null);
    });

    for (const [name, fault] of Object.entries({
      'answers 500': faults.status(500),
      'answers garbage': faults.garbage,
      'answers with a page for people': faults.html,
      'ends half-way': faults.cutOff,
      'hangs up': faults.dropped,
    })) {
      test(`an API that ${name} flags nobody; the rows stay, and new ones come by themselves once it is well`, async (t) => {
        const { stage, connection, dataset, metric } = await aShop(t, { database });
        const { api, mia } = stage;
        const failing = api.fail({ ...ofFirstShop, page: 3 }, fault);
        const failed = await failsToRefresh(mia, dataset);
        assert.ok(failed.error.message.length > 0);
        assert.equal(failed.error.needsReconnect, false);
        const { error } = await mia.metric(metric.id);
        assert.deepEqual([error.message, error.connection, error.dataset], [failed.error.message, null, { id: dataset.id }]);
        await assertHas(mia, { dataset, metric }, orders());
        await assertUntouched(stage, connection);

        api.list('shop-1', orders(251));
        failing.over();
        await refreshedSince(mia, dataset);
        assert.equal((await mia.metric(metric.id)).error, null);
        await assertHas(mia, { dataset, metric }, orders(251));
        await assertUntouched(stage, connection);
      });
    }

    test('an API that wants peace has it for as long as it says, and no longer', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { api, mia } = stage;
      const SECONDS = 4;
      const failing = api.fail({ ...ofFirstShop, page: 2 }, faults.tooMany(SECONDS), { times: 1 });
      api.list('shop-1', orders(251));
      await refresh(mia, dataset);
      await refreshedSince(mia, dataset);
      const [refused] = failing.calls;
      const next = api.after(refused, { route: 'orders' });
      assert.ok(next.at >= refused.at + SECONDS * 1_000, `asked again after ${next.at - refused.at} ms`);
      await assertHas(mia, { dataset, metric }, orders(251));
      await assertUntouched(stage, connection);
    });

    for (const [name, list, message] of [
      ['without end', endless, /pages/],
      ['of too many rows', tooManyOrders, /100[, ]?000 rows/],
      ['of too many bytes', tooLargeOrders, /32 MiB/],
    ]) {
      test(`a list ${name} fails and says so; the rows before stay`, async (t) => {
        const { stage, connection, dataset, metric } = await aShop(t, { database });
        const { api, mia } = stage;
        api.list('shop-1', list);
        const failed = await failsToRefresh(mia, dataset);
        assert.match(failed.error.message, message);
        assert.equal(failed.error.needsReconnect, false);
        await assertHas(mia, { dataset, metric }, orders());
        await assertUntouched(stage, connection);

        const asked = api.calls.length;
        api.list('shop-1', orders(12));
        await refresh(mia, dataset);
        await refreshedSince(mia, dataset);
        assert.ok(api.calls.length > asked);
        await assertHas(mia, { dataset, metric }, orders(12));
      });
    }

    test('killed with SIGKILL in the middle of a refresh, the server has the old rows whole, and refreshes by itself', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { api, mia, patchbay } = stage;
      const later = orders(300, { raise: '1' });
      api.list('shop-1', later);
      const third = api.hold({ ...ofFirstShop, page: 3 });
      const asked = refresh(mia, dataset).catch(() => {}); // Its answer may be lost.
      await third.arrived();
      await patchbay.kill();
      await asked;
      third.release();

      const again = api.hold({ ...ofFirstShop, page: 3 });
      await patchbay.start();
      await again.arrived();
      await assertHas(mia, { dataset, metric }, orders());
      again.release();
      await refreshedSince(mia, dataset);
      await assertHas(mia, { dataset, metric }, later);
      await assertUntouched(stage, connection);
    });

    test('a dataset outlives its connection, and goes on when the same account is connected again for the same client', async (t) => {
      const { stage, connection, dataset, metric } = await aShop(t, { database });
      const { acme, api, carl, globex, mia } = stage;
      const second = await createDataset(mia, connection, ORDERS);

      const { keptDatasets } = await mia.does('removeConnection', { connectionId: connection.id }, 'removedConnectionId keptDatasets');
      assert.equal(keptDatasets, 2);
      for (const person of [mia, carl]) {
        assert.equal((await person.dataset(dataset.id)).connection, null);
        await assertHas(person, { dataset, metric }, orders());
      }
      await stage.connectShop(mia, globex);
      await stage.connectShop(mia, acme, { shop: 'shop-2' });
      assert.equal((await mia.dataset(dataset.id)).connection, null, 'another client and another account are not meant');

      api.list('shop-1', orders(120));
      const again = await stage.connectShop(mia, acme);
      for (const one of [dataset, second]) {
        const taken = await refreshedSince(mia, one);
        assert.deepEqual(taken.connection, { id: again.id });
      }
      await assertHas(mia, { dataset, metric }, orders(120));
      assert.equal((await mia.metric(metric.id)).error, null);
    });
  });
}
