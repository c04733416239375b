// A connector with API keys: every connection has an authorization of its own, so they break and heal one by one.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { everyDatabase } from './databases.js';
import { keyRingStage } from './stage.js';
import { eventually } from './waiting.js';

const ACME_ACCOUNT = { id: 'account-1', name: 'Acme Shop' };
const GLOBEX_ACCOUNT = { id: 'account-2', name: 'Globex Shop' };

const CHANGES = `subscription ($after: String) {
  connectionsChanged(after: $after) { cursor kind connections { id } removedConnectionIds disconnection { id reason } by { id } }
}`;

/** Two accounts with a key each; Mia has connected one for Acme and the other for Globex. */
async function twoConnections(t, database) {
  const stage = await keyRingStage(t, { database });
  const { keyRing, mia, acme, globex } = stage;
  const keys = [keyRing.issue('key-of-acme', ACME_ACCOUNT), keyRing.issue('key-of-globex', GLOBEX_ACCOUNT)];
  const ofAcme = await stage.connect(mia, acme, keys[0]);
  const ofGlobex = await stage.connect(mia, globex, keys[1]);
  return { stage, keys, ofAcme, ofGlobex };
}

for (const database of everyDatabase) {
  describe(`API keys on ${database.name}`, () => {
    test('a key is tried before it is stored, and a wrong one leaves nothing behind', async (t) => {
      const stage = await keyRingStage(t, { database });
      const { mia, acme } = stage;
      const refused = await stage.tryToConnect(mia, acme, 'a-key-that-nobody-issued');

      assert.equal(refused.connection, null);
      assert.deepEqual(refused.errors.map((error) => error.code), ['REJECTED']);
      assert.doesNotMatch(JSON.stringify(refused), /a-key-that-nobody-issued/, 'no answer echoes a secret');
      const { connections, authorizations } = await stage.ada.ask('{ connections { totalCount } authorizations { totalCount } }');
      assert.deepEqual([connections.totalCount, authorizations.totalCount], [0, 0]);
    });

    test('an unknown field among the credentials is INVALID at its place', async (t) => {
      const { mia, acme } = await keyRingStage(t, { database });
      const { errors } = await mia.tries(
        'connect',
        { connector: 'key-ring', clientId: acme, using: { credentials: [{ name: 'api_key', value: 'k' }, { name: 'colour', value: 'hush' }] } },
        'connection { id }',
      );
      assert.deepEqual(errors.map((error) => error.code), ['INVALID']);
      assert.deepEqual(errors[0].field.slice(0, 3), ['using', 'credentials', '1']);
      assert.doesNotMatch(JSON.stringify(errors), /hush/);
    });

    test('two connections break separately and heal separately', async (t) => {
      const { stage, ofAcme, ofGlobex } = await twoConnections(t, database);
      const { keyRing, sam, mia } = stage;
      assert.notEqual(ofAcme.authorization.id, ofGlobex.authorization.id);
      const statuses = async () => [(await sam.connection(ofAcme.id)).status, (await sam.connection(ofGlobex.id)).status];
      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });

      keyRing.withdraw('key-of-acme');
      const firstBroken = await changes.next("Acme's disconnection");
      assert.equal(firstBroken.kind, 'DISCONNECTED');
      assert.deepEqual(firstBroken.connections, [{ id: ofAcme.id }]);
      assert.equal(firstBroken.disconnection.reason, 'CREDENTIALS_REJECTED');
      assert.deepEqual(await statuses(), ['DISCONNECTED', 'CONNECTED']);

      keyRing.withdraw('key-of-globex');
      const secondBroken = await changes.next("Globex's disconnection");
      assert.deepEqual(secondBroken.connections, [{ id: ofGlobex.id }]);
      assert.notEqual(secondBroken.disconnection.id, firstBroken.disconnection.id);
      assert.deepEqual(await statuses(), ['DISCONNECTED', 'DISCONNECTED']);
      assert.equal((await sam.tray()).unread, 2, 'one notification for each');

      const refused = await stage.tryToReconnect(sam, ofAcme.id, 'another-wrong-key');
      assert.deepEqual(refused.errors.map((error) => error.code), ['REJECTED']);
      assert.equal(refused.connections, null);
      assert.deepEqual(await statuses(), ['DISCONNECTED', 'DISCONNECTED'], 'a wrong key changes nothing');

      keyRing.issue('new-key-of-acme', ACME_ACCOUNT);
      const healed = await stage.tryToReconnect(sam, ofAcme.id, 'new-key-of-acme');
      assert.deepEqual(healed.errors, []);
      assert.equal(healed.attempt, null);
      assert.deepEqual(healed.connections, [{ id: ofAcme.id }]);
      assert.deepEqual([healed.disconnection.id, healed.disconnection.endedBy], [firstBroken.disconnection.id, 'RECONNECTED']);
      const firstMended = await changes.next("Acme's reconnection");
      assert.deepEqual([firstMended.kind, firstMended.connections, firstMended.by.id], ['RECONNECTED', [{ id: ofAcme.id }], sam.id]);
      assert.deepEqual(await statuses(), ['CONNECTED', 'DISCONNECTED']);

      keyRing.issue('new-key-of-globex', GLOBEX_ACCOUNT);
      assert.deepEqual((await stage.tryToReconnect(mia, ofGlobex.id, 'new-key-of-globex')).errors, []);
      assert.equal((await changes.next("Globex's reconnection")).kind, 'RECONNECTED');
      assert.deepEqual(await statuses(), ['CONNECTED', 'CONNECTED']);

      assert.equal((await sam.connection(ofAcme.id)).createdBy.id, sam.id);
      assert.equal((await sam.connection(ofGlobex.id)).createdBy.id, mia.id);
      assert.deepEqual(changes.kinds, ['DISCONNECTED', 'DISCONNECTED', 'RECONNECTED', 'RECONNECTED']);
    });

    test('a reconnect needs the new key, and the same account', async (t) => {
      const { stage, ofAcme } = await twoConnections(t, database);
      const { mia } = stage;
      const withoutKey = await mia.tries('reconnect', { connectionId: ofAcme.id }, 'attempt { id }');
      assert.deepEqual(withoutKey.errors.map((error) => error.code), ['INVALID']);
      assert.equal(withoutKey.attempt, null);

      const ofAnotherAccount = await stage.tryToReconnect(mia, ofAcme.id, 'key-of-globex');
      assert.deepEqual(ofAnotherAccount.errors.map((error) => error.code), ['ACCOUNT_MISMATCH']);
      assert.equal((await mia.connection(ofAcme.id)).authorization.account.accountId, ACME_ACCOUNT.id);
    });

    test('the same account cannot be connected twice for one client, until it was removed', async (t) => {
      const { stage, keys, ofAcme, ofGlobex } = await twoConnections(t, database);
      const { mia, sam, acme } = stage;
      const twice = await stage.tryToConnect(mia, acme, keys[0]);
      assert.deepEqual(twice.errors.map((error) => error.code), ['CONFLICT']);
      assert.equal(twice.errors[0].conflictsWith.id, ofAcme.id);

      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });
      await mia.does('removeConnection', { connectionId: ofAcme.id }, 'removedConnectionId');
      const removed = await changes.next('the removal');
      assert.equal(removed.kind, 'REMOVED');
      assert.deepEqual(removed.removedConnectionIds, [ofAcme.id]);
      const listed = async () => (await sam.ask('{ connections { nodes { id } } }')).connections.nodes.map((node) => node.id);
      assert.deepEqual(await listed(), [ofGlobex.id]);
      assert.ok((await sam.connection(ofAcme.id)).removedAt, 'its id and history remain');

      const again = await stage.connect(mia, acme, keys[0]);
      assert.notEqual(again.id, ofAcme.id);
      assert.equal((await changes.next('the new connection')).kind, 'ADDED');
      assert.deepEqual((await listed()).sort(), [ofGlobex.id, again.id].sort());
    });

    test('a key that works again by itself ends the outage without anybody', async (t) => {
      const { stage, ofAcme } = await twoConnections(t, database);
      const { keyRing, sam, mia } = stage;
      keyRing.withdraw('key-of-acme');
      await eventually('Acme is out', async () => (await sam.connection(ofAcme.id)).status === 'DISCONNECTED');
      keyRing.issue('key-of-acme', ACME_ACCOUNT);
      await eventually('Acme is back', async () => (await sam.connection(ofAcme.id)).status === 'CONNECTED');

      const [disconnection] = await sam.disconnectionsOf(ofAcme.id);
      assert.equal(disconnection.endedBy, 'RECOVERED');
      assert.equal(disconnection.reconnectedBy, null);
      assert.equal((await sam.connection(ofAcme.id)).createdBy.id, mia.id, 'recovering moves nothing');
    });
  });
}
