// The HTTP servers of these tests, on node's own http server: each on 127.0.0.1, on a port that was free.

import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * Starts a server that `answer` answers for. It never hangs up on a client that is idle: where it did, a call that was
 * on its way at that moment would be lost, and what may not be sent twice (a code, a refresh token) would fail with it.
 */
export async function listening(answer) {
  const server = createServer({ keepAliveTimeout: 0 }, answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** As an address and PATCHBAY_ALLOWED_HOSTS name it. */
export const hostOf = (server) => `127.0.0.1:${server.address().port}`;

/** Ends servers, and with them what is still going on. */
export function endListening(...servers) {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
}
