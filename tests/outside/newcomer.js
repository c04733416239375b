// Someone who reads the documents for the first time: a folder in which Patchbay was built, and terminals to type into.

import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { binary, cleanEnvironment } from './patchbay.js';
import { eventually } from './waiting.js';

const running = new Set();

// No command outlives the tests, whatever ends them.
process.on('exit', () => running.forEach((command) => command.kill('SIGKILL')));

/** A shell that stops at the first thing that fails. */
const shell = (script) => ['bash', ['-euo', 'pipefail', '-c', script]];

export class Newcomer {
  /** @param {Record<string, string>} [settings] what every terminal has in its environment */
  async arrive(settings = {}) {
    this.folder = await mkdtemp(join(tmpdir(), 'patchbay-readme-'));
    await mkdir(join(this.folder, 'target/release'), { recursive: true });
    await symlink(binary, join(this.folder, 'target/release/patchbay'));
    await symlink(join(import.meta.dirname, 'node_modules'), join(this.folder, 'node_modules'));
    const env = cleanEnvironment();
    this.env = { ...env, ...settings, PATH: `${join(this.folder, 'target/release')}:${env.PATH}` };
  }

  /** Writes a file; folders on its way are made. Returns where it is. */
  async writes(file, text) {
    const path = join(this.folder, file);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, text);
    return path;
  }

  /** Starts something that goes on until it is interrupted, in a terminal of its own. */
  starts(script, env = {}) {
    return new Running(script, { cwd: this.folder, env: { ...this.env, ...env } });
  }

  /** Types something that has to end and to succeed, in a terminal of its own. Returns what it printed. */
  async types(script) {
    const options = { cwd: this.folder, env: this.env, timeout: 60_000 };
    return (await promisify(execFile)(...shell(script), options)).stdout;
  }

  async leaves() {
    for (const command of running) await command.interrupt();
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }
}

/** A command that goes on. `out` is what it printed so far, `log` what it said on stderr, `end` how it ended. */
class Running {
  out = '';
  log = '';

  constructor(script, options) {
    this.process = spawn(...shell(script), { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stdout.setEncoding('utf8').on('data', (text) => (this.out += text));
    this.process.stderr.setEncoding('utf8').on('data', (text) => (this.log += text));
    this.process.once('close', (code, signal) => (this.end = { code, signal }));
    running.add(this);
  }

  /** Waits until what it printed has something in it. */
  prints(pattern) {
    return this.until(`it prints ${pattern}`, async () => this.out.match(pattern));
  }

  /** Waits until the server that it started can serve. */
  serves(origin) {
    return this.until(`${origin} is ready`, async () => (await fetch(`${origin}/readyz`)).status === 200);
  }

  /** Looks until something is so; that the command ends before is a failure at once. */
  async until(what, look) {
    const seen = await eventually(what, async () => {
      const ended = this.end;
      return (await look().catch((error) => ended || Promise.reject(error))) || ended;
    }).catch((error) => this.#fail(error.message));
    return seen === this.end ? this.#fail(`it ended before ${what}`) : seen;
  }

  /** Ctrl-C: interrupts everything in its terminal. Returns how it ended. */
  async interrupt() {
    this.kill('SIGINT');
    await eventually('it ends when interrupted', () => this.end);
    running.delete(this);
    return this.end;
  }

  #fail(message) {
    throw new Error(`${message}\nend: ${JSON.stringify(this.end)}\n${this.out}\n${this.log}`);
  }

  kill(signal) {
    if (!this.end) process.kill(-this.process.pid, signal);
  }
}
