// Links for people without a login, in Chromium: they read what is asked of them, sign in at npm's oidc-provider or fill in a form,
// see that it worked, and cannot do it twice.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openPage, skipWithoutChromium, startChromium } from './chromium.js';
import { startKeyRing } from './keyring.js';
import { revoke } from './reminders.js';
import { oidcStage } from './stage.js';

/** What the client's key opens. */
const SHOP = { id: 'account-1', name: 'Acme Shop' };

const linkBy = async (person, mutation, input) => (await person.does(mutation, input, 'url expiresAt')).url;

/** At the provider: somebody signs in as `login` and agrees. */
async function signInAtProvider(page, login) {
  await page.getByPlaceholder('Enter any login').fill(login);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

/** The page's own requests went to this server alone, without the link's address in a Referer; nothing went wrong in it. */
function assertSelfContained({ asked, wrong }, origin) {
  assert.deepEqual(asked.filter((url) => !url.startsWith(`${origin}/`)), []);
  assert.deepEqual(wrong, []);
}

/** Opens a link, and checks how the answer is guarded. */
async function follow(page, url, status = 200) {
  const response = await page.goto(url);
  assert.equal(response.status(), status);
  const headers = response.headers();
  assert.match(headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.equal(headers['cache-control'], 'no-store');
  return page.locator('main');
}

describe('links, in a browser', { skip: skipWithoutChromium, concurrency: 2 }, () => {
  let browser;
  before(async () => (browser = await startChromium()));
  after(() => browser?.close());

  /** A server with a provider to sign in at and one that gives out keys. */
  async function startStage(t) {
    const keyRing = await startKeyRing();
    t.after(() => keyRing.close());
    const connectors = { 'key-ring.toml': await keyRing.connectorFile() };
    const stage = await oidcStage(t, { accessTokenSeconds: 3_600, connectors, allowedHosts: [keyRing.host] });
    return Object.assign(stage, { keyRing });
  }

  test('a client without a login reconnects what broke by signing in, once', async (t) => {
    const stage = await startStage(t);
    const { acme, ada, mia, patchbay, sam } = stage;
    const connection = await stage.connectByBrowser(mia, acme, 'olga');
    await revoke(stage, 'olga', connection);
    const url = await linkBy(sam, 'createReconnectLink', { connectionId: connection.id });
    assert.ok(url.startsWith(`${patchbay.origin}/reconnect/`));
    assert.ok(!patchbay.log.includes(url.split('/').at(-1)), 'the log does not hold it');

    const page = await openPage(browser);
    const shown = await (await follow(page, url)).innerText();
    for (const words of ['Reconnect OIDC Provider', 'Sam of Agency asks you to reconnect', 'Acme', 'once']) assert.ok(shown.includes(words), shown);
    assertSelfContained(page, patchbay.origin);

    await page.getByRole('button', { name: 'Sign in at OIDC Provider' }).click();
    await signInAtProvider(page, 'olga');
    await page.getByRole('heading', { name: 'It works again' }).waitFor();
    assert.equal(new URL(page.url()).origin, patchbay.origin);
    assert.equal((await mia.connection(connection.id)).status, 'CONNECTED');
    const [{ endedBy, reconnectedBy }] = await sam.disconnectionsOf(connection.id);
    assert.deepEqual([endedBy, reconnectedBy.id], ['RECONNECTED', sam.id], 'in the name of who made the link');

    const again = await openPage(browser);
    assert.match(await (await follow(again, url, 410)).innerText(), /This is done already/);
    assert.equal(await again.getByRole('button').count(), 0);
    const { auditLog } = await ada.ask('{ auditLog { nodes { action } } }');
    assert.deepEqual(
      auditLog.nodes.filter(({ action }) => action.startsWith('link.')).map(({ action }) => action).sort(),
      ['link.created', 'link.used'],
    );
  });

  test('who changes their mind at the provider, or signs in as somebody else, is told so, and can try again', async (t) => {
    const stage = await startStage(t);
    const { acme, mia, sam } = stage;
    const connection = await stage.connectByBrowser(mia, acme, 'olga');
    await revoke(stage, 'olga', connection);
    const url = await linkBy(sam, 'createReconnectLink', { connectionId: connection.id });
    const page = await openPage(browser);

    await follow(page, url);
    await page.getByRole('button', { name: 'Sign in at OIDC Provider' }).click();
    await page.getByRole('link', { name: 'Cancel' }).click();
    await page.getByRole('alert').waitFor();
    assert.match(await page.getByRole('alert').innerText(), /cancelled/);

    await page.getByRole('button', { name: 'Sign in at OIDC Provider' }).click();
    await signInAtProvider(page, 'otto');
    await page.getByRole('alert').waitFor();
    assert.equal((await mia.connection(connection.id)).status, 'DISCONNECTED');

    const other = await openPage(browser);
    await follow(other, url);
    await other.getByRole('button', { name: 'Sign in at OIDC Provider' }).click();
    await signInAtProvider(other, 'olga');
    await other.getByRole('heading', { name: 'It works again' }).waitFor();
    assert.equal((await mia.connection(connection.id)).status, 'CONNECTED');
  });

  test('a new client connects their data sources, each once: one with a key, one by signing in', async (t) => {
    const stage = await startStage(t);
    const { acme, keyRing, patchbay, sam } = stage;
    const key = keyRing.issue('key-of-acme', SHOP);
    const url = await linkBy(sam, 'createConnectLink', { clientId: acme, connectors: ['key-ring', 'oidc-provider'] });
    assert.ok(url.startsWith(`${patchbay.origin}/connect/`));
    const page = await openPage(browser, { viewport: { width: 360, height: 740 } });
    const shown = await (await follow(page, url)).innerText();
    for (const words of ['Sam of Agency', 'for Acme', 'Key Ring', 'OIDC Provider']) assert.ok(shown.includes(words), shown);
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, 'nothing is cut off on a phone');

    const ofKeys = page.getByRole('region', { name: 'Key Ring' });
    const field = ofKeys.locator('input[type=password]');
    await field.fill('a-key-that-nobody-issued');
    await ofKeys.getByRole('button', { name: 'Connect' }).click();
    await page.getByRole('alert').waitFor();
    assert.doesNotMatch(await page.content(), /a-key-that-nobody-issued/, 'a secret is not shown again');
    await field.fill(key);
    await ofKeys.getByRole('button', { name: 'Connect' }).click();
    await ofKeys.getByText('Connected', { exact: true }).waitFor();
    await page.reload();
    await ofKeys.getByText('Connected', { exact: true }).waitFor();

    await page.getByRole('button', { name: 'Sign in at OIDC Provider' }).click();
    await signInAtProvider(page, 'olga');
    await page.getByRole('heading', { name: 'It is connected' }).waitFor();
    assert.match(await (await follow(await openPage(browser), url, 410)).innerText(), /This is done already/);

    const { connections } = await sam.ask('{ connections { nodes { status connector { slug } client { id } createdBy { id } } } }');
    assert.deepEqual(
      connections.nodes.map(({ status, connector, client, createdBy }) => [connector.slug, status, client.id, createdBy.id]).sort(),
      ['key-ring', 'oidc-provider'].map((slug) => [slug, 'CONNECTED', acme, sam.id]),
    );
    assert.doesNotMatch(patchbay.log, /key-of-acme|a-key-that-nobody-issued/);
  });
});
