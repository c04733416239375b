// How people's programs ask: each request goes to a node that a load balancer might choose, and a mutation is sent again
// under its key until it is answered.

import { randomUUID } from 'node:crypto';

import { pause } from '../outside/waiting.js';
import { SECRET_MARK } from './ledger.js';

/** Longer than any deadline of the server's, with a margin for a busy machine. */
export const PATIENCE_MS = 60_000;

/** How long a mutation is sent again before it counts as stuck. */
const UNANSWERED_MS = 240_000;

/** How long people wait before they send again. */
const RETRY_MS = [150, 900];

const PASSING = new Set(['UNAVAILABLE', 'RATE_LIMITED']);

export class Requests {
  /** How often each mutation's key was sent, and how it ended: what `checks` looks at. */
  sent = [];

  constructor({ nodes, random, report, disturbances }) {
    Object.assign(this, { nodes, random, report, disturbances });
  }

  /** A query or mutation, once: `{ data, codes, messages, replayed }`; throws where no answer came. */
  async once(person, query, variables = {}, { key, node = this.random.pick(this.nodes), name = operationOf(query) } = {}) {
    const from = Date.now();
    try {
      const response = await fetch(`${node.origin}/graphql`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/graphql-response+json',
          authorization: `Bearer ${person.token}`,
          ...(key ? { 'idempotency-key': key } : {}),
        },
        body: JSON.stringify({ query, variables }),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const text = await response.text();
      if (text.includes(SECRET_MARK)) this.report.problem('a secret in an answer', `${name}: ${text.slice(0, 300)}`);
      const answer = parsed(text) ?? { errors: [{ message: `${response.status} without JSON`, extensions: { code: 'UNAVAILABLE' } }] };
      const errors = answer.errors ?? [];
      const codes = errors.map((error) => error.extensions?.code);
      if (codes.includes('INTERNAL')) {
        this.report.problem('INTERNAL told to a client', `${name} at node ${node.name}: ${JSON.stringify(errors).slice(0, 300)}\n${logOf(node, errors)}`);
      }
      return { data: answer.data, codes, messages: errors.map(({ message }) => message), replayed: response.headers.get('idempotency-replayed') === 'true' };
    } catch (error) {
      if (error.name === 'TimeoutError' && this.disturbances.stoodStill(node.name, from, Date.now()) === 0) {
        this.report.problem(`a request without an answer for ${PATIENCE_MS / 1_000} s`, `${name} at node ${node.name}, sent ${new Date(from).toISOString()}`);
      }
      throw error;
    } finally {
      const now = Date.now();
      this.report.took(name, now - from - this.disturbances.stoodStill(node.name, from, now));
    }
  }

  /** A query, until some node answers it. */
  async read(person, query, variables) {
    const deadline = Date.now() + UNANSWERED_MS;
    for (;;) {
      const answer = await this.once(person, query, variables).catch((error) => ({ codes: ['UNAVAILABLE'], messages: [String(error)] }));
      if (answer.codes.length === 0) return answer.data;
      if (Date.now() > deadline || !answer.codes.every((code) => PASSING.has(code) || code === 'INTERNAL')) {
        throw new Error(`${operationOf(query)}: ${answer.codes} ${answer.messages}`);
      }
      await this.#rest();
    }
  }

  /**
   * A mutation under a key of its own, sent until it is answered. Returns its payload, or null where it was refused as a whole.
   * `effect` says what `checks` is to find of it.
   */
  async mutate(person, mutation, input, selection = '', { effect, twice = this.random.chance(0.1) } = {}) {
    const type = `${mutation[0].toUpperCase()}${mutation.slice(1)}Input`;
    const query = `mutation ${mutation}($input: ${type}!) { payload: ${mutation}(input: $input) { ${selection} errors { code message } } }`;
    const sending = { mutation, key: randomUUID(), effect, person, input, unanswered: [], payload: null, begun: Date.now() };
    this.sent.push(sending);
    this.report.count('mutations');
    const [payload] = await Promise.all([
      this.#untilAnswered(sending, query),
      // The same request from a second window, at the same time.
      twice && this.#send(sending, query).catch(() => {}),
    ]);
    sending.payload = payload;
    if (payload && this.random.chance(0.05)) await this.#askAgain(sending, query);
    return payload;
  }

  async #untilAnswered(sending, query) {
    for (;;) {
      const answer = await this.#send(sending, query);
      if (answer && answer.codes.length === 0) {
        const { payload } = answer.data;
        if (!payload.errors.some(({ code }) => code === 'PROVIDER_UNAVAILABLE')) return payload;
        if (answer.replayed) {
          this.report.problem('PROVIDER_UNAVAILABLE kept under a key', sending.mutation);
          return payload;
        }
        // Nothing was changed, and it is told that it may be tried again.
        if (Date.now() - sending.begun > PATIENCE_MS) return payload;
      } else if (answer && !answer.codes.every((code) => PASSING.has(code))) {
        if (answer.codes.includes('INTERNAL') && answer.replayed) this.report.problem('INTERNAL kept under a key', sending.mutation);
        sending.refused = answer.codes;
        return null;
      }
      if (Date.now() - sending.begun > UNANSWERED_MS) {
        this.report.problem('a mutation that is never answered', `${sending.mutation}: ${answer ? `${answer.codes} ${answer.messages}` : 'no answer'}`);
        return null;
      }
      await this.#rest();
    }
  }

  async #send(sending, query) {
    const node = this.random.pick(this.nodes);
    const from = Date.now();
    const answer = await this.once(sending.person, query, { input: sending.input }, { key: sending.key, node, name: sending.mutation }).catch(() => null);
    const isFinal = answer && answer.codes.length === 0;
    if (!isFinal) sending.unanswered.push({ node: node.name, from, to: Date.now(), codes: answer?.codes ?? null });
    return answer;
  }

  /** What was answered is answered alike. */
  async #askAgain(sending, query) {
    const again = await this.#send(sending, query);
    if (again?.codes.length === 0 && !again.replayed) {
      this.report.problem('an answered mutation was worked on again', `${sending.mutation}, key ${sending.key}`);
    }
  }

  #rest() {
    return pause(this.random.int(...RETRY_MS));
  }
}

const operationOf = (query) => /^\s*(?:query|mutation)\s+(\w+)/.exec(query)?.[1] ?? 'query';

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What the node logged about a request that failed. */
function logOf(node, errors) {
  const id = errors.find((error) => error.extensions?.requestId)?.extensions.requestId;
  if (!id) return '';
  return node.log.split('\n').filter((line) => line.includes(id)).slice(-3).map((line) => `        ${line.slice(0, 400)}`).join('\n');
}
