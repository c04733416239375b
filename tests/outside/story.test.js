// The main job from end to end, against npm's oidc-provider: connect, notice, tell, reconnect.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Browser } from './browser.js';
import { everyDatabase } from './databases.js';
import { refuseConsent, signIn } from './oidc.js';
import { PROBE_INTERVAL_MS } from './patchbay.js';
import { FRONT_END, oidcStage } from './stage.js';
import { eventually } from './waiting.js';

/** What a busy machine may add to the probe interval. */
const GRACE_MS = 4_000;

/** Seconds of an access token that is not renewed while the test looks. */
const LONG_LIVED = 12 * 3_600;

const CHANGE = `
  cursor at kind connectionCount
  connections { id status }
  addedConnections { id }
  removedConnectionIds
  authorization { id }
  disconnection { id reason startedAt }
  clients { id }
  by { id }`;
const CHANGES = `subscription ($after: String) { connectionsChanged(after: $after) { ${CHANGE} } }`;

const ids = (nodes) => nodes.map((node) => node.id).sort();

const isDisconnected = (person, connection) =>
  eventually(`${connection.id} is disconnected`, async () => (await person.connection(connection.id)).status === 'DISCONNECTED');

for (const database of everyDatabase) {
  describe(`the main job on ${database.name}`, () => {
    test('one authorization feeds two clients; it breaks once, is told once, and one reconnect heals both', async (t) => {
      const stage = await oidcStage(t, { database });
      const { oidc, ada, sam, sue, mia, max, carl, acme, globex } = stage;
      const connections = await stage.connectBothClients();
      const [first, second] = connections;
      assert.equal(second.authorization.id, first.authorization.id);
      assert.deepEqual(first.authorization.account, { accountId: 'olga', name: 'olga@example.com' });
      assert.equal(oidc.tokenCalls('authorization_code'), 1, 'the second connection needed no browser');

      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });
      const revokedAt = Date.now();
      await oidc.revokeEverythingOf('olga');

      const broken = await changes.next('the disconnection');
      assert.equal(broken.kind, 'DISCONNECTED');
      assert.ok(Date.parse(broken.at) - revokedAt < PROBE_INTERVAL_MS + GRACE_MS, 'noticed within a probe interval');
      assert.deepEqual(ids(broken.connections), ids(connections));
      assert.equal(broken.connectionCount, 2);
      assert.deepEqual(ids(broken.clients), [acme, globex].sort());
      assert.deepEqual(broken.addedConnections, []);
      assert.deepEqual(broken.removedConnectionIds, []);
      assert.equal(broken.disconnection.reason, 'REVOKED');
      assert.equal(broken.by, null, 'the server itself noticed');

      for (const connection of connections) {
        const [disconnection, ...others] = await sam.disconnectionsOf(connection.id);
        assert.deepEqual(others, []);
        assert.equal(disconnection.id, broken.disconnection.id);
        assert.equal(disconnection.endedAt, null);
        assert.equal(disconnection.connection, null, 'the authorization as a whole is out');
        assert.deepEqual(ids(disconnection.connections.nodes), ids(connections));
        assert.ok(ids(connections).includes(disconnection.reconnectConnectionId));
      }
      for (const person of [ada, sam, sue, mia]) {
        const { unread, notifications } = await person.tray();
        assert.deepEqual(notifications.map((notification) => notification.kind), ['DISCONNECTED'], `${person.email} is told once`);
        assert.equal(unread, 1);
        assert.equal(notifications[0].disconnection.id, broken.disconnection.id);
        assert.deepEqual(ids(notifications[0].clients.nodes), [acme, globex].sort());
        assert.ok(ids(connections).includes(notifications[0].disconnection.reconnectConnectionId));
      }
      for (const person of [max, carl]) {
        assert.deepEqual(await person.tray(), { unread: 0, notifications: [] }, `${person.email} is not told`);
      }

      const healed = await stage.reconnectByBrowser(sam, second.id);
      assert.deepEqual(ids(healed), ids(connections));

      const mended = await changes.next('the reconnection');
      assert.equal(mended.kind, 'RECONNECTED');
      assert.deepEqual(ids(mended.connections), ids(connections));
      assert.equal(mended.disconnection.id, broken.disconnection.id);
      assert.equal(mended.by.id, sam.id);
      assert.deepEqual(changes.kinds, ['DISCONNECTED', 'RECONNECTED'], 'nothing else was sent');

      for (const { id } of connections) {
        const connection = await mia.connection(id);
        assert.equal(connection.status, 'CONNECTED', 'the owner before still sees it');
        assert.equal(connection.createdBy.id, sam.id, 'who reconnected owns it');
        assert.ok(ids(connection.sharedWith).includes(mia.id));
        assert.equal(connection.authorization.id, first.authorization.id);
        const [disconnection, ...others] = await mia.disconnectionsOf(id);
        assert.deepEqual(others, []);
        assert.ok(disconnection.endedAt);
        assert.equal(disconnection.endedBy, 'RECONNECTED');
        assert.equal(disconnection.reconnectedBy.id, sam.id);
        assert.equal(disconnection.reconnectConnectionId, null);
      }
      const [told] = (await sue.tray()).notifications;
      assert.ok(told.disconnection.endedAt);
      assert.equal(told.disconnection.reconnectConnectionId, null, 'the button is gone for everyone');
    });

    test('a socket that was closed during the outage misses nothing and hears nothing twice', async (t) => {
      const stage = await oidcStage(t, { database });
      const { oidc, sam, sue } = stage;
      const connections = await stage.connectBothClients();

      const before = stage.window(sue);
      const seenBefore = before.follow(CHANGES, { after: await sue.cursor() });
      await sam.does('updateConnection', { connectionId: connections[0].id, name: 'Renamed' }, 'connection { id }');
      assert.equal((await seenBefore.next('the renaming')).kind, 'UPDATED');
      await before.close();

      await oidc.revokeEverythingOf('olga');
      await isDisconnected(sam, connections[1]);

      const during = stage.window(sue);
      const seenDuring = during.follow(CHANGES, { after: seenBefore.cursor });
      const broken = await seenDuring.next('the disconnection, replayed');
      assert.equal(broken.kind, 'DISCONNECTED');
      assert.deepEqual(ids(broken.connections), ids(connections));
      await during.close();

      await stage.reconnectByBrowser(sam, connections[0].id);

      const after = stage.window(sue).follow(CHANGES, { after: seenDuring.cursor });
      const mended = await after.next('the reconnection, replayed');
      assert.equal(mended.kind, 'RECONNECTED');
      assert.deepEqual(ids(mended.connections), ids(connections));
      await sam.does('updateConnection', { connectionId: connections[0].id, name: 'Renamed again' }, 'connection { id }');
      assert.equal((await after.next('the second renaming, live')).kind, 'UPDATED');

      const fromTheStart = stage.window(sue).follow(CHANGES, { after: seenBefore.cursor });
      for (let heard = 0; heard < 3; heard += 1) await fromTheStart.next('all of it, replayed at once');
      assert.deepEqual(fromTheStart.kinds, ['DISCONNECTED', 'RECONNECTED', 'UPDATED']);
      assert.deepEqual(seenBefore.kinds, ['UPDATED']);
      assert.deepEqual(seenDuring.kinds, ['DISCONNECTED']);
      assert.deepEqual(after.kinds, ['RECONNECTED', 'UPDATED']);
    });

    test('whoever polls reads the same changes, each once', async (t) => {
      const stage = await oidcStage(t, { database });
      const { oidc, sam, sue } = stage;
      const connections = await stage.connectBothClients();
      const heard = [];
      let cursor = await sue.cursor();
      const poll = async () => {
        const { connectionChanges: page } = await sue.ask(
          `query ($after: String!) { connectionChanges(after: $after, first: 1) { nodes { ${CHANGE} } endCursor hasNextPage } }`,
          { after: cursor },
        );
        cursor = page.endCursor;
        heard.push(...page.nodes);
        return page;
      };
      const pollUntil = (kind) => eventually(`a poll brings ${kind}`, async () => (await poll()).nodes.some((node) => node.kind === kind));

      assert.deepEqual((await poll()).nodes, [], 'nothing has happened since');
      await oidc.revokeEverythingOf('olga');
      await pollUntil('DISCONNECTED');
      await stage.reconnectByBrowser(sam, connections[0].id);
      await pollUntil('RECONNECTED');
      while ((await poll()).hasNextPage);

      assert.deepEqual(heard.map((change) => change.kind), ['DISCONNECTED', 'RECONNECTED']);
      for (const change of heard) assert.deepEqual(ids(change.connections), ids(connections));
    });

    for (const [moment, killedAt] of [
      ['the provider has just refused', (stage) => stage.refused],
      ['the disconnection is written', (stage, [connection]) => isDisconnected(stage.ada, connection)],
    ]) {
      test(`killed with SIGKILL when ${moment}, the server tells of it after the restart, once`, async (t) => {
        const stage = await oidcStage(t, { database });
        const { oidc, patchbay, ada, sam, sue, mia } = stage;
        const connections = await stage.connectBothClients();
        const cursor = await sue.cursor();

        stage.refused = oidc.nextRefusedRenewal();
        await oidc.revokeEverythingOf('olga');
        await killedAt(stage, connections);
        await patchbay.restart();

        const changes = stage.window(sue).follow(CHANGES, { after: cursor });
        const broken = await changes.next('the disconnection');
        assert.equal(broken.kind, 'DISCONNECTED');
        assert.deepEqual(ids(broken.connections), ids(connections));
        for (const person of [ada, sam, sue, mia]) {
          assert.equal((await person.tray()).notifications.length, 1, `${person.email} is told once`);
        }
        await stage.reconnectByBrowser(sam, connections[0].id);
        assert.equal((await changes.next('the reconnection')).kind, 'RECONNECTED');
        assert.deepEqual(changes.kinds, ['DISCONNECTED', 'RECONNECTED']);
        assert.equal((await sam.disconnectionsOf(connections[0].id)).length, 1);
      });
    }

    test('a window that stays open through a SIGKILL comes back by itself and goes on where it was', async (t) => {
      const stage = await oidcStage(t, { database, accessTokenSeconds: LONG_LIVED });
      const { patchbay, sam, sue } = stage;
      const [connection] = await stage.connectBothClients();
      const rename = (name) => sam.does('updateConnection', { connectionId: connection.id, name }, 'connection { id }');
      const window = stage.window(sue);
      const changes = window.follow(CHANGES, { after: await sue.cursor() });

      await rename('Before');
      const first = await changes.next('what happened before');
      await patchbay.restart();
      await rename('After');
      const second = await changes.next('what happened after');

      assert.equal(window.attempts > 1, true);
      assert.notEqual(second.cursor, first.cursor);
      assert.deepEqual(changes.kinds, ['UPDATED', 'UPDATED']);
    });

    test('rotating refresh tokens keep a connection alive, across a restart too, and nobody hears of it', async (t) => {
      const stage = await oidcStage(t, { database, accessTokenSeconds: 2 });
      const { oidc, patchbay, sam } = stage;
      const [connection] = await stage.connectBothClients();
      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });
      const renewed = (times) => eventually(`renewed ${times} times`, () => oidc.tokenCalls('refresh_token') >= times);

      await renewed(3);
      await patchbay.stop();
      const sofar = oidc.tokenCalls('refresh_token');
      await patchbay.start();
      await renewed(sofar + 3);

      assert.equal(oidc.tokenCalls('refresh_token', 400), 0, 'no refresh token was used twice');
      assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
      await sam.does('updateConnection', { connectionId: connection.id, name: 'Renamed' }, 'connection { id }');
      assert.equal((await changes.next('the renaming')).kind, 'UPDATED', 'nothing came before it');
    });

    test('a provider that answers 503 is left alone: nothing is flagged, and it goes on when it is back', async (t) => {
      const stage = await oidcStage(t, { database, accessTokenSeconds: 2 });
      const { oidc, sam } = stage;
      const [connection] = await stage.connectBothClients();

      oidc.down = true;
      await eventually('it was asked several times while down', () => oidc.calls.filter((call) => call.route === 'down').length >= 4);
      assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
      assert.deepEqual(await sam.disconnectionsOf(connection.id), []);

      const renewals = oidc.tokenCalls('refresh_token');
      oidc.down = false;
      await eventually('it is renewed again', () => oidc.tokenCalls('refresh_token') > renewals);
      assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
      assert.deepEqual((await sam.tray()).notifications, []);
    });

    test('a grant is given back only with the last connection that used it', async (t) => {
      const stage = await oidcStage(t, { database });
      const { oidc, sam, acme } = stage;
      const [first, second] = await stage.connectBothClients();

      const removal = await sam.does('removeConnection', { connectionId: first.id }, 'removedConnectionId');
      assert.equal(removal.removedConnectionId, first.id);
      assert.equal((await sam.connection(second.id)).status, 'CONNECTED');
      assert.equal(oidc.revocations, 0, 'the other connection still uses it');

      await sam.does('removeConnection', { connectionId: second.id }, 'removedConnectionId');
      await eventually('the grant is given back', () => oidc.revocations > 0);

      const again = await stage.connectByBrowser(sam, acme, 'olga');
      assert.notEqual(again.id, first.id);
      assert.equal(again.status, 'CONNECTED');
    });

    test('signing in as someone else on a reconnect asks first, and nothing moves until it is decided', async (t) => {
      const stage = await oidcStage(t, { database });
      const { oidc, sam } = stage;
      const [connection] = await stage.connectBothClients();
      await oidc.revokeEverythingOf('olga');
      await isDisconnected(sam, connection);

      const { attempt } = await sam.does('reconnect', { connectionId: connection.id }, 'attempt { id authorizationUrl }');
      await signIn(new Browser(), attempt.authorizationUrl, 'otto');
      const { authorizationAttempt: waiting } = await sam.ask(
        `query ($id: ID!) {
           authorizationAttempt(id: $id) { status signedInAs { accountId } expectedAccount { accountId } }
         }`,
        { id: attempt.id },
      );
      assert.deepEqual(waiting, {
        status: 'NEEDS_DECISION',
        signedInAs: { accountId: 'otto' },
        expectedAccount: { accountId: 'olga' },
      });
      assert.equal((await sam.connection(connection.id)).status, 'DISCONNECTED');

      const { attempt: decided } = await sam.does(
        'decideAttempt',
        { attemptId: attempt.id, accountChange: 'WHOLE_AUTHORIZATION' },
        'attempt { status connections { id } }',
      );
      assert.equal(decided.status, 'SUCCEEDED');
      assert.equal(decided.connections.length, 2);
      const moved = await sam.connection(connection.id);
      assert.equal(moved.status, 'CONNECTED');
      assert.equal(moved.authorization.account.accountId, 'otto');
    });

    test('a browser comes back to the front end that sent it, with how it went', async (t) => {
      const stage = await oidcStage(t, { database });
      const { mia, acme } = stage;
      const returnUrl = `${FRONT_END}/sources?tab=all`;

      const connecting = await stage.startConnecting(mia, acme, { returnUrl });
      assert.equal(connecting.status, 'PENDING');
      const page = await signIn(new Browser(), connecting.authorizationUrl, 'olga');
      assert.equal(page.url.origin, FRONT_END);
      assert.deepEqual(Object.fromEntries(page.url.searchParams), { tab: 'all', attempt: connecting.id, status: 'SUCCEEDED' });

      const cancelled = await stage.startConnecting(mia, acme, { returnUrl });
      const back = await refuseConsent(new Browser(), cancelled.authorizationUrl, 'otto');
      assert.equal(back.url.searchParams.get('status'), 'FAILED');
      const { authorizationAttempt: attempt } = await mia.ask(
        'query ($id: ID!) { authorizationAttempt(id: $id) { status error { code } } }',
        { id: cancelled.id },
      );
      assert.deepEqual(attempt, { status: 'FAILED', error: { code: 'DENIED' } });
    });

    test("another browser cannot finish someone's sign-in", async (t) => {
      const stage = await oidcStage(t, { database });
      const { oidc, mia, acme } = stage;
      const attempt = await stage.startConnecting(mia, acme);
      const start = await fetch(attempt.authorizationUrl, { redirect: 'manual' });
      assert.equal(start.status, 303);
      const atProvider = start.headers.get('location');
      assert.ok(atProvider.startsWith(`${oidc.issuer}/auth?`));

      const page = await signIn(new Browser(), atProvider, 'olga');
      assert.ok(page.status >= 400, `refused with ${page.status}`);
      assert.equal(oidc.tokenCalls('authorization_code'), 0, 'the code was not exchanged');
      const { connections } = await mia.ask('{ connections { totalCount } }');
      assert.equal(connections.totalCount, 0);
    });
  });
}
