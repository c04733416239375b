// A browser as far as a sign-in needs one: cookies by host and path, redirects followed by hand, forms that can be submitted.
// As in a real one, cookies know no ports: what listens on 127.0.0.1 shares a jar, told apart by path and name only.

const MAX_REDIRECTS = 20;

/** Where the browser ended up. `status` is null where the next step would have left this machine. */
export class Page {
  constructor({ url, status, body = '', trail }) {
    Object.assign(this, { url, status, body, trail });
  }

  /** The page's form: where it goes, and the values it holds already. */
  get form() {
    const form = /<form\b([^>]*)>(.*?)<\/form>/is.exec(this.body);
    if (!form) return null;
    const values = {};
    for (const [, attributes] of form[2].matchAll(/<input\b([^>]*)>/gi)) {
      const name = attribute(attributes, 'name');
      if (name) values[name] = attribute(attributes, 'value') ?? '';
    }
    return { action: new URL(attribute(form[1], 'action') ?? '', this.url), values };
  }

  /** The target of the link whose text matches. */
  link(text) {
    for (const [, attributes, label] of this.body.matchAll(/<a\b([^>]*)>(.*?)<\/a>/gis)) {
      if (text.test(label)) return new URL(attribute(attributes, 'href'), this.url);
    }
    throw new Error(`no link ${text} on ${this.url}`);
  }
}

export class Browser {
  #cookies;
  #via;
  #signal;

  /**
   * @param {object} [options]
   * @param {(url: URL) => URL | Promise<URL>} [options.via] who answers for an address, where a load balancer stands between
   * @param {AbortSignal} [options.signal] closes the window, whatever it waits for
   * @param {CookieJar} [options.jar] one that another window has as well
   */
  constructor({ via = (url) => url, signal, jar = new CookieJar() } = {}) {
    this.#cookies = jar;
    this.#via = via;
    this.#signal = signal;
  }

  open(url) {
    return this.#go(new URL(url), { method: 'GET' });
  }

  /** Submits the page's form with these values over those it holds. */
  submit(page, values = {}) {
    const { action, values: held } = page.form;
    return this.#go(action, { method: 'POST', body: new URLSearchParams({ ...held, ...values }) });
  }

  async #go(url, request) {
    const trail = [];
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
      if (url.hostname !== '127.0.0.1') return new Page({ url, status: null, trail });
      const response = await fetch(await this.#via(url), {
        ...request,
        redirect: 'manual',
        headers: { accept: 'text/html', cookie: this.#cookies.for(url) },
        signal: AbortSignal.any([AbortSignal.timeout(20_000), this.#signal].filter(Boolean)),
      });
      this.#cookies.keep(url, response.headers.getSetCookie());
      trail.push({ url: url.href, status: response.status });
      const location = response.headers.get('location');
      const body = await response.text();
      if (response.status < 300 || response.status > 399 || !location) {
        return new Page({ url, status: response.status, body, trail });
      }
      url = new URL(location, url);
      request = { method: 'GET' };
    }
    throw new Error(`redirected without end: ${trail.map((step) => step.url).join(' → ')}`);
  }
}

export class CookieJar {
  #cookies = new Map();

  keep(url, lines) {
    for (const line of lines) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim());
      const [name, value] = split(pair);
      const set = Object.fromEntries(attributes.map(split).map(([key, text]) => [key.toLowerCase(), text]));
      const path = set.path?.startsWith('/') ? set.path : defaultPath(url);
      const key = `${url.hostname} ${path} ${name}`;
      const expired = set['max-age'] !== undefined ? Number(set['max-age']) <= 0 : Date.parse(set.expires) <= Date.now();
      if (expired) this.#cookies.delete(key);
      else this.#cookies.set(key, { host: url.hostname, path, name, value, secure: 'secure' in set });
    }
  }

  for(url) {
    return [...this.#cookies.values()]
      .filter(({ host, path, secure }) => host === url.hostname && pathMatches(url.pathname, path) && !secure)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
  }
}

/** RFC 6265 §5.1.4. */
const pathMatches = (path, cookiePath) =>
  path === cookiePath || (path.startsWith(cookiePath) && (cookiePath.endsWith('/') || path[cookiePath.length] === '/'));
const defaultPath = (url) => url.pathname.slice(0, Math.max(1, url.pathname.lastIndexOf('/')));

function split(pair) {
  const at = pair.indexOf('=');
  return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
}

function attribute(attributes, name) {
  const found = new RegExp(`\\b${name}\\s*=\\s*"([^"]*)"`, 'i').exec(attributes);
  return found ? unescape(found[1]) : undefined;
}

const unescape = (text) =>
  text.replace(/&quot;/g, '"').replace(/&#39;/g, "'").replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&');
