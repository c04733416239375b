// What metrics compute, to the last digit, against arithmetic of the tests' own; who may see and change datasets and metrics; and
// what a window hears of them.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { everyDatabase } from './databases.js';
import { createDataset, createMetric, failsToRefresh, ORDERS, refresh, refreshedSince, tryToCreateDataset } from './datasets.js';
import { greatest, least, mean, shortest, sum } from './decimals.js';
import { faults } from './faults.js';
import { all, orders } from './ordersapi.js';
import { GraphQLErrors } from './people.js';
import { ordersStage } from './stage.js';
import { eventually } from './waiting.js';

const CHANGES = `subscription ($connectionId: ID, $after: String) {
  datasetsChanged(connectionId: $connectionId, after: $after) { cursor at kind datasetId dataset { id name status rowCount } }
}`;

const WITHOUT_PROBES = { PATCHBAY_PROBE_INTERVAL: '1h' };

/** Mia has a shop of Acme's and one of Globex's, and a dataset of each. */
async function twoShops(t, database) {
  const stage = await ordersStage(t, { database, env: WITHOUT_PROBES });
  const { acme, globex, mia } = stage;
  const ofAcme = await stage.connectShop(mia, acme);
  const ofGlobex = await stage.connectShopThrough(mia, globex, ofAcme);
  const datasets = [await createDataset(mia, ofAcme, ORDERS), await createDataset(mia, ofGlobex, ORDERS)];
  return { stage, connections: [ofAcme, ofGlobex], datasets };
}

/** The code with which the whole request is refused. */
async function refusedWith(code, asking) {
  await assert.rejects(asking, (error) => error instanceof GraphQLErrors && error.codes.includes(code));
}

const idsOf = async (person, list) => (await person.ask(`{ ${list} { nodes { id } } }`))[list].nodes.map(({ id }) => id).sort();

for (const database of everyDatabase) {
  describe(`metrics and who sees them, on ${database.name}`, { concurrency: 2 }, () => {
    test('every aggregation is exact, over numbers, decimals in text, and columns that not every row has', async (t) => {
      const stage = await ordersStage(t, { database, env: WITHOUT_PROBES });
      const { acme, mia } = stage;
      const dataset = await createDataset(mia, await stage.connectShop(mia, acme), ORDERS);
      const rows = all(orders());
      const columns = {
        number: rows.map(({ number }) => String(number)),
        total: rows.map(({ total }) => total),
        price: rows.map(({ price }) => price),
        refund: rows.flatMap(({ refund }) => refund ?? []),
      };
      const expected = Object.entries(columns).flatMap(([column, texts]) => [
        ['SUM', column, sum(texts)],
        ['MIN', column, least(texts)],
        ['MAX', column, greatest(texts)],
      ]);
      for (const column of Object.keys(columns)) expected.push(['AVG', column, mean(columns[column])]);
      for (const column of Object.keys(columns)) expected.push(['LAST', column, shortest(columns[column].at(-1))]);
      expected.push(['COUNT', undefined, '250']);

      const seen = [];
      for (const [aggregation, column, exact] of expected) {
        const { exactValue, value, error } = await mia.metric((await createMetric(mia, dataset, aggregation, column)).id);
        seen.push([aggregation, column, exactValue && shortest(exactValue)]);
        assert.match(exactValue, /^-?\d+(\.\d+)?$/, `${aggregation} of ${column}`);
        assert.equal(value, Number(exact), `${aggregation} of ${column}`);
        assert.equal(error, null);
      }
      assert.deepEqual(seen, expected);

      const { metrics } = await mia.dataset(dataset.id);
      assert.equal(metrics.nodes.length, expected.length);
    });

    test('a metric of what cannot be computed is refused, or says why it has no value', async (t) => {
      const { stage, datasets: [dataset] } = await twoShops(t, database);
      const { mia } = stage;
      const input = { datasetId: dataset.id, name: 'M', aggregation: 'SUM' };
      for (const wrong of [{}, { column: 'no such column' }]) {
        const { metric, errors } = await mia.tries('createMetric', { ...input, ...wrong }, 'metric { id }');
        assert.equal(metric, null);
        assert.deepEqual(errors.map(({ code, field }) => [code, field]), [['INVALID', ['column']]]);
      }
      const kept = await createMetric(mia, dataset, 'COUNT');
      const gone = await createMetric(mia, dataset, 'COUNT');
      const removal = await mia.does('removeMetric', { metricId: gone.id }, 'removedMetricId');
      assert.equal(removal.removedMetricId, gone.id);
      assert.deepEqual(await idsOf(mia, 'metrics'), [kept.id]);
      assert.equal(await mia.metric(gone.id), null);
    });

    test('a window hears of every dataset that changes, of one connection or of all, and misses nothing', async (t) => {
      const { stage, connections: [ofAcme, ofGlobex], datasets: [dataset, other] } = await twoShops(t, database);
      const { api, mia, sam, max, carl } = stage;
      const start = await sam.cursor();
      const follow = (person, variables) => stage.window(person).follow(CHANGES, { after: start, ...variables });
      const everything = follow(sam);
      const one = follow(sam, { connectionId: ofAcme.id });
      const [nobodys, carls] = [follow(max), follow(carl)];

      const made = await createDataset(mia, ofAcme, ORDERS);
      await refresh(mia, made);
      await refreshedSince(mia, made);
      const failing = api.fail({ route: 'orders', shop: 'shop-1' }, faults.status(404));
      await failsToRefresh(mia, made);
      failing.over();
      await mia.does('updateDataset', { datasetId: made.id, name: 'Renamed' }, 'dataset { id }');
      await eventually('it is refreshed again', async () => (await mia.dataset(made.id)).status === 'FRESH');
      await refresh(mia, other);
      await refreshedSince(mia, other);
      await mia.does('removeDataset', { datasetId: made.id }, 'removedDatasetId');
      await mia.does('updateDataset', { datasetId: dataset.id, name: 'The last' }, 'dataset { id }');

      const last = (window, id, kind) =>
        eventually(`${kind} of ${id}`, () => window.events.some((event) => event.datasetId === id && event.kind === kind));
      await last(one, dataset.id, 'REFRESHED');
      await last(everything, dataset.id, 'REFRESHED');
      const story = (window) => window.events.filter(({ datasetId }) => datasetId === made.id).map(({ kind }) => kind);
      assert.deepEqual(story(everything), ['CREATED', 'REFRESHED', 'FAILED', 'UPDATED', 'REFRESHED', 'REMOVED']);
      assert.deepEqual(story(one), story(everything));
      assert.deepEqual(everything.events.filter(({ datasetId }) => datasetId === other.id).map(({ kind }) => kind), ['REFRESHED']);
      assert.ok(one.events.every(({ datasetId }) => datasetId !== other.id), `${ofGlobex.id} is not asked for`);
      assert.equal(everything.events.find(({ kind }) => kind === 'REMOVED').dataset, null);

      const middle = everything.events[2];
      const resumed = stage.window(sam).follow(CHANGES, { after: middle.cursor });
      const rest = everything.events.slice(3).map(({ cursor, kind }) => [cursor, kind]);
      for (const expected of rest) {
        const { cursor, kind } = await resumed.next('what came since');
        assert.deepEqual([cursor, kind], expected);
      }
      await last(carls, dataset.id, 'REFRESHED');
      assert.deepEqual(carls.events.map(({ cursor }) => cursor), one.events.map(({ cursor }) => cursor), "Acme's login hears of Acme's");
      assert.deepEqual(nobodys.events, [], 'Max sees none of them');
    });

    test('a client reads what is its own, and changes nothing', async (t) => {
      const { stage, connections: [ofAcme], datasets: [dataset, other] } = await twoShops(t, database);
      const { carl, mia } = stage;
      const metric = await createMetric(mia, dataset, 'COUNT');
      const hidden = await createMetric(mia, other, 'COUNT');

      assert.deepEqual(await idsOf(carl, 'datasets'), [dataset.id]);
      assert.deepEqual(await idsOf(carl, 'metrics'), [metric.id]);
      assert.equal((await carl.metric(metric.id)).exactValue, '250');
      assert.equal((await carl.rows(dataset.id)).length, 250);
      assert.deepEqual([await carl.dataset(other.id), await carl.metric(hidden.id)], [null, null]);

      const inputs = {
        createDataset: { connectionId: ofAcme.id, name: 'Mine', query: ORDERS },
        updateDataset: { datasetId: dataset.id, name: 'Mine' },
        refreshDataset: { datasetId: dataset.id },
        removeDataset: { datasetId: dataset.id },
        createMetric: { datasetId: dataset.id, name: 'Mine', aggregation: 'COUNT' },
        removeMetric: { metricId: metric.id },
      };
      for (const [mutation, input] of Object.entries(inputs)) await refusedWith('FORBIDDEN', carl.tries(mutation, input));
      assert.deepEqual(await idsOf(mia, 'datasets'), [dataset.id, other.id].sort());
      assert.equal((await mia.dataset(dataset.id)).name, 'Orders');
    });

    test('a member has to do with the datasets of their own connections and of those shared with them, and with no other', async (t) => {
      const { stage, connections: [ofAcme, ofGlobex], datasets: [dataset, other] } = await twoShops(t, database);
      const { globex, max, mia, sam } = stage;
      const metric = await createMetric(mia, dataset, 'COUNT');
      const ownConnection = await stage.connectShop(max, globex, { shop: 'shop-1', login: 'otto' });
      const own = await createDataset(max, ownConnection, ORDERS);

      assert.deepEqual(await idsOf(max, 'datasets'), [own.id]);
      assert.deepEqual(await idsOf(max, 'metrics'), []);
      assert.deepEqual([await max.dataset(dataset.id), await max.metric(metric.id)], [null, null]);
      const inputs = {
        createDataset: { connectionId: ofAcme.id, name: 'Mine', query: ORDERS },
        refreshDataset: { datasetId: dataset.id },
        removeDataset: { datasetId: dataset.id },
        createMetric: { datasetId: dataset.id, name: 'Mine', aggregation: 'COUNT' },
        removeMetric: { metricId: metric.id },
      };
      const asNotFound = async (mutation, input) => {
        const { errors } = await max.tries(mutation, input);
        assert.deepEqual(errors.map(({ code }) => code), ['NOT_FOUND'], mutation);
      };
      for (const [mutation, input] of Object.entries(inputs)) await asNotFound(mutation, input);
      await asNotFound('updateDataset', { datasetId: dataset.id, name: 'Mine' });
      await asNotFound('updateDataset', { datasetId: own.id, connectionId: ofAcme.id });
      assert.deepEqual((await max.dataset(own.id)).connection, { id: ownConnection.id });

      await mia.does('shareConnection', { connectionId: ofAcme.id, userIds: [max.id] }, 'connection { id }');
      assert.deepEqual(await idsOf(max, 'datasets'), [dataset.id, own.id].sort());
      assert.equal((await max.metric(metric.id)).exactValue, '250');
      await max.does('updateDataset', { datasetId: dataset.id, name: 'Ours' }, 'dataset { id }');
      await createDataset(max, ofAcme, ORDERS);
      assert.equal(await max.dataset(other.id), null);

      await mia.does('unshareConnection', { connectionId: ofAcme.id, userIds: [max.id] }, 'connection { id }');
      assert.equal(await max.dataset(dataset.id), null);
      assert.equal((await tryToCreateDataset(max, ofGlobex, ORDERS)).errors[0].code, 'NOT_FOUND');
      assert.equal((await sam.dataset(dataset.id)).name, 'Ours');
    });

    test('lists of datasets can be narrowed down, and an external id is unique', async (t) => {
      const { stage, connections: [ofAcme], datasets: [dataset, other] } = await twoShops(t, database);
      const { acme, api, globex, mia, sam } = stage;
      const listed = async (filter) => (await sam.ask(
        'query ($filter: DatasetFilter) { datasets(filter: $filter) { totalCount nodes { id } } }',
        { filter },
      )).datasets.nodes.map(({ id }) => id);
      await mia.does('updateDataset', { datasetId: other.id, name: 'Ünlü sales' }, 'dataset { id }');
      await eventually('it is refreshed', async () => (await sam.dataset(other.id)).status === 'FRESH');
      api.fail({ route: 'orders', shop: 'shop-1' }, faults.status(404));
      await failsToRefresh(mia, dataset);

      assert.deepEqual(await listed({ connectionId: ofAcme.id }), [dataset.id]);
      assert.deepEqual(await listed({ clientId: globex }), [other.id]);
      assert.deepEqual(await listed({ clientId: acme }), [dataset.id]);
      assert.deepEqual(await listed({ status: ['FAILED'] }), [dataset.id]);
      assert.deepEqual(await listed({ status: ['FRESH', 'REFRESHING'] }), [other.id]);
      assert.deepEqual(await listed({ search: 'ünlü' }), [other.id]);
      assert.deepEqual(await listed({ search: '%' }), []);
      const { connection } = await sam.ask('query ($id: ID!) { connection(id: $id) { datasets { nodes { id } } } }', { id: ofAcme.id });
      assert.deepEqual(connection.datasets.nodes, [{ id: dataset.id }]);
    });
  });
}
