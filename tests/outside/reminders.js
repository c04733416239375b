// Outages that are old, and the hour at which a workspace's reminders leave. No clock is in hand: what began is moved into the
// past, and the hour to the minute that it is.

import { eventually } from './waiting.js';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** Two zones in which it is never the same day: 11 hours behind UTC, and 14 hours ahead. */
export const TODAY = 'Pacific/Pago_Pago';
export const TOMORROW = 'Pacific/Kiritimati';

/** The hour of the workspace is far away, and an outage of one hour is worth a reminder. */
export async function putHourOff({ ada }) {
  await setHour(ada, TODAY, Date.now() + 12 * HOUR_MS);
}

/**
 * It is the hour, on one day and then on the next; on the first it came two minutes ago, since one run has to come after
 * the other.
 */
export async function hourComes({ ada }, day = TODAY) {
  await setHour(ada, day, Date.now() - (day === TODAY ? 2 * MINUTE_MS : 0));
}

/** The reminder's hour in the database, for a server that is down. */
export function hourCameMeanwhile({ db }) {
  return db.sql(`UPDATE workspace SET reminder_time = '${inZone(TODAY, Date.now() - MINUTE_MS)}'`);
}

/** Every outage that lasts began five hours ago. */
export function outagesAreOld({ db }) {
  const then = new Date(Date.now() - 5 * HOUR_MS).toISOString().replace('Z', '000+00:00');
  return db.sql(`UPDATE disconnection SET started_at = '${then}' WHERE ended_at IS NULL`);
}

/** The account's owner takes everything back, and that is noticed. */
export async function revoke({ oidc, sam }, login, connection) {
  await oidc.revokeEverythingOf(login);
  await sam.does('checkConnection', { connectionId: connection.id }, 'connection { id }');
  await eventually(`${login} is missed`, async () => (await sam.connection(connection.id)).status === 'DISCONNECTED');
}

/** When the newest reminder of this connection's outage left, as `person` sees it. */
export async function remindedAt(person, connection) {
  const { disconnections } = await person.ask(
    'query ($connectionId: ID!) { disconnections(filter: { connectionId: $connectionId }) { nodes { remindedAt } } }',
    { connectionId: connection.id },
  );
  return disconnections.nodes[0].remindedAt;
}

async function setHour(ada, timeZone, at) {
  const input = { timeZone, reminderTime: inZone(timeZone, at), reminderAfterHours: 1 };
  await ada.does('updateWorkspace', input, 'workspace { reminderTime }');
}

/** HH:MM. */
function inZone(timeZone, at) {
  return new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(at);
}
