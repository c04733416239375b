// Honest people, in a process of their own, so that nothing else holds up their clocks: each does what a front end does, one
// thing after the other, and measures how long it took.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';

import { openWindow } from '../outside/sockets.js';
import { pause } from '../outside/waiting.js';

/** Between two requests of one of them. */
const THINKS_MS = 60;
const PATIENCE_MS = 30_000;

const [workspace] = await once(process, 'message');
const { origin, admin, key, dataset, connections } = workspace;

let measured = null;

async function asked(name, token, query, variables = {}, headers = {}) {
  const began = performance.now();
  try {
    const response = await fetch(`${origin}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const answer = await response.json();
    if (answer.errors) throw new Error(JSON.stringify(answer.errors).slice(0, 300));
    took(name, began);
    return answer.data;
  } catch (error) {
    measured?.errors.push(`${name}: ${error.message}`);
    return null;
  }
}

function took(name, began) {
  if (!measured) return;
  measured.times[name] ??= [];
  measured.times[name].push(performance.now() - began);
}

const CONNECTIONS = 'query ($filter: ConnectionFilter) { connections(filter: $filter, first: 50) { totalCount nodes { id name status client { id name } authorization { id status } } } }';
const RENAME = 'mutation ($input: UpdateConnectionInput!) { updateConnection(input: $input) { connection { id name } errors { code } } }';
const heard = new Map();

const habits = [
  async () => asked('a list', admin, CONNECTIONS, { filter: null }),
  async () => asked('a filtered list', admin, CONNECTIONS, { filter: { status: ['CONNECTED'], search: 'client 1' } }),
  async () => asked('clients with counts', admin, '{ clients(first: 40) { nodes { id name connectionCounts { connected disconnected } } } }'),
  async () => asked('rows', admin, 'query ($id: ID!) { dataset(id: $id) { status rows(first: 50) { nodes } } }', { id: dataset }),
  async () => asked('the tray', admin, '{ viewer { unreadNotificationCount notifications(first: 20) { nodes { id kind } } } }'),
  async () => asked('a tool with a key', key, '{ connections(first: 20) { nodes { id status } } }'),
  rename,
];

/** A rename, and that the window hears of it. */
async function rename() {
  const connection = connections[Math.floor(Math.random() * connections.length)].id;
  const name = `Renamed ${randomUUID()}`;
  const told = new Promise((resolve) => heard.set(name, resolve));
  const began = performance.now();
  const done = await asked('a rename', admin, RENAME, { input: { connectionId: connection, name } }, { 'idempotency-key': randomUUID() });
  if (!done) return heard.delete(name);
  const late = pause(PATIENCE_MS).then(() => 'late');
  if ((await Promise.race([told, late])) === 'late') measured?.errors.push('a rename of which the window did not hear');
  else took('heard of a rename', began);
  heard.delete(name);
}

const window = openWindow({ origin, token: admin });
window.client.subscribe(
  { query: 'subscription { connectionsChanged { connections { id name } } }' },
  {
    next: ({ data }) => data?.connectionsChanged.connections.forEach(({ name }) => heard.get(name)?.()),
    error: (error) => measured?.errors.push(`the window: ${JSON.stringify(error).slice(0, 300)}`),
    complete: () => {},
  },
);
await pause(1_000);

async function goAbout(habit) {
  for (;;) {
    if (measured) await habit();
    await pause(THINKS_MS);
  }
}
for (const habit of habits) goAbout(habit);

process.on('message', (word) => {
  if (word === 'begin') measured = { times: {}, errors: [] };
  if (word === 'end') {
    const whole = measured;
    measured = null;
    process.send(whole);
  }
});
process.send('ready');
