// Reminders by e-mail, handed to PyPI's aiosmtpd: to whom, of what, how often; a mail server that is slow, full, strict or gone, and
// a Patchbay that is killed meanwhile. What is in the letters is read as a mail program reads it, and opened in Chromium.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { openPage, skipWithoutChromium, startChromium } from './chromium.js';
import { everyDatabase, postgres, postgresServer } from './databases.js';
import { header, makeCertificate, startMailServer } from './mailserver.js';
import { binary } from './patchbay.js';
import { hourCameMeanwhile, hourComes, outagesAreOld, putHourOff, remindedAt, revoke, TOMORROW } from './reminders.js';
import { keyRingStage, oidcStage } from './stage.js';
import { eventually } from './waiting.js';

const LONG_LIVED = 3_600;

const SIGNING_IN = { user: 'patchbay@agency.example', password: 'p@ss/word: ä' };

/** A server that sends its mail to a server of the test's, its hour far away. */
async function stageWithMail(t, { startStage = oidcStage, mailServer = {}, env = {}, ...options } = {}) {
  const mail = await startMailServer(mailServer);
  t.after(() => mail.close());
  const stage = await startStage(t, { ...options, accessTokenSeconds: LONG_LIVED, env: { ...mail.environment, ...env } });
  await putHourOff(stage);
  return { stage, mail };
}

/** Somebody's connection, whose login is taken back: an outage of its own. */
async function outageOf(stage, owner, login, client = stage.acme) {
  const connection = await stage.connectByBrowser(owner, client, login);
  await revoke(stage, login, connection);
  return connection;
}

const newClient = async ({ ada }, name) => (await ada.does('createClient', { name }, 'client { id }')).client.id;

/** To whom letters went that were taken, sorted. */
const reached = (mail) => mail.taken.flatMap(({ to }) => to).sort();

const everyoneHas = (mail, people) =>
  eventually(`${people.map(({ email }) => email)} have a letter`, () => people.every(({ email }) => mail.taken.some(({ to }) => to.includes(email))));

/** A day later somebody is reminded of a new outage: whatever else was to be sent by then, was. */
async function nextDay(stage, mail, { person, login }) {
  await outageOf(stage, person, login);
  await outagesAreOld(stage);
  await hourComes(stage, TOMORROW);
  await everyoneHas(mail, [person]);
}

for (const database of everyDatabase) {
  describe(`reminders, on ${database.name}`, { concurrency: 2 }, () => {
    test('one outage of three people is a letter to each with their own part, once; what healed is none', async (t) => {
      const { stage, mail } = await stageWithMail(t, { database });
      const { acme, globex, mia, sam, sue, max } = stage;
      const first = await stage.connectByBrowser(mia, acme, 'olga');
      await stage.connectThrough(mia, globex, first.authorization.id);
      const connections = new Map([[mia, first]]);
      for (const [person, name] of [[sam, 'Initech'], [sue, 'Umbrella']]) {
        connections.set(person, await stage.connectThrough(person, await newClient(stage, name), first.authorization.id));
      }
      await revoke(stage, 'olga', first);
      const healed = await outageOf(stage, max, 'otto');
      await outagesAreOld(stage);
      await stage.reconnectByBrowser(max, healed.id, 'otto');
      assert.equal(await remindedAt(sam, first), null);
      await hourComes(stage);

      await everyoneHas(mail, [mia, sam, sue]);
      assert.deepEqual(reached(mail), [mia, sam, sue].map(({ email }) => email).sort());
      const clients = [[mia, ['Acme', 'Globex']], [sam, ['Initech']], [sue, ['Umbrella']]];
      for (const [person, mine] of clients) {
        const [letter] = mail.to(person.email);
        for (const name of clients.flatMap(([, names]) => names)) {
          for (const form of [letter.text, letter.html]) assert.equal(form.includes(name), mine.includes(name), `${name} to ${person.email}`);
        }
        const { id } = connections.get(person);
        assert.ok(letter.text.includes(id) && letter.html.includes(id), 'its button leads to their connection');
      }
      const ids = mail.taken.map((letter) => header(letter, 'Message-ID'));
      assert.equal(new Set(ids).size, 3);
      assert.ok(Date.parse(await eventually('it is told', () => remindedAt(sam, first))) > Date.now() - 60_000);

      // One click (RFC 8058), by a mail program that has no login.
      const [, url] = /^<(.+)>$/.exec(header(mail.to(sue.email)[0], 'List-Unsubscribe'));
      assert.equal(header(mail.to(sue.email)[0], 'List-Unsubscribe-Post'), 'List-Unsubscribe=One-Click');
      const body = new URLSearchParams({ 'List-Unsubscribe': 'One-Click' });
      assert.equal((await fetch(url, { method: 'POST', body })).status, 200);
      await outageOf(stage, sue, 'ulla');
      await nextDay(stage, mail, { person: max, login: 'oda' });
      assert.equal(mail.letters.length, 4, 'nobody is told twice, and Sue of nothing more');
    });

    test('killed while the mail server takes its time, Patchbay sends the letter once more, and the reader sees it once', async (t) => {
      const { stage, mail } = await stageWithMail(t, { database });
      const { mia, patchbay } = stage;
      const connection = await outageOf(stage, mia, 'olga');
      await outagesAreOld(stage);
      await mail.hold();
      await hourComes(stage);
      await eventually('the letter is on its way', () => mail.letters.length === 1);
      await patchbay.restart();

      await everyoneHas(mail, [mia]);
      await eventually('it is told', () => remindedAt(mia, connection));
      await patchbay.restart();
      await nextDay(stage, mail, { person: stage.max, login: 'otto' });
      const letters = mail.to(mia.email);
      assert.deepEqual(letters.map(({ answer }) => answer), [null, '250 Taken']);
      assert.equal(header(letters[0], 'Message-ID'), header(letters[1], 'Message-ID'));
      assert.equal(mail.letters.length, 3);
    });

    test('down over the hour, it sends when it is back, once', async (t) => {
      const { stage, mail } = await stageWithMail(t, { database });
      const { mia, patchbay } = stage;
      const connection = await outageOf(stage, mia, 'olga');
      await patchbay.stop();
      await outagesAreOld(stage);
      await hourCameMeanwhile(stage);
      await patchbay.start();
      await everyoneHas(mail, [mia]);
      await eventually('it is told', () => remindedAt(mia, connection));

      await patchbay.restart();
      await nextDay(stage, mail, { person: stage.max, login: 'otto' });
      assert.equal(mail.letters.length, 2);
    });

    test('a mail server that is busy is asked again soon, one that knows nobody there never', async (t) => {
      const { stage, mail } = await stageWithMail(t, { database });
      const { acme, globex, ada, mia, sam } = stage;
      const first = await stage.connectByBrowser(mia, acme, 'olga');
      await stage.connectThrough(sam, globex, first.authorization.id);
      await revoke(stage, 'olga', first);
      await outagesAreOld(stage);
      await mail.refuse('451 4.3.0 Try again later', { to: mia.email, times: 1 });
      await mail.refuse('421 4.3.2 Closing for a moment', { to: mia.email, times: 1 });
      await mail.refuse('550 5.1.1 Nobody of that name', { to: sam.email });
      await mail.drop();
      await hourComes(stage);

      await everyoneHas(mail, [mia]);
      const refused = ({ email }) => mail.refusals.filter(({ to }) => to === email);
      assert.deepEqual(refused(mia).map(({ answer }) => answer.slice(0, 3)), ['421', '451']);
      const [{ at: once }, { at: again }] = refused(mia);
      assert.ok(again - once < 5_000, `asked again after ${again - once} ms`);
      const letters = mail.to(mia.email);
      assert.deepEqual(letters.map(({ answer }) => answer), [null, '250 Taken'], 'dropped, then taken');
      assert.equal(header(letters[0], 'Message-ID'), header(letters[1], 'Message-ID'));
      assert.equal(refused(sam).length, 1);
      await eventually('the audit log tells of both', async () => {
        const { auditLog } = await ada.ask('{ auditLog { nodes { action } } }');
        const told = auditLog.nodes.map(({ action }) => action).filter((action) => action.startsWith('reminder.'));
        assert.deepEqual(told.sort(), ['reminder.refused', 'reminder.sent']);
        return true;
      });
    });
  });
}

const skipNodes = postgresServer ? false : 'left out: two nodes on one PostgreSQL; set PATCHBAY_TEST_POSTGRES';

test('two nodes at the same hour send one letter to each', { skip: skipNodes }, async (t) => {
  const { stage, mail } = await stageWithMail(t, { database: postgres, env: { PATCHBAY_JOB_TICK: '20ms' } });
  await stage.anotherNode();
  const { globex, ada, mia, sam, sue } = stage;
  const first = await outageOf(stage, mia, 'olga');
  const owners = [ada, sam, sue];
  for (const [index, owner] of owners.entries()) await outageOf(stage, owner, `login-${index}`, globex);
  await outagesAreOld(stage);
  await hourComes(stage);

  await everyoneHas(mail, [mia, ...owners]);
  await eventually('it is told', () => remindedAt(sam, first));
  await nextDay(stage, mail, { person: stage.max, login: 'otto' });
  assert.equal(mail.letters.length, 5);
});

describe('mail that is encrypted, and taken from who signs in', () => {
  const testMail = (stage, env) =>
    promisify(execFile)(binary, ['mail', 'test', '--to', 'a@b.example'], { env: { ...stage.patchbay.environment, ...env }, timeout: 60_000 });
  const url = ({ port }, { user, password }) =>
    `smtp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@localhost:${port}?tls=required`;

  test('a letter leaves by STARTTLS and AUTH, in both its ways, and never without', async (t) => {
    const certificate = await makeCertificate();
    t.after(() => certificate.remove());
    const [plain, login] = await Promise.all(['PLAIN', 'LOGIN'].map((mechanism) => startMailServer({ certificate, ...SIGNING_IN, mechanism })));
    t.after(() => Promise.all([plain.close(), login.close()]));
    const env = { ...plain.environment, PATCHBAY_SMTP_URL: url(plain, SIGNING_IN), SSL_CERT_FILE: certificate.authority };
    const stage = await oidcStage(t, { accessTokenSeconds: LONG_LIVED, env });
    await putHourOff(stage);

    await outageOf(stage, stage.mia, 'olga');
    await outagesAreOld(stage);
    await hourComes(stage);
    await everyoneHas(plain, [stage.mia]);
    await testMail(stage, { PATCHBAY_SMTP_URL: url(login, SIGNING_IN) });
    for (const [server, mechanism] of [[plain, 'PLAIN'], [login, 'LOGIN']]) {
      assert.deepEqual(server.signIns, [{ event: 'signed in', mechanism, encrypted: true }]);
      assert.deepEqual(server.taken.map(({ encrypted, user }) => [encrypted, user]), [[true, SIGNING_IN.user]]);
    }

    const wrong = { ...SIGNING_IN, password: 'wr0ng-password' };
    for (const [refused, said] of [
      [{ PATCHBAY_SMTP_URL: url(plain, wrong) }, /535/],
      [{ SSL_CERT_FILE: undefined }, /certificate/i],
      [{ PATCHBAY_SMTP_URL: `smtp://127.0.0.1:${plain.port}` }, /STARTTLS|530/],
    ]) {
      const failed = await testMail(stage, refused).then(() => assert.fail('it was sent'), (error) => error);
      assert.equal(failed.code, 1);
      assert.match(failed.stderr, said);
      assert.doesNotMatch(failed.stderr + failed.stdout, /wr0ng|p@ss|p%40ss/);
    }
    assert.equal(plain.letters.length, 1);
    assert.doesNotMatch(stage.patchbay.log, /p@ss|p%40ss/);
  });
});

test('whatever a name holds, a letter has its own headers and nothing else, and opens without asking anybody for anything', { skip: skipWithoutChromium }, async (t) => {
  const { stage, mail } = await stageWithMail(t, { startStage: keyRingStage });
  const { ada, keyRing, patchbay } = stage;
  const script = '<script>document.title = "taken"</script><img src="http://127.0.0.1:9/x.png" onerror="document.title = 1">';
  await ada.does('updateWorkspace', { name: `Agency "${script}"` }, 'workspace { id }');
  const email = 'eve@agency.example';
  await ada.does('createUser', { name: `Eve, <boss@agency.example> ${script}`, email, role: 'STAFF' }, 'user { id }');
  const eve = Object.assign(Object.create(Object.getPrototypeOf(ada)), { ...ada, token: await patchbay.token(email), email });
  const account = { id: 'account-1', name: `Shop\r\nBcc: victim@elsewhere.example\r\n\r\n${script}` };
  const key = keyRing.issue('key-of-acme', account);
  const connection = await stage.connect(eve, await newClient(stage, `Client & Söhne ${script}`), key);
  keyRing.withdraw(key);
  await eventually('the key is missed', async () => (await eve.connection(connection.id)).status === 'DISCONNECTED');
  await outagesAreOld(stage);
  await hourComes(stage);
  await everyoneHas(mail, [eve]);

  const [letter] = mail.letters;
  assert.deepEqual([letter.sender, letter.to, mail.letters.length], ['patchbay@agency.example', [email], 1]);
  assert.deepEqual(letter.headers.map(([name]) => name).sort(), [
    'Auto-Submitted', 'Content-Type', 'Date', 'From', 'List-Unsubscribe', 'List-Unsubscribe-Post', 'MIME-Version', 'Message-ID', 'Subject', 'To',
  ]);
  assert.deepEqual(letter.parts, ['multipart/alternative', 'text/plain', 'text/html']);
  for (const [, value] of letter.headers) assert.doesNotMatch(value, /[\r\n]/);
  assert.match(header(letter, 'To'), /<eve@agency\.example>$/);
  for (const form of [letter.text, letter.html]) assert.match(form, /Söhne/);

  const browser = await startChromium();
  t.after(() => browser.close());
  const file = join(patchbay.folder, 'letter.html');
  await writeFile(file, letter.html);
  for (const options of [{ colorScheme: 'light' }, { colorScheme: 'dark', viewport: { width: 360, height: 740 } }]) {
    const page = await openPage(browser, options);
    await page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
    assert.deepEqual(page.asked, [pathToFileURL(file).href]);
    assert.deepEqual(page.wrong, []);
    assert.equal(await page.title(), header(letter, 'Subject'));
    const shown = await page.locator('body').innerText();
    assert.ok(shown.includes('<script>') && shown.includes('Client & Söhne'));
    assert.equal(await page.locator('script, img, iframe, form').count(), 0);
    assert.match(await page.getByRole('link', { name: 'Reconnect' }).getAttribute('href'), new RegExp(connection.id));
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(width[0] <= width[1], `nothing is cut off: ${width}`);
  }
});
