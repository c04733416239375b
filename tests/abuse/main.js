// Runs the server, honest people, and abusers beside them, and says what the honest noticed. See README.md.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { Report } from '../faults/report.js';
import { postgres, sqlite } from '../outside/databases.js';
import { startKeyRing } from '../outside/keyring.js';
import { freePort, Patchbay } from '../outside/patchbay.js';
import { eventually, pause } from '../outside/waiting.js';
import { furnish } from './workspace.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
    minutes: { type: 'string', default: '30' },
    quiet: { type: 'string', default: '2' },
    database: { type: 'string', default: 'sqlite' },
  },
});
const [minutes, quiet] = [Number(values.minutes), Number(values.quiet)];
const database = { sqlite, postgres }[values.database];
if (!(minutes > 0) || !(quiet > 0) || !database) {
  console.error('usage: run.sh [--seed N] [--minutes M] [--quiet M] [--database sqlite|postgres]');
  process.exit(2);
}

/** How long after the abuse all has to be as before: longer than any deadline of the server's. */
const CALM_MS = 90_000;
const SLACK_BYTES = 64 << 20;
const SLACK_FILES = 50;

const report = new Report();
const keyRing = await startKeyRing();
const db = await database.create();
const server = new Patchbay({
  databaseUrl: db.url,
  port: await freePort(),
  connectors: { 'key-ring.toml': await keyRing.connectorFile() },
  env: { PATCHBAY_ALLOWED_HOSTS: keyRing.host, PATCHBAY_LOG: 'info', PATCHBAY_PROBE_INTERVAL: '15m', PATCHBAY_JOB_TICK: '5s' },
});
try {
  await server.start();
  const { pid } = server.process;
  const workspace = await furnish(server, keyRing);
  const honest = await child('honest.js', workspace);
  console.log(`━━ ${database.name}, seed ${values.seed}: ${quiet} minutes alone, then ${minutes} minutes of abuse`);
  // What is warm stays so.
  await phase(honest, 'warm-up', 20_000);
  const alone = await phase(honest, 'alone', quiet * 60_000);
  const before = await usage(pid);

  const abusers = await child('abusers.js', { ...workspace, seed: values.seed });
  let peak = 0;
  const watch = setInterval(async () => (peak = Math.max(peak, (await usage(pid)).bytes)), 1_000);
  abusers.send('begin');
  const beside = await phase(honest, 'beside abuse', minutes * 60_000);
  clearInterval(watch);
  abusers.send('end');
  const [{ counts }] = await once(abusers, 'message');
  abusers.kill();

  const calm = await phase(honest, 'after it', Math.max(CALM_MS, (quiet * 60_000) / 2));
  const after = await usage(pid);
  honest.kill();

  for (const [kind, times] of Object.entries(counts)) report.count(kind, times);
  for (const [name, phase] of Object.entries({ alone, 'beside abuse': beside, 'after it': calm })) {
    phase.errors.forEach((error) => report.problem(`an honest request failed, ${name}`, error));
  }
  for (const [operation, times] of Object.entries(beside.times)) {
    const [then, now] = [percentiles(alone.times[operation] ?? []), percentiles(times)];
    report.figures[operation] = `alone ${shown(then)}, beside abuse ${shown(now)}: 99 % × ${(now.late / then.late).toFixed(1)}`;
  }
  const cpu = (after.cpu - before.cpu).toFixed(0);
  report.figures['the server'] = `memory ${mib(before)} MiB, at most ${Math.round(peak / 2 ** 20)}, then ${mib(after)}; open files ${before.files}, then ${after.files}; ${cpu} s of CPU`;
  if (after.bytes > 2 * before.bytes + SLACK_BYTES) report.problem('memory did not come back', report.figures['the server']);
  if (after.files > before.files + SLACK_FILES) report.problem('open files did not come back', report.figures['the server']);
  if (server.process.pid !== pid || server.process.exitCode !== null) report.problem('the server ended', server.logTail(20));
  await eventually('it answers', async () => (await fetch(`${server.origin}/readyz`)).ok, { within: 10_000 });
} catch (error) {
  report.problem('the run broke off', error.stack);
} finally {
  for (const line of server.log.split('\n').filter((line) => /panicked|an internal error|ERROR/.test(line))) report.problem('an error in the log', line);
  await server.dismantle().catch(() => {});
  await keyRing.close();
  await db.remove();
}
console.log(report.toString());
console.log(`\n━━ ${report.problems.size > 0 ? 'FAILED' : 'passed'}: tests/abuse/run.sh --seed ${values.seed} --minutes ${minutes} --database ${values.database}`);
process.exit(report.problems.size > 0 ? 1 : 0);

/** A process of its own, once it is ready. */
async function child(file, workspace) {
  const started = fork(join(import.meta.dirname, file), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  started.send(workspace);
  await once(started, 'message');
  return started;
}

/** What the honest measured in that time: `{ times, errors }`. */
async function phase(honest, name, milliseconds) {
  honest.send('begin');
  await pause(milliseconds);
  honest.send('end');
  const [measured] = await once(honest, 'message');
  console.log(`${name}: ${Object.values(measured.times).flat().length} honest requests, ${measured.errors.length} failed`);
  return measured;
}

/** What the server's process holds now, and the seconds of CPU that it has taken. */
async function usage(pid) {
  const [status, stat, files] = await Promise.all([
    readFile(`/proc/${pid}/status`, 'utf8'),
    readFile(`/proc/${pid}/stat`, 'utf8'),
    readdir(`/proc/${pid}/fd`),
  ]);
  const [user, system] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13).map(Number);
  return { bytes: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1_024, files: files.length, cpu: (user + system) / 100 };
}

function percentiles(times) {
  const sorted = times.toSorted((one, other) => one - other);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { median: at(0.5), late: at(0.99), count: sorted.length };
}

function shown({ median, late, count }) {
  return `median ${median.toFixed(1)} 99 % ${late.toFixed(1)} ms (${count})`;
}

function mib({ bytes }) {
  return Math.round(bytes / 2 ** 20);
}
