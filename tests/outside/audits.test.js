// graphql-http's audits of GraphQL over HTTP: every one has to pass, the recommendations too.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAudits } from 'graphql-http';

import { bearer } from './sockets.js';
import { emptyStage } from './stage.js';

test('all 61 audits of GraphQL over HTTP pass', async (t) => {
  const { patchbay, ada } = await emptyStage(t);
  const audits = serverAudits({
    url: `${patchbay.origin}/graphql`,
    fetchFn: (url, request) => fetch(url, { ...request, headers: { ...request?.headers, ...bearer(ada.token) } }),
  });
  assert.equal(audits.length, 61);
  for (const audit of audits) {
    await t.test(`${audit.id}: ${audit.name}`, async () => {
      const { status, reason } = await audit.fn();
      assert.equal(status, 'ok', reason);
    });
  }
});
