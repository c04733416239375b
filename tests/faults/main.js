// Runs the server against a database and a provider that fail by a seed, beside people and live followers, and checks at the
// end that nothing was lost and nothing is stuck. See README.md.

import { parseArgs } from 'node:util';

import { runOn } from './run.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
    minutes: { type: 'string', default: '10' },
    database: { type: 'string' },
    'schedule-only': { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const names = values.database ? [values.database] : ['sqlite', 'postgres'];
if (!(minutes > 0) || !names.every((name) => ['sqlite', 'postgres'].includes(name))) {
  console.error('usage: run.sh [--seed N] [--minutes M] [--database sqlite|postgres] [--schedule-only]');
  process.exit(2);
}

const failed = [];
for (const name of names) {
  const report = await runOn(name, { seed: values.seed, minutes, scheduleOnly: values['schedule-only'] });
  if (!report) continue;
  console.log(report.toString());
  const verdict = report.problems.size > 0 ? 'FAILED' : 'passed';
  console.log(`\n━━ ${name}, seed ${values.seed}, ${minutes} minutes: ${verdict}`);
  if (report.problems.size > 0) failed.push(`${name}: ${[...report.problems.keys()].join('; ')}`);
}
if (failed.length > 0) {
  console.log(`\nagain: tests/faults/run.sh --seed ${values.seed} --minutes ${minutes}\n${failed.join('\n')}`);
}
process.exit(failed.length > 0 ? 1 : 0);
