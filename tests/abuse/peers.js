// Abuse beneath whole requests: peers that say nothing, little or nonsense, and sockets that are held.

import { randomBytes } from 'node:crypto';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { WebSocket } from '../outside/sockets.js';

/** How long such a peer stays at most, whatever the server does. */
const STAYS_MS = 40_000;

/** A TCP connection that says these, one after the other, and how it ended. */
function peer({ port, address, came }, words, { everyMs = 500, reads = true } = {}) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: address });
    const over = (what) => {
      clearInterval(talking);
      clearTimeout(leaving);
      socket.destroy();
      came(what);
      resolve();
    };
    const left = [...words];
    const talking = setInterval(() => left.length > 0 && socket.write(left.shift()), everyMs);
    const leaving = setTimeout(() => over('let be'), STAYS_MS);
    socket.on('error', (error) => over(error.code));
    socket.on('end', () => over('closed'));
    if (reads) socket.resume();
    else socket.pause();
  });
}

/** A websocket, once it is open, and the code it was closed with. */
function socket({ port, address, came }, whenOpen) {
  return new Promise((resolve) => {
    const opened = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws', { localAddress: address });
    const over = (what) => {
      clearTimeout(leaving);
      opened.terminate();
      came(what);
      resolve();
    };
    const leaving = setTimeout(() => over('let be'), STAYS_MS);
    opened.on('error', (error) => over(error.code ?? error.message.slice(0, 40)));
    opened.on('close', (code) => over(`closed with ${code}`));
    opened.on('open', () => whenOpen(opened));
  });
}

const head = (token) => `POST /graphql HTTP/1.1\r\nhost: patchbay\r\ncontent-type: application/json\r\nauthorization: Bearer ${token}\r\n`;
const heavy = JSON.stringify({ query: '{ __schema { types { name fields { name type { name } args { name } } } } }' });
const init = (token) => JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } });
const subscribe = (id) => JSON.stringify({ id, type: 'subscribe', payload: { query: 'subscription { connectionsChanged { connections { id name } } }' } });

export const peers = {
  'peers that say nothing': { perSecond: 20, once: (by) => peer(by, []) },
  'heads that come letter by letter': { perSecond: 10, once: (by) => peer(by, [...head('x')], { everyMs: 300 }) },
  'bodies that never end': { perSecond: 10, once: (by) => peer(by, [`${head('x')}content-length: 100000\r\n\r\n`, ...Array(100).fill('{')]) },
  'half a preface of HTTP/2': { perSecond: 20, once: (by) => peer(by, ['PRI * HTTP/2.0\r\n']) },
  'random bytes': { perSecond: 20, once: (by) => peer(by, [randomBytes(500)]) },
  'answers that nobody reads': {
    perSecond: 10,
    once: (by) => peer(by, [`${head(by.member)}content-length: ${heavy.length}\r\n\r\n${heavy}`.repeat(40)], { reads: false, everyMs: 10 }),
  },
  'streams of HTTP/2 that nobody reads': {
    perSecond: 5,
    once: ({ origin, address, came }) =>
      new Promise((resolve) => {
        const session = connectHttp2(origin, { localAddress: address, settings: { initialWindowSize: 0 } });
        const over = (what) => {
          session.destroy();
          came(what);
          resolve();
        };
        session.on('error', (error) => over(error.code));
        session.on('close', () => over('closed'));
        setTimeout(() => over('let be'), STAYS_MS);
        for (let n = 0; n < 20; n += 1) {
          const stream = session.request({ ':method': 'POST', ':path': '/graphql', 'content-type': 'application/json' });
          stream.on('error', () => {});
          stream.end(heavy);
        }
      }),
  },
  'sockets without an init': { perSecond: 10, once: (by) => socket(by, () => {}) },
  'sockets with garbage': { perSecond: 10, once: (by) => socket(by, (opened) => opened.send(by.random.pick([randomBytes(200), '{', '{"type":"x"}', 'x'.repeat(300_000)]))) },
  'sockets with many subscriptions': {
    perSecond: 4,
    once: (by) =>
      socket(by, (opened) => {
        opened.send(init(by.client));
        opened.once('message', () => {
          for (let n = 0; n < 150; n += 1) opened.send(subscribe(`${n}`));
        });
        setTimeout(() => opened.close(), 5_000);
      }),
  },
  'sockets that do not read': {
    perSecond: 4,
    once: (by) =>
      socket(by, (opened) => {
        opened.send(init(by.member));
        opened.once('message', () => {
          for (let n = 0; n < 50; n += 1) opened.send(subscribe(`${n}`));
          opened.pause();
        });
      }),
  },
};
