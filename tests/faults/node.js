// A node of Patchbay under a supervisor that starts it again whatever ended it, and what is seen of it from outside.

import { readFile } from 'node:fs/promises';

import { freePort, Patchbay } from '../outside/patchbay.js';
import { pause } from '../outside/waiting.js';

/** What the server promises, and what a busy machine may add. */
const EXIT_PROMISED_MS = 30_000;
const EXIT_MARGIN_MS = 15_000;

/** How often memory is looked at, and a start that failed tried again. */
const LOOKS_EVERY_MS = 500;

export class Node {
  starts = 0;
  endedByItself = [];
  badExits = [];
  longestExit = 0;
  peak = 0;

  #closing = false;
  #meant = false;
  #held = null;
  #supervision = null;
  #watch = null;

  /** @param {ConstructorParameters<typeof Patchbay>[0]} options */
  static async create(name, options) {
    const node = new Node();
    node.name = name;
    node.patchbay = new Patchbay({ ...options, port: options.port ?? (await freePort()) });
    return node;
  }

  get origin() {
    return this.patchbay.origin;
  }

  /** The first start has to work; from then on the supervisor sees to it. */
  async start() {
    await this.patchbay.start();
    this.starts += 1;
    this.#supervision = this.#supervise();
    this.#watch = setInterval(() => this.memory().then((bytes) => (this.peak = Math.max(this.peak, bytes))), LOOKS_EVERY_MS);
  }

  async fail({ kind }) {
    if (kind === 'frozen') return this.patchbay.freeze().catch(() => {});
    let release;
    this.#held = new Promise((resolve) => (release = resolve));
    this.#held.end = release;
    if (kind === 'killed') return this.#isRunning && this.patchbay.kill();
    return this.#terminate();
  }

  async heal({ kind }) {
    if (kind === 'frozen') return this.patchbay.thaw();
    this.#held?.end();
    this.#held = null;
  }

  async isReady() {
    try {
      return (await fetch(`${this.origin}/readyz`, { signal: AbortSignal.timeout(10_000) })).status === 200;
    } catch {
      return false;
    }
  }

  /** Bytes in memory now; 0 while it does not run. */
  async memory() {
    const status = await readFile(`/proc/${this.patchbay.process?.pid}/status`, 'utf8').catch(() => '');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024;
  }

  async metrics() {
    return (await fetch(`${this.origin}/metrics`, { signal: AbortSignal.timeout(10_000) })).text();
  }

  get log() {
    return this.patchbay.log;
  }

  /** SIGTERM has to end it well this last time, too. */
  async close() {
    this.#closing = true;
    clearInterval(this.#watch);
    this.#held?.end();
    this.patchbay.thaw();
    await this.#terminate();
    await this.#supervision;
  }

  /** Whatever state it is in. */
  async dismantle() {
    this.#closing = true;
    clearInterval(this.#watch);
    await this.patchbay.dismantle().catch(() => {});
  }

  get #isRunning() {
    const { process: child } = this.patchbay;
    return Boolean(child?.pid) && child.exitCode === null && child.signalCode === null;
  }

  async #terminate() {
    if (!this.#isRunning) return;
    const began = Date.now();
    this.#meant = true;
    this.patchbay.process.kill('SIGTERM');
    const limit = setTimeout(() => this.patchbay.process.kill('SIGKILL'), EXIT_PROMISED_MS + EXIT_MARGIN_MS);
    const { code, signal } = await this.patchbay.exited;
    clearTimeout(limit);
    const took = Date.now() - began;
    this.longestExit = Math.max(this.longestExit, took);
    if (code !== 0) this.badExits.push(`node ${this.name}: code ${code}, signal ${signal} ${took} ms after SIGTERM`);
  }

  async #supervise() {
    while (!this.#closing) {
      const { code, signal } = await this.patchbay.exited;
      if (code !== null && !this.#meant) this.endedByItself.push(`node ${this.name} ended with ${code}, ${signal}:\n${this.patchbay.logTail(5)}`);
      this.#meant = false;
      if (this.#held) await this.#held;
      if (this.#closing) return;
      await this.#startAgain();
    }
  }

  /** A start that meets a database without an answer fails; so it is tried again, as any supervisor would. */
  async #startAgain() {
    while (!this.#closing) {
      this.starts += 1;
      try {
        await this.patchbay.start();
        return;
      } catch {
        // Not ready in a minute, but it runs: then it is left alone.
        if (this.#isRunning) return;
        await pause(LOOKS_EVERY_MS);
      }
    }
  }
}
