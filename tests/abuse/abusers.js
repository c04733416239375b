// Abusers, in a process of their own: every few seconds some kinds of abuse are drawn, each of which keeps to a rate.

import { once } from 'node:events';

import { Random } from '../faults/random.js';
import { pause } from '../outside/waiting.js';
import { peers } from './peers.js';
import { requests } from './requests.js';

const KINDS_AT_ONCE = 4;
const LASTS_MS = 8_000;

const [workspace] = await once(process, 'message');
const random = new Random(workspace.seed);
const counts = {};
const kinds = { ...requests, ...peers };

// What an abuser's own sockets meet is no matter.
process.on('uncaughtException', () => {});
process.on('unhandledRejection', () => {});

let isOver = false;

/** One kind for a while: so many a second, each from another address. */
async function abuse(name, until) {
  const { perSecond, once } = kinds[name];
  const own = random.fork(`${name}/${until}`);
  while (!isOver && Date.now() < until) {
    const address = `127.0.${own.int(1, 200)}.${own.int(2, 250)}`;
    const came = (what) => {
      const told = `${name}: ${what}`;
      counts[told] = (counts[told] ?? 0) + 1;
    };
    Promise.resolve(once({ ...workspace, address, random: own, came })).catch((error) => came(error.code ?? error.message.slice(0, 40)));
    await pause(1_000 / perSecond);
  }
}

process.on('message', async (word) => {
  if (word === 'end') {
    isOver = true;
    process.send({ counts });
  }
  if (word !== 'begin') return;
  while (!isOver) {
    const until = Date.now() + LASTS_MS;
    const drawn = new Set();
    while (drawn.size < KINDS_AT_ONCE) drawn.add(random.pick(Object.keys(kinds)));
    await Promise.all([...drawn].map((name) => abuse(name, until)));
  }
});
process.send('ready');
