// What goes wrong when: drawn from the seed before the run begins, so that a seed repeats it. There is a track for each part
// that fails; within a track one fault follows the other, and the tracks run beside each other.

const SECOND = 1_000;

/** How often each fault is drawn, and how long it lasts, in seconds. */
const PROVIDER_FAULTS = {
  slow: { weight: 4, lasts: [5, 20] },
  silent: { weight: 3, lasts: [4, 20] },
  'answers late': { weight: 2, lasts: [12, 25] },
  'status 500': { weight: 3, lasts: [3, 15] },
  'status 503': { weight: 2, lasts: [3, 15] },
  'status 429': { weight: 3, lasts: [3, 12] },
  garbage: { weight: 2, lasts: [3, 12] },
  html: { weight: 1, lasts: [3, 12] },
  cut: { weight: 4, lasts: [4, 15] },
  lost: { weight: 4, lasts: [4, 15] },
  dropped: { weight: 3, lasts: [4, 15] },
  killed: { weight: 2, lasts: [2, 12] },
};

const POSTGRES_FAULTS = {
  slow: { weight: 3, lasts: [5, 15] },
  silent: { weight: 4, lasts: [3, 25] },
  cut: { weight: 4, lasts: [0, 3] },
  'half-open': { weight: 4, lasts: [0, 0] },
  frozen: { weight: 3, lasts: [3, 18] },
  'sessions ended': { weight: 3, lasts: [0, 0] },
  'backend killed': { weight: 2, lasts: [0, 0] },
  killed: { weight: 3, lasts: [0, 8] },
};

/** The others happen on the way to one node, or to all. */
const OF_THE_SERVER = new Set(['frozen', 'sessions ended', 'backend killed', 'killed']);

const SQLITE_FAULTS = {
  'write lock held': { weight: 1, lasts: [1, 12] },
};

const NODE_FAULTS = {
  killed: { weight: 4, lasts: [0, 6] },
  terminated: { weight: 3, lasts: [0, 4] },
  frozen: { weight: 4, lasts: [2, 16] },
};

/** What happens at the provider by a person's will, and what windows suffer. It is no fault, and lasts no time. */
const EVENTS = {
  'grant revoked': 5,
  'account withdrawn': 2,
  'accounts restored': 2,
  'key withdrawn': 1,
  'sockets cut': 4,
};

/** Restarts end here, as a share of the time: what a node holds at the end is what it gathered since. */
const LAST_RESTART = 0.6;

/**
 * @param {import('./random.js').Random} random
 * @param {{ milliseconds: number, nodes: string[], database: 'sqlite' | 'postgres' }} options
 * @returns {{ at: number, lasts: number, part: string, kind: string, [more: string]: unknown }[]} by their beginning, in milliseconds
 */
export function drawSchedule(random, { milliseconds, nodes, database }) {
  const target = (track) => track.pick([...nodes, 'all']);
  const tracks = {
    provider: {
      faults: PROVIDER_FAULTS,
      gap: [1, 12],
      more: (track) => ({ routes: track.pick(['token', 'token', 'api', 'everything']), share: track.pick([0.3, 0.6, 1]) }),
    },
    database: database === 'postgres'
      ? { faults: POSTGRES_FAULTS, gap: [6, 22], more: (track, kind) => ({ node: OF_THE_SERVER.has(kind) ? 'all' : target(track) }) }
      : { faults: SQLITE_FAULTS, gap: [8, 25], more: () => ({}) },
    node: { faults: NODE_FAULTS, gap: [10, 35], more: (track) => ({ node: track.pick(nodes) }) },
  };
  const schedule = Object.entries(tracks).flatMap(([part, track]) => drawTrack(random.fork(part), part, track, milliseconds));
  return [...schedule, ...drawEvents(random.fork('events'), milliseconds)].sort((a, b) => a.at - b.at);
}

function drawTrack(random, part, { faults, gap, more }, milliseconds) {
  const weights = Object.fromEntries(Object.entries(faults).map(([kind, { weight }]) => [kind, weight]));
  const drawn = [];
  let at = random.int(0, gap[0] * SECOND);
  for (;;) {
    at += random.int(gap[0] * SECOND, gap[1] * SECOND);
    let kind = random.weighted(weights);
    if (part === 'node' && at > LAST_RESTART * milliseconds) kind = 'frozen';
    const lasts = random.int(...faults[kind].lasts.map((seconds) => seconds * SECOND));
    const rest = more(random, kind);
    if (at + lasts > milliseconds) return drawn;
    drawn.push({ at, lasts, part, kind, ...rest });
    at += lasts;
  }
}

function drawEvents(random, milliseconds) {
  const drawn = [];
  for (let at = random.int(2 * SECOND, 6 * SECOND); at < milliseconds; at += random.int(2 * SECOND, 7 * SECOND)) {
    drawn.push({ at, lasts: 0, part: 'event', kind: random.weighted(EVENTS) });
  }
  return drawn;
}

/** One line for each. */
export function printSchedule(schedule) {
  const seconds = (milliseconds) => (milliseconds / SECOND).toFixed(1).padStart(6);
  return schedule
    .filter(({ part }) => part !== 'event')
    .map(({ at, lasts, part, kind, node, routes, share }) => {
      const where = [node && `node ${node}`, routes && `${routes}, ${share * 100} % of the calls`].filter(Boolean).join(', ');
      return `${seconds(at)} s  for ${seconds(lasts)} s  ${part.padEnd(8)}  ${kind}${where ? ` (${where})` : ''}`;
    })
    .join('\n');
}
