// Two processes on one PostgreSQL, and one provider that ends a grant whose refresh token is sent twice: a race that is
// lost here, or a claim that is inherited wrongly, disconnects somebody.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Browser } from './browser.js';
import { postgres, postgresServer } from './databases.js';
import { faults } from './faults.js';
import { signIn } from './oidc.js';
import { badProviderStage } from './stage.js';
import { eventually } from './waiting.js';

const CHANGES = `subscription ($after: String) {
  connectionsChanged(after: $after) { cursor kind connections { id } disconnection { reason } }
}`;

/** Only renewals: nothing is probed while the test looks. */
const WITHOUT_PROBES = { PATCHBAY_JOB_TICK: '20ms', PATCHBAY_PROBE_INTERVAL: '10m' };

/** How long a claim lasts whose holder is gone, and what a busy machine may add. */
const CLAIM_MS = 10_000;
const GRACE_MS = 5_000;

const OLGA = { grantType: 'refresh_token', login: 'olga' };

const everyoneTold = ({ ada, sam, sue, mia }) => [ada, sam, sue, mia];

/** Somebody connects these logins at the first node. */
async function connect(stage, logins) {
  const connections = [];
  for (const login of logins) connections.push(await stage.connectByBrowser(stage.mia, stage.acme, login));
  return connections;
}

/** `times` more renewals like `which` have worked. */
function renewed({ proxy }, which, times) {
  const working = () => proxy.renewals({ status: 200, ...which }).length;
  const before = working();
  return eventually(`${JSON.stringify(which)} is renewed ${times} times more`, () => working() >= before + times);
}

/** Every connection works, asked at `node`, and nobody has heard of anything. */
async function assertUntouched(stage, node, connections) {
  const sam = stage.sam.at(node);
  for (const { id } of connections) {
    assert.equal((await sam.connection(id)).status, 'CONNECTED');
    assert.deepEqual(await sam.disconnectionsOf(id), []);
  }
  for (const person of everyoneTold(stage)) {
    assert.deepEqual((await person.at(node).tray()).notifications, [], `${person.email} is not told`);
  }
}

/** No refresh token has reached the provider twice, and none was refused. */
function assertEachSentOnce({ proxy }, which = {}) {
  const sent = proxy.renewals(which).filter((call) => call.providerStatus !== null);
  const tokens = sent.map((call) => call.refreshToken);
  assert.deepEqual(tokens.filter((token, index) => tokens.indexOf(token) !== index), [], 'no refresh token was sent twice');
  assert.ok(sent.every((call) => call.providerStatus === 200), 'none was refused');
}

/** A browser for which `node` answers at the public address. */
const browserServedBy = (stage, node) =>
  new Browser({ via: (url) => (url.origin === stage.patchbay.origin ? new URL(`${url.pathname}${url.search}`, node.origin) : url) });

/** The first node has asked to renew olga's tokens, and freezes with the answer on its way. Returns that call. */
async function freezeBeforeTheAnswer({ patchbay, proxy }) {
  const held = proxy.holdAnswer(OLGA);
  const call = await held.arrived();
  await patchbay.freeze();
  held.release();
  return call;
}

if (!postgresServer && process.env.CI) {
  test('PostgreSQL is there', () => assert.fail('CI has to set PATCHBAY_TEST_POSTGRES, e.g. postgres://postgres@127.0.0.1:5432/postgres'));
}

const skip = postgresServer ? false : 'left out: two nodes on one PostgreSQL; set PATCHBAY_TEST_POSTGRES, e.g. postgres://postgres@127.0.0.1:5432/postgres';

describe('two nodes and a provider that forgives nothing', { skip }, () => {
  test('200 renewals of rotating refresh tokens, both nodes racing for each, and not one token is sent twice', async (t) => {
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 1, env: WITHOUT_PROBES });
    const { proxy } = stage;
    const nodeB = await stage.anotherNode({ PATCHBAY_JOB_TICK: '10ms' });
    const connections = await connect(stage, Array.from({ length: 16 }, (_, index) => `login-${index}`));

    await eventually('200 renewals', () => proxy.renewals({ status: 200 }).length >= 200, { within: 60_000 });
    assertEachSentOnce(stage);
    for (const node of [stage.patchbay, nodeB]) await assertUntouched(stage, node, connections);
  });

  test('Retry-After that one node hears is obeyed by both', async (t) => {
    const env = { PATCHBAY_JOB_TICK: '20ms', PATCHBAY_PROBE_INTERVAL: '1s' };
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 2, env });
    const { patchbay: nodeA, proxy } = stage;
    const nodeB = await stage.anotherNode();
    const connections = await connect(stage, ['olga', 'otto']);
    const SECONDS = 5;

    const tooEarly = {};
    const asked = { token: OLGA, userinfo: { route: 'userinfo', login: 'otto' } };
    await Promise.all(Object.entries(asked).map(async ([endpoint, which]) => {
      const { calls } = proxy.fail(which, faults.tooMany(SECONDS), { times: 1 });
      const next = await eventually(`the ${endpoint} endpoint is asked again`, () => calls.length > 0 && proxy.after(calls[0], which));
      if (next.at - calls[0].at < SECONDS * 1_000) tooEarly[endpoint] = `after ${next.at - calls[0].at} ms`;
    }));
    assert.deepEqual(tooEarly, {});
    for (const node of [nodeA, nodeB]) await assertUntouched(stage, node, connections);
  });
});

// Each waits for the end of a claim, most of the time: two of them beside each other.
describe('a node that is gone, or its database, while it renews', { skip, concurrency: 2 }, () => {
  test('the holder of a renewal is killed before the provider hears of it: the other node inherits it and renews', async (t) => {
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 1, env: WITHOUT_PROBES });
    const { patchbay: nodeA, proxy } = stage;
    const connections = await connect(stage, ['olga']);
    const unheard = await proxy.hold(OLGA).arrived();
    const nodeB = await stage.anotherNode();

    await nodeA.kill();
    const killedAt = Date.now();
    await renewed(stage, OLGA, 3);
    const [, heirs] = proxy.renewals({ refreshToken: unheard.refreshToken });
    assert.ok(heirs.at > killedAt, 'nobody took it from a holder that was alive');
    assert.ok(heirs.at - killedAt < CLAIM_MS + GRACE_MS, 'no later than the claim lasts');
    assertEachSentOnce(stage);
    await assertUntouched(stage, nodeB, connections);
  });

  test('the holder of a renewal is killed once the provider has answered: its heir asks once, believes what it hears, and stops', async (t) => {
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 1, env: WITHOUT_PROBES });
    const { patchbay: nodeA, proxy, sam } = stage;
    const [olga, otto] = await connect(stage, ['olga', 'otto']);
    const cursor = await sam.cursor();
    const unanswered = await proxy.holdAnswer(OLGA).arrived();
    const nodeB = await stage.anotherNode();

    await nodeA.kill();
    const changes = stage.window(sam.at(nodeB)).follow(CHANGES, { after: cursor });
    const broken = await changes.next('the disconnection');
    assert.equal(broken.kind, 'DISCONNECTED');
    assert.deepEqual(broken.connections, [{ id: olga.id }]);
    assert.equal(broken.disconnection.reason, 'REVOKED');

    await renewed(stage, { login: 'otto' }, 5);
    const asked = proxy.renewals({ refreshToken: unanswered.refreshToken });
    assert.deepEqual(asked.map((call) => call.providerStatus), [200, 400], 'asked once more, and never again');
    assert.deepEqual(changes.kinds, ['DISCONNECTED']);
    for (const person of everyoneTold(stage)) {
      assert.deepEqual((await person.at(nodeB).tray()).notifications.map(({ kind }) => kind), ['DISCONNECTED'], `${person.email} is told once`);
    }
    assert.equal((await sam.at(nodeB).connection(otto.id)).status, 'CONNECTED');
  });

  test('the holder of a renewal freezes past its claim and wakes with the only valid token: it is stored', async (t) => {
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 1, env: WITHOUT_PROBES });
    const { patchbay: nodeA, proxy } = stage;
    const connections = await connect(stage, ['olga']);
    const late = await freezeBeforeTheAnswer(stage);
    const failing = proxy.fail({ refreshToken: late.refreshToken }, faults.status(500));
    const nodeB = await stage.anotherNode();

    await eventually('the heir has asked, in vain', () => failing.calls.some((call) => call.ended));
    await assertUntouched(stage, nodeB, connections);
    nodeA.thaw();
    await eventually('the token of the late answer is used', () => proxy.renewals({ refreshToken: late.granted, status: 200 }).length > 0);
    await renewed(stage, OLGA, 3);
    assertEachSentOnce(stage);
    for (const node of [nodeA, nodeB]) await assertUntouched(stage, node, connections);
  });

  test('the holder of a renewal freezes, and somebody reconnects meanwhile: what it wakes with is dropped', async (t) => {
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 1, env: WITHOUT_PROBES });
    const { patchbay: nodeA, proxy, sam } = stage;
    // It is there before, and its jobs rest: the claim outlasts what follows.
    const nodeB = await stage.anotherNode({ PATCHBAY_JOB_TICK: '1m' });
    const connections = await connect(stage, ['olga']);
    const late = await freezeBeforeTheAnswer(stage);

    const { attempt } = await sam.at(nodeB).does('reconnect', { connectionId: connections[0].id }, 'attempt { authorizationUrl }');
    const page = await signIn(browserServedBy(stage, nodeB), attempt.authorizationUrl, 'olga');
    assert.equal(page.status, 200, page.body);
    nodeA.thaw();
    // What renews from here on has woken, and read the late answer before.
    await renewed(stage, OLGA, 3);
    assert.deepEqual(proxy.renewals({ refreshToken: late.granted }), [], 'the newer grant goes on');
    assertEachSentOnce(stage);
    await assertUntouched(stage, nodeA, connections);
  });

  test('the database is away when the provider answers: the only valid token is stored once it is back', async (t) => {
    const stage = await badProviderStage(t, { database: postgres, accessTokenSeconds: 1, env: WITHOUT_PROBES });
    const { db, patchbay, proxy } = stage;
    const connections = await connect(stage, ['olga']);
    const held = proxy.holdAnswer(OLGA);
    const late = await held.arrived();
    await db.close();
    held.release();
    await eventually('the answer is there', () => late.ended === 'answered');
    let unready = 0;
    await eventually('the database is missed again and again', async () => {
      unready += (await fetch(`${patchbay.origin}/readyz`)).status === 503 ? 1 : 0;
      return unready >= 10;
    });
    await db.open();

    await eventually('the token of that answer is used', () => proxy.renewals({ refreshToken: late.granted, status: 200 }).length > 0);
    assertEachSentOnce(stage);
    await assertUntouched(stage, patchbay, connections);
  });
});
