// The workspace that the honest use and the abusers are after: clients, connections, a dataset, and people in every role.

import { createDataset } from '../outside/datasets.js';
import { Person } from '../outside/people.js';

const CLIENTS = 40;

/** Fills a workspace; what the processes beside are told of it. */
export async function furnish(server, keyRing) {
  const email = 'ada@agency.example';
  const { token, userId } = await server.createWorkspace('Agency', email);
  const ada = new Person({ origin: server.origin, token, email, id: userId });
  const connections = [];
  for (let n = 0; n < CLIENTS; n += 1) {
    const { client } = await ada.does('createClient', { name: `Client ${n}` }, 'client { id }');
    const key = keyRing.issue(`key-${n}`, { id: `account-${n}`, name: `Account ${n}` });
    const using = { credentials: [{ name: 'api_key', value: key }] };
    const { connection } = await ada.does('connect', { connector: 'key-ring', clientId: client.id, using }, 'connection { id }');
    connections.push({ id: connection.id, client: client.id });
  }
  const rows = { http: { path: '/charges', rowsPointer: '/data' } };
  const dataset = await createDataset(ada, connections[0], rows, { name: 'Charges' });
  const person = async (name, role, clientId) => {
    await ada.does('createUser', { name, email: `${name}@agency.example`, role, clientId }, 'user { id }');
    return server.token(`${name}@agency.example`, { ttl: '6h' });
  };
  const { secret } = await ada.does('createApiKey', { name: 'tool', role: 'STAFF' }, 'secret');
  return {
    origin: server.origin,
    port: server.port,
    connections,
    dataset: dataset.id,
    admin: await server.token(email, { ttl: '6h' }),
    key: secret,
    client: await person('carl', 'CLIENT', connections[0].client),
    member: await person('mia', 'MEMBER'),
  };
}
