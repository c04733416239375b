// The explorer in Chromium: whose token it asks with.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openPage, skipWithoutChromium, startChromium } from './chromium.js';
import { emptyStage } from './stage.js';

describe('the explorer, in a browser', { skip: skipWithoutChromium }, () => {
  let browser;
  before(async () => (browser = await startChromium()));
  after(() => browser?.close());

  test('a link with a token asks before it replaces the token that the tab has', async (t) => {
    const { ada, patchbay, sam } = await emptyStage(t);
    const page = await openPage(browser);
    const who = page.locator('#who');
    const follow = (person) => page.evaluate((token) => (location.hash = `token=${token}`), person.token);
    await page.goto(`${patchbay.origin}/explorer#token=${ada.token}`);
    await who.getByText('admin').waitFor();
    assert.equal(new URL(page.url()).hash, '', 'the address keeps no token');

    for (const keeps of [() => page.getByRole('button', { name: 'Keep my token' }).click(), () => page.keyboard.press('Escape')]) {
      await follow(sam);
      await page.getByRole('dialog').waitFor();
      await keeps();
      await page.getByRole('dialog').waitFor({ state: 'hidden' });
      await who.getByText('admin').waitFor();
      assert.equal(await page.locator('#token').inputValue(), ada.token);
    }

    await follow(ada);
    assert.equal(await page.getByRole('dialog').isVisible(), false, 'the same token changes nothing');
    await follow(sam);
    await page.getByRole('button', { name: 'Use the link’s token' }).click();
    await who.getByText('staff').waitFor();
    assert.deepEqual(page.wrong, []);
  });
});
