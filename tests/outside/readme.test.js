// Docs are true: every block of the README is run as a newcomer would run it, and so is every command of its table. The other
// documents have a test of their name each.

import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startKeyRing } from './keyring.js';
import { startMailServer } from './mailserver.js';
import { Document, readRepository, repository } from './markdown.js';
import { Newcomer } from './newcomer.js';
import { freePort } from './patchbay.js';
import { Person } from './people.js';
import { openWindow } from './sockets.js';
import { eventually } from './waiting.js';

const readme = await Document.open('README.md');
const block = (language, words, port) => readme.block(language, words, port);

/** The commands of the table, as they stand there. */
const commands = [...readme.text.matchAll(/^\| (`patchbay.*?) \| /gm)].flatMap(([, cell]) => [...cell.matchAll(/`(.+?)`/g)].map((found) => found[1]));

/** Commands of the table that go on until they are interrupted; each has a test of its own. */
const GO_ON = ['patchbay', 'patchbay serve', 'patchbay demo'];

/** What the server's terminal wrote down, so that other terminals have the same settings. */
const SAME_SETTINGS = '. ./settings.sh\n';

describe('the README', () => {
  const newcomer = new Newcomer();
  let keyRing, port, origin, server, ada, outlet;

  before(async () => {
    await newcomer.arrive();
    keyRing = await startKeyRing();
    port = await freePort();
    origin = `http://127.0.0.1:${port}`;
    const connectorFile = await newcomer.writes('connectors/key-ring.toml', await keyRing.connectorFile());
    const runIt = block('sh', 'workspace create', port)
      .replace('cargo build --release\n', '')
      .replace(/(?=^target\/release\/patchbay$)/m, 'export -p > settings.sh\n');
    server = newcomer.starts(runIt, {
      PATCHBAY_LISTEN: `127.0.0.1:${port}`,
      PATCHBAY_CONNECTORS_DIR: resolve(connectorFile, '..'),
      PATCHBAY_ALLOWED_HOSTS: keyRing.host,
      PATCHBAY_PROBE_INTERVAL: '1s',
      PATCHBAY_JOB_TICK: '100ms',
    });
    await server.serves(origin);
    ada = new Person({ origin, token: JSON.parse(server.out).token });
    await connectTwo();
  });

  after(async () => {
    await newcomer.leaves();
    await keyRing?.close();
  });

  /** A shop that works, and an outlet whose key was withdrawn after a metric was made of its charges. */
  async function connectTwo() {
    const { client } = await ada.does('createClient', { name: 'Acme' }, 'client { id }');
    for (const name of ['Shop', 'Outlet']) {
      const value = keyRing.issue(`key of ${name}`, { id: name, name });
      const input = { connector: 'key-ring', clientId: client.id, name, using: { credentials: [{ name: 'api_key', value }] } };
      outlet = (await ada.does('connect', input, 'connection { id }')).connection;
    }
    const query = { http: { path: '/charges', rowsPointer: '/data' } };
    const { dataset } = await ada.does('createDataset', { connectionId: outlet.id, name: 'Charges', query }, 'dataset { id }');
    await ada.does('createMetric', { datasetId: dataset.id, name: 'Revenue', aggregation: 'SUM', column: 'amount' }, 'metric { id }');
    keyRing.withdraw('key of Outlet');
    await eventually('the outlet is disconnected', async () => (await ada.connection(outlet.id)).status === 'DISCONNECTED');
  }

  test('"Run it" makes a workspace and serves, at every address that is named', async () => {
    assert.match(server.out, /^\{.*\}\n$/, 'one line of JSON');
    assert.deepEqual(Object.keys(JSON.parse(server.out)).sort(), ['token', 'userId', 'workspaceId']);
    for (const path of ['/', '/healthz', '/readyz', '/explorer', '/metrics']) {
      assert.ok(readme.text.includes(`\`${path}\``), `${path} is named`);
      assert.equal((await fetch(`${origin}${path}`)).status, 200, path);
    }
  });

  test('curl says what is disconnected, and why', async () => {
    const answer = JSON.parse(await newcomer.types(SAME_SETTINGS + block('sh', 'curl', port)));
    const { totalCount, nodes } = answer.data.connections;
    assert.equal(totalCount, 1);
    assert.deepEqual([nodes[0].name, nodes[0].client.name, nodes[0].disconnection.reason], ['Outlet', 'Acme', 'CREDENTIALS_REJECTED']);
  });

  test('a metric says at its foot what is wrong, and has its value still', async () => {
    const shown = JSON.parse(block('json', 'Revenue').replace('Stripe', 'Key Ring'));
    assert.deepEqual(await ada.ask(block('graphql', 'failing')), shown.data);
  });

  test('JavaScript hears a change, and keeps its cursor', async (t) => {
    const after = await ada.cursor();
    const script = block('js', 'graphql-ws', port);
    const needsWs = Number(process.versions.node.split('.')[0]) < 22;
    await newcomer.writes('follow.mjs', `
      import ws from 'ws';
      let kept = ${JSON.stringify(after)};
      globalThis.token = ${JSON.stringify(ada.token)};
      Object.defineProperty(globalThis, 'lastCursor', { get: () => kept, set: (cursor) => console.log((kept = cursor)) });
      ${needsWs ? script.replace('createClient({', '$& webSocketImpl: ws,') : script}`);
    const follower = newcomer.starts('node follow.mjs');
    const window = openWindow(ada);
    t.after(() => window.close());
    const changes = window.follow('subscription ($after: String) { connectionsChanged(after: $after) { cursor kind } }', { after });

    await ada.does('updateConnection', { connectionId: outlet.id, name: 'Outlet of Acme' }, 'connection { id }');
    const change = await changes.next('the renaming');
    await follower.until('it has kept the cursor', async () => follower.out.split('\n').includes(change.cursor));
    await follower.interrupt();
    await ada.does('updateConnection', { connectionId: outlet.id, name: 'Outlet' }, 'connection { id }');
  });

  test('Python lists the connections, in the terminal in which curl had its token', async () => {
    await newcomer.writes('list.py', block('python', 'urllib', port));
    const printed = await newcomer.types(`${SAME_SETTINGS}${block('sh', 'curl', port)}echo\npython3 list.py`);
    assert.deepEqual(printed.trim().split('\n').slice(1).sort(), ['CONNECTED Shop', 'DISCONNECTED Outlet']);
  });

  test('the settings file is understood, and `patchbay serve` ends with 0 at Ctrl-C', async () => {
    const itsPort = await freePort();
    const file = block('toml', 'listen', itsPort).replace(/"postgres:.*"/, '"sqlite://patchbay.db"');
    await newcomer.writes('by-file/patchbay.toml', file);
    const byFile = newcomer.starts(`${SAME_SETTINGS}unset PATCHBAY_LISTEN PATCHBAY_PUBLIC_URL\ncd by-file\npatchbay serve`);
    const itsOrigin = `http://127.0.0.1:${itsPort}`;
    await byFile.serves(itsOrigin);
    const asked = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' };
    const allowed = await fetch(`${itsOrigin}/graphql`, { method: 'OPTIONS', headers: asked });
    assert.equal(allowed.headers.get('access-control-allow-origin'), asked.origin);
    assert.equal(byFile.out, '', 'logs go to stderr');
    assert.deepEqual(await byFile.interrupt(), { code: 0, signal: null });
  });

  test('`patchbay demo` prints three commands: one listens, one breaks it, one mends it', async () => {
    const demo = newcomer.starts('patchbay demo', { PATCHBAY_LISTEN: '127.0.0.1:0' });
    await demo.prints(/^3\. (.|\n)*^curl .*\n/m);
    assert.match(demo.out, /http:\S+\/explorer#token=/);
    const [listen, revoke, reconnect, ...more] = demo.out.match(/^curl .*$/gm);
    assert.deepEqual(more, []);
    const listening = newcomer.starts(listen.replace(/^curl/, '$& --verbose'));
    await listening.until('the stream is open', async () => listening.log.includes('200 OK'));
    await newcomer.types(revoke);
    await listening.prints(/"DISCONNECTED"/);
    await newcomer.types(reconnect);
    await listening.prints(/"RECONNECTED"/);
    await listening.interrupt();
    assert.deepEqual(await demo.interrupt(), { code: 0, signal: null });
  });

  let elsewhere;
  for (const command of commands) {
    const words = command.match(/^patchbay(?: [a-z]+)*/)[0];

    test(`\`${words} --help\` knows the options that the README names`, async () => {
      const help = await newcomer.types(`${words} --help`);
      for (const [option] of command.matchAll(/--[a-z-]+/g)) assert.match(help, new RegExp(` ${option} `));
    });

    if (GO_ON.includes(command)) continue;
    test(`\`${command}\` runs beside the server`, async (t) => {
      const email = 'eve@agency.example';
      const blanks = { N: 'Elsewhere', M: 'Eve', E: email, ADDRESS: email, ID: elsewhere, DIR: `${repository}/connectors` };
      const filledIn = command.replace(/[[\]]/g, '').replace(/\b(N|M|E|ADDRESS|ID|DIR)\b/g, (blank) => blanks[blank]);
      const mail = words === 'patchbay mail test' ? await startMailServer() : null;
      t.after(() => mail?.close());
      const ofMail = Object.entries(mail?.environment ?? {}).map(([name, value]) => `export ${name}='${value}'\n`).join('');
      const printed = await newcomer.types(SAME_SETTINGS + ofMail + filledIn);
      if (mail) await eventually('the letter is there', () => mail.taken.some(({ to }) => to.includes(email)));
      if (words === 'patchbay workspace create') elsewhere = JSON.parse(printed).workspaceId;
      if (words === 'patchbay token') assert.match(printed, /^[\w-]+\.[\w-]+\.[\w-]+\n$/, 'a token and nothing else');
      if (words === 'patchbay schema') assert.equal(printed, await readRepository('schema.graphql'));
    });
  }

  test('has no block and no command that nobody runs', () => {
    readme.hasNothingUnread();
    for (const command of GO_ON) assert.ok(commands.includes(command), command);
    assert.ok(commands.length > GO_ON.length);
  });

  test('Ctrl-C ends what "Run it" started, with 0', async () => {
    assert.deepEqual(await server.interrupt(), { code: 0, signal: null });
  });
});

/** The documents, and the tests that run what is in them. */
const READ_BY = {
  'docs/api.md': 'api.test.js',
  'docs/configuration.md': 'operating.test.js',
  'docs/connectors.md': 'connectors.test.js',
  'docs/front-ends.md': 'front-ends.test.js',
  'docs/operating.md': 'operating.test.js',
};

describe('the documents', async () => {
  const names = (await readdir(join(repository, 'docs'))).map((file) => `docs/${file}`);
  const documents = await Promise.all(['README.md', 'SECURITY.md', ...names].map((name) => Document.open(name)));

  for (const document of documents) {
    test(`${document.name} has a test for its blocks, and no link that leads nowhere`, async () => {
      const reader = READ_BY[document.name];
      if (reader) assert.ok((await readRepository(`tests/outside/${reader}`)).includes(`Document.open('${document.name}')`));
      else if (document !== documents[0]) document.hasNothingUnread();

      for (const [, target] of document.text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
        const [path, anchor] = target.split('#');
        const file = path ? join(dirname(document.name), path) : document.name;
        if (!anchor) await assert.doesNotReject(stat(join(repository, file)), target);
        else assert.ok((await Document.open(file)).anchors.includes(anchor), target);
      }
    });
  }

  test('are all named in docs/README.md', async () => {
    const index = await readRepository('docs/README.md');
    for (const name of names) assert.ok(name === 'docs/README.md' || index.includes(`(${name.replace('docs/', '')})`), name);
  });
});
