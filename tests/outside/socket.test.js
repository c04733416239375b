// The socket: graphql-transport-ws as npm's graphql-ws speaks it, and frame by frame where its client is too polite to break a rule.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Browser } from './browser.js';
import { refuseConsent, signIn } from './oidc.js';
import { BareSocket, bearer, handshake } from './sockets.js';
import { emptyStage, FRONT_END, keyRingStage, oidcStage } from './stage.js';
import { eventually } from './waiting.js';

const CHANGES = `subscription ($after: String) {
  connectionsChanged(after: $after) { cursor kind connections { id name } by { id } }
}`;
const NOTIFICATION_ADDED = `subscription ($after: String) {
  notificationAdded(after: $after) {
    cursor notification { id kind readAt disconnection { reconnectConnectionId } } viewer { unreadNotificationCount }
  }
}`;
const NOTIFICATIONS_READ = `subscription ($after: String) {
  notificationsRead(after: $after) { cursor notifications { id readAt } viewer { unreadNotificationCount } }
}`;
const ATTEMPT = `subscription ($id: ID!) {
  authorizationAttemptChanged(id: $id) { id status signedInAs { accountId } connections { id } error { code } }
}`;

const NOBODYS_TOKEN = 'eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVkLWJ5LW5vYm9keQ';

/** A stage with one connection of Acme's, and a way to make something happen to it. */
async function stageWithConnection(t, options) {
  const stage = await keyRingStage(t, options);
  stage.key = stage.keyRing.issue('key-of-acme', { id: 'account-1', name: 'Acme Shop' });
  stage.connection = await stage.connect(stage.mia, stage.acme, stage.key);
  stage.rename = (name) => stage.mia.does('updateConnection', { connectionId: stage.connection.id, name }, 'connection { id }');
  return stage;
}

/** A bare socket that is gone when the test ends. */
async function bareSocket(t, opening) {
  const bare = await opening;
  t.after(() => bare.end());
  return bare;
}

describe('a window that listens', () => {
  test('hears what happens from now on, in order, and completes when it stops', async (t) => {
    const stage = await stageWithConnection(t);
    const changes = stage.window(stage.sam).follow(CHANGES);
    await eventually('the subscription stands', async () => {
      await stage.rename(`Name at ${Date.now()}`);
      return changes.events.length > 0;
    });
    await stage.rename('The last name');
    await eventually('the last name is heard', () => changes.events.at(-1).connections[0].name === 'The last name');
    assert.equal(new Set(changes.events.map((event) => event.cursor)).size, changes.events.length, 'nothing twice');

    changes.stop();
    await changes.completion();
    assert.equal(changes.error, null);
  });

  test('asks queries over the same socket', async (t) => {
    const { window, sam } = await withWindow(t);
    for await (const answer of window.client.iterate({ query: '{ viewer { user { id } } }' })) {
      assert.deepEqual(answer, { data: { viewer: { user: { id: sam.id } } } });
    }
    assert.equal(window.attempts, 1);
  });

  test('hears of what GraphQL refuses by an error frame, and goes on', async (t) => {
    const { window } = await withWindow(t);
    const wrong = window.follow('subscription { connectionsChanged { noSuchField } }');
    const errors = await wrong.failure();
    assert.ok(Array.isArray(errors) && errors.length > 0);
    const badCursor = window.follow(CHANGES, { after: 'no cursor of ours' });
    const [error] = await badCursor.failure();
    assert.equal(error.extensions.code, 'BAD_USER_INPUT');
    for await (const answer of window.client.iterate({ query: '{ __typename }' })) assert.deepEqual(answer, { data: { __typename: 'Query' } });
    assert.deepEqual(window.closed.filter(({ code }) => code !== 1000), [], 'the socket stays');
  });

  test('gets a pong for each ping', async (t) => {
    const stage = await stageWithConnection(t);
    const window = stage.window(stage.sam, { keepAlive: 50 });
    const changes = window.follow(CHANGES, { after: await stage.sam.cursor() });
    await eventually('several pongs', () => window.pongs >= 3);
    await stage.rename('Still there');
    assert.equal((await changes.next()).connections[0].name, 'Still there');
  });

  test('ends one subscription and keeps the other', async (t) => {
    const stage = await stageWithConnection(t);
    const bare = await bareSocket(t, BareSocket.acknowledged(stage.sam));
    const after = await stage.sam.cursor();
    bare.subscribe('stays', CHANGES, { after });
    bare.subscribe('goes', CHANGES, { after });
    await stage.rename('For both');
    await bare.next('next');
    await bare.next('next');

    bare.send({ id: 'goes', type: 'complete' });
    await bare.settled();
    await stage.rename('For one');
    assert.equal((await bare.next('next')).id, 'stays');
    await bare.settled();
    assert.equal(bare.messages.filter(({ id, type }) => type === 'next' && id === 'goes').length, 1);

    bare.subscribe('goes', CHANGES, { after: await stage.sam.cursor() });
    await stage.rename('Under the same id again');
    const heard = [await bare.next('next'), await bare.next('next')];
    assert.deepEqual(heard.map(({ id }) => id).sort(), ['goes', 'stays']);
  });
});

describe('a socket is closed', () => {
  test('with 4401 when it subscribes without saying who it is', async (t) => {
    const { patchbay } = await emptyStage(t);
    const silent = await bareSocket(t, BareSocket.open(patchbay.origin));
    silent.subscribe('1', '{ __typename }');
    assert.equal(await silent.closeCode(), 4401);

    const nameless = await bareSocket(t, BareSocket.open(patchbay.origin));
    nameless.send({ type: 'connection_init' });
    await Promise.race([nameless.next('connection_ack'), nameless.closed]);
    nameless.subscribe('1', CHANGES);
    assert.equal(await nameless.closeCode(), 4401);
  });

  test('with 4403 when the token is refused', async (t) => {
    const { patchbay } = await emptyStage(t);
    for (const token of [NOBODYS_TOKEN, 'garbage']) {
      const bare = await bareSocket(t, BareSocket.open(patchbay.origin));
      bare.send({ type: 'connection_init', payload: bearer(token) });
      assert.equal(await bare.closeCode(), 4403, `for the token "${token}"`);
    }
  });

  test('with 4408 when nobody initialises it within 10 s', async (t) => {
    const { patchbay } = await emptyStage(t);
    const openedAt = Date.now();
    const bare = await bareSocket(t, BareSocket.open(patchbay.origin));
    assert.equal(await bare.closeCode({ within: 15_000 }), 4408);
    assert.ok(Date.now() - openedAt > 9_000, 'not before its time');
  });

  test('with 4409 when an id is taken, 4429 when it is initialised twice', async (t) => {
    const stage = await emptyStage(t);
    const twice = await bareSocket(t, BareSocket.acknowledged(stage.sam));
    twice.subscribe('1', CHANGES);
    twice.subscribe('1', CHANGES);
    assert.equal(await twice.closeCode(), 4409);

    const again = await bareSocket(t, BareSocket.acknowledged(stage.sam));
    again.send({ type: 'connection_init', payload: bearer(stage.sam.token) });
    assert.equal(await again.closeCode(), 4429);
  });

  test('with 4400 when a message is none of the protocol, and no reason repeats it', async (t) => {
    const stage = await emptyStage(t);
    for (const nonsense of [
      'no JSON: hush-hush',
      '"hush-hush"',
      { type: 'hush-hush' },
      { id: 'hush-hush', type: 'subscribe' },
      { id: 'hush-hush', type: 'subscribe', payload: { query: 7 } },
      { type: 'subscribe', payload: { query: '{ __typename }' } },
    ]) {
      const bare = await bareSocket(t, BareSocket.acknowledged(stage.sam));
      bare.send(nonsense);
      const { code, reason } = await bare.closed;
      assert.equal(code, 4400, JSON.stringify(nonsense));
      assert.doesNotMatch(reason, /hush-hush/);
    }
  });

  test('or never opened where the legacy protocol is asked for or a foreign page asks', async (t) => {
    const { patchbay } = await emptyStage(t);
    const legacy = await handshake(patchbay.origin, { protocol: 'graphql-ws' });
    assert.ok([400, 'no common protocol'].includes(legacy), `refused, and not ${legacy}`);
    assert.equal(await handshake(patchbay.origin, { headers: { Origin: 'https://evil.example' } }), 403);
    assert.equal(await handshake(patchbay.origin, { headers: { Origin: FRONT_END } }), 'opened');
  });
});

describe('a window comes back by itself', () => {
  test('after 4403 with a better token, and never after 4401', async (t) => {
    const stage = await stageWithConnection(t);
    const after = await stage.sam.cursor();
    const tokens = [NOBODYS_TOKEN, stage.sam.token];
    const window = stage.window(stage.sam, { connectionParams: () => bearer(tokens.shift()) });
    const changes = window.follow(CHANGES, { after });
    await stage.rename('Heard at the second attempt');
    assert.equal((await changes.next()).connections[0].name, 'Heard at the second attempt');
    assert.equal(window.attempts, 2);
    assert.deepEqual(window.closed.map(({ code }) => code), [4403]);

    const nobody = stage.window(stage.sam, { connectionParams: undefined });
    const failure = await nobody.follow(CHANGES, { after }).failure();
    assert.equal(failure.code, 4401);
    assert.equal(nobody.attempts, 1);
  });

  test('when its token ends in the middle: 4403, a new token, and on from the cursor', async (t) => {
    const stage = await stageWithConnection(t);
    const { patchbay, sam } = stage;
    const shortLived = await patchbay.token(sam.email, { ttl: '8s' });
    const tokens = [shortLived];
    const window = stage.window(sam, { connectionParams: () => bearer(tokens.shift() ?? sam.token) });
    const changes = window.follow(CHANGES, { after: await sam.cursor() });
    await stage.rename('By the first token');
    await changes.next('an event by the first token');

    await eventually('the token ends', () => window.closed.length > 0);
    assert.equal(window.closed[0].code, 4403);
    await stage.rename('By the second token');
    await changes.next('an event by the second token');
    assert.deepEqual(changes.events.map((event) => event.connections[0].name).at(-1), 'By the second token');
    assert.equal(changes.events.length, 2, 'nothing twice');
  });

  test('but a person who was made inactive stays out', async (t) => {
    const stage = await stageWithConnection(t);
    const { ada, sue } = stage;
    const window = stage.window(sue);
    const changes = window.follow(CHANGES, { after: await sue.cursor() });
    await stage.rename('While she may');
    await changes.next();

    await ada.does('updateUser', { userId: sue.id, active: false }, 'user { active }');
    await eventually('closed with 4403', () => window.closed.some(({ code }) => code === 4403));
    await stage.rename('When she may not');
    await eventually('refused at each return', () => window.closed.filter(({ code }) => code === 4403).length >= 3);
    assert.equal(changes.events.length, 1);
  });

  test('when it did not read for long: closed at a bound, back again, nothing missed and nothing twice', async (t) => {
    const requirements = 'What this data source needs. '.repeat(2_000);
    const stage = await stageWithConnection(t, { requirements });
    const { sam } = stage;
    const heavy = `subscription ($after: String) {
      connectionsChanged(after: $after) {
        cursor kind connections { name a: connector { requirements } b: connector { requirements } c: connector { requirements } }
      }
    }`;
    const window = stage.window(sam);
    const sleeper = window.follow(heavy, { after: await sam.cursor() });
    const reader = stage.window(sam).follow(CHANGES, { after: sleeper.cursor });
    await stage.rename('Name 0');
    await sleeper.next('the first event');
    window.sockets[0].pause();

    const names = 300;
    for (let at = 1; at <= names; at += 1) await stage.rename(`Name ${at}`);
    await eventually('whoever reads has heard all of it', () => reader.events.length === names + 1);
    // Whoever does not read cannot see that it was closed, except by writing.
    const poke = () => window.sockets[0].send('{"type":"ping"}', () => {});
    await eventually('it is closed', () => window.closed.length > 0 || poke(), { within: 45_000, every: 200 });
    // The close frame says 1013; as a rule it is stuck behind what was not read, and the socket just ends.
    assert.ok([1013, 1006].includes(window.closed[0].code), `closed by ${window.closed[0].code}`);
    await eventually('the sleeper has caught up', () => sleeper.cursor === reader.cursor, { within: 60_000 });
    assert.deepEqual(sleeper.events.map((event) => event.cursor), reader.events.map((event) => event.cursor));
  });
});

describe('the tray', () => {
  test('lights up in every window, and goes out in the other when it is read in one', async (t) => {
    const stage = await stageWithConnection(t);
    const { keyRing, sam, sue, connection } = stage;
    const after = await sam.cursor();
    const [first, second] = [stage.window(sam), stage.window(sam)];
    const added = [first, second].map((window) => window.follow(NOTIFICATION_ADDED, { after }));
    const read = second.follow(NOTIFICATIONS_READ, { after });
    const readBySue = stage.window(sue).follow(NOTIFICATIONS_READ, { after: await sue.cursor() });

    keyRing.withdraw(stage.key);
    const [inFirst, inSecond] = [await added[0].next('a notification'), await added[1].next('a notification')];
    assert.deepEqual(inFirst, inSecond);
    assert.equal(inFirst.notification.kind, 'DISCONNECTED');
    assert.equal(inFirst.notification.readAt, null);
    assert.equal(inFirst.notification.disconnection.reconnectConnectionId, connection.id);
    assert.equal(inFirst.viewer.unreadNotificationCount, 1);

    const { viewer } = await sam.does(
      'markNotificationsRead',
      { notificationIds: [inFirst.notification.id] },
      'viewer { unreadNotificationCount } notifications { id readAt }',
    );
    assert.equal(viewer.unreadNotificationCount, 0);
    const { notifications, viewer: seenInSecond } = await read.next('the reading in the other window');
    assert.deepEqual(notifications.map(({ id }) => id), [inFirst.notification.id]);
    assert.ok(notifications[0].readAt);
    assert.equal(seenInSecond.unreadNotificationCount, 0);

    assert.equal((await sue.tray()).unread, 1, "Sue's own is unread");
    await sue.does('markNotificationsRead', {}, 'viewer { unreadNotificationCount }');
    await readBySue.next("Sue's reading");
    assert.equal(readBySue.events.length, 1, "Sue heard nothing of Sam's");
  });
});

describe('an attempt', () => {
  test('is followed from its start to SUCCEEDED, and then completes', async (t) => {
    const stage = await oidcStage(t);
    const { mia, sam, acme } = stage;
    const attempt = await stage.startConnecting(mia, acme);
    const following = stage.window(mia).follow(ATTEMPT, { id: attempt.id });
    const asItIs = await following.next('the attempt as it is');
    assert.deepEqual([asItIs.id, asItIs.status, asItIs.connections], [attempt.id, 'PENDING', []]);

    await signIn(new Browser(), attempt.authorizationUrl, 'olga');
    await following.completion();
    assert.equal(following.error, null);
    assert.deepEqual([...new Set(following.events.map(({ status }) => status))], ['PENDING', 'SUCCEEDED']);
    const end = following.events.at(-1);
    assert.equal(end.signedInAs.accountId, 'olga');
    assert.equal(end.connections.length, 1);
    assert.equal((await mia.connection(end.connections[0].id)).status, 'CONNECTED');

    const late = stage.window(mia).follow(ATTEMPT, { id: attempt.id });
    await late.completion('one that has ended is sent once and completes');
    assert.deepEqual(late.events.map(({ status }) => status), ['SUCCEEDED']);

    const stranger = stage.window(sam).follow(ATTEMPT, { id: attempt.id });
    await eventually('only whoever started it sees it', () => stranger.error ?? stranger.completed);
    assert.deepEqual(stranger.events, []);
  });

  test('that was cancelled at the provider ends as FAILED and DENIED', async (t) => {
    const stage = await oidcStage(t);
    const attempt = await stage.startConnecting(stage.mia, stage.acme);
    const following = stage.window(stage.mia).follow(ATTEMPT, { id: attempt.id });
    await following.next('the attempt as it is');
    await refuseConsent(new Browser(), attempt.authorizationUrl, 'olga');
    await following.completion();
    const end = following.events.at(-1);
    assert.deepEqual([end.status, end.error.code, end.connections], ['FAILED', 'DENIED', []]);
  });
});

async function withWindow(t) {
  const stage = await emptyStage(t);
  return { sam: stage.sam, window: stage.window(stage.sam) };
}
