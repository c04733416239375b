// An API of shops and their orders, a resource server behind npm's oidc-provider: whether a token opens it, it asks there. The same
// orders can be paged through in three ways, and anything goes wrong that a test wants to.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Elsewhere, Failures } from './faults.js';
import { endListening, hostOf, listening } from './listening.js';

const template = join(import.meta.dirname, 'connectors/orders.toml');

const PER_PAGE = 50;
const MIB = 1 << 20;

/** The ways to page: what the connector's file says of each. */
export const pagings = {
  /** By a Link header (RFC 8288). */
  link: 'link = true',
  /** By what stands in the body. */
  cursor: 'token = "/paging/next"\nquery = "after"',
  /** By the page's number. */
  number: `number = "pages"\nquery = "page"\nfirst = 1\nsize = ${PER_PAGE}`,
};

/** Numbers that are no floats, written in every way that JSON has. */
const TOTALS = ['0.1', '0.2', '12345678901234567890.123456789', '-0.05', '9007199254740993', '2.5e2', '100', '0.30'];

/**
 * Orders as they stand in the answer, digit by digit: `text` is what the API writes, and `total`, `price` and `refund` the
 * decimals in it; a `refund` only every tenth order has.
 */
export function orders(count = 250, { raise = '' } = {}) {
  return {
    count,
    perPage: PER_PAGE,
    order(index) {
      const number = index + 1;
      const total = `${TOTALS[index % TOTALS.length]}`;
      const price = `${raise}${19 + (index % 7)}.${String((index * 37) % 100).padStart(2, '0')}`;
      const refund = number % 10 === 0 ? `${number}.5` : undefined;
      const refunded = refund === undefined ? '' : `, "refund": ${refund}`;
      return { number, total, price, refund, text: `{"number": ${number}, "total": ${total}, "price": "${price}"${refunded}}` };
    },
  };
}

/** Every order of a list, in its order. */
export const all = (list) => Array.from({ length: list.count }, (_, index) => list.order(index));

/** Every page leads to another. */
export const endless = { count: Infinity, perPage: 1, order: (index) => ({ text: `{"number": ${index + 1}}` }) };

/** More rows than a dataset may have. */
export const tooManyOrders = { ...endless, count: 110_000, perPage: 10_000 };

/** More bytes than a dataset may have, in pages that no limit of a single answer minds. */
export const tooLargeOrders = {
  count: 40,
  perPage: 1,
  order: (index) => ({ text: `{"number": ${index + 1}, "note": "${'x'.repeat(MIB)}"}` }),
};

export async function startOrdersApi(oidc) {
  const api = new OrdersApi(oidc);
  api.server = await listening((request, response) => api.hear(request, response).catch(() => response.destroy()));
  api.elsewhere.server = await listening((request, response) => api.elsewhere.hear(request, response));
  return api;
}

/** Calls are `{ at, route, paging, shop, page, token, status, ended }`, `route` one of shops, shop and orders. */
class OrdersApi extends Failures {
  shops = [{ id: 'shop-1', name: 'First shop' }, { id: 'shop-2', name: 'Second shop' }];

  /** Where a call may be sent that has no business there. */
  elsewhere = new Elsewhere();

  #oidc;
  #lists = new Map(this.shops.map(({ id }) => [id, orders()]));
  #closed = new Set();

  constructor(oidc) {
    super();
    this.#oidc = oidc;
  }

  /** From now on this is the shop's list of orders. */
  list(shop, list) {
    this.#lists.set(shop, list);
  }

  /** From now on nobody may read the shop: 403. */
  closeShop(shop) {
    this.#closed.add(shop);
  }

  openShop(shop) {
    this.#closed.delete(shop);
  }

  /** The access token that was shown last ends before its time. */
  endAccessToken() {
    return this.#oidc.endAccessToken(this.calls.at(-1).token);
  }

  /** The connector files, one for each way to page. */
  async connectorFiles() {
    const text = (await readFile(template, 'utf8')).replaceAll('@ISSUER@', this.#oidc.issuer).replaceAll('@ORIGIN@', this.origin);
    return Object.fromEntries(Object.entries(pagings).map(([paging, pagination]) => [
      `orders-${paging}.toml`,
      text.replaceAll('@PAGING@', paging).replaceAll('@PAGINATION@', pagination),
    ]));
  }

  /** What Patchbay's operator configures for them. */
  get environment() {
    const { id, secret } = this.#oidc.client;
    return Object.fromEntries(Object.keys(pagings).flatMap((paging) => {
      const prefix = `PATCHBAY_OAUTH_ORDERS_${paging.toUpperCase()}`;
      return [[`${prefix}_CLIENT_ID`, id], [`${prefix}_CLIENT_SECRET`, secret]];
    }));
  }

  get origin() {
    return `http://${hostOf(this.server)}`;
  }

  /** What Patchbay has to be allowed to call. */
  get hosts() {
    return [hostOf(this.server), hostOf(this.elsewhere.server)];
  }

  async hear(request, response) {
    const call = new Call(request);
    this.calls.push(call);
    const answer = ({ status, headers = {}, body = '' }) => {
      if (response.destroyed) return;
      call.status = status;
      response.writeHead(status, headers).end(body);
    };
    response.once('close', () => (call.ended = response.writableFinished ? 'answered' : 'broken off'));
    await this.meet({ call, response, answer, ask: () => this.#answer(call), elsewhere: this.elsewhere });
  }

  async close() {
    endListening(this.server, this.elsewhere.server);
  }

  async #answer(call) {
    if (!(await this.#opens(call.token))) return json(401, '{"error": "invalid_token"}', { 'www-authenticate': 'Bearer error="invalid_token"' });
    if (call.route === 'shops') return json(200, JSON.stringify({ shops: this.shops }));
    const shop = this.shops.find(({ id }) => id === call.shop);
    if (!shop || !call.route) return json(404, '{"error": "not_found"}');
    if (this.#closed.has(shop.id)) return json(403, '{"error": "forbidden"}');
    return call.route === 'shop' ? json(200, JSON.stringify(shop)) : this.#page(call);
  }

  async #opens(token) {
    const { status } = await fetch(`${this.#oidc.issuer}/me`, { headers: { authorization: `Bearer ${token}` } });
    if (status !== 200 && status !== 401) throw new Error(`oidc-provider says ${status}`);
    return status === 200;
  }

  #page({ paging, shop, page }) {
    const { count, perPage, order } = this.#lists.get(shop);
    const first = (page - 1) * perPage;
    const size = Math.max(0, Math.min(perPage, count - first));
    const texts = Array.from({ length: size }, (_, index) => order(first + index).text);
    const next = first + size < count ? page + 1 : null;
    const headers = {};
    if (paging === 'link') {
      const link = (number, rel) => `<${this.origin}/link/shops/${shop}/orders?page=${number}>; rel="${rel}"`;
      headers.link = [link(1, 'first'), ...(next ? [link(next, 'next')] : [])].join(', ');
    }
    const pagingInBody = paging === 'cursor' ? `, "paging": {"next": ${next ? `"${cursorOf(next)}"` : null}}` : '';
    return json(200, `{"orders": [${texts.join(', ')}]${pagingInBody}}`, headers);
  }
}

class Call {
  at = Date.now();
  /** What Patchbay was answered; null where nothing was. */
  status = null;
  /** 'answered' or 'broken off', once it is. */
  ended = null;
  /** Bytes that a huge answer got rid of. */
  bytesTaken = 0;

  constructor({ url, headers }) {
    const { pathname, searchParams } = new URL(url, 'http://api');
    const found = /^\/(?:(?<paging>link|cursor|number)\/)?shops(?:\/(?<shop>[^/]+)(?<orders>\/orders)?)?$/.exec(pathname)?.groups;
    if (found) {
      this.route = found.orders ? 'orders' : found.shop ? 'shop' : 'shops';
      this.paging = found.paging;
      this.shop = found.shop;
    }
    this.page = searchParams.has('after') ? pageOf(searchParams.get('after')) : Number(searchParams.get('page') ?? 1);
    this.parameters = Object.fromEntries(searchParams);
    this.token = headers.authorization?.replace(/^Bearer /i, '');
  }
}

// Opaque, and full of what has to be escaped in a URL.
const cursorOf = (page) => `+/&=page ${page}`;
const pageOf = (cursor) => Number(cursor.split(' ').at(-1));

const json = (status, body, headers = {}) => ({ status, headers: { 'content-type': 'application/json', ...headers }, body });
