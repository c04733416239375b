// The two databases, each with the faults it can have. `urlFor` is where a node finds it, `rows` asks behind the nodes' back.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { postgresSource } from '../outside/sources.js';
import { eventually } from '../outside/waiting.js';
import { DatabaseProxy } from './databaseproxy.js';

const NAME = 'patchbay_faults';

/** How long each piece of what is sent takes while the database is slow. */
const SLOW_MS = 60;

class Postgres {
  name = 'PostgreSQL';
  nodes = ['A', 'B'];

  #proxies = {};

  static async start() {
    const database = new Postgres();
    database.server = await postgresSource.start();
    await database.server.sql(`CREATE DATABASE ${NAME}`);
    for (const node of database.nodes) database.#proxies[node] = await DatabaseProxy.start(database.server.port);
    return database;
  }

  urlFor(node) {
    const { username, password } = this.server.administrator;
    return `postgres://${username}:${password}@127.0.0.1:${this.#proxies[node].port}/${NAME}`;
  }

  get secrets() {
    return [this.server.administrator.password];
  }

  rows(sql) {
    return this.server.sql(sql, NAME);
  }

  async fail(fault) {
    const proxies = this.#proxiesOf(fault);
    switch (fault.kind) {
      case 'slow':
        return proxies.forEach((proxy) => proxy.slow(SLOW_MS));
      case 'silent':
        return proxies.forEach((proxy) => proxy.fallSilent());
      case 'cut':
        return proxies.forEach((proxy) => proxy.cut({ refusing: true }));
      case 'half-open':
        return proxies.forEach((proxy) => proxy.leaveHalfOpen());
      case 'frozen':
        return this.#signalAll('SIGSTOP');
      case 'sessions ended':
        return this.rows(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${NAME}' AND pid <> pg_backend_pid()`);
      case 'backend killed': {
        const [backend] = await this.rows(`SELECT pid FROM pg_stat_activity WHERE datname = '${NAME}' AND pid <> pg_backend_pid() LIMIT 1`);
        return backend && process.kill(backend.pid, 'SIGKILL');
      }
      default: // killed
        this.server.process.kill('SIGKILL');
        return this.server.exited;
    }
  }

  async heal(fault) {
    if (fault.kind === 'frozen') await this.#signalAll('SIGCONT');
    // What is left of a killed server holds its memory for a moment.
    if (fault.kind === 'killed') await eventually('PostgreSQL runs again', () => this.server.resume().then(() => true), { every: 200 });
    for (const proxy of this.#proxiesOf(fault)) proxy.speak();
  }

  async close() {
    for (const proxy of Object.values(this.#proxies)) proxy.close();
    await this.server.close();
  }

  #proxiesOf({ node }) {
    return Object.entries(this.#proxies).filter(([name]) => node === 'all' || node === name).map(([, proxy]) => proxy);
  }

  /** The postmaster stands still first and goes on last, so that none of its children is new meanwhile. */
  async #signalAll(signal) {
    const { pid } = this.server.process;
    const family = [pid, ...(await childrenOf(pid))];
    for (const member of signal === 'SIGSTOP' ? family : family.reverse()) {
      try {
        process.kill(member, signal);
      } catch {
        // It has ended.
      }
    }
  }
}

class Sqlite {
  name = 'SQLite';
  nodes = ['A'];
  secrets = [];

  #holder = null;

  static async start() {
    const database = new Sqlite();
    database.folder = await mkdtemp(join(tmpdir(), 'patchbay-faults-db-'));
    database.file = join(database.folder, 'patchbay.db');
    return database;
  }

  urlFor() {
    return `sqlite://${this.file}`;
  }

  async rows(sql) {
    const { stdout } = await promisify(execFile)('sqlite3', ['-json', '-readonly', '-cmd', '.timeout 20000', this.file, sql], { maxBuffer: 1 << 28 });
    return stdout.trim() ? JSON.parse(stdout) : [];
  }

  /** Another process holds the only lock that one can write under. */
  async fail() {
    this.#holder = spawn('sqlite3', ['-cmd', '.timeout 20000', this.file], { stdio: ['pipe', 'ignore', 'ignore'] });
    this.#holder.stdin.write('BEGIN IMMEDIATE;\n');
  }

  async heal() {
    const ended = once(this.#holder, 'exit');
    this.#holder.stdin.end('ROLLBACK;\n');
    await ended;
  }

  async close() {
    this.#holder?.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }
}

export const databases = { sqlite: Sqlite, postgres: Postgres };

async function childrenOf(parent) {
  const children = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) children.push(Number(entry));
  }
  return children;
}
