// Providers that fail, stall, lie and refuse: what is nobody's fault here flags nobody, what has ended is told once, and a
// provider that wants peace has it. Each login at the provider meets a fault of its own, beside the others.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { everyDatabase } from './databases.js';
import { faults } from './faults.js';
import { startKeyRing } from './keyring.js';
import { badProviderStage } from './stage.js';
import { eventually } from './waiting.js';

const MIB = 1 << 20;

const CHANGES = `subscription ($after: String) {
  connectionsChanged(after: $after) { cursor kind connections { id } disconnection { reason } }
}`;

/** Looks often. */
const RESTLESS = { PATCHBAY_JOB_TICK: '50ms', PATCHBAY_PROBE_INTERVAL: '2s' };

/** Only renewals: nothing is probed while the test looks. */
const WITHOUT_PROBES = { PATCHBAY_JOB_TICK: '50ms', PATCHBAY_PROBE_INTERVAL: '10m' };

/** What passes by itself, at the token endpoint as at userinfo. */
const PASSING = {
  'error-500': faults.status(500),
  'error-503': faults.status(503),
  'too-many': faults.status(429),
  garbage: faults.garbage,
  html: faults.html,
  huge: faults.huge,
  redirects: faults.redirects,
  dropped: faults.dropped,
};

/** What a token answer may say of its life, and no sane one does. */
const ABSURD_LIVES = { missing: undefined, zero: 0, negative: -1, endless: 1e18, text: '3600', word: 'soon' };

const everyoneTold = ({ ada, sam, sue, mia }) => [ada, sam, sue, mia];

async function connect(stage, logins) {
  const connections = new Map();
  for (const login of logins) connections.set(login, await stage.connectByBrowser(stage.mia, stage.acme, login));
  return connections;
}

async function assertUntouched(stage, connections) {
  for (const [login, { id }] of connections) {
    assert.equal((await stage.sam.connection(id)).status, 'CONNECTED', login);
    assert.deepEqual(await stage.sam.disconnectionsOf(id), [], login);
  }
  for (const person of everyoneTold(stage)) {
    assert.deepEqual((await person.tray()).notifications, [], `${person.email} is not told`);
  }
}

/** From here on, as many more calls like `which` are answered with 200. */
function answeredAgain({ proxy }, which, times = 1) {
  const before = proxy.callsLike({ status: 200, ...which }).length;
  return eventually(`${JSON.stringify(which)} is answered ${times} times more`, () =>
    proxy.callsLike({ status: 200, ...which }).length >= before + times);
}

const renewedAgain = (stage, login, times) => answeredAgain(stage, { grantType: 'refresh_token', login }, times);

/** The disconnection of `login` is told once, and its grant is not asked for again while `bystander` is renewed and renewed. */
async function assertDisconnectedOnce(stage, { changes, connection, login, bystander }) {
  const broken = await changes.next('the disconnection');
  assert.equal(broken.kind, 'DISCONNECTED');
  assert.deepEqual(broken.connections, [{ id: connection.id }]);
  assert.equal(broken.disconnection.reason, 'REVOKED');

  const asked = stage.proxy.renewals({ login }).length;
  await renewedAgain(stage, bystander, 5);
  assert.equal(stage.proxy.renewals({ login }).length, asked, 'the token endpoint is left alone');

  assert.deepEqual(changes.kinds, ['DISCONNECTED']);
  assert.equal((await stage.sam.disconnectionsOf(connection.id)).length, 1);
  for (const person of everyoneTold(stage)) {
    const { notifications } = await person.tray();
    assert.deepEqual(notifications.map(({ kind }) => kind), ['DISCONNECTED'], `${person.email} is told once`);
  }
}

for (const database of everyDatabase) {
  describe(`a bad provider, on ${database.name}`, { concurrency: 2 }, () => {
    test('what passes by itself flags nobody, and all goes on once it has passed', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 2, env: RESTLESS });
      const { proxy } = stage;
      const cases = ['token', 'userinfo'].flatMap((route) => [
        ...Object.entries(PASSING).map(([name, fault]) => ({ login: `${name}-at-${route}`, route, fault, times: Infinity, enough: 2 })),
        { login: `hangs-at-${route}`, route, fault: faults.hangs, times: 1, enough: 1 },
      ]);
      const connections = await connect(stage, cases.map(({ login }) => login));

      for (const one of cases) {
        one.failing = proxy.fail({ route: one.route, login: one.login }, one.fault, { times: one.times });
      }
      for (const { login, failing, enough } of cases) {
        const met = () => failing.calls.filter((call) => call.ended).length >= enough;
        await eventually(`${login} was met, and Patchbay is done with it`, met, { within: 60_000 });
      }
      await assertUntouched(stage, connections);

      for (const { failing } of cases.filter(({ fault }) => fault === faults.huge)) {
        assert.ok(failing.calls.every((call) => call.bytesTaken < 32 * MIB), 'an answer without end is cut');
      }
      assert.ok(proxy.elsewhere.calls.length > 0, 'a redirect of userinfo is followed');
      for (const { method, headers, body } of proxy.elsewhere.calls) {
        assert.deepEqual([method, headers.authorization, body], ['GET', undefined, ''], 'no redirect takes a secret along');
      }

      proxy.heal();
      await Promise.all(cases.map(({ route, login }) => answeredAgain(stage, { route, login })));
      await assertUntouched(stage, connections);
    });

    test('a slow answer is waited for, is asked for once, and is not lost', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 2, env: RESTLESS });
      const { proxy } = stage;
      const connections = await connect(stage, ['olga', 'otto']);

      const held = proxy.hold({ grantType: 'refresh_token', login: 'olga' });
      const slow = await held.arrived();
      await renewedAgain(stage, 'otto', 2);
      assert.equal(proxy.renewals({ refreshToken: slow.refreshToken }).length, 1);
      held.release();
      const next = await eventually('olga is renewed again', () => proxy.renewals({ refreshToken: slow.granted, status: 200 })[0]);
      assert.equal(next.login, 'olga', 'with what the slow answer brought');
      await assertUntouched(stage, connections);
    });

    test('a provider that never answers holds up no other provider', async (t) => {
      const keyRing = await startKeyRing();
      t.after(() => keyRing.close());
      const stage = await badProviderStage(t, {
        database,
        connectors: { 'key-ring.toml': await keyRing.connectorFile() },
        allowedHosts: [keyRing.host],
        env: RESTLESS,
      });
      const { acme, mia, proxy, sam } = stage;
      const connections = await connect(stage, ['olga']);
      const key = keyRing.issue('k-1', { id: '1', name: 'One' });
      const using = { credentials: [{ name: 'api_key', value: key }] };
      const { connection } = await mia.does('connect', { connector: 'key-ring', clientId: acme, using }, 'connection { id }');

      const held = proxy.hold({ route: 'userinfo' });
      const unanswered = await held.arrived();
      keyRing.withdraw(key);
      await eventually('the key is missed', async () => (await sam.connection(connection.id)).status === 'DISCONNECTED');
      assert.equal(unanswered.ended, null, 'before Patchbay has given up on the other');
      held.release();
      assert.equal((await sam.connection(connections.get('olga').id)).status, 'CONNECTED');
    });

    test('a login that is not answered keeps nobody from checking another', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 1, env: WITHOUT_PROBES });
      const { patchbay, proxy, sam } = stage;
      const connections = await connect(stage, ['olga', 'otto', 'oda']);

      // All of them are due at once when the server comes back.
      await patchbay.stop();
      const ended = proxy.callsLike({ route: 'token' }).at(-1).at + 1_000;
      await eventually('every access token has ended', () => Date.now() > ended);
      const held = proxy.hold({ grantType: 'refresh_token', login: 'olga' });
      await patchbay.start();
      const unanswered = await held.arrived();

      for (const login of ['otto', 'oda']) {
        await sam.does('checkConnection', { connectionId: connections.get(login).id }, 'connection { id }');
        assert.equal(unanswered.ended, null, `${login} is checked before Patchbay has given up on olga`);
      }
      held.release();
      await assertUntouched(stage, connections);
    });

    test('Retry-After is obeyed, in seconds and as a date', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 2, env: RESTLESS });
      const { proxy } = stage;
      const SECONDS = 5;
      const logins = { 'seconds-at-token': 'token', 'date-at-token': 'token', 'seconds-at-userinfo': 'userinfo', 'date-at-userinfo': 'userinfo' };
      const connections = await connect(stage, Object.keys(logins));

      const date = new Date(Math.ceil((Date.now() + SECONDS * 1_000) / 1_000) * 1_000);
      const failing = Object.entries(logins).map(([login, route]) => {
        const fault = faults.tooMany(login.startsWith('date') ? date.toUTCString() : SECONDS);
        return { login, route, failing: proxy.fail({ route, login }, fault, { times: 1 }) };
      });
      const tooEarly = {};
      for (const { login, route, failing: { calls } } of failing) {
        const next = await eventually(`${login} is asked for again`, () => calls.length > 0 && proxy.after(calls[0], { route, login }));
        const until = login.startsWith('date') ? date.getTime() : calls[0].at + SECONDS * 1_000;
        if (next.at < until) tooEarly[login] = `${until - next.at} ms`;
      }
      assert.deepEqual(tooEarly, {});
      await assertUntouched(stage, connections);
    });

    test('invalid_grant disconnects once, and the token endpoint is not asked in a loop', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 1, env: WITHOUT_PROBES });
      const { proxy, sam } = stage;
      const connections = await connect(stage, ['olga', 'otto']);
      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });

      const refusing = proxy.fail({ grantType: 'refresh_token', login: 'olga' }, faults.refuses('invalid_grant'));
      const connection = connections.get('olga');
      await assertDisconnectedOnce(stage, { changes, connection, login: 'olga', bystander: 'otto' });
      assert.equal(refusing.calls.length, 1);

      refusing.over();
      await stage.reconnectByBrowser(sam, connection.id);
      await renewedAgain(stage, 'olga', 2);
      assert.equal((await sam.connection(connection.id)).status, 'CONNECTED');
      assert.deepEqual(changes.kinds, ['DISCONNECTED', 'RECONNECTED']);
    });

    test('a renewal whose answer is lost is asked for once more, and what the provider says then is believed', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 1, env: WITHOUT_PROBES });
      const { proxy, sam } = stage;
      const connections = await connect(stage, ['olga', 'otto']);
      const changes = stage.window(sam).follow(CHANGES, { after: await sam.cursor() });

      const losing = proxy.fail({ grantType: 'refresh_token', login: 'olga' }, faults.lost, { times: 1 });
      await assertDisconnectedOnce(stage, { changes, connection: connections.get('olga'), login: 'olga', bystander: 'otto' });

      const asked = proxy.renewals({ refreshToken: losing.calls[0].refreshToken });
      assert.deepEqual(asked.map((call) => [call.providerStatus, call.status]), [[200, null], [400, 400]]);
    });

    test('a lost answer and more silence after it flag nobody', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 1, env: WITHOUT_PROBES });
      const { proxy } = stage;
      const connections = await connect(stage, ['olga']);

      const silent = proxy.fail({ grantType: 'refresh_token', login: 'olga' }, faults.dropped);
      proxy.fail({ grantType: 'refresh_token', login: 'olga' }, faults.lost, { times: 1 });
      await eventually('olga is asked for again and again', () => silent.calls.length >= 3);
      await assertUntouched(stage, connections);
    });

    test('token answers that lack a refresh token, grant less or last absurdly long are lived with', async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 2, env: RESTLESS });
      const { oidc, proxy, sam } = stage;
      oidc.unrotated.add('no-refresh-token');
      const members = {
        'no-refresh-token': { refresh_token: undefined },
        'less-scope': { scope: 'openid' },
        ...Object.fromEntries(Object.entries(ABSURD_LIVES).map(([name, life]) => [`life-${name}`, { expires_in: life }])),
      };
      const connections = new Map();
      for (const [login, changed] of Object.entries(members)) {
        const fromTheStart = login.startsWith('life-');
        const first = proxy.fail({ grantType: 'authorization_code' }, faults.changed(fromTheStart ? changed : {}), { times: 1 });
        connections.set(login, await stage.connectByBrowser(stage.mia, stage.acme, login));
        assert.equal(first.calls[0].status, 200, login);
      }

      const changing = Object.entries(members).map(([login, changed]) => [
        login,
        proxy.fail({ grantType: 'refresh_token', login }, faults.changed(changed)),
      ]);
      for (const [login, { calls }] of changing) {
        await eventually(`${login} is renewed three times`, () => calls.filter((call) => call.ended).length >= 3);
        assert.ok(calls.every((call) => call.status === 200 || call.status === null), login);
      }
      const { authorization } = await sam.connection(connections.get('less-scope').id);
      assert.deepEqual(await scopesOf(sam, authorization), ['openid']);
      for (const { authorization: { id } } of connections.values()) assert.equal(await endOf(sam, id), null);
      const [{ calls }] = changing.filter(([login]) => login === 'no-refresh-token').map(([, failing]) => failing);
      assert.equal(new Set(calls.map((call) => call.refreshToken)).size, 1, 'the old refresh token is kept');

      proxy.heal();
      await Promise.all(Object.keys(members).map((login) => renewedAgain(stage, login)));
      await assertUntouched(stage, connections);
    });

    test("a provider that refuses this server's client is an incident of the administrator's, and nobody's disconnection", async (t) => {
      const stage = await badProviderStage(t, { database, accessTokenSeconds: 2, env: RESTLESS });
      const { proxy, ada, sam, sue, mia } = stage;
      const logins = ['olga', 'otto', 'oda'];
      const connections = await connect(stage, logins);
      assert.equal(await incidentAt(ada), null);

      const begunAt = Date.now();
      const refusing = proxy.fail({ grantType: 'refresh_token' }, faults.refuses('invalid_client', 401));
      const incident = await eventually('there is an incident', () => incidentAt(ada), { within: 10_000 });
      assert.equal(incident.ours, true);
      assert.ok(incident.message.length > 0);
      assert.ok(Date.parse(incident.startedAt) >= begunAt - 1_000);
      await eventually('all of them were refused again and again', () =>
        logins.every((login) => refusing.calls.filter((call) => call.login === login).length >= 3));

      const kinds = async (person) => (await person.tray()).notifications.map(({ kind }) => kind);
      assert.deepEqual(await kinds(ada), ['INCIDENT']);
      for (const person of [sam, sue, mia]) assert.deepEqual(await kinds(person), [], `${person.email} can do nothing about it`);
      for (const [login, { id }] of connections) {
        assert.equal((await sam.connection(id)).status, 'CONNECTED', login);
        assert.deepEqual(await sam.disconnectionsOf(id), [], login);
      }

      refusing.over();
      await eventually('the incident is over by itself', async () => (await incidentAt(ada)) === null);
      await Promise.all(logins.map((login) => renewedAgain(stage, login)));
      for (const { id } of connections.values()) assert.equal((await sam.connection(id)).status, 'CONNECTED');
      assert.deepEqual((await kinds(ada)).filter((kind) => kind === 'INCIDENT'), ['INCIDENT'], 'told once');
    });
  });
}

async function incidentAt(person) {
  const { connector } = await person.ask('{ connector(slug: "oidc-provider") { incident { ours startedAt message } } }');
  return connector.incident;
}

async function scopesOf(person, { id }) {
  return (await person.ask('query ($id: ID!) { authorization(id: $id) { scopes } }', { id })).authorization.scopes;
}

async function endOf(person, id) {
  return (await person.ask('query ($id: ID!) { authorization(id: $id) { expiresAt } }', { id })).authorization.expiresAt;
}
