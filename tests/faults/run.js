// One run on one database: all is started, some time passes in peace, then the schedule; then all comes to rest and is checked.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { freePort } from '../outside/patchbay.js';
import { eventually, pause } from '../outside/waiting.js';
import * as checks from './checks.js';
import { databases } from './databases.js';
import { Disturbances } from './disturbances.js';
import { ConnectionsFollower, DatasetsFollower, Poller, ReadingFollower, TrayFollower } from './followers.js';
import { Node } from './node.js';
import { Provider } from './provider.js';
import { Random } from './random.js';
import { Report } from './report.js';
import { Requests } from './requests.js';
import { drawSchedule, printSchedule } from './schedule.js';
import { Workers } from './workers.js';

const ACCESS_TOKEN_SECONDS = 10;
const WORKERS = 5;
const WARM_UP_MS = 12_000;

/** How long a provider and a database that failed may hold up a sign-in whose node lives. */
const SIGN_INS_END_MS = 30_000;

/** Long enough that whatever is owned is renewed or probed. */
const QUIET_MS = 2 * ACCESS_TOKEN_SECONDS * 1_000;

const SETTINGS = { PATCHBAY_LOG: 'info', PATCHBAY_PROBE_INTERVAL: '4s', PATCHBAY_JOB_TICK: '250ms' };

/** @returns {Promise<Report | null>} */
export async function runOn(databaseName, { seed, minutes, scheduleOnly }) {
  const random = new Random(seed).fork(databaseName);
  const schedule = drawSchedule(random.fork('schedule'), { milliseconds: minutes * 60_000, nodes: databaseName === 'postgres' ? ['A', 'B'] : ['A'], database: databaseName });
  console.log(`━━ ${databaseName}, seed ${seed}, ${minutes} minutes, ${schedule.length} faults and events\n${printSchedule(schedule)}`);
  if (scheduleOnly) return null;

  const run = new Run(random);
  try {
    await run.start(databases[databaseName]);
    await run.warmUp();
    await run.follow(schedule);
    await run.check();
  } catch (error) {
    run.report.problem('the run broke off', error.stack);
  } finally {
    await run.end(databaseName, seed);
  }
  return run.report;
}

class Run {
  report = new Report();
  disturbances = new Disturbances();
  nodes = [];
  followers = [];

  constructor(random) {
    this.random = random;
  }

  async start(Database) {
    this.database = await Database.start();
    this.provider = await Provider.start(this.random.fork('provider'), { accessTokenSeconds: ACCESS_TOKEN_SECONDS });
    this.publicUrl = `http://127.0.0.1:${await freePort()}`;
    for (const name of this.database.nodes) {
      const secrets = this.nodes[0]?.patchbay.options.secrets;
      const node = await Node.create(name, {
        databaseUrl: this.database.urlFor(name),
        connectors: this.provider.connectorFiles(name),
        env: { PATCHBAY_ALLOWED_HOSTS: this.provider.host, ...this.provider.environment, ...SETTINGS },
        publicUrl: this.publicUrl,
        ...(secrets ? { secrets } : {}),
      });
      this.nodes.push(node);
      await node.start();
    }
    this.requests = new Requests({ nodes: this.nodes, random: this.random.fork('requests'), report: this.report, disturbances: this.disturbances });
    await this.#invitePeople();
    await this.#openWindows();
    this.workers = new Workers({
      ...this,
      random: this.random.fork('workers'),
      trays: this.followers.filter((follower) => follower instanceof TrayFollower),
    });
    await this.workers.settleIn();
  }

  async warmUp() {
    this.workers.begin(WORKERS);
    await pause(WARM_UP_MS);
    this.warm = {};
    for (const node of this.nodes) this.warm[node.name] = await node.memory();
  }

  /** Every fault begins and ends when the schedule says, beside the others. */
  async follow(schedule) {
    const began = Date.now();
    await Promise.all(schedule.map(async (entry) => {
      await pause(Math.max(0, began + entry.at - Date.now()));
      if (entry.part === 'event') return this.#happen(entry);
      this.report.count(`fault: ${entry.part} ${entry.kind}`);
      const over = entry.part === 'provider' ? () => {} : this.disturbances.begin(entry);
      const target = { provider: this.provider, database: this.database, node: this.nodes.find(({ name }) => name === entry.node) }[entry.part];
      try {
        await target.fail(entry);
        await pause(entry.lasts);
        await target.heal(entry);
      } finally {
        over();
      }
    }));
    this.provider.ledger.withdrawn.clear();
    for (const node of this.nodes) await eventually(`node ${node.name} is ready`, () => node.isReady(), { within: 120_000 }).catch((error) => this.report.problem('a node that does not get ready', error.message));
    await this.workers.stop();
    // A browser may have left before its sign-in had ended; one whose node was killed ends in its time.
    await eventually('no sign-in is under way', () => this.noSignInIsUnderWay(), { within: SIGN_INS_END_MS, every: 500 }).catch(() => {});
    this.quietSince = Date.now();
    await pause(QUIET_MS);
  }

  async noSignInIsUnderWay() {
    const [{ open }] = await this.database.rows("SELECT count(*) AS open FROM attempt WHERE status = 'EXCHANGING' AND ended_at IS NULL");
    return Number(open) === 0;
  }

  async check() {
    const parts = { ...this, since: this.quietSince, everything: this.everything };
    await checks.checkNodes(parts);
    await checks.checkDue(parts);
    await checks.checkGrants(parts);
    await checks.checkAttempts(parts);
    await checks.checkRepair(parts);
    await this.poller.stop();
    await checks.checkEvents(parts);
    await checks.checkEffects(parts);
    await checks.checkMemory(parts);
    this.report.figures['slowest request (ms)'] = Math.round(this.report.slowest);
  }

  async end(databaseName, seed) {
    const { report } = this;
    for (const follower of this.followers) await follower.stop().catch(() => {});
    for (const node of this.nodes) {
      await node.close().catch((error) => report.problem('SIGTERM did not end it well', error.message));
      report.figures[`node ${node.name}: starts, longest exit (ms)`] = `${node.starts}, ${node.longestExit}`;
    }
    checks.checkExits({ nodes: this.nodes, report });
    const tokens = Object.values(this.people ?? {}).map(({ token }) => token);
    checks.checkLogs({ nodes: this.nodes, secrets: [...(this.database?.secrets ?? []), ...tokens], report });
    if (report.problems.size > 0) await this.#keepLogs(`${databaseName}-${seed}`);
    for (const node of this.nodes) await node.dismantle();
    report.figures['calls of the provider'] = this.provider?.calls;
    report.count('calls that met a fault of the provider', Object.values(this.provider?.faultsMet ?? {}).reduce((sum, one) => sum + one, 0));
    this.provider?.close();
    await this.database?.close().catch(() => {});
  }

  async #invitePeople() {
    const [{ patchbay }] = this.nodes;
    const { userId, token } = await patchbay.createWorkspace('Agency', 'ada@agency.example');
    this.people = { ada: { id: userId, token } };
    for (const [name, role] of [['sam', 'STAFF'], ['mia', 'MEMBER']]) {
      const email = `${name}@agency.example`;
      const { user } = await this.requests.mutate(this.people.ada, 'createUser', { name, email, role }, 'user { id }');
      this.people[name] = { id: user.id };
    }
    // For longer than any run.
    for (const [name, person] of Object.entries(this.people)) person.token = await patchbay.token(`${name}@agency.example`, { ttl: '24h' });
  }

  async #openWindows() {
    const { people: { ada, sam, mia }, requests, report } = this;
    this.everything = new ConnectionsFollower('everything', ada, requests, report);
    this.datasets = new DatasetsFollower('everything', sam, requests, report);
    this.followers = [
      this.everything,
      new ConnectionsFollower('what a member sees', mia, requests, report),
      new ConnectionsFollower('what is down', sam, requests, report, { status: ['DISCONNECTED'] }),
      new ConnectionsFollower('what was revoked', sam, requests, report, { reason: ['REVOKED'] }),
      new ConnectionsFollower('what lost access', ada, requests, report, { reason: ['ACCESS_LOST'] }),
      new ConnectionsFollower('what is called zeta', sam, requests, report, { search: 'zeta' }),
      this.datasets,
      ...Object.entries({ ada, sam, mia }).flatMap(([name, person]) => [
        new TrayFollower(name, person, requests, report),
        new ReadingFollower(name, person, requests, report),
      ]),
    ];
    for (const follower of this.followers) await follower.begin();
    this.poller = new Poller(ada, requests);
    await this.poller.begin();
  }

  /** What people do at the provider, and what their windows suffer. */
  #happen({ kind }) {
    const { ledger } = this.provider;
    const draw = (list) => (list.length > 0 ? this.random.pick(list) : null);
    this.report.count(`event: ${kind}`);
    switch (kind) {
      case 'grant revoked': {
        const grant = draw(ledger.grantsInUse);
        return grant && ledger.end(grant, 'person');
      }
      case 'account withdrawn': {
        const grant = draw(ledger.grantsInUse);
        return grant && ledger.withdrawn.add(draw(ledger.accountsOf(grant.login)).id);
      }
      case 'accounts restored':
        return ledger.withdrawn.clear();
      case 'key withdrawn': {
        const key = draw([...ledger.keys.values()].filter(({ valid }) => valid));
        return key && (key.valid = false);
      }
      default:
        return draw(this.followers).cut();
    }
  }

  async #keepLogs(name) {
    const folder = join(import.meta.dirname, 'logs', name);
    await mkdir(folder, { recursive: true });
    for (const node of this.nodes) await writeFile(join(folder, `node-${node.name}.log`), node.log);
    await writeFile(join(folder, 'report.txt'), `${this.report}\n`);
    console.log(`the logs are in ${folder}`);
  }
}
