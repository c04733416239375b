// The parts that the other tests lean on, without Patchbay: when these fail, the cause is not the server.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { Browser } from './browser.js';
import { greatest, least, mean, shortest, sum } from './decimals.js';
import { faults, startFaultyProxy } from './faults.js';
import { startKeyRing } from './keyring.js';
import { header, startMailServer } from './mailserver.js';
import { refuseConsent, signIn, startOidcProvider } from './oidc.js';
import { all, endless, orders, pagings, startOrdersApi } from './ordersapi.js';
import { everySource } from './sources.js';
import { eventually } from './waiting.js';

const redirectUri = 'https://app.example/oauth/callback';

/** A client of the provider that knows nothing of Patchbay. */
async function plainClient(t) {
  const oidc = await startOidcProvider({ redirectUris: [redirectUri] });
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

/** The orders of the first shop by following whatever leads to the next page. */
async function walk(api, paging, token, upTo = Infinity) {
  const texts = [];
  let query = '';
  for (let page = 1; page <= upTo; page += 1) {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${api.origin}/${paging}/shops/shop-1/orders${query}`, { headers });
    assert.equal(answer.status, 200);
    const text = await answer.text();
    const { orders: found, paging: { next: cursor } = {} } = JSON.parse(text);
    texts.push(text);
    const next = {
      link: () => /\?page=\d+(?=>; rel="next")/.exec(answer.headers.get('link'))?.[0],
      cursor: () => cursor && `?after=${encodeURIComponent(cursor)}`,
      number: () => found.length === 50 && `?page=${page + 1}`,
    };
    query = next[paging]();
    if (!query) break;
  }
  return texts.join('');
}

test('the API of orders opens to tokens that oidc-provider knows, and pages in three ways through the same digits', async (t) => {
  const { oidc, authorize } = await plainClient(t);
  const api = await startOrdersApi(oidc);
  t.after(() => api.close());
  const { granted: { access_token: token } } = await authorize('olga');

  for (const paging of Object.keys(pagings)) {
    const text = await walk(api, paging, token);
    for (const order of all(orders())) assert.ok(text.includes(order.text), `${paging}: ${order.text}`);
  }
  api.list('shop-1', endless);
  for (const paging of ['link', 'cursor']) assert.match(await walk(api, paging, token, 20), /"number": 20}/);

  const status = async (path, bearer) => (await fetch(`${api.origin}${path}`, { headers: { authorization: `Bearer ${bearer}` } })).status;
  assert.equal(await status('/shops', 'any'), 401);
  api.closeShop('shop-1');
  for (const path of ['/shops/shop-1', '/link/shops/shop-1/orders']) assert.equal(await status(path, token), 403);
  for (const path of ['/shops', '/shops/shop-2', '/number/shops/shop-2/orders']) assert.equal(await status(path, token), 200);
  assert.equal(await status('/shops/shop-3', token), 404);
  await api.endAccessToken();
  assert.equal(await status('/shops', token), 401);
});

for (const source of everySource) {
  test(`the ${source.name} of these tests opens to a password, until it is another`, { skip: source.skip }, async (t) => {
    const server = await source.start();
    t.after(() => server.close());
    const db = await server.database();
    await db.sql('CREATE TABLE orders (id int)');
    const role = await db.createRole();
    const as = (user) => server.sql('INSERT INTO orders VALUES (1)', db.name, user);

    await as(role);
    const altered = await db.alterPassword(role);
    await assert.rejects(as(role));
    await as(altered);
    await server.stop();
    await assert.rejects(as(altered));
    await server.resume();
    await as(altered);
    assert.equal((await db.sql('SELECT id FROM orders')).length, 3);
    await db.dropRole(altered);
    await assert.rejects(as(altered));
    await assert.rejects(as({ username: source.connector === 'mysql' ? 'root' : 'postgres', password: '' }));
  });
}

/** Hands a letter to port `argv[1]` with Python's own client. */
const SMTPLIB = `
import smtplib, sys
from email.message import EmailMessage
letter = EmailMessage()
letter["To"], letter["Subject"] = "a@b.example", "Grüße"
letter.set_content("text")
letter.add_alternative("<p>html</p>", subtype="html")
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=10) as smtp:
    smtp.send_message(letter, from_addr="c@d.example")
`;

test('the mail server keeps what it takes, and fails as it is told to', async (t) => {
  const mail = await startMailServer();
  t.after(() => mail.close());
  const hand = () => promisify(execFile)('python3', ['-c', SMTPLIB, mail.port]);

  await hand();
  const [{ sender, to, text, html, parts, encrypted, ...letter }] = mail.taken;
  assert.deepEqual([sender, to, text.trim(), html.trim(), encrypted], ['c@d.example', ['a@b.example'], 'text', '<p>html</p>', false]);
  assert.deepEqual([header(letter, 'subject'), parts], ['Grüße', ['multipart/alternative', 'text/plain', 'text/html']]);

  await mail.refuse('451 4.3.0 Later', { to: 'a@b.example', times: 1 });
  await assert.rejects(hand(), /451/);
  await mail.drop();
  await assert.rejects(hand(), /SMTPServerDisconnected|ConnectionResetError/);
  await mail.hold();
  const held = hand();
  await eventually('the letter is there', () => mail.letters.length === 3);
  assert.deepEqual(mail.letters.map(({ answer }) => answer), ['250 Taken', null, undefined]);
  await mail.release();
  await held;
  assert.deepEqual([mail.refusals.length, mail.taken.length], [1, 2]);
});

test('decimals are added up, averaged and compared to the last digit', () => {
  assert.equal(sum(['0.1', '0.2', '12345678901234567890.123456789', '-0.05', '2.5e2']), '12345678901234568140.373456789');
  assert.equal(sum(['1', '-1.00']), '0');
  assert.equal(mean(['0.1', '0.2', '0.3', '1e0']), '0.4');
  assert.equal(mean(['-1', '-2']), '-1.5');
  assert.deepEqual([least(['9', '-0.30', '10']), greatest(['9', '-0.30', '10'])], ['-0.3', '10']);
  assert.equal(shortest('100'), '100');
  assert.throws(() => mean(['1', '1', '2']));
});
