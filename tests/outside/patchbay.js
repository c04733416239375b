// The real server, as its operator runs it: a process with an environment, commands beside it, signals to end it.

import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { before, eventually } from './waiting.js';

export const binary = resolve(process.env.PATCHBAY_BIN ?? join(import.meta.dirname, '../../target/debug/patchbay'));

export const PROBE_INTERVAL_MS = 2_000;

const servers = new Set();

// No server outlives the tests, whatever ends them.
process.on('exit', () => servers.forEach((server) => server.process?.kill('SIGKILL')));

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/**
 * A port of 127.0.0.1 for a server to be started in a moment, and again after it was killed. It is below those that
 * systems hand out by themselves (from 32768 up): one of these may meanwhile be given to somebody's connection.
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(10_000, 32_768);
    if (await canListenOn(port)) return port;
  }
}

async function canListenOn(port) {
  const probe = createServer().listen(port, '127.0.0.1');
  try {
    await once(probe, 'listening');
  } catch {
    return false;
  }
  probe.close();
  await once(probe, 'close');
  return true;
}

/** The secrets that all nodes of one installation share. */
const freshSecrets = () => ({
  PATCHBAY_ENCRYPTION_KEYS: `outside:${randomBytes(32).toString('base64')}`,
  PATCHBAY_JWT_SECRET: randomBytes(48).toString('base64url'),
});

/** The settings of a server of its own, on a database in the folder where it is started. */
export async function freshSettings(more = {}) {
  const address = `127.0.0.1:${await freePort()}`;
  return { ...freshSecrets(), PATCHBAY_LISTEN: address, PATCHBAY_PUBLIC_URL: `http://${address}`, ...more };
}

/** This process's environment without what would configure the server behind the test's back. */
export const cleanEnvironment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PATCHBAY|OTEL|NODE)_/.test(name)));

export class Patchbay {
  /**
   * @param {object} options
   * @param {string} options.databaseUrl
   * @param {number} options.port
   * @param {Record<string, string>} [options.connectors] connector files by name
   * @param {Record<string, string>} [options.env] more of the environment, e.g. OAuth clients
   * @param {string} [options.publicUrl] where people reach it; its own address unless told otherwise
   */
  constructor({ databaseUrl, port, connectors = {}, env = {}, publicUrl, secrets = freshSecrets() }) {
    this.port = port;
    this.origin = `http://127.0.0.1:${port}`;
    this.options = { databaseUrl, connectors, env, publicUrl: publicUrl ?? this.origin, secrets };
    this.log = '';
    servers.add(this);
  }

  /** Another node of the same installation: same database, keys and public address, its own port. */
  async anotherNode(env = {}) {
    const { options } = this;
    return new Patchbay({ ...options, port: await freePort(), env: { ...options.env, ...env } });
  }

  async start() {
    await this.#prepareFolder();
    const child = spawn(binary, ['serve'], { cwd: this.folder, env: this.environment, stdio: ['ignore', 'ignore', 'pipe'] });
    this.process = child;
    child.stderr.setEncoding('utf8').on('data', (text) => (this.log += text));
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.exited.catch(() => {});
    await Promise.race([this.#ready(), this.#unexpectedExit()]);
    return this;
  }

  /** As a power cut would end it. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  /** Nothing of it runs until it is thawed: a virtual machine that is moved, a disk that hangs. */
  async freeze() {
    const threads = `/proc/${this.process.pid}/task`;
    const isStopped = async (thread) => / T /.test(await readFile(join(threads, thread, 'stat'), 'utf8'));
    this.process.kill('SIGSTOP');
    await eventually('every thread stands still', async () => {
      const stopped = await Promise.all((await readdir(threads)).map(isStopped));
      return !stopped.includes(false);
    }, { every: 1 });
  }

  thaw() {
    this.process.kill('SIGCONT');
  }

  async restart() {
    await this.kill();
    return this.start();
  }

  /** SIGTERM: has to drain and exit with 0 within 30 s. */
  async stop() {
    if (this.#gone) return;
    this.thaw();
    this.process.kill('SIGTERM');
    const { code, signal } = await before(30_000, 'exit after SIGTERM', this.exited);
    if (code !== 0) throw new Error(`exit after SIGTERM: code ${code}, signal ${signal}\n${this.logTail()}`);
  }

  /** Stops it and takes away what it left on disk; a panic anywhere on the way is a failure. */
  async dismantle() {
    try {
      await this.stop();
    } finally {
      this.process?.kill('SIGKILL');
      if (this.folder) await rm(this.folder, { recursive: true, force: true });
    }
    if (/panicked at/.test(this.log)) throw new Error(`the server panicked\n${this.logTail()}`);
    servers.delete(this);
  }

  /** Runs a command of the binary beside the server, with the same configuration. Returns what it printed. */
  async command(...args) {
    const { stdout } = await promisify(execFile)(binary, args, { cwd: this.folder, env: this.environment, timeout: 60_000 });
    return stdout.trim();
  }

  /** @returns {Promise<{ workspaceId: string, userId: string, token: string }>} */
  async createWorkspace(name, adminEmail) {
    return JSON.parse(await this.command('workspace', 'create', '--name', name, '--admin-email', adminEmail));
  }

  /** A JWT for a person. `ttl` e.g. `3s`. */
  token(email, { ttl } = {}) {
    return this.command('token', '--email', email, ...(ttl ? ['--ttl', ttl] : []));
  }

  get environment() {
    const { databaseUrl, env, publicUrl, secrets } = this.options;
    return {
      ...cleanEnvironment(),
      ...secrets,
      PATCHBAY_LISTEN: `127.0.0.1:${this.port}`,
      PATCHBAY_PUBLIC_URL: publicUrl,
      PATCHBAY_DATABASE_URL: databaseUrl,
      PATCHBAY_CONNECTORS_DIR: join(this.folder, 'connectors'),
      PATCHBAY_PROBE_INTERVAL: `${PROBE_INTERVAL_MS / 1_000}s`,
      PATCHBAY_JOB_TICK: '200ms',
      PATCHBAY_LOG: 'info,patchbay::provider=debug', // why a provider could not be reached
      ...env,
    };
  }

  logTail(lines = 60) {
    return this.log.split('\n').slice(-lines).join('\n');
  }

  async #prepareFolder() {
    if (this.folder) return;
    this.folder = await mkdtemp(join(tmpdir(), 'patchbay-outside-'));
    await mkdir(join(this.folder, 'connectors'));
    for (const [name, text] of Object.entries(this.options.connectors)) {
      await writeFile(join(this.folder, 'connectors', name), text);
    }
  }

  /** Never started, could not be started, or has ended. */
  get #gone() {
    return !this.process?.pid || this.process.exitCode !== null || this.process.signalCode !== null;
  }

  #ready() {
    return eventually(
      `${this.origin}/readyz answers 200`,
      async () => this.#gone || (await fetch(`${this.origin}/readyz`, { signal: AbortSignal.timeout(5_000) })).status === 200,
      { within: 60_000 },
    );
  }

  async #unexpectedExit() {
    const { code, signal } = await this.exited;
    throw new Error(`the server ended before it was ready: code ${code}, signal ${signal}\n${this.logTail()}`);
  }
}
