// Abuse by whole requests: what is asked is too much, comes too often, or is made up.

import { randomBytes, randomUUID } from 'node:crypto';
import { request } from 'node:http';

/** Sends it, and says which status, and which code, came back. */
function send({ port, address, came }, { path = '/graphql', method = 'POST', headers = {}, body = '', leavesAfter }) {
  return new Promise((resolve) => {
    const sent = request({ host: '127.0.0.1', port, localAddress: address, path, method, headers: { 'content-type': 'application/json', ...headers } });
    const over = (what) => {
      came(what);
      sent.destroy();
      resolve();
    };
    sent.on('error', (error) => over(error.code ?? 'broken off'));
    sent.setTimeout(30_000, () => over('no answer for 30 s'));
    sent.on('response', (response) => {
      let text = '';
      response.on('data', (part) => (text = (text + part).slice(0, 2_000)));
      response.on('end', () => over(`${response.statusCode} ${/"code":"(\w+)"/.exec(text)?.[1] ?? ''}`.trim()));
      response.on('error', () => over('broken off'));
    });
    sent.end(body);
    if (leavesAfter !== undefined) setTimeout(() => over('left'), leavesAfter);
  });
}

const asks = (query, variables) => JSON.stringify({ query, variables });
const bearer = (token) => ({ authorization: `Bearer ${token}` });

const deep = `{ viewer { ${'workspace { users(first: 100) { nodes { '.repeat(6)} id ${'} } } '.repeat(6)} } }`;
const wide = `{ ${Array.from({ length: 90 }, (_, n) => `a${n}: connections(first: 100) { nodes { id name client { id name } } }`).join(' ')} }`;
const doubling = `${Array.from({ length: 30 }, (_, n) => `fragment F${n} on Query { ...F${n + 1} ...F${n + 1} }`).join(' ')} fragment F30 on Query { __typename } { ...F0 }`;
const circles = `{ __schema { types { ${'fields { type { '.repeat(7)} name ${'} } '.repeat(7)} } } }`;
const interfaces = `{ __type(name: "Node") { ${'possibleTypes { interfaces { '.repeat(8)} name ${'} } '.repeat(8)} } }`;
const directives = `{ eventCursor ${'@skip(if: false) '.repeat(2_000)} }`;

export const requests = {
  'documents that ask for too much': {
    perSecond: 20,
    once: (by) => send(by, { headers: bearer(by.member), body: asks(by.random.pick([deep, wide, doubling, directives, '{'.repeat(50_000)])) }),
  },
  'heavy documents that pass': {
    perSecond: 4,
    once: (by) => send(by, { headers: bearer(by.member), body: asks('{ connections(first: 100) { nodes { id name client { id name connections(first: 50) { nodes { id } } } } } }') }),
  },
  'introspection in circles': { perSecond: 20, once: (by) => send(by, { body: asks(by.random.pick([circles, interfaces])) }) },
  'introspection by GET': { perSecond: 20, once: (by) => send(by, { method: 'GET', path: `/graphql?query=${encodeURIComponent(interfaces)}` }) },
  'the usual introspection': { perSecond: 3, once: (by) => send(by, { body: asks('{ __schema { types { name fields { name args { name type { name } } type { name ofType { name } } } } } }') }) },
  batches: { perSecond: 10, once: (by) => send(by, { headers: bearer(by.client), body: `[${Array(by.random.pick([10, 500])).fill(asks(wide)).join(',')}]` }) },
  'rows by many names': {
    perSecond: 5,
    once: (by) => send(by, { headers: bearer(by.client), body: asks(`{ ${Array.from({ length: 90 }, (_, n) => `a${n}: dataset(id: "${by.dataset}") { rows(first: 100) { nodes } }`).join(' ')} }`) }),
  },
  'a flood without a token': { perSecond: 150, once: (by) => send({ ...by, address: '127.0.9.9' }, { body: asks('{ __typename }') }) },
  "a flood with a CLIENT's token": { perSecond: 150, once: (by) => send(by, { headers: bearer(by.client), body: asks('{ connections(first: 50) { totalCount nodes { id } } }') }) },
  "a flood with a MEMBER's token": { perSecond: 150, once: (by) => send(by, { headers: bearer(by.member), body: asks('{ connections(filter: { search: "e" }, first: 50) { totalCount nodes { id } } }') }) },
  'forged tokens': { perSecond: 40, once: (by) => send(by, { headers: bearer(`${by.member.slice(0, -8)}${randomBytes(6).toString('base64url')}`), body: asks('{ eventCursor }') }) },
  'forged ids and cursors': {
    perSecond: 30,
    once: (by) => send(by, { headers: bearer(by.member), body: asks('query ($id: ID!, $after: String) { node(id: $id) { id } connections(after: $after) { nodes { id } } }', { id: randomBytes(20).toString('base64url'), after: randomBytes(30).toString('base64url') }) }),
  },
  'mutations that are not allowed': { perSecond: 20, once: (by) => send(by, { headers: bearer(by.client), body: asks('mutation ($input: CreateClientInput!) { createClient(input: $input) { client { id } } }', { input: { name: 'x' } }) }) },
  'masses of keys': {
    perSecond: 20,
    once: (by) => send(by, { headers: { ...bearer(by.member), 'idempotency-key': randomUUID() }, body: asks('mutation ($input: UpdateNotificationPreferencesInput!) { updateNotificationPreferences(input: $input) { errors { code } } }', { input: { reminderEmails: true } }) }),
  },
  'guesses at links': { perSecond: 30, once: (by) => send(by, { method: 'GET', path: `/${by.random.pick(['reconnect', 'connect'])}/${randomBytes(24).toString('base64url')}` }) },
  'made-up callbacks': { perSecond: 20, once: (by) => send(by, { method: 'GET', path: `/oauth/callback/google-ads?code=${randomBytes(9).toString('hex')}&state=${randomBytes(24).toString('base64url')}` }) },
  'large bodies': { perSecond: 2, once: (by) => send(by, { body: 'x'.repeat(by.random.pick([1 << 20, 5 << 20])) }) },
  'bodies of nonsense': { perSecond: 20, once: (by) => send(by, { headers: bearer(by.client), body: randomBytes(2_000) }) },
  'requests that are broken off': {
    perSecond: 40,
    once: (by) => send(by, { headers: bearer(by.member), body: asks('{ connections(first: 100) { nodes { id client { id name } } } }'), leavesAfter: by.random.int(0, 20) }),
  },
};
