// npm's oidc-provider, a certified authorization server, as the provider: PKCE demanded, refresh tokens rotated at every use
// (a token used twice ends the whole grant, RFC 9700 §4.14.2), `iss` in the answer (RFC 9207), revocation (RFC 7009).
// Whatever login name someone types is an account.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Provider from 'oidc-provider';

import { endListening, hostOf, listening } from './listening.js';

const A_DAY = 24 * 3_600;

const template = join(import.meta.dirname, 'connectors/oidc-provider.toml');

/** Starts it on a free port. Its one client may send people back to `redirectUris`. Access tokens live `accessTokenSeconds`, short so that renewals happen while a test looks. */
export async function startOidcProvider({ redirectUris, accessTokenSeconds = 5 }) {
  let answer = (_request, response) => response.writeHead(503).end();
  const server = await listening((request, response) => answer(request, response));
  const issuer = `http://${hostOf(server)}`;

  const client = { id: 'patchbay', secret: randomBytes(24).toString('base64url') };
  const unrotated = new Set();
  const provider = new Provider(issuer, configuration({ client, redirectUris, accessTokenSeconds, unrotated }));
  const oidc = new OidcProvider({ server, provider, issuer, client, unrotated });
  answer = provider.callback();
  return oidc;
}

class OidcProvider {
  /** Every call of the token and revocation endpoints: `{ route, grantType, status }`. */
  calls = [];
  /** While true, everything answers 503. */
  down = false;

  #grants = new Map();
  #answers = new EventEmitter();

  constructor({ server, provider, issuer, client, unrotated }) {
    /** Accounts whose refresh token stays the same at every use. */
    this.unrotated = unrotated;
    Object.assign(this, { server, provider, issuer, client });
    provider.on('grant.saved', ({ accountId, jti }) => this.#grantsOf(accountId).add(jti));
    provider.use((context, next) => this.#record(context, next));
  }

  /** The connector file that points here. */
  async connectorFile() {
    return (await readFile(template, 'utf8')).replaceAll('@ISSUER@', this.issuer);
  }

  /** What Patchbay's operator configures for that connector. */
  get environment() {
    return {
      PATCHBAY_OAUTH_OIDC_PROVIDER_CLIENT_ID: this.client.id,
      PATCHBAY_OAUTH_OIDC_PROVIDER_CLIENT_SECRET: this.client.secret,
    };
  }

  get host() {
    return new URL(this.issuer).host;
  }

  /** The account's owner takes back every grant: from now on its tokens are refused, at the token endpoint and at userinfo. */
  async revokeEverythingOf(accountId) {
    const grants = [...this.#grantsOf(accountId)];
    if (grants.length === 0) throw new Error(`${accountId} has granted nothing`);
    for (const grant of grants) {
      for (const tokens of [this.provider.AccessToken, this.provider.RefreshToken, this.provider.AuthorizationCode]) {
        await tokens.revokeByGrantId(grant);
      }
      await this.provider.Grant.adapter.destroy(grant);
    }
    this.#grantsOf(accountId).clear();
  }

  /** An access token ends before its time; what it was granted with goes on. */
  async endAccessToken(value) {
    const token = await this.provider.AccessToken.find(value);
    await token.destroy();
  }

  /** How often a grant type was asked for at the token endpoint, with this status. */
  tokenCalls(grantType, status = 200) {
    return this.calls.filter((call) => call.route === 'token' && call.grantType === grantType && call.status === status).length;
  }

  get revocations() {
    return this.calls.filter((call) => call.route === 'revocation' && call.status === 200).length;
  }

  /** Resolves at the instant the answer to the next refused renewal has left. */
  nextRefusedRenewal() {
    return once(this.#answers, 'refused renewal');
  }

  async close() {
    endListening(this.server);
  }

  #grantsOf(accountId) {
    if (!this.#grants.has(accountId)) this.#grants.set(accountId, new Set());
    return this.#grants.get(accountId);
  }

  async #record(context, next) {
    if (this.down) {
      this.calls.push({ route: 'down', status: 503 });
      context.status = 503;
      return;
    }
    await next();
    const route = context.oidc?.route;
    if (route !== 'token' && route !== 'revocation') return;
    const call = { route, grantType: context.oidc.params?.grant_type, status: context.status };
    this.calls.push(call);
    if (call.grantType === 'refresh_token' && call.status === 400) {
      context.res.once('finish', () => this.#answers.emit('refused renewal'));
    }
  }
}

/** Opens `url`, signs in as `login` and consents. Returns the page that the provider hands back to. */
export async function signIn(browser, url, login) {
  let page = await browser.open(url);
  while (isInteraction(page)) {
    page = await browser.submit(page, page.form.values.prompt === 'login' ? { login, password: 'any' } : {});
  }
  return page;
}

/** Opens `url`, signs in as `login`, and presses Cancel where consent is asked. */
export async function refuseConsent(browser, url, login) {
  let page = await browser.open(url);
  while (isInteraction(page)) {
    page = page.form.values.prompt === 'login'
      ? await browser.submit(page, { login, password: 'any' })
      : await browser.open(page.link(/cancel/i));
  }
  return page;
}

const isInteraction = (page) => page.url.pathname.startsWith('/interaction/') && page.form !== null;

function configuration({ client, redirectUris, accessTokenSeconds, unrotated }) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: redirectUris,
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      id_token_signed_response_alg: 'ES256',
    }],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
    cookies: { keys: [randomBytes(24).toString('base64url')] },
    claims: { openid: ['sub'], email: ['email'] },
    clockTolerance: 3, // seconds that a token outlives what it says: it ends, though not on its way from a busy machine
    findAccount: (_context, login) => ({
      accountId: login,
      claims: () => ({ sub: login, email: `${login}@example.com` }),
    }),
    features: {
      devInteractions: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_context, caller, token) => token.clientId === caller.clientId },
    },
    pkce: { required: () => true },
    rotateRefreshToken: ({ oidc }) => !unrotated.has(oidc.entities.RefreshToken.accountId),
    ttl: {
      AccessToken: accessTokenSeconds,
      AuthorizationCode: 60,
      Grant: A_DAY,
      IdToken: 60,
      Interaction: 600,
      RefreshToken: A_DAY,
      Session: A_DAY,
    },
  };
}
