// What has to hold once the faults are over. Each check compares what the server says with what somebody else knows: the
// followers, the provider's ledger, the people's own notes, the database. What the faults of this run explain is counted apart.

import { isDeepStrictEqual } from 'node:util';

import { eventually } from '../outside/waiting.js';
import { databaseFailed, killed } from './disturbances.js';
import { SECRET_MARK } from './ledger.js';
import { connector } from './provider.js';
import { markOf } from './workers.js';

const MIB = 1 << 20;

/** How long all may take to come to rest. */
const SETTLES_MS = 90_000;

/** What is due longer than this is stuck. */
const OVERDUE_MS = 30_000;

/** Between the provider's answer and the moment when the database has it, on a busy machine. */
const STORING_MS = 15_000;

function groupBy(list, keyOf) {
  const groups = new Map();
  for (const item of list) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

/** What is noticed at once may seem to come before its cause. */
const CLOCKS_APART_MS = 1_000;

const quietly = (within, look) => eventually('it is so', look, { within, every: 1_000 }).then(() => true, () => false);

/** No event is lost: every copy is what the list says, and every follower heard what the journal replays, in its order. */
export async function checkEvents({ followers, poller, report }) {
  for (const follower of followers) {
    let difference = null;
    await quietly(SETTLES_MS, async () => (difference = await differenceOf(follower)) === null);
    if (difference) report.problem('a copy kept by events is not what the list says', `${follower.name}: ${difference}`);
    if (follower.replay) compareWithReplay(follower, await follower.replay(), report);
    report.count('windows cut off and back', follower.resumed + Math.max(0, follower.window.sockets.length - 1));
  }
  const [everything] = followers;
  compareWithReplay(poller, await everything.replay(poller.first), report);
}

async function differenceOf(follower) {
  const essence = follower.essence ?? ((item) => item);
  const { items } = await follower.list();
  for (const id of new Set([...items.keys(), ...follower.items.keys()])) {
    const [listed, kept] = [items, follower.items].map((all) => (all.has(id) ? essence(all.get(id)) : null));
    if (!isDeepStrictEqual(listed, kept)) return `${id}: listed ${JSON.stringify(listed)}, kept ${JSON.stringify(kept)}`;
  }
  return null;
}

function compareWithReplay({ name, heard }, replayed, report) {
  report.count('events compared with the journal', replayed.length);
  const wrong = replayed.findIndex((event, index) => !isDeepStrictEqual(event, heard[index]));
  if (wrong < 0 && heard.length === replayed.length) return;
  const at = wrong < 0 ? replayed.length : wrong;
  const next = JSON.stringify({ replayed: replayed.slice(at, at + 2), heard: heard.slice(at, at + 2) });
  report.problem('events heard are not those of the journal', `${name}: ${heard.length} heard, ${replayed.length} replayed, other from ${at} on: ${next}`);
}

/** No grant is lost, and none is left alive that belongs to nothing. `since` is when the quiet began: what is owned was used after it. */
export async function checkGrants({ provider, people, requests, database, disturbances, workers, report, since }) {
  const { ledger } = provider;
  const authorizations = await everyAuthorization(requests, people.ada);
  const inUse = (grant) => grant.alive && grant.lastUsedAt > since;
  const authorized = new Set(authorizations.map(({ account }) => account.accountId));
  const byLogin = groupBy(ledger.grants, ({ login }) => login);
  const dueBack = new Set((await database.rows('SELECT account_id FROM give_back')).map((row) => row.account_id));
  const underWay = await database.rows("SELECT id FROM attempt WHERE status = 'EXCHANGING' AND ended_at IS NULL");

  for (const authorization of authorizations.filter((one) => one.connector.slug === connector.byBrowser)) {
    const { accountId: login } = authorization.account;
    const grants = byLogin.get(login) ?? [];
    const living = grants.filter(inUse);
    const what = `${login}, authorization ${authorization.id}, ${authorization.status} ${authorization.disconnection?.reason ?? ''}: ${grants.map(told).join('; ')}`;
    if (authorization.status !== 'DISCONNECTED') {
      if (living.length !== 1) report.problem('CONNECTED without a grant that works', what);
      continue;
    }
    if (living.length > 0) report.problem('DISCONNECTED beside a grant that works', what);
  }

  for (const grant of ledger.grants) {
    report.count(`grants: ${grant.alive ? (inUse(grant) ? 'in use' : 'alive and not in use') : `ended, ${grant.endedBy}`}`);
    if (grant.endedBy === 'spent token') judgeSpentToken(grant, { disturbances, report });
    if (grant.endedBy === 'spent code') report.problem('a code was sent twice', told(grant));
    if (grant.alive && !inUse(grant)) await judgeOrphan(grant, { disturbances, report, workers, requests, authorized, dueBack, underWay });
  }
  report.count('disconnections', await checkDisconnections({ ledger, requests, people, report }));
  const { sent, again } = ledger.renewals;
  report.count('refresh tokens sent', sent);
  report.count('refresh tokens sent again', again);
}

const at = (time) => (time ? new Date(time).toISOString().slice(11, 23) : 'never');

const told = ({ number, alive, endedBy, issuedAt, endedAt, lastUsedAt, exchange }) =>
  `grant ${number} of node ${exchange.node}, issued ${at(issuedAt)}, ${alive ? 'lives' : `ended ${at(endedAt)}, ${endedBy}`}, last used ${at(lastUsedAt)}`;

/** A spent token may be sent once more where its answer was lost; the grant ends where it is sent yet again, or too late. */
function judgeSpentToken(grant, { disturbances, report }) {
  const earlier = grant.spentToken.uses.slice(0, -1);
  const uses = grant.spentToken.uses.map(({ node, at: time, answered }) => `node ${node} ${at(time)} ${answered ? 'answered' : 'not answered'}`);
  const excused = earlier.every(({ node, at: time, answered }) => !answered || disturbances.excuse(node, time, time + STORING_MS, killed));
  const say = excused ? 'excuse' : 'problem';
  report[say]('a grant ended by a spent refresh token', `grant ${grant.number} of ${grant.login}: ${uses.join(', ')}`);
}

async function judgeOrphan(grant, { disturbances, report, workers, requests, authorized, dueBack, underWay }) {
  const { node, at: time, answered } = grant.exchange;
  const what = `${grant.login}: ${told(grant)}`;
  // Revoking it would end the newer grant with it.
  if (authorized.has(grant.login)) return report.count('grants: older ones of accounts in use');
  if (!answered) return report.excuse('an orphan whose exchange was never answered', what);
  if (underWay.length > 0 && dueBack.has(grant.login)) return report.excuse('an orphan that waits for the sign-in of a killed node to end', what);
  if (grant.giveBacks.length > 0 && dueBack.has(grant.login)) return report.excuse('an orphan that the provider is asked again to take back', what);
  if (grant.giveBacks.some((use) => use.answered)) return report.excuse('an orphan that the provider seemed to take back', what);
  if (!grant.identities.some((use) => use.answered)) return report.excuse('an orphan whose account the provider would not tell', what);
  if (disturbances.excuse(node, time, time + STORING_MS, killed)) return report.excuse('an orphan of a sign-in whose node was killed', what);
  const waits = await workers.attemptsThatWait(requests);
  if (waits.has(grant.login)) return report.excuse('a grant of an attempt that waits for a decision', what);
  return report.problem('a grant that nobody owns', what);
}

/** Each outage of an authorization has a grant of its own that the provider ended before. */
async function checkDisconnections({ ledger, requests, people, report }) {
  const found = [];
  for (let after = null; ;) {
    const { disconnections } = await requests.read(
      people.ada,
      `query listDisconnections($after: String) { disconnections(first: 100, after: $after) {
         nodes { id reason detectedBy connection { id } authorization { id connector { slug } account { accountId } } startedAt endedAt endedBy } pageInfo { hasNextPage endCursor }
       } }`,
      { after },
    );
    found.push(...disconnections.nodes);
    if (!disconnections.pageInfo.hasNextPage) break;
    after = disconnections.pageInfo.endCursor;
  }
  const whole = found.filter(({ connection, authorization }) => !connection && authorization.connector.slug === connector.byBrowser);
  for (const [login, outages] of groupBy(whole, ({ authorization }) => authorization.account.accountId)) {
    const grants = ledger.grants.filter((grant) => grant.login === login);
    const ended = new Set(grants.filter(({ alive }) => !alive));
    for (const outage of outages.toSorted((a, b) => (a.startedAt < b.startedAt ? -1 : 1))) {
      const noticed = new Date(outage.startedAt).getTime() + CLOCKS_APART_MS;
      const [cause] = [...ended].filter(({ endedAt }) => endedAt <= noticed).sort((a, b) => b.endedAt - a.endedAt);
      ended.delete(cause);
      const what = `${login}: ${outage.reason} by ${outage.detectedBy} ${at(outage.startedAt)} to ${at(outage.endedAt)} ${outage.endedBy ?? ''}; ${grants.map(told).join('; ')}`;
      if (!cause) report.problem('an outage that the provider knows nothing of', what);
      else if (cause.endedBy === 'given back') {
        const { node, at: time } = cause.givenBack;
        report.problem('a grant given back that was in use', `revoked by node ${node} ${at(time)}; ${what}`);
      }
    }
  }
  for (const { startedAt, endedAt, id } of found) {
    if (endedAt !== null && endedAt < startedAt) report.problem('an outage that ended before it began', `${id}: ${startedAt} to ${endedAt}`);
  }
  return found.length;
}

async function everyAuthorization(requests, ada) {
  const found = [];
  for (let after = null; ;) {
    const { authorizations } = await requests.read(
      ada,
      `query listAuthorizations($after: String) { authorizations(first: 100, after: $after) {
         nodes { id status connector { slug } account { accountId } disconnection { reason } } pageInfo { hasNextPage endCursor }
       } }`,
      { after },
    );
    found.push(...authorizations.nodes);
    if (!authorizations.pageInfo.hasNextPage) return found;
    after = authorizations.pageInfo.endCursor;
  }
}

/** Each mutation under a key had the one effect that it was to have. */
export async function checkEffects({ requests, database, disturbances, report }) {
  const made = {};
  for (const kind of ['client', 'connection', 'dataset']) {
    const rows = await database.rows(`SELECT name FROM ${kind}`);
    made[kind] = groupBy(rows, ({ name }) => markOf(name));
  }
  for (const sending of requests.sent) {
    const [kind] = Object.keys(sending.effect ?? {});
    if (!kind) continue;
    const times = made[kind].get(markOf(sending.effect[kind]))?.length ?? 0;
    const what = `${sending.mutation} ${sending.effect[kind]}: ${times} times; ${JSON.stringify(sending.unanswered.slice(0, 4))}`;
    const isDone = sending.payload && sending.payload.errors.length === 0 && !sending.effect.isPromise;
    report.count('effects checked');
    if (isDone && times === 0) report.problem('answered as done, and it is not there', what);
    if (times <= 1) continue;
    const isUnknown = (one) => killed(one) || (databaseFailed(one) && one.kind !== 'write lock held');
    const excused = sending.unanswered.some(({ node, from, to }) => disturbances.excuse(node, from, to, isUnknown));
    report[excused ? 'excuse' : 'problem']('done more than once under one key', what);
  }
}

/** Every sign-in whose callback arrived has come to an end. */
export async function checkAttempts({ workers, requests, nodes, disturbances, report }) {
  for (const attempt of workers.attempts) {
    const before = await workers.statusOf(attempt, requests);
    report.count(`sign-ins: ${before}`);
    if (before !== 'PENDING' || !attempt.callbackSent) continue;
    // Where the callback never arrived it does now.
    await attempt.comesBack(nodes[0]).catch(() => {});
    const after = await workers.statusOf(attempt, requests);
    if (after !== 'PENDING') {
      report.count('callbacks that had never arrived');
      continue;
    }
    const { node, at: arrived, until } = attempt.callbackSent;
    const how = disturbances.excuse(node, arrived, until + STORING_MS, killed) ? ', the node was killed' : null;
    const what = `${attempt.id} of ${attempt.login}, callback ${at(arrived)} by node ${node}, browser ${attempt.left ?? `got ${attempt.page}`}`;
    report[how ? 'excuse' : 'problem'](`a sign-in that hangs PENDING after its callback${how ?? ''}`, what);
  }
}

/** What is due is done, and no claim outlives its holder. */
export async function checkDue({ database, report }) {
  const late = () => Date.now() - OVERDUE_MS;
  const time = (value) => (value === null ? null : new Date(value).getTime());
  let overdue = [];
  await quietly(SETTLES_MS, async () => {
    const grants = await database.rows('SELECT id, renew_at, probe_at, claimed_until FROM "authorization" WHERE removed_at IS NULL');
    const sets = await database.rows('SELECT id, refresh_at, claimed_until FROM dataset');
    overdue = [...grants, ...sets].filter(({ renew_at: renew, probe_at: probe, refresh_at: refresh, claimed_until: claimed }) =>
      [renew, probe, refresh].some((due) => due != null && time(due) < late()) || (claimed != null && time(claimed) > Date.now() + 60_000));
    return overdue.length === 0;
  });
  if (overdue.length > 0) report.problem('due and not done', overdue.slice(0, 3));
}

const READINGS = {
  viewer: '{ viewer { role workspace { connectionCounts { total } } } }',
  clients: '{ clients(first: 5, orderBy: {field: NAME}) { totalCount nodes { connectionCounts { total } } } }',
  connections: '{ connections(first: 5, orderBy: {field: STATUS}) { totalCount nodes { name } } }',
  authorizations: '{ authorizations(first: 5) { totalCount nodes { availableAccounts { totalCount } } } }',
  disconnections: '{ disconnections(first: 5) { totalCount nodes { message } } }',
  datasets: '{ datasets(first: 5) { totalCount nodes { rows(first: 2) { nodes } } } }',
  connectors: '{ connectors(first: 5) { nodes { incident { message } } } }',
  audit: '{ auditLog(first: 5) { totalCount nodes { action } } }',
  tray: '{ viewer { unreadNotificationCount notifications(first: 5) { totalCount } } }',
};

/** Every node is ready and answers every kind of request. */
export async function checkNodes({ nodes, people, requests, report }) {
  for (const node of nodes) {
    if (!(await quietly(60_000, () => node.isReady()))) report.problem('a node that does not get ready', node.name);
    for (const [name, query] of Object.entries(READINGS)) {
      let said = null;
      const answered = await quietly(30_000, async () => {
        said = await requests.once(people.ada, query, {}, { node, name: `at the end: ${name}` });
        return said.codes.length === 0;
      });
      if (!answered) report.problem('a node that does not answer', `node ${node.name}, ${name}: ${JSON.stringify(said)}`);
    }
  }
}

/** What is broken can be mended: by people who wait, with nothing failing. */
export async function checkRepair({ everything, workers, report }) {
  for (let round = 0; round < 4; round += 1) {
    const { items } = await everything.list();
    const broken = [...items.values()].filter(({ status }) => status === 'DISCONNECTED');
    if (round === 0) report.count('connections broken at the end', broken.length);
    if (broken.length === 0) return;
    if (round === 3) report.problem('what cannot be reconnected', broken.slice(0, 3));
    else for (const { id } of broken) await workers.reconnectThis(id, { patient: true }).catch(() => {});
  }
}

/** Memory is about where it was once all had warmed up. */
export async function checkMemory({ nodes, warm, report }) {
  for (const node of nodes) {
    const now = await node.memory();
    const figures = [warm[node.name], node.peak, now].map((bytes) => Math.round(bytes / MIB));
    report.figures[`memory of node ${node.name} (MiB)`] = `${figures[0]} warm, ${figures[1]} at most, ${figures[2]} at the end`;
    if (now > 2 * warm[node.name] + 64 * MIB) report.problem('memory that is not given back', `node ${node.name}: ${figures.join(', ')} MiB`);
  }
}

/** Nothing but this program ended a node, and SIGTERM ended it well. */
export function checkExits({ nodes, report }) {
  for (const node of nodes) {
    for (const end of node.endedByItself) report.problem('a node that ended by itself', end);
    for (const exit of node.badExits) report.problem('SIGTERM did not end it well', exit);
  }
}

/** No panic, no passing fault called an internal one, no secret. */
export function checkLogs({ nodes, secrets, report }) {
  for (const node of nodes) {
    for (const line of node.log.split('\n')) {
      if (/panicked at/.test(line)) report.problem('a panic', line.slice(0, 300));
      const error = /\bERROR\b\S*\s+(.*)/.exec(line);
      if (error) report.count(`ERROR in the log: ${error[1].replaceAll(/[0-9a-f-]{36}|\d+/g, '…').slice(0, 110)}`);
    }
    for (const secret of [SECRET_MARK, ...secrets]) {
      const at = node.log.indexOf(secret);
      if (at >= 0) report.problem('a secret in the log', `node ${node.name}: ${node.log.slice(Math.max(0, at - 150), at)}…`);
    }
  }
}
