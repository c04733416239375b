// SQL that tries to write, to sleep or to return too much, by a user of the database who may do anything there; and what is never
// repeated of a password or of a query.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { createDataset, createMetric, datasetIs, failsToRefresh, tryToCreateDataset } from './datasets.js';
import { mariadbSource, postgresSource } from './sources.js';
import { sourceStage } from './stage.js';
import { eventually } from './waiting.js';

const REPORT = { sql: 'SELECT total FROM report' };

/** What each database calls the same thing. `file` is one that the database server could write. */
const dialects = [
  {
    source: postgresSource,
    traps: `
      CREATE SEQUENCE numbers;
      CREATE FUNCTION order_more() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO orders VALUES (9, 9); RETURN 1; END $$;
      CREATE PROCEDURE commit_and_order() LANGUAGE plpgsql AS $$ BEGIN COMMIT; INSERT INTO orders VALUES (9, 9); COMMIT; END $$;`,
    writes: (file) => [
      'WITH added AS (INSERT INTO orders VALUES (9, 9) RETURNING id) SELECT id FROM added',
      'SELECT order_more()',
      "SELECT nextval('numbers')",
      'SELECT id FROM orders FOR UPDATE',
      'EXPLAIN ANALYZE DELETE FROM orders',
      'DO $$ BEGIN COMMIT; INSERT INTO orders VALUES (9, 9); END $$',
      'CALL commit_and_order()',
      'START TRANSACTION READ WRITE',
      'SET TRANSACTION READ WRITE',
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
      `COPY orders TO PROGRAM 'cat > ${file}'`,
      `COPY orders TO '${file}'`,
      'CREATE TABLE more AS SELECT id FROM orders',
      'SELECT id INTO more FROM orders',
      'VACUUM orders',
      "SELECT set_config('transaction_read_only', 'off', false)",
    ],
    left: `SELECT (SELECT count(*) FROM orders)::int AS orders, (SELECT count(*) FROM pg_class WHERE relname = 'more')::int AS tables,
           (SELECT is_called FROM numbers) AS numbered, (SELECT count(*) FROM pg_largeobject_metadata)::int AS objects`,
    untouched: { orders: 3, tables: 0, numbered: false, objects: 0 },
    /** Nothing refuses this in a transaction that only reads; it has to be rolled back. */
    unrefused: 'SELECT lo_create(0) > 0 AS made',
    slow: ["SELECT set_config('statement_timeout', '0', false), pg_sleep(600)", 'SELECT count(*) AS n FROM generate_series(1, 100000000000)'],
    running: "SELECT pid FROM pg_stat_activity WHERE usename LIKE 'role%' AND state = 'active'",
    tooManyRows: 'SELECT n FROM generate_series(1, 200000) AS n',
    tooManyBytes: "SELECT repeat('x', 1000000) AS x FROM generate_series(1, 40)",
    replaceView: 'DROP VIEW report; CREATE VIEW report AS',
    series: 'SELECT n AS total FROM generate_series(1, 200000) AS n',
  },
  {
    source: mariadbSource,
    traps: `
      CREATE SEQUENCE numbers;
      CREATE FUNCTION order_more() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO orders VALUES (9, 9); RETURN 1; END;
      CREATE PROCEDURE commit_and_order() BEGIN COMMIT; START TRANSACTION READ WRITE; INSERT INTO orders VALUES (9, 9); COMMIT; END;`,
    writes: (file) => [
      'SELECT order_more()',
      'SELECT NEXT VALUE FOR numbers',
      'ANALYZE DELETE FROM orders',
      'BEGIN NOT ATOMIC COMMIT; SET SESSION TRANSACTION READ WRITE; INSERT INTO orders VALUES (9, 9); COMMIT; END',
      "EXECUTE IMMEDIATE 'COMMIT'",
      'CALL commit_and_order()',
      'START TRANSACTION READ WRITE',
      'SET SESSION TRANSACTION READ WRITE',
      'SET STATEMENT max_statement_time = 0 FOR SELECT 1',
      `SELECT id FROM orders INTO OUTFILE '${file}'`,
      `SELECT id FROM orders LIMIT 1 INTO DUMPFILE '${file}'`,
      `SELECT id FROM orders /*! INTO OUTFILE '${file}' */`,
      '/*! DELETE FROM orders */',
      'SELECT id FROM orders LIMIT 1 INTO @kept',
      'CREATE TABLE more AS SELECT id FROM orders',
      'LOCK TABLES orders WRITE',
      'REPLACE INTO orders VALUES (9, 9)',
      'TRUNCATE TABLE orders',
    ],
    left: `SELECT (SELECT count(*) FROM orders) AS orders,
           (SELECT count(*) FROM information_schema.tables WHERE table_schema = database() AND table_name = 'more') AS tables,
           (SELECT next_not_cached_value FROM numbers) AS numbered`,
    untouched: { orders: 3, tables: 0, numbered: 1 },
    unrefused: 'SELECT @kept := 1 AS made',
    slow: ['SELECT SLEEP(600) AS slept', 'SELECT count(*) AS n FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b'],
    running: "SELECT id FROM information_schema.processlist WHERE user LIKE 'role%' AND command <> 'Sleep'",
    tooManyRows: 'SELECT seq FROM seq_1_to_200000',
    tooManyBytes: "SELECT REPEAT('x', 1000000) AS x FROM seq_1_to_40",
    replaceView: 'CREATE OR REPLACE VIEW report AS',
    series: 'SELECT seq AS total FROM seq_1_to_200000',
  },
];

/** What no database is asked, whatever its dialect. */
const everywhere = [
  'INSERT INTO orders VALUES (9, 9)',
  'UPDATE orders SET total = 0',
  'DELETE FROM orders',
  'DROP TABLE orders',
  'WITH gone AS (SELECT 1) DELETE FROM orders',
  'VALUES (order_more())',
  'SELECT id FROM orders; DELETE FROM orders',
  'COMMIT',
  'ROLLBACK',
  'COMMIT; DELETE FROM orders',
  'ROLLBACK; DELETE FROM orders',
  'SELECT id FROM orders; COMMIT; DELETE FROM orders; SELECT 1',
];

/** A marker that no message, line or file has by chance. */
const MARKER = 'marker-7f3a91';

/** Mia has connected Acme's database, where three orders are, and a view that reports them. */
async function connected(t, { source, server, ...options }) {
  const stage = await sourceStage(t, { source, server, ...options });
  const { acme, mia, source: db } = stage;
  await db.sql('CREATE TABLE orders (id int PRIMARY KEY, total int); INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30)');
  await db.sql('CREATE VIEW report AS SELECT total FROM orders');
  const role = await db.createRole();
  return { stage, db, mia, role, connection: await stage.connect(mia, acme, role) };
}

/** The one error with which a dataset was refused. */
async function refusal(person, connection, sql) {
  const { dataset, errors } = await tryToCreateDataset(person, connection, { sql });
  assert.equal(dataset, null, sql);
  assert.equal(errors.length, 1, sql);
  assert.ok(errors[0].message.length > 0, sql);
  return errors[0];
}

for (const dialect of dialects) {
  const { source } = dialect;
  describe(`SQL on ${source.name}`, { skip: source.skip }, () => {
    let server;
    before(async () => (server = await source.start()));
    after(() => server?.close());

    test('whatever a query tries, it writes nothing', async (t) => {
      const { stage, db, mia, connection } = await connected(t, { source, server });
      await db.sql(dialect.traps);
      const file = join(server.folder, 'data', 'written');
      for (const sql of [...everywhere, ...dialect.writes(file)]) {
        const { code, field } = await refusal(mia, connection, sql);
        assert.deepEqual([code, field[0]], ['INVALID', 'query'], sql);
        assert.deepEqual((await db.sql(dialect.left)).map((row) => ({ ...row })), [dialect.untouched], sql);
        assert.ok(!existsSync(file), sql);
      }
      await tryToCreateDataset(mia, connection, { sql: dialect.unrefused });
      assert.deepEqual((await db.sql(dialect.left)).map((row) => ({ ...row })), [dialect.untouched], 'what is not refused is rolled back');

      await createDataset(mia, connection, REPORT);
      assert.equal((await stage.sam.connection(connection.id)).status, 'CONNECTED');
      assert.deepEqual(await stage.sam.disconnectionsOf(connection.id), []);
    });

    test('a query that takes too long is ended, at the database too', async (t) => {
      const { stage, db, mia, connection } = await connected(t, { source, server });
      for (const sql of dialect.slow) {
        const { message } = await refusal(mia, connection, sql);
        assert.match(message, /long|time|second/i);
        await eventually('the database is done with it', async () => (await db.sql(dialect.running)).length === 0);
      }
      assert.equal((await stage.sam.connection(connection.id)).status, 'CONNECTED');
    });

    test('too many rows and too many bytes are refused, and say so', async (t) => {
      const { mia, connection } = await connected(t, { source, server });
      assert.match((await refusal(mia, connection, dialect.tooManyRows)).message, /100[,  ]?000 rows/);
      assert.match((await refusal(mia, connection, dialect.tooManyBytes)).message, /32 MiB/);
    });

    test('a dataset that has grown too large keeps its last value, and says why', async (t) => {
      const { stage, db, mia, connection } = await connected(t, { source, server });
      const dataset = await createDataset(mia, connection, REPORT);
      const metric = await createMetric(mia, dataset, 'SUM', 'total');
      await db.sql(`${dialect.replaceView} ${dialect.series}`);

      const failed = await failsToRefresh(mia, dataset);
      assert.match(failed.error.message, /100[,  ]?000 rows/);
      assert.deepEqual([failed.error.needsReconnect, failed.rowCount, failed.columns], [false, 3, ['total']]);
      const { exactValue, error } = await mia.metric(metric.id);
      assert.deepEqual([exactValue, error.message, error.connection], ['60', failed.error.message, null]);
      assert.equal((await stage.sam.connection(connection.id)).status, 'CONNECTED');
    });

    test('no answer, no line of the log and no file repeats a password or what a query was refused for', async (t) => {
      const { stage, db, mia, role, connection } = await connected(t, { source, server, env: { PATCHBAY_LOG: 'debug' } });
      const dataset = await createDataset(mia, connection, REPORT);
      const said = [];
      for (const sql of [`SELECT '${MARKER}' FROM nowhere`, `SELEC '${MARKER}'`, `SELECT CAST('${MARKER}' AS date) + nothing`]) {
        said.push(await tryToCreateDataset(mia, connection, { sql }));
      }
      const altered = await db.alterPassword(role);
      await failsToRefresh(mia, dataset);
      said.push(await stage.tryToReconnect(mia, connection.id, role));
      said.push(await stage.tryToConnect(mia, stage.globex, { ...altered, username: 'nobody-here' }));
      said.push(await stage.tryToConnect(mia, stage.globex, altered, { database: 'nothing_here' }));
      said.push(await stage.tryToReconnect(mia, connection.id, altered));
      await datasetIs(mia, dataset, 'FRESH');
      const metric = await createMetric(mia, dataset, 'MAX', 'total');
      said.push(await mia.dataset(dataset.id), await mia.metric(metric.id), await mia.disconnectionsOf(connection.id), await mia.tray());

      const folder = dirname(fileURLToPath(stage.db.url.replace(/^sqlite:/, 'file:')));
      const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'latin1')));
      assert.ok(files.join('').includes('SQLite format 3'));
      for (const secret of [role.password, altered.password, MARKER]) {
        assert.ok(!JSON.stringify(said).includes(secret), 'in an answer');
        assert.ok(!stage.patchbay.log.includes(secret), 'in the log');
        assert.ok(!files.join('').includes(secret), 'in the database');
      }
    });
  });
}
