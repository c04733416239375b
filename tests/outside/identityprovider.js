// npm's oidc-provider as the identity provider of the customer: people sign in to a front end there, and what it signs for them
// (ID tokens, and access tokens as JWTs, RFC 9068, for the API that is named by a resource indicator, RFC 8707) are bearers.
// Whatever login name someone types is an account, with the verified address `login@agency.example`.

import { createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import Provider from 'oidc-provider';

import { Browser } from './browser.js';
import { endListening, hostOf, listening } from './listening.js';
import { signIn } from './oidc.js';

const REDIRECT_URI = 'https://app.example/signed-in';

/** The API that this server is, and another, as resource indicators. */
export const PATCHBAY = 'https://patchbay.example/api';
export const ANOTHER_API = 'https://another.example/api';

/** Starts it on a free port, with a key of its own. */
export async function startIdentityProvider() {
  let answer = (_request, response) => response.writeHead(503).end();
  const server = await listening((request, response) => answer(request, response));
  const issuer = `http://${hostOf(server)}`;
  const identityProvider = new IdentityProvider(server, issuer, (callback) => (answer = callback));
  identityProvider.rotateKey();
  return identityProvider;
}

class IdentityProvider {
  client = { id: 'front-end', secret: randomBytes(24).toString('base64url') };

  #answerWith;

  constructor(server, issuer, answerWith) {
    Object.assign(this, { server, issuer });
    this.#answerWith = answerWith;
  }

  get host() {
    return new URL(this.issuer).host;
  }

  /** What Patchbay's operator configures: ID tokens of the front end are good, and access tokens for this API. */
  get environment() {
    return {
      PATCHBAY_JWT_JWKS_URL: `${this.issuer}/jwks`,
      PATCHBAY_JWT_ISSUER: this.issuer,
      PATCHBAY_JWT_AUDIENCE: `${PATCHBAY},${this.client.id}`,
    };
  }

  /** From now on everything is signed with a new key, and the old one is gone from the document. */
  rotateKey() {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'ES256' };
    this.#answerWith(new Provider(this.issuer, configuration(this.client, key)).callback());
  }

  /** Signs in as `login`, in a browser of their own. Returns the ID token, and the access token for `resource`. */
  async signIn(login, resource = PATCHBAY) {
    const verifier = randomBytes(32).toString('base64url');
    const page = await signIn(new Browser(), this.#authorizationUrl(verifier, resource), login);
    const code = page.url.searchParams.get('code');
    if (!code) throw new Error(`no code: ${page.url} ${page.body}`);
    const response = await fetch(`${this.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${this.client.id}:${this.client.secret}`)}` },
      body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI, code_verifier: verifier, resource }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`no tokens: ${JSON.stringify(answer)}`);
    return { idToken: answer.id_token, accessToken: answer.access_token };
  }

  close() {
    endListening(this.server);
  }

  #authorizationUrl(verifier, resource) {
    const url = new URL('/auth', this.issuer);
    url.search = new URLSearchParams({
      client_id: this.client.id,
      response_type: 'code',
      redirect_uri: REDIRECT_URI,
      scope: 'openid email use',
      resource,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    return url;
  }
}

const address = (login) => ({ email: `${login}@agency.example`, email_verified: true });

function configuration(client, key) {
  return {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      id_token_signed_response_alg: 'ES256',
    }],
    jwks: { keys: [key] },
    cookies: { keys: [randomBytes(24).toString('base64url')] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false, // what the scopes ask for is in the ID token, not at userinfo alone
    extraTokenClaims: (_context, token) => address(token.accountId),
    findAccount: (_context, login) => ({ accountId: login, claims: () => ({ sub: login, ...address(login) }) }),
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: 'use',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    pkce: { required: () => true },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 3_600, IdToken: 600, Interaction: 600, Session: 3_600 },
  };
}
