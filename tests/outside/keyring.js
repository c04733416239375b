// A small provider with API keys, on node's own http server: a key opens one account with its charges, until it is withdrawn.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { endListening, hostOf, listening } from './listening.js';

/** What every account has, in pages of `limit`. */
export const CHARGES = [{ id: 1, amount: 1990 }, { id: 2, amount: 510 }];

const template = join(import.meta.dirname, 'connectors/key-ring.toml');

export async function startKeyRing() {
  const keyRing = new KeyRing();
  keyRing.server = await listening((request, response) => keyRing.answer(request, response));
  return keyRing;
}

class KeyRing {
  #accounts = new Map();

  /** Gives out a key for an account. */
  issue(key, account) {
    this.#accounts.set(key, account);
    return key;
  }

  /** From now on the key is refused with 401. */
  withdraw(key) {
    this.#accounts.delete(key);
  }

  answer(request, response) {
    const account = this.#accounts.get(request.headers['x-api-key']);
    const { pathname, searchParams } = new URL(request.url, 'http://key-ring');
    const things = { '/v1/account': { account }, '/v1/charges': chargesPage(searchParams) };
    if (!Object.hasOwn(things, pathname)) return json(response, 404, { error: 'no such thing' });
    if (!account) return json(response, 401, { error: 'unknown key' });
    return json(response, 200, things[pathname]);
  }

  /** The connector file that points here. */
  async connectorFile({ requirements = 'A key of the account.' } = {}) {
    const file = await readFile(template, 'utf8');
    return file.replaceAll('@ORIGIN@', `http://${this.host}`).replace('@REQUIREMENTS@', requirements);
  }

  get host() {
    return hostOf(this.server);
  }

  async close() {
    endListening(this.server);
  }
}

function chargesPage(parameters) {
  const first = CHARGES.findIndex(({ id }) => String(id) === parameters.get('starting_after')) + 1;
  const end = first + Number(parameters.get('limit') ?? CHARGES.length);
  return { data: CHARGES.slice(first, end), has_more: end < CHARGES.length };
}

function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
