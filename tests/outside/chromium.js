// A real browser: Chromium as the system has it, driven by playwright-core. Each window is somebody else's.

import { chromium } from 'playwright-core';

import { findProgram, reasonToSkip } from './sourceserver.js';

const programs = { chromium: findProgram('chromium') ?? findProgram('chromium-browser') ?? findProgram('google-chrome') };

/** Why tests in a browser have to be left out; false when there is one. With CI set there must be. */
export const skipWithoutChromium = reasonToSkip(programs, 'chromium');

/** Starts it, without a window on any screen. As root it takes no sandbox. */
export function startChromium() {
  const args = process.getuid() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: programs.chromium, args });
}

/** Somewhere else than on this machine. */
const isFar = ({ protocol, hostname }) => protocol.startsWith('http') && hostname !== '127.0.0.1';

/**
 * A window with no cookies of any other's, which writes down what it asks for (`asked`, URLs) and what goes `wrong` in it. Nothing
 * that is far is reached: the provider's pages would have a font from there.
 */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext(options);
  await context.route(isFar, (route) => route.abort());
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const seen = { asked: [], wrong: [] };
  page.on('request', (request) => seen.asked.push(request.url()));
  page.on('dialog', (dialog) => dialog.dismiss().then(() => seen.wrong.push(`a dialog: ${dialog.message()}`)));
  page.on('pageerror', (error) => seen.wrong.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') seen.wrong.push(message.text());
  });
  return Object.assign(page, seen);
}
