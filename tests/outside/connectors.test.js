// docs/connectors.md is true: its example is put together, checked, run, connected, and notices when it breaks.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { CHARGES, startKeyRing } from './keyring.js';
import { Document } from './markdown.js';
import { Newcomer } from './newcomer.js';
import { freshSettings } from './patchbay.js';
import { Person } from './people.js';
import { eventually } from './waiting.js';

const document = await Document.open('docs/connectors.md');

describe('adding a connector', () => {
  const newcomer = new Newcomer();
  let keyRing, ada, server;

  before(async () => {
    keyRing = await startKeyRing();
    await newcomer.arrive(await freshSettings({
      PATCHBAY_ALLOWED_HOSTS: keyRing.host,
      PATCHBAY_PROBE_INTERVAL: '1s',
      PATCHBAY_JOB_TICK: '100ms',
    }));
  });

  after(async () => {
    await newcomer.leaves();
    await keyRing?.close();
  });

  const parts = document.blocks.filter(({ heading, language }) => heading === 'With a key' && language === 'toml');

  test('the parts make a file, in which the check finds nothing, and otherwise says where', async () => {
    const file = parts.map((part) => document.read(part)).join('\n').replaceAll('https://api.keyring.example', `http://${keyRing.host}`);
    const check = document.block('sh', 'connectors check');
    await newcomer.writes('connectors/key-ring.toml', file.replace('placement', 'placemnt'));
    await assert.rejects(newcomer.types(check), ({ code, stdout }) => code === 1 && /key-ring\.toml:9: .*`placemnt`/.test(stdout));
    await newcomer.writes('connectors/key-ring.toml', file);
    await newcomer.types(check);
  });

  test('it is in the catalogue, and connects', async () => {
    const created = JSON.parse(await newcomer.types('patchbay workspace create --name Agency --admin-email ada@agency.example'));
    server = newcomer.starts(document.block('sh', 'PATCHBAY_CONNECTORS_DIR'));
    await server.serves(newcomer.env.PATCHBAY_PUBLIC_URL);
    ada = new Person({ origin: newcomer.env.PATCHBAY_PUBLIC_URL, token: created.token });
    const { connector } = await ada.ask(document.block('graphql', 'key-ring'));
    assert.deepEqual([connector.name, connector.authMethod, connector.configured], ['Key Ring', 'API_KEY', true]);
    assert.deepEqual(connector.fields.map(({ name, secret, required }) => ({ name, secret, required })), [{ name: 'api_key', secret: true, required: true }]);
  });

  let connection;

  test('its datasets have the rows of every page', async () => {
    const value = keyRing.issue('a key', { id: '17', name: 'Acme' });
    const input = { connector: 'key-ring', using: { credentials: [{ name: 'api_key', value }] } };
    ({ connection } = await ada.does('connect', input, 'connection { id }'));
    const query = { http: { path: '/charges', parameters: { limit: 1 }, rowsPointer: '/data' } };
    const { dataset } = await ada.does('createDataset', { connectionId: connection.id, name: 'Charges', query }, 'dataset { columns rowCount rows { nodes } }');
    assert.deepEqual(dataset, { columns: ['id', 'amount'], rowCount: 2, rows: { nodes: CHARGES } });
  });

  test('it notices that the key was taken away', async () => {
    keyRing.withdraw('a key');
    const broken = await eventually('it is disconnected', async () => {
      const seen = await ada.connection(connection.id);
      return seen.status === 'DISCONNECTED' && seen;
    });
    assert.equal(broken.disconnection.reason, 'CREDENTIALS_REJECTED');
    await server.interrupt();
  });

  test('the one with OAuth is well-formed, too, and is configured by its client', async () => {
    await newcomer.writes('more/acme-crm.toml', document.block('toml', 'acme-crm'));
    await newcomer.types('patchbay connectors check more');
    const settings = document.block('sh', 'ACME_CRM').replaceAll('…', 'something');
    server = newcomer.starts(`${settings}export PATCHBAY_CONNECTORS_DIR=more\npatchbay`);
    await server.serves(ada.origin);
    const { connector } = await ada.ask('{ connector(slug: "acme-crm") { configured hasAccounts fields { name } } }');
    assert.deepEqual(connector, { configured: true, hasAccounts: true, fields: [{ name: 'workspace' }] });
    await server.interrupt();
  });

  test('has no block that nobody runs', () => document.hasNothingUnread());
});
