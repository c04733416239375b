// PostgreSQL and MariaDB as data sources: the servers themselves, with roles whose passwords change while Patchbay runs.

import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import pg from 'pg';

import { findProgram, freshName, reasonToSkip, SourceDatabase, SourceServer } from './sourceserver.js';

class PostgresServer extends SourceServer {
  /** A fast shutdown. */
  endsBy = 'SIGINT';

  async prepare() {
    const passwordFile = join(this.folder, 'password');
    await writeFile(passwordFile, this.administrator.password, { mode: 0o644 });
    const data = join(this.folder, 'data');
    await this.run(postgresPrograms.initdb, [
      `--pgdata=${data}`,
      `--username=${this.administrator.username}`,
      `--pwfile=${passwordFile}`,
      '--auth-local=reject',
      '--auth-host=scram-sha-256',
      '--encoding=UTF8',
      '--no-locale',
      '--no-sync',
    ]);
    const settings = { listen_addresses: '127.0.0.1', port: this.port, unix_socket_directories: '', fsync: 'off' };
    return [postgresPrograms.postgres, '-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  }

  /** A database in which everyone may do everything. */
  async database() {
    const name = freshName('source');
    await this.sql(`CREATE DATABASE ${name}`);
    await this.sql('GRANT ALL ON SCHEMA public TO PUBLIC', name);
    for (const things of ['TABLES', 'SEQUENCES', 'ROUTINES']) {
      await this.sql(`ALTER DEFAULT PRIVILEGES GRANT ALL ON ${things} TO PUBLIC`, name);
    }
    return new SourceDatabase(this, name);
  }

  /** The rows of the last statement, asked by the administrator or by another user. */
  async sql(text, database = 'postgres', { username: user, password } = this.administrator) {
    const db = new pg.Client({ host: '127.0.0.1', port: this.port, user, password, database });
    db.on('error', () => {}); // The server is ending.
    await db.connect();
    try {
      return [await db.query(text)].flat().at(-1).rows;
    } finally {
      await db.end();
    }
  }

  /** It may run programs, too (COPY … TO PROGRAM). */
  createRole({ username, password }) {
    return this.sql(`CREATE ROLE ${username} LOGIN PASSWORD '${password}' IN ROLE pg_execute_server_program, pg_write_server_files`);
  }

  alterPassword({ username, password }) {
    return this.sql(`ALTER ROLE ${username} PASSWORD '${password}'`);
  }

  dropRole({ username }, database) {
    return this.sql(`DROP OWNED BY ${username}; DROP ROLE ${username}`, database);
  }
}

class MariadbServer extends SourceServer {
  endsBy = 'SIGTERM';

  async prepare() {
    const data = join(this.folder, 'data');
    await this.run(mariadbPrograms['mariadb-install-db'], [
      '--no-defaults',
      `--datadir=${data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
    ]);
    const { username, password } = this.administrator;
    const init = join(this.folder, 'init.sql');
    // What was made without a password goes.
    await writeFile(init, [
      `CREATE USER '${username}'@'127.0.0.1' IDENTIFIED BY '${password}';`,
      `GRANT ALL ON *.* TO '${username}'@'127.0.0.1' WITH GRANT OPTION;`,
      "DROP USER IF EXISTS 'root'@'localhost', 'root'@'127.0.0.1', 'root'@'::1', ''@'localhost';",
    ].join('\n'), { mode: 0o644 });
    return [
      mariadbPrograms.mariadbd,
      '--no-defaults',
      `--datadir=${data}`,
      `--port=${this.port}`,
      '--bind-address=127.0.0.1',
      '--skip-name-resolve',
      `--socket=${join(this.folder, 'mariadb.sock')}`,
      `--pid-file=${join(this.folder, 'mariadb.pid')}`,
      `--init-file=${init}`,
      '--innodb-buffer-pool-size=32M',
      '--innodb-flush-log-at-trx-commit=0',
    ];
  }

  async database() {
    const name = freshName('source');
    await this.sql(`CREATE DATABASE ${name}`);
    return new SourceDatabase(this, name);
  }

  /** The rows of the last statement, asked by the administrator or by another user. */
  async sql(text, database, { username: user, password } = this.administrator) {
    const db = await mysql.createConnection({ host: '127.0.0.1', port: this.port, user, password, database, multipleStatements: true });
    try {
      const [answer] = await db.query(text);
      return Array.isArray(answer) && Array.isArray(answer.at(-1)) ? answer.at(-1) : answer;
    } finally {
      await db.end();
    }
  }

  /** It may write files, too (SELECT … INTO OUTFILE). */
  async createRole({ username, password }, database) {
    await this.sql(`CREATE USER '${username}'@'127.0.0.1' IDENTIFIED BY '${password}'`);
    await this.sql(`GRANT ALL ON ${database}.* TO '${username}'@'127.0.0.1'; GRANT FILE ON *.* TO '${username}'@'127.0.0.1'`);
  }

  alterPassword({ username, password }) {
    return this.sql(`ALTER USER '${username}'@'127.0.0.1' IDENTIFIED BY '${password}'`);
  }

  dropRole({ username }) {
    return this.sql(`DROP USER '${username}'@'127.0.0.1'`);
  }
}

const postgresPrograms = Object.fromEntries(['initdb', 'postgres'].map((name) => [name, findProgram(name, postgresFolders())]));
const mariadbPrograms = Object.fromEntries(['mariadb-install-db', 'mariadbd'].map((name) => [name, findProgram(name, ['/usr/sbin'])]));

/** Where Debian keeps what is not on PATH, the newest version first. */
function postgresFolders() {
  const root = '/usr/lib/postgresql';
  try {
    return readdirSync(root).sort((a, b) => Number(b) - Number(a)).map((version) => join(root, version, 'bin'));
  } catch {
    return [];
  }
}

/** `connector` is the slug by which it is connected. */
export const postgresSource = {
  name: 'PostgreSQL',
  connector: 'postgresql',
  skip: reasonToSkip(postgresPrograms, 'postgresql'),
  start: () => PostgresServer.start(),
};

export const mariadbSource = {
  name: 'MariaDB',
  connector: 'mysql',
  skip: reasonToSkip(mariadbPrograms, 'mariadb-server-core and mariadb-client-core'),
  start: () => MariadbServer.start(),
};

export const everySource = [postgresSource, mariadbSource];
