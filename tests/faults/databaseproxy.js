// A proxy between one node and PostgreSQL, which passes bytes on until a fault is set: then it delays them, holds them back,
// resets its sockets, or leaves the node's sockets open with nothing behind them.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

import { pause } from '../outside/waiting.js';

export class DatabaseProxy {
  #pairs = new Set();
  #delay = 0;
  #silence = null;
  #refusing = false;

  static async start(targetPort) {
    const proxy = new DatabaseProxy();
    proxy.server = createServer({ allowHalfOpen: true }, (socket) => proxy.#accept(socket, targetPort)).listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get port() {
    return this.server.address().port;
  }

  /** Every piece of what is sent takes this long, each way. */
  slow(milliseconds) {
    this.#delay = milliseconds;
  }

  /** Nothing passes, and nothing is closed, until `speak`; what was sent meanwhile arrives then. */
  fallSilent() {
    let speak;
    this.#silence = new Promise((resolve) => (speak = resolve));
    this.#silence.end = speak;
  }

  speak() {
    this.#silence?.end();
    this.#silence = null;
    this.#delay = 0;
    this.#refusing = false;
  }

  /** Every socket is reset; with `refusing`, new ones are as well, until `speak`. */
  cut({ refusing = false } = {}) {
    this.#refusing = refusing;
    for (const pair of this.#pairs) this.#end(pair);
  }

  /** A failover without a reset: the node's sockets stay open, and nothing answers there ever again. New ones work. */
  leaveHalfOpen() {
    for (const pair of this.#pairs) {
      pair.deaf = true;
      pair.upstream.destroy();
    }
  }

  close() {
    this.speak();
    this.cut();
    this.server.close();
  }

  #accept(socket, targetPort) {
    if (this.#refusing) return void socket.resetAndDestroy();
    const upstream = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
    const pair = { socket, upstream, deaf: false };
    this.#pairs.add(pair);
    this.#pass(pair, socket, upstream);
    this.#pass(pair, upstream, socket);
    for (const side of [socket, upstream]) side.setNoDelay(true).on('error', () => {});
    socket.once('close', () => this.#end(pair));
    // A server that has gone is noticed after a silence, as everything else.
    upstream.once('close', async () => {
      if (this.#silence) await this.#silence;
      if (!pair.deaf) this.#end(pair);
    });
  }

  /** Keeps the order of the pieces, whatever happens to each. */
  #pass(pair, from, to) {
    let last = Promise.resolve();
    const inOrder = (step) => {
      last = last.then(async () => {
        if (this.#delay > 0) await pause(this.#delay);
        if (this.#silence) await this.#silence;
        if (!pair.deaf && !to.destroyed) step();
      });
      return last;
    };
    from.on('data', (piece) => {
      from.pause();
      inOrder(() => to.write(piece)).finally(() => from.resume());
    });
    from.on('end', () => inOrder(() => to.end()));
  }

  #end(pair) {
    this.#pairs.delete(pair);
    for (const side of [pair.socket, pair.upstream]) if (!side.destroyed) side.resetAndDestroy();
  }
}
