// docs/operating.md and docs/configuration.md are true: their commands are typed beside a running server, their settings used.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Document, readRepository } from './markdown.js';
import { Newcomer } from './newcomer.js';
import { freePort, freshSettings } from './patchbay.js';
import { Person } from './people.js';
import { eventually } from './waiting.js';

const operating = await Document.open('docs/operating.md');
const configuration = await Document.open('docs/configuration.md');

describe('operating', () => {
  const newcomer = new Newcomer();
  let ada, server, port;

  before(async () => {
    const settings = await freshSettings();
    port = new URL(settings.PATCHBAY_PUBLIC_URL).port;
    await newcomer.arrive(settings);
    const { token } = JSON.parse(await newcomer.types('patchbay workspace create --name Agency --admin-email ada@agency.example'));
    server = newcomer.starts('patchbay');
    await server.serves(settings.PATCHBAY_PUBLIC_URL);
    ada = new Person({ origin: settings.PATCHBAY_PUBLIC_URL, token });
  });

  after(() => newcomer.leaves());

  test('what is wrong is said at once', async () => {
    const refused = await newcomer.types(operating.block('sh', 'INTERVAL=soon')).catch((error) => error);
    assert.equal(refused.code, 1);
    assert.equal(refused.stderr, operating.block('text', 'INTERVAL'));
  });

  test('the paths to watch answer, and the numbers are there', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      assert.ok(operating.text.includes(`\`${path}\``));
      assert.equal((await fetch(`${ada.origin}${path}`)).status, 200, path);
    }
    const printed = await newcomer.types(operating.block('sh', '/metrics', port));
    assert.match(printed, /^patchbay_db_up 1$/m);
    // A number that has labels is there once there is something to count.
    await ada.ask('{ viewer { id } }');
    const following = await fetch(`${ada.origin}/graphql`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ada.token}`,
        accept: 'text/event-stream',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ query: 'subscription { connectionsChanged { cursor } }' }),
    });
    // The stream is answered before what is subscribed to runs.
    const numbers = await eventually('a subscription is counted', async () => {
      const text = await (await fetch(`${ada.origin}/metrics`)).text();
      return text.includes('# TYPE patchbay_subscriptions ') && text;
    });
    await following.body.cancel();
    // Those of providers and letters come with the first: here it is enough that they are called so.
    const later = await readRepository('src/telemetry/providers.rs') + await readRepository('src/telemetry/letters.rs');
    for (const [, name] of operating.text.matchAll(/`(patchbay_[a-z_]+)/g)) {
      const registered = `"${name.replace('patchbay_', '').replace(/_total$/, '')}"`;
      assert.ok(numbers.includes(`# TYPE ${name} `) || later.includes(registered), name);
    }
  });

  test('what fails for everyone is asked for by connector', async () => {
    const { connectors } = await ada.ask(operating.block('graphql', 'incident'));
    assert.ok(connectors.nodes.length > 0);
    for (const { name, incident } of connectors.nodes) assert.equal(incident, null, name);
  });

  test('what datasets fail is asked for by status', async () => {
    assert.deepEqual(await ada.ask(operating.block('graphql', 'FAILED')), { datasets: { nodes: [] } });
  });

  test('the limits of datasets are those of the code', async () => {
    const code = await readRepository('src/datasets/mod.rs');
    const [, pages, rows, mebibytes] = /pages: ([\d_]+), rows: ([\d_]+), bytes: (\d+) << 20/.exec(code);
    const seconds = [...code.matchAll(/=> Duration::from_secs\((\d+)\)/g)].map(([, each]) => `${each} s`);
    const grouped = (number) => number.replaceAll('_', ',');
    assert.ok(operating.text.includes(`| rows, and as JSON | ${grouped(rows)}, ${mebibytes} MiB | the same |`));
    assert.ok(operating.text.includes(`| pages | ${grouped(pages)} | |`));
    assert.ok(operating.text.includes(`| time | ${seconds.join(' | ')} |`));
  });

  test('the audit log says who did what', async () => {
    await ada.does('createClient', { name: 'Acme' }, 'client { id }');
    const { auditLog } = await ada.ask(operating.block('graphql', 'auditLog'));
    assert.deepEqual(auditLog.nodes.map(({ action, apiKey }) => ({ action, apiKey })), [{ action: 'client.created', apiKey: null }]);
  });

  test('a backup taken while it runs is whole', async () => {
    await newcomer.types(operating.block('sh', 'sqlite3'));
    const clients = await newcomer.types(`sqlite3 backup.db 'SELECT name FROM client'`);
    assert.equal(clients, 'Acme\n');
  });

  test('a new key is put before the old one, and what was sealed still opens', async () => {
    await server.interrupt();
    server = newcomer.starts(`${operating.block('sh', 'second:')}patchbay`);
    await server.serves(ada.origin);
    assert.equal((await ada.ask('{ clients { totalCount } }')).clients.totalCount, 1);
    const rotated = await newcomer.types(operating.block('sh', 'second:') + operating.block('sh', 'keys rotate'));
    const shown = (text) => text.replaceAll(/\d+/g, 'N').replace(/^(?!second)\w+:/m, 'old:');
    assert.equal(shown(rotated), shown(operating.block('text', 'anew')));
    await server.interrupt();
  });

  test('the settings file is understood, with the keys of the environment', async () => {
    const itsPort = await freePort();
    const file = configuration.block('toml', 'listen', itsPort).replace('sqlite:///var/lib/patchbay/patchbay.db', 'sqlite://other.db');
    await newcomer.writes('by-file/patchbay.toml', file);
    const keys = configuration.block('sh', 'openssl');
    const without = 'unset PATCHBAY_LISTEN PATCHBAY_PUBLIC_URL PATCHBAY_DATABASE_URL PATCHBAY_ENCRYPTION_KEYS PATCHBAY_JWT_SECRET';
    const byFile = newcomer.starts(`${without}\n${keys}cd by-file\npatchbay`);
    await byFile.serves(`http://127.0.0.1:${itsPort}`);
    assert.doesNotMatch(byFile.log, /WARN/);
    assert.deepEqual(await byFile.interrupt(), { code: 0, signal: null });
  });

  test('every setting is in the document, with the default that it has', async () => {
    const layers = await readRepository('src/config/layers.rs');
    const listOf = (name) => new RegExp(`${name}[^=]*= \\[(.*?)\\];`, 's').exec(layers)[1];
    const keys = [...listOf('KEYS').matchAll(/"(\w+)"/g)].map(([, key]) => key);
    assert.ok(keys.length > 20);
    for (const key of keys) assert.ok(configuration.text.includes(key.toUpperCase()), key);
    for (const [, key, value] of listOf('DEFAULTS').matchAll(/\("(\w+)", "(.*?)"\)/g)) {
      const row = new RegExp(`^\\| \`PATCHBAY_${key.toUpperCase()}\` \\| \`(.*?)\` \\|`, 'm').exec(configuration.text);
      assert.equal(row?.[1], value, key);
    }
  });

  test('have no block that nobody runs', () => {
    operating.hasNothingUnread();
    configuration.hasNothingUnread();
  });
});
