// How these tests wait: they look again until something is so, and give up at a deadline. Nothing sleeps for a fixed time.

import { inspect } from 'node:util';

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Looks again and again until `look` returns something truthy, and returns that.
 * What `look` throws counts as "not yet"; at the deadline the last of it is in the error.
 */
export async function eventually(what, look, { within = 60_000, every = 50 } = {}) {
  const deadline = Date.now() + within;
  let lastSeen;
  for (;;) {
    try {
      const seen = await look();
      if (seen) return seen;
      lastSeen = inspect(seen);
    } catch (error) {
      lastSeen = error.stack ?? String(error);
    }
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${what}\nlast seen: ${lastSeen}`);
    await pause(every);
  }
}

/** The promise's value, or an error that says what did not come before the deadline. */
export async function before(deadline, what, promise) {
  let timer;
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadline} ms: ${what}`)), deadline);
  });
  return Promise.race([promise, tooLate]).finally(() => clearTimeout(timer));
}
