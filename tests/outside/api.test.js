// docs/api.md is true: its blocks are run in their order, against a server with a connection by sign-in and one by key, and beside
// a database.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { buildSchema, parse, validate } from 'graphql';

import { startKeyRing } from './keyring.js';
import { Document, readRepository } from './markdown.js';
import { Newcomer } from './newcomer.js';
import { graphql } from './people.js';
import { openWindow } from './sockets.js';
import { postgresSource } from './sources.js';
import { freshPassword } from './sourceserver.js';
import { oidcStage } from './stage.js';
import { eventually } from './waiting.js';

const document = await Document.open('docs/api.md');
const schema = buildSchema(await readRepository('schema.graphql'));

/** The document's connectors, and those of these tests that stand for them. */
const STAND_INS = { stripe: 'key-ring', 'google-analytics-4': 'oidc-provider' };

/** What a block asks of a database or makes of it. */
const OF_DATABASE = /^CREATE ROLE|postgresql|databaseId|newPassword|datasetId: |"orders"|"Orders"|failing: true|"placed_on"/m;

/** What may come of a block here beside success: the provider of these tests has no accounts under an account. */
const ERRORS = { connectAccounts: ['INVALID'] };

describe('the API by example', () => {
  const newcomer = new Newcomer();
  const known = {};
  let stage, keyRing, shopDatabase, ada, shop, lastAnswer;

  const takenDown = [];
  const whole = { after: (takeDown) => takenDown.push(takeDown), passed: true };

  before(async () => {
    keyRing = await startKeyRing();
    if (!postgresSource.skip) shopDatabase = await startShopDatabase();
    stage = await oidcStage(whole, {
      accessTokenSeconds: 12 * 3_600,
      connectors: { 'key-ring.toml': await keyRing.connectorFile() },
      allowedHosts: [keyRing.host, ...(shopDatabase ? [shopDatabase.host] : [])],
    });
    ({ ada } = stage);
    await newcomer.arrive({ TOKEN: ada.token });

    keyRing.issue('key of the shop', { id: '1', name: 'Shop' });
    keyRing.issue('key of the outlet', { id: '2', name: 'Outlet' });
    const using = { credentials: [{ name: 'api_key', value: 'key of the shop' }] };
    shop = (await ada.does('connect', { connector: 'key-ring', clientId: stage.acme, name: 'Shop', using }, 'connection { id }')).connection;
    const site = await stage.connectByBrowser(ada, stage.acme, 'olga');
    keyRing.withdraw('key of the shop');
    await eventually('the shop is disconnected', async () => (await ada.connection(shop.id)).status === 'DISCONNECTED');
    Object.assign(known, {
      key: 'key of the outlet',
      password: freshPassword(),
      newPassword: freshPassword(),
      after: null,
      cursor: await ada.cursor(),
      clientId: stage.acme,
      otherClientId: stage.globex,
      connectionId: site.id,
      authorizationId: site.authorization.id,
    });
  });

  after(async () => {
    await newcomer.leaves();
    for (const takeDown of takenDown) await takeDown();
    await keyRing?.close();
    await shopDatabase?.close();
  });

  /** The document's text, for the connectors and the ports of this test. */
  const read = (block) =>
    Object.entries(STAND_INS)
      .reduce((text, [theirs, ours]) => text.replaceAll(`"${theirs}"`, `"${ours}"`), document.read(block, stage.patchbay.port))
      .replace('{ name: "host", value: "db.example.com" }', `{ name: "host", value: "127.0.0.1" }, { name: "port", value: "${shopDatabase?.port}" }`);

  /** Gives the document's user another password, which the server comes to notice. */
  async function changePassword() {
    await shopDatabase.alterPassword({ username: 'patchbay', password: known.newPassword });
    await eventually('the database is disconnected', async () => (await ada.connection(known.databaseId)).status === 'DISCONNECTED');
  }

  async function runGraphql(text) {
    assert.deepEqual(validate(schema, parse(text)), []);
    const variables = Object.fromEntries([...text.matchAll(/\$(\w+): /g)].map(([, name]) => {
      assert.ok(name in known, `a value for $${name}`);
      return [name, known[name]];
    }));
    const data = await graphql(ada.origin, ada.token, text, variables);
    const [[field, payload]] = Object.entries(data);
    const refused = (payload?.errors ?? []).filter(({ code }) => !ERRORS[field]?.includes(code));
    assert.deepEqual(refused, [], field);
    for (const made of ['attempt', 'apiKey', 'dataset']) if (payload?.[made]) known[`${made}Id`] = payload[made].id;
    if (field === 'connect' && payload.connection) known[text.includes('"postgresql"') ? 'databaseId' : 'shopId'] ??= payload.connection.id;
    return { data };
  }

  const runners = {
    graphql: runGraphql,
    sql: (text) => shopDatabase.sql(text.replace('…', known.password), 'shop').then(() => undefined),
    sh: async (text) => JSON.parse(await newcomer.types(text)),
    json: (text) => assert.deepEqual(shape(JSON.parse(text)), shape(lastAnswer), 'the answer as it is shown'),
  };

  /** Blocks that go on until they are interrupted, and those with tests of their own. */
  const HAS_ITS_OWN = [/^import /m, /text\/event-stream/, /^pip install/, /RATE_LIMITED/, /^subscription/];

  /** What happens in the world before a block. */
  const HAPPENS_BEFORE = [[/failing: true/, changePassword]];

  for (const block of document.blocks.filter(({ text }) => !HAS_ITS_OWN.some((pattern) => pattern.test(text)))) {
    const skip = OF_DATABASE.test(block.text) && postgresSource.skip;
    if (skip) document.read(block);
    test(`${block.heading}: ${block.text.trim().split('\n').slice(0, 2).join(' ').slice(0, 100)}`, { skip }, async () => {
      for (const [words, happens] of HAPPENS_BEFORE) if (words.test(block.text)) await happens();
      lastAnswer = await runners[block.language](read(block)) ?? lastAnswer;
    });
  }

  test('what was said of the user of a database is what its connector requires', async () => {
    const { connector } = await ada.ask('{ connector(slug: "postgresql") { requirements } }');
    const indented = document.block('sql', 'CREATE ROLE').replace(/^/gm, '  ').trim();
    assert.ok(connector.requirements.includes(indented));
  });

  test('connected again, the database takes its dataset over', { skip: postgresSource.skip }, async () => {
    const lost = await ada.ask('{ dataset(externalId: "orders") { connection { id } } }');
    assert.equal(lost.dataset.connection, null);
    const [again] = document.blocks.filter(({ text }) => text.includes('connector: "postgresql"'));
    const { data } = await runGraphql(read(again).replaceAll('$password', '$newPassword'));
    await eventually('it reads again', async () => {
      const { dataset } = await ada.ask('{ dataset(externalId: "orders") { status connection { id } metrics { nodes { exactValue error { message } } } } }');
      return dataset.status === 'FRESH' && dataset.connection.id === data.connect.connection.id && dataset.metrics.nodes[0].error === null;
    });
  });

  test('a subscription tells what becomes of datasets', async (t) => {
    const window = openWindow(ada);
    t.after(() => window.close());
    const { datasets } = await ada.ask('query ($shopId: ID!) { datasets(filter: { connectionId: $shopId }) { nodes { id } } }', known);
    const [charges] = datasets.nodes;
    const changes = window.follow(document.block('graphql', 'datasetsChanged'), { connectionId: known.shopId, after: await ada.cursor() });
    await ada.does('refreshDataset', { datasetId: charges.id }, 'dataset { id }');
    const { kind, datasetId, dataset } = await changes.next('the refresh');
    assert.deepEqual([kind, datasetId, dataset.status], ['REFRESHED', charges.id, 'FRESH']);
  });

  test('a key works until it is revoked', async () => {
    const { secret, apiKey } = await ada.does('createApiKey', { name: 'For a moment', role: 'STAFF' }, 'secret apiKey { id prefix }');
    assert.ok(secret.startsWith('pbk_'));
    await graphql(ada.origin, secret, '{ connections { totalCount } }');
    await ada.does('revokeApiKey', { apiKeyId: apiKey.id }, 'revokedApiKeyId');
    await assert.rejects(graphql(ada.origin, secret, '{ connections { totalCount } }'), { codes: ['UNAUTHENTICATED'] });
  });

  /** Renames the shop; whoever follows the changes gets to hear of it. */
  const rename = (name) => ada.does('updateConnection', { connectionId: shop.id, name }, 'connection { id }');

  /** The restarted server's followers hear what happens before and after, and nothing twice. */
  async function goesOnAfterARestart(follower, heard) {
    await rename('First');
    await follower.prints(heard('First'));
    await stage.patchbay.restart();
    await rename('Second');
    await follower.prints(heard('Second'));
    await rename('Third');
    await follower.prints(heard('Third'));
    const events = follower.out.trim().split('\n');
    assert.equal(new Set(events).size, events.length, `nothing twice: ${follower.out}`);
    assert.equal(events.length, 3, follower.out);
    await follower.interrupt();
  }

  test('JavaScript hears what happens, and goes on where it was when the server was killed', async () => {
    const script = document.block('js', 'graphql-ws', stage.patchbay.port);
    const needsWs = Number(process.versions.node.split('.')[0]) < 22;
    await newcomer.writes('follow.mjs', `import ws from 'ws';\n${needsWs ? script.replace('createClient({', '$& webSocketImpl: ws,') : script}`);
    const follower = newcomer.starts('node follow.mjs', { CURSOR: await ada.cursor() });
    await goesOnAfterARestart(follower, (name) => `UPDATED ${name} DISCONNECTED\n`);
  });

  test('an event stream tells of it, too', async () => {
    const following = newcomer.starts(document.block('sh', 'text/event-stream', stage.patchbay.port).replace('curl', '$& --verbose'));
    await following.until('the stream is open', async () => following.log.includes('200 OK'));
    await rename('Streamed');
    await following.prints(/Streamed/);
    await following.interrupt();
  });

  test('Python with gql: a query, a mutation, and a mistake found before it is sent', async () => {
    const script = document.block('python', 'fetch_schema_from_transport', stage.patchbay.port);
    await newcomer.writes('rename.py', script);
    await rename('Shop');
    assert.match(await newcomer.types('python3 rename.py'), /'name': 'Shop \(CREDENTIALS_REJECTED\)'.*'errors': \[\]/);
    await newcomer.writes('mistake.py', script.replace('reason }', 'raison }'));
    await assert.rejects(newcomer.types('python3 mistake.py'), /Cannot query field .{1,3}raison/);
  });

  test('Python with gql goes on where it was when the server was killed', async () => {
    await newcomer.writes('follow.py', document.block('python', 'WebsocketsTransport', stage.patchbay.port));
    const follower = newcomer.starts('python3 follow.py', { CURSOR: await ada.cursor() });
    await goesOnAfterARestart(follower, (name) => `UPDATED ${name} DISCONNECTED\n`);
  });

  test('who asks too often is told how long to wait', async (t) => {
    const allowed = { PATCHBAY_MAX_RATE: '1', PATCHBAY_MAX_BURST: '8' };
    const { ada: hasty } = await oidcStage(t, { env: allowed });
    const ask = () => fetch(`${hasty.origin}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hasty.token}`, 'content-type': 'application/json' },
      body: '{"query": "{ __typename }"}',
    });
    const refused = await eventually('it is refused', async () => {
      const response = await ask();
      return response.headers.has('retry-after') && response;
    });
    const { data: _, ...answer } = await refused.json();
    assert.deepEqual(shape(answer), shape(JSON.parse(document.block('json', 'RATE_LIMITED'))));
  });

  test('has no block that nobody runs', () => document.hasNothingUnread());

  test('every code that is explained is one, and every one is explained', () => {
    const explained = [...document.text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
    for (const code of schema.getType('UserErrorCode').getValues()) assert.ok(explained.includes(code.name), code.name);
  });
});

/** A database server with the database of the document, in which there is an order. */
async function startShopDatabase() {
  const server = await postgresSource.start();
  await server.sql('CREATE DATABASE shop');
  await server.sql('CREATE TABLE orders (id int PRIMARY KEY, placed_on date, total numeric(10, 2))', 'shop');
  await server.sql("INSERT INTO orders VALUES (1, '2026-11-26', 19.90)", 'shop');
  return server;
}

/** The members of an answer, whatever their values. */
function shape(value) {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape);
  if (value === null || typeof value !== 'object') return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shape(inner)]));
}
