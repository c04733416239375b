// The parts that the other tests lean on, without Patchbay: when these fail, the cause is not the server.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { Browser } from './browser.js';
import { faults, startFaultyProxy } from './faults.js';
import { startKeyRing } from './keyring.js';
import { refuseConsent, signIn, startOidcProvider } from './oidc.js';

const redirectUri = 'https://app.example/oauth/callback';

/** A client of the provider that knows nothing of Patchbay. */
async function plainClient(t) {
  const oidc = await startOidcProvider({ redirectUri });
  t.after(() => oidc.close());

  const authorizationUrl = (challenge) => {
    const url = new URL('/auth', oidc.issuer);
    url.search = new URLSearchParams({
      client_id: oidc.client.id,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid email offline_access',
      prompt: 'consent',
      state: 'the-state',
      ...(challenge ? { code_challenge: challenge, code_challenge_method: 'S256' } : {}),
    });
    return url;
  };
  const token = async (parameters, origin = oidc.issuer) => {
    const response = await fetch(`${origin}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${oidc.client.id}:${oidc.client.secret}`)}` },
      body: new URLSearchParams(parameters),
    });
    return { status: response.status, ...(await response.json()) };
  };
  const userinfo = (accessToken) => fetch(`${oidc.issuer}/me`, { headers: { authorization: `Bearer ${accessToken}` } });

  const authorize = async (login) => {
    const verifier = randomBytes(32).toString('base64url');
    const challenge = createHash('sha256').update(verifier).digest('base64url');
    const page = await signIn(new Browser(), authorizationUrl(challenge), login);
    const code = page.url.searchParams.get('code');
    return { page, granted: await token({ grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier }) };
  };
  const renew = (refreshToken, origin) => token({ grant_type: 'refresh_token', refresh_token: refreshToken }, origin);
  return { oidc, authorizationUrl, authorize, renew, userinfo };
}

test('a code flow ends with tokens, the issuer named and an account known by e-mail', async (t) => {
  const { oidc, authorize, userinfo } = await plainClient(t);
  const { page, granted } = await authorize('olga');

  assert.equal(page.url.searchParams.get('state'), 'the-state');
  assert.equal(page.url.searchParams.get('iss'), oidc.issuer);
  assert.equal(granted.status, 200);
  assert.equal(granted.expires_in, 5);
  assert.deepEqual(granted.scope.split(' ').sort(), ['email', 'offline_access', 'openid']);
  assert.deepEqual(await (await userinfo(granted.access_token)).json(), { sub: 'olga', email: 'olga@example.com' });
});

test('a refresh token rotates at each use, and ends the whole grant when it is used twice', async (t) => {
  const { oidc, authorize, renew, userinfo } = await plainClient(t);
  const { granted } = await authorize('olga');

  const second = await renew(granted.refresh_token);
  assert.equal(second.status, 200);
  assert.notEqual(second.refresh_token, granted.refresh_token);
  const third = await renew(second.refresh_token);
  assert.equal(third.status, 200);
  assert.equal(oidc.tokenCalls('refresh_token'), 2);

  assert.equal((await renew(granted.refresh_token)).error, 'invalid_grant');
  assert.equal((await renew(third.refresh_token)).error, 'invalid_grant');
  assert.equal((await userinfo(third.access_token)).status, 401);
});

test('what an account takes back is refused at once, and can be granted again', async (t) => {
  const { oidc, authorize, renew, userinfo } = await plainClient(t);
  const [first, second] = [await authorize('olga'), await authorize('olga')];
  const other = await authorize('otto');
  await oidc.revokeEverythingOf('olga');

  const refused = oidc.nextRefusedRenewal();
  for (const { granted } of [first, second]) {
    assert.equal((await renew(granted.refresh_token)).error, 'invalid_grant');
    assert.equal((await userinfo(granted.access_token)).status, 401);
  }
  await refused;
  assert.equal((await renew(other.granted.refresh_token)).status, 200);
  const again = await authorize('olga');
  assert.equal((await renew(again.granted.refresh_token)).status, 200);
});

test('the same browser can grant again after it was taken back', async (t) => {
  const { oidc, authorizationUrl } = await plainClient(t);
  const browser = new Browser();
  const challenge = randomBytes(32).toString('base64url');
  await signIn(browser, authorizationUrl(challenge), 'olga');
  await oidc.revokeEverythingOf('olga');
  const page = await signIn(browser, authorizationUrl(challenge), 'olga');
  assert.ok(page.url.searchParams.get('code'));
});

test('without PKCE nobody gets in', async (t) => {
  const { authorizationUrl } = await plainClient(t);
  const page = await signIn(new Browser(), authorizationUrl(), 'olga');
  assert.equal(page.url.searchParams.get('error'), 'invalid_request');
});

test('Cancel comes back as access_denied', async (t) => {
  const { authorizationUrl } = await plainClient(t);
  const page = await refuseConsent(new Browser(), authorizationUrl(randomBytes(32).toString('base64url')), 'olga');
  assert.equal(page.url.searchParams.get('error'), 'access_denied');
});

test('while it is down it answers 503', async (t) => {
  const { oidc, userinfo } = await plainClient(t);
  oidc.down = true;
  assert.equal((await userinfo('any')).status, 503);
  oidc.down = false;
  assert.equal((await userinfo('any')).status, 401);
});

test('the bad provider fails whom it is told to, as often as it is told to, and knows what was asked and answered', async (t) => {
  const { oidc, authorize, renew } = await plainClient(t);
  const proxy = await startFaultyProxy(oidc);
  t.after(() => proxy.close());
  const { granted } = await authorize('olga');
  const { granted: other } = await authorize('otto');

  const handedOn = await renew(granted.refresh_token, proxy.origin);
  assert.equal(handedOn.status, 200);
  const failing = proxy.fail({ route: 'token', login: 'olga' }, faults.refuses('invalid_client', 401), { times: 1 });
  assert.equal((await renew(other.refresh_token, proxy.origin)).status, 200, 'another login');
  assert.equal((await renew(handedOn.refresh_token, proxy.origin)).error, 'invalid_client');
  const again = await renew(handedOn.refresh_token, proxy.origin);
  assert.equal(again.status, 200, 'the provider has not heard of it');

  proxy.fail({ login: 'olga' }, faults.lost);
  await assert.rejects(renew(again.refresh_token, proxy.origin), 'the answer is lost');
  proxy.heal();
  assert.equal((await renew(again.refresh_token, proxy.origin)).error, 'invalid_grant', 'the provider had answered');

  const olgas = proxy.renewals({ login: 'olga' });
  assert.deepEqual(olgas.map((call) => call.status), [200, 401, 200, null, 400]);
  assert.deepEqual(olgas.map((call) => call.providerStatus), [200, null, 200, 200, 400]);
  assert.equal(olgas[0].granted, olgas[1].refreshToken);
  assert.deepEqual(failing.calls, [olgas[1]]);
});

test('the bad provider holds a call back before the provider hears of it, or its answer', async (t) => {
  const { oidc, authorize, renew } = await plainClient(t);
  const proxy = await startFaultyProxy(oidc);
  t.after(() => proxy.close());
  const { granted } = await authorize('olga');

  const first = proxy.hold({ route: 'token' });
  const renewal = renew(granted.refresh_token, proxy.origin);
  assert.equal((await first.arrived()).providerStatus, null);
  first.release();
  const renewed = await renewal;
  assert.equal(renewed.status, 200);

  const second = proxy.holdAnswer({ route: 'token' });
  const next = renew(renewed.refresh_token, proxy.origin);
  const { providerStatus, status } = await second.arrived();
  assert.deepEqual([providerStatus, status], [200, null]);
  second.release();
  assert.equal((await next).status, 200);
});

test('the key ring opens an account to its key until the key is withdrawn', async (t) => {
  const keyRing = await startKeyRing();
  t.after(() => keyRing.close());
  const ask = (key) => fetch(`http://${keyRing.host}/v1/account`, { headers: { 'x-api-key': key } });

  keyRing.issue('k-1', { id: '1', name: 'One' });
  assert.deepEqual(await (await ask('k-1')).json(), { account: { id: '1', name: 'One' } });
  assert.equal((await ask('k-2')).status, 401);
  keyRing.withdraw('k-1');
  assert.equal((await ask('k-1')).status, 401);
});
