// People who sign in at the customer's identity provider, and bring its tokens along.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ANOTHER_API, startIdentityProvider } from './identityprovider.js';
import { graphql, GraphQLErrors } from './people.js';
import { BareSocket } from './sockets.js';
import { emptyStage } from './stage.js';
import { eventually } from './waiting.js';

/** A server that believes an identity provider, as `stage.identityProvider`. */
async function stageWithIdentityProvider(t) {
  const identityProvider = await startIdentityProvider();
  t.after(() => identityProvider.close());
  const stage = await emptyStage(t, { allowedHosts: [identityProvider.host], env: identityProvider.environment });
  return Object.assign(stage, { identityProvider });
}

/** The id of the user whom the server takes the bearer for. */
async function whoIs(stage, token) {
  const { viewer } = await graphql(stage.patchbay.origin, token, '{ viewer { user { id } } }');
  return viewer.user.id;
}

async function isRefused(stage, token) {
  await assert.rejects(whoIs(stage, token), (error) => {
    assert.ok(error instanceof GraphQLErrors, error);
    assert.deepEqual(error.codes, ['UNAUTHENTICATED']);
    return true;
  });
}

test('an ID token and an access token of a sign-in are the user with that address, over HTTP and on a socket', async (t) => {
  const stage = await stageWithIdentityProvider(t);
  const { idToken, accessToken } = await stage.identityProvider.signIn('mia');
  assert.equal(await whoIs(stage, accessToken), stage.mia.id);
  assert.equal(await whoIs(stage, idToken), stage.mia.id);
  assert.equal(await whoIs(stage, stage.mia.token), stage.mia.id);

  const socket = await BareSocket.acknowledged({ origin: stage.patchbay.origin, token: accessToken });
  t.after(() => socket.end());
  socket.subscribe('1', '{ viewer { user { id } role } }');
  assert.deepEqual((await socket.next('next')).payload.data, { viewer: { user: { id: stage.mia.id }, role: 'MEMBER' } });

  const { auditLog } = await stage.ada.ask('{ auditLog(filter: { action: "user.bound" }) { nodes { user { id } details } } }');
  const details = { after: { issuer: stage.identityProvider.issuer, subject: 'mia' } };
  assert.deepEqual(auditLog.nodes, [{ user: { id: stage.mia.id }, details }]);
});

test('a token for another API, or of somebody unknown here, is refused', async (t) => {
  const stage = await stageWithIdentityProvider(t);
  await isRefused(stage, (await stage.identityProvider.signIn('mia', ANOTHER_API)).accessToken);
  await isRefused(stage, (await stage.identityProvider.signIn('nobody')).accessToken);
});

test('the provider changes its key, and the server goes on', async (t) => {
  const stage = await stageWithIdentityProvider(t);
  const before = await stage.identityProvider.signIn('sam');
  assert.equal(await whoIs(stage, before.accessToken), stage.sam.id);

  stage.identityProvider.rotateKey();
  const after = await stage.identityProvider.signIn('sam');
  await eventually('the new key is known', async () => (await whoIs(stage, after.accessToken)) === stage.sam.id);
  await isRefused(stage, before.accessToken);
});
