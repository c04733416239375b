// What people do with datasets and metrics.

import { eventually } from './waiting.js';

/** The orders of the connection's shop, at ordersapi.js. */
export const ORDERS = { http: { path: '/shops/{account.id}/orders', rowsPointer: '/orders' } };

/** Tries to make a dataset; returns the payload. */
export const tryToCreateDataset = (person, connection, query, more = {}) =>
  person.tries('createDataset', { connectionId: connection.id, name: 'Orders', query, ...more }, 'dataset { id }');

/** Makes a dataset and waits for its first rows. */
export async function createDataset(person, connection, query, more) {
  const { dataset, errors } = await tryToCreateDataset(person, connection, query, more);
  if (!dataset) throw new Error(`no dataset: ${JSON.stringify(errors)}`);
  return datasetIs(person, dataset, 'FRESH');
}

export async function createMetric(person, dataset, aggregation, column) {
  const input = { datasetId: dataset.id, name: `${aggregation} of ${column ?? 'all'}`, aggregation, column };
  return (await person.does('createMetric', input, 'metric { id }')).metric;
}

/** Asks for a refresh, however it ends. */
export const refresh = (person, dataset) => person.tries('refreshDataset', { datasetId: dataset.id }, 'dataset { id }');

/** The dataset, once it has this status. */
export const datasetIs = (person, { id }, status) =>
  eventually(`${id} is ${status}`, async () => {
    const dataset = await person.dataset(id);
    return dataset.status === status && dataset;
  });

/** The dataset, once it was refreshed after `dataset`, which is an earlier look at it. */
export const refreshedSince = (person, { id, lastRefreshedAt }, options) =>
  eventually(`${id} is refreshed`, async () => {
    const dataset = await person.dataset(id);
    return dataset.status === 'FRESH' && dataset.lastRefreshedAt > lastRefreshedAt && dataset;
  }, options);

/** Refreshes a dataset that cannot be, and returns it with its error. */
export async function failsToRefresh(person, dataset) {
  await refresh(person, dataset);
  return datasetIs(person, dataset, 'FAILED');
}
