// A database server of the tests' own, which people connect as a data source: it demands passwords, listens on 127.0.0.1 alone,
// keeps its data in a folder that goes away with it, and outlives no test.

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { chown, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { freePort } from './patchbay.js';
import { before, eventually } from './waiting.js';

const run = promisify(execFile);

const running = new Set();

// Whatever ends the tests; `patchbay.js` turns their signals into an exit.
process.on('exit', () => running.forEach((server) => server.endAtOnce()));

/** A password as a person would be given one; short enough to be found wherever it leaks. */
export const freshPassword = () => `pw-${randomBytes(12).toString('hex')}`;

export const freshName = (prefix) => `${prefix}_${randomBytes(6).toString('hex')}`;

/** The program's path, in the folders of PATH or in others; null where it is not installed. */
export function findProgram(name, folders = []) {
  const everywhere = [...(process.env.PATH ?? '').split(delimiter), ...folders];
  return everywhere.map((folder) => join(folder, name)).find(existsSync) ?? null;
}

/** Why tests with a source have to be left out; false when its programs are there. With CI set they must be. */
export function reasonToSkip(programs, packages) {
  const missing = Object.keys(programs).filter((name) => !programs[name]);
  if (missing.length === 0) return false;
  const reason = `there is no ${missing.join(' and no ')}; install ${packages}`;
  if (process.env.CI) throw new Error(reason);
  return `left out: ${reason}`;
}

/** Database servers refuse to run as root. */
async function whoRuns() {
  if (process.getuid() !== 0) return {};
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) => Number((await run('id', [flag, 'nobody'])).stdout)));
  return { uid, gid };
}

/** What both kinds have in common. They say how a folder is filled, what is run, and how it is asked to end. */
export class SourceServer {
  administrator = { username: 'tests', password: freshPassword() };

  #log = '';

  static async start() {
    const server = new this();
    await server.#start();
    return server;
  }

  /** As PATCHBAY_ALLOWED_HOSTS names it. */
  get host() {
    return `127.0.0.1:${this.port}`;
  }

  /** Ends it as its operator would; what it holds stays for `resume`. */
  async stop() {
    this.process.kill(this.endsBy);
    await before(30_000, `${this.constructor.name} ends`, this.exited);
  }

  /** Runs it again, where it was before. */
  async resume() {
    const [program, ...args] = this.command;
    const child = spawn(program, args, { ...this.who, cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.setEncoding('utf8').on('data', (text) => (this.#log += text));
    this.process = child;
    this.exited = once(child, 'exit');
    const ended = this.exited.then(([code]) => {
      throw new Error(`${program} ended with ${code} before it answered\n${this.#log}`);
    });
    ended.catch(() => {});
    await Promise.race([eventually(`${program} answers`, () => this.sql('SELECT 1'), { within: 60_000 }), ended]);
  }

  async close() {
    await this.stop();
    this.endAtOnce();
  }

  /** Nobody waits any more. */
  endAtOnce() {
    this.process?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
    running.delete(this);
  }

  /** Runs a program as whoever runs the server. */
  async run(program, args) {
    await run(program, args, { ...this.who, cwd: this.folder, timeout: 120_000 });
  }

  async #start() {
    this.who = await whoRuns();
    this.folder = await mkdtemp(join(tmpdir(), 'patchbay-outside-source-'));
    running.add(this);
    if (this.who.uid !== undefined) await chown(this.folder, this.who.uid, this.who.gid);
    this.port = await freePort();
    this.command = await this.prepare();
    await this.resume();
  }
}

/** A database of one test, with the roles that the test makes in its server. */
export class SourceDatabase {
  constructor(server, name) {
    Object.assign(this, { server, name });
  }

  /** Asks as the administrator; the rows. */
  sql(text) {
    return this.server.sql(text, this.name);
  }

  /** A login that may do anything in this database: what keeps Patchbay from writing is Patchbay. */
  async createRole() {
    const role = { username: freshName('role'), password: freshPassword() };
    await this.server.createRole(role, this.name);
    return role;
  }

  /** Gives the role another password; returns the role as it is from now on. */
  async alterPassword(role) {
    const altered = { ...role, password: freshPassword() };
    await this.server.alterPassword(altered);
    return altered;
  }

  dropRole(role) {
    return this.server.dropRole(role, this.name);
  }

  /** The connector's fields, as someone fills them in. */
  credentials({ username, password }, more = {}) {
    const { port } = this.server;
    const fields = { host: '127.0.0.1', port, database: this.name, username, password, ...more };
    return Object.entries(fields).map(([name, value]) => ({ name, value: String(value) }));
  }
}
