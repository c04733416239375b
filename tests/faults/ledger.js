// The provider's books, which are the truth at the end: every grant, who ended it, and every use of every refresh token.
// Refresh tokens rotate. The token used last is answered once more with the same successor (its answer may have been lost);
// any other spent token ends the grant, as strict providers do.

import { createHash, randomBytes } from 'node:crypto';

/** In everything secret that the provider gives out, so that one search finds whatever leaks. */
export const SECRET_MARK = 'pbf5ecret';

const secret = (kind) => `${SECRET_MARK}-${kind}-${randomBytes(18).toString('base64url')}`;

const refused = (error) => ({ status: 400, body: { error } });

export const ACCOUNTS_PER_LOGIN = 3;

export class Ledger {
  grants = [];
  /** Accounts that their logins may not read at present. */
  withdrawn = new Set();
  /** Every API key by its text: `{ key, account, valid }`. */
  keys = new Map();

  #codes = new Map();
  #refreshTokens = new Map();
  #accessTokens = new Map();

  constructor({ accessTokenSeconds }) {
    this.client = { id: 'patchbay', secret: secret('client') };
    this.accessTokenSeconds = accessTokenSeconds;
  }

  /** A person signs in and consents. */
  issueCode({ login, challenge, redirectUri }) {
    const code = secret('code');
    this.#codes.set(code, { login, challenge, redirectUri, grant: null });
    return code;
  }

  /** Answers a call of the token endpoint; `use` becomes part of the books. */
  token(form, use) {
    if (form.get('grant_type') === 'authorization_code') return this.#exchange(form, use);
    if (form.get('grant_type') === 'refresh_token') return this.#renew(form.get('refresh_token'), use);
    return refused('unsupported_grant_type');
  }

  /** Whether this refresh token was used before. */
  wasUsed(token) {
    return (this.#refreshTokens.get(token)?.uses.length ?? 0) > 0;
  }

  /** The grant whose access token this is; null where it has ended. */
  grantOfAccess(token) {
    const access = this.#accessTokens.get(token);
    return access && access.grant.alive && access.expiresAt > Date.now() ? access.grant : null;
  }

  /** The grant that any token belongs to, whether it lives or not. */
  grantOf(token) {
    return (this.#refreshTokens.get(token) ?? this.#accessTokens.get(token))?.grant ?? null;
  }

  end(grant, endedBy) {
    if (!grant.alive) return;
    Object.assign(grant, { alive: false, endedBy, endedAt: Date.now() });
  }

  /** A grant is revoked by its client; as at large providers, that ends every grant this client has of the login. */
  takeBack(token, use) {
    const { login } = this.grantOf(token) ?? {};
    for (const grant of this.grants.filter((one) => one.alive && one.login === login)) {
      this.end(grant, 'given back');
      grant.givenBack = use;
    }
  }

  issueKey(account) {
    const key = secret('key');
    this.keys.set(key, { key, account, valid: true });
    return key;
  }

  accountsOf(login) {
    return Array.from({ length: ACCOUNTS_PER_LOGIN }, (_, index) => ({ id: `${login}-${index + 1}`, name: `Account ${index + 1} of ${login}` }));
  }

  /** Of each login the one that was used last. */
  get grantsInUse() {
    const newest = new Map();
    for (const grant of this.grants) if (!(newest.get(grant.login)?.lastUsedAt > grant.lastUsedAt)) newest.set(grant.login, grant);
    return [...newest.values()].filter(({ alive }) => alive);
  }

  /** How often refresh tokens were used, in all and again. */
  get renewals() {
    const uses = [...this.#refreshTokens.values()].map(({ uses }) => uses.length);
    return { sent: uses.reduce((sum, count) => sum + count, 0), again: uses.reduce((sum, count) => sum + Math.max(0, count - 1), 0) };
  }

  #exchange(form, use) {
    const code = this.#codes.get(form.get('code'));
    if (!code) return refused('invalid_grant');
    if (code.grant) {
      this.end(code.grant, 'spent code');
      return refused('invalid_grant');
    }
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (challenge !== code.challenge || form.get('redirect_uri') !== code.redirectUri) return refused('invalid_grant');
    const grant = { number: this.grants.length + 1, login: code.login, alive: true, endedBy: null, issuedAt: Date.now(), exchange: use, identities: [], giveBacks: [], lastUsedAt: null };
    code.grant = grant;
    this.grants.push(grant);
    return this.#issue(grant);
  }

  #renew(text, use) {
    const token = this.#refreshTokens.get(text);
    if (!token?.grant.alive) return refused('invalid_grant');
    const { grant } = token;
    token.uses.push(use);
    grant.lastUsedAt = Date.now();
    if (!token.successor) {
      const issued = this.#issue(grant);
      token.successor = issued.body.refresh_token;
      return issued;
    }
    const successorIsUnused = this.#refreshTokens.get(token.successor).uses.length === 0;
    if (successorIsUnused && token.uses.length === 2) return this.#issue(grant, token.successor);
    grant.spentToken = token;
    this.end(grant, 'spent token');
    return refused('invalid_grant');
  }

  #issue(grant, refreshToken = secret('refresh')) {
    if (!this.#refreshTokens.has(refreshToken)) this.#refreshTokens.set(refreshToken, { grant, uses: [], successor: null });
    const accessToken = secret('access');
    this.#accessTokens.set(accessToken, { grant, expiresAt: Date.now() + this.accessTokenSeconds * 1_000 + 2_000 });
    return {
      status: 200,
      body: { access_token: accessToken, refresh_token: refreshToken, token_type: 'Bearer', expires_in: this.accessTokenSeconds, scope: 'read' },
    };
  }
}
