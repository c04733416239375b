// The databases that a server can be started on. Each `create` returns a fresh one: its url, and how to remove it; `sql` changes
// what no API does, such as how long ago something began.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';

/** Where PostgreSQL listens, e.g. postgres://postgres@127.0.0.1:5432/postgres; the role must be allowed to create databases. */
export const postgresServer = process.env.PATCHBAY_TEST_POSTGRES;

export const sqlite = {
  name: 'SQLite',
  async create() {
    const folder = await mkdtemp(join(tmpdir(), 'patchbay-outside-db-'));
    const file = join(folder, 'patchbay.db');
    return {
      url: `sqlite://${file}`,
      sql: (statement) => promisify(execFile)('sqlite3', ['-bail', '-cmd', '.timeout 20000', file, statement]),
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  },
};

export const postgres = {
  name: 'PostgreSQL',
  async create() {
    const name = `patchbay_outside_${randomBytes(6).toString('hex')}`;
    await administer(`CREATE DATABASE ${name}`);
    const url = new URL(postgresServer);
    url.pathname = `/${name}`;
    return {
      url: url.href,
      sql: (statement) => administer(statement, url.href),
      remove: () => administer(`DROP DATABASE ${name} WITH (FORCE)`),
      /** Everybody is thrown out, and nobody let in until it is open again. */
      async close() {
        await administer(`ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS false`);
        await administer(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
      },
      open: () => administer(`ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS true`),
    };
  },
};

/** SQLite always, PostgreSQL where there is one. */
export const everyDatabase = postgresServer ? [sqlite, postgres] : [sqlite];

async function administer(statement, connectionString = postgresServer) {
  const db = new pg.Client({ connectionString });
  await db.connect();
  try {
    await db.query(statement);
  } finally {
    await db.end();
  }
}
