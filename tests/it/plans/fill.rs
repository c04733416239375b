//! A workspace with many rows of everything, written by a few statements. Nothing in it is due.

use patchbay::db::Db;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::harness::tables;

/// More rows than a statement may touch that is to find some of them.
pub const LARGE: i64 = 4_000;

/// What the rows are of.
pub struct Of {
    pub workspace: Uuid,
    pub admin: Uuid,
    /// A MEMBER with whom some connections are shared.
    pub member: Uuid,
}

/// Words that stand for what a database says in another way.
fn in_words_of(db: &Db, sql: &str) -> String {
    let words = if db.is_sqlite() {
        [
            // The id of the row `n.i` among those of a letter.
            ("@id(", "unhex(printf('%s%031x', "),
            ("@long_ago", "'2026-02-01T08:00:00.000000+00:00'"),
            ("@days_ago(", "strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', '2026-03-02 09:00:00', printf('-%d days', "),
            ("@far", "'2030-01-01T00:00:00.000000+00:00'"),
            ("@hash", "randomblob(16)"),
            ("@empty", "x''"),
            ("@json", ""),
        ]
    } else {
        [
            ("@id(", "(row_id("),
            ("@long_ago", "'2026-02-01T08:00:00Z'::timestamptz"),
            ("@days_ago(", "days_ago(("),
            ("@far", "'2030-01-01T00:00:00Z'::timestamptz"),
            ("@hash", "decode(md5(n.i::text), 'hex')"),
            ("@empty", "''::bytea"),
            ("@json", "::jsonb"),
        ]
    };
    words.iter().fold(sql.to_owned(), |sql, (word, said)| sql.replace(word, said))
}

fn literal(db: &Db, id: Uuid) -> String {
    if db.is_sqlite() { format!("x'{}'", id.simple()) } else { format!("'{id}'::uuid") }
}

/// Fills every table that grows, and lets the database look at it.
pub async fn fill(db: &Db, of: &Of) {
    if !db.is_sqlite() {
        // As functions they are of this test's database alone.
        let functions = "CREATE FUNCTION row_id(letter text, i bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS \
             $$ SELECT (letter || lpad(to_hex(i), 31, '0'))::uuid $$; \
             CREATE FUNCTION days_ago(days bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS \
             $$ SELECT '2026-03-02T09:00:00Z'::timestamptz - make_interval(days => days::int) $$";
        db.writer().execute_unprepared(functions).await.unwrap();
    }
    for (table, count, columns, values) in TABLES {
        let numbers = if db.is_sqlite() {
            format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) ")
        } else {
            String::new()
        };
        let from = if db.is_sqlite() { "n".to_owned() } else { format!("generate_series(1, {count}::bigint) AS n(i)") };
        let (insert, select) = (format!("INSERT INTO {table} ({columns})"), format!("SELECT {values} FROM {from}"));
        let sql = if db.is_sqlite() { format!("{insert} {numbers}{select}") } else { format!("{insert} {select}") };
        let sql = in_words_of(db, &sql)
            .replace("@workspace", &literal(db, of.workspace))
            .replace("@admin", &literal(db, of.admin))
            .replace("@member", &literal(db, of.member));
        db.writer().execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }
    db.writer().execute_unprepared("ANALYZE").await.unwrap();
}

/// The tables of which it has many rows.
pub async fn large(db: &Db) -> Vec<String> {
    tables::counts(db).await.into_iter().filter(|(_, rows)| *rows >= LARGE).map(|(table, _)| table).collect()
}

/// Each with how many rows, its columns, and their values.
const TABLES: &[(&str, u32, &str, &str)] = &[
    (
        "client",
        4_000,
        "id, workspace_id, name, name_key, created_at",
        "@id('c', n.i)), @workspace, 'Client', 'client ' || n.i, @days_ago(n.i % 300))",
    ),
    (
        "\"user\"",
        4_000,
        "id, workspace_id, name, name_key, email, email_key, role, client_id, active, created_at, reminder_emails",
        "@id('1', n.i)), @workspace, 'User', 'user', 'u' || n.i, 'u' || n.i, 'CLIENT', @id('c', n.i)), TRUE, @long_ago, TRUE",
    ),
    (
        "api_key",
        4_000,
        "id, workspace_id, name, prefix, hash, role, read_only, created_by, created_at",
        "@id('2', n.i)), @workspace, 'Key', 'p', @hash, 'STAFF', TRUE, @admin, @long_ago",
    ),
    (
        "\"authorization\"",
        6_000,
        "id, workspace_id, connector, method, status, account_id, account_name, scopes, missing_scopes, \
         credential_version, expires_at, renew_at, probe_at, failures, failing_since, created_by, created_at",
        "@id('a', n.i)), @workspace, CASE WHEN n.i % 100 = 0 THEN 'sandbox-shop' ELSE 'sandbox-ads' END, 'OAUTH2', \
         CASE WHEN n.i % 200 = 0 THEN 0 ELSE 2 END, 'a' || n.i, 'Account', '[]'@json, '[]'@json, 1, \
         CASE WHEN n.i % 2 = 0 THEN @far END, @far, @far, 0, CASE WHEN n.i % 1000 = 7 THEN @long_ago END, \
         CASE WHEN n.i % 300 = 0 THEN @member ELSE @id('1', 1 + n.i % 400)) END, @days_ago(n.i % 300))",
    ),
    (
        "connection",
        12_000,
        "id, workspace_id, name, name_key, connector, client_id, authorization_id, account_id, account_name, \
         account_key, status, status_changed_at, lost_access, last_checked_at, probe_at, refused_once, created_by, \
         created_at",
        "@id('b', n.i)), @workspace, 'Connection', 'connection ' || (n.i * 7919 % 12000), \
         CASE WHEN n.i % 100 = 0 THEN 'sandbox-shop' ELSE 'sandbox-ads' END, @id('c', 1 + n.i % 4000)), \
         @id('a', 1 + n.i % 6000)), 'k' || n.i, 'Account', 'k' || n.i, CASE WHEN n.i % 200 = 0 THEN 0 ELSE 2 END, \
         @days_ago(n.i * 31 % 300)), FALSE, @long_ago, @far, FALSE, @id('1', 1 + n.i % 400)), @days_ago(n.i % 300))",
    ),
    ("connection_share", 20, "connection_id, user_id, workspace_id", "@id('b', n.i * 600)), @member, @workspace"),
    (
        "disconnection",
        6_000,
        "id, workspace_id, authorization_id, connector, reason, detected_by, message, credential_version, started_at, \
         ended_at, ended_by",
        "@id('d', n.i)), @workspace, @id('a', n.i)), 'sandbox-ads', 'REVOKED', 'PROBE', '', 1, @days_ago(n.i % 300)), \
         CASE WHEN n.i % 200 = 0 THEN NULL ELSE @days_ago(n.i % 290)) END, \
         CASE WHEN n.i % 200 = 0 THEN NULL ELSE 'RECOVERED' END",
    ),
    (
        "disconnection_connection",
        6_000,
        "disconnection_id, connection_id, workspace_id",
        "@id('d', n.i)), @id('b', n.i)), @workspace",
    ),
    (
        "dataset",
        6_000,
        "id, workspace_id, connection_id, name, name_key, query, version, refresh_at, status, needs_reconnect, \
         failures, proven, columns, row_count, created_by, created_at",
        "@id('e', n.i)), @workspace, @id('b', n.i)), 'Dataset', 'dataset ' || n.i, '{\"sql\": \"SELECT 1\"}'@json, 1, \
         @far, CASE WHEN n.i % 200 = 0 THEN 'FAILED' ELSE 'FRESH' END, n.i % 200 = 0, 0, TRUE, '[]'@json, 0, @admin, \
         @long_ago",
    ),
    (
        "metric",
        6_000,
        "id, workspace_id, dataset_id, name, aggregation, problem, created_at",
        "@id('f', n.i)), @workspace, @id('e', n.i)), 'Metric', 'COUNT', \
         CASE WHEN n.i % 50 = 0 THEN 'none' END, @long_ago",
    ),
    (
        "notification",
        6_000,
        "id, workspace_id, user_id, kind, occasion, disconnection_id, authorization_id, connector, title, created_at, \
         read_at",
        "@id('3', n.i)), @workspace, CASE WHEN n.i % 100 = 0 THEN @admin ELSE @id('1', 1 + n.i % 4000)) END, \
         'DISCONNECTED', @id('d', n.i)), @id('d', n.i)), @id('a', n.i)), 'sandbox-ads', 'Broken', @long_ago, \
         CASE WHEN n.i % 500 <> 0 THEN @long_ago END",
    ),
    (
        "attempt",
        4_000,
        "id, workspace_id, kind, status, connector, started_by, plan, connections, created_at, expires_at, ended_at",
        "@id('4', n.i)), @workspace, 'CONNECT', 'SUCCEEDED', 'sandbox-ads', @admin, '{}'@json, '[]'@json, @long_ago, \
         @long_ago, @days_ago(1))",
    ),
    (
        "incident",
        4_000,
        "id, workspace_id, connector, ours, message, started_at, ended_at",
        "@id('5', n.i)), @workspace, 'sandbox-ads', FALSE, '', @days_ago(n.i % 300)), @days_ago(n.i % 300))",
    ),
    (
        "reminder",
        4_000,
        "id, workspace_id, user_id, day, status, failures, unheard, created_at, sent_at",
        "@id('6', n.i)), @workspace, @admin, 'day ' || n.i, 'SENT', 0, 0, @days_ago(n.i % 60)), @days_ago(n.i % 60))",
    ),
    (
        "kept_answer",
        4_000,
        "id, workspace_id, principal, idempotency_key, sealed, expires_at",
        "@id('7', n.i)), @workspace, @admin, 'key ' || n.i, @empty, @far",
    ),
    (
        "journal_entry",
        12_000,
        "workspace_id, seq, id, topic, action, at, actor_user, actor_key, actor_job, subject_kind, subject_id, details",
        ENTRIES,
    ),
];

const ENTRIES: &str = "@workspace, 1000 + n.i, @id('8', n.i)), \
     CASE WHEN n.i % 3 = 0 THEN 'connections' WHEN n.i % 3 = 1 THEN 'datasets' ELSE 'notifications' END, \
     CASE WHEN n.i % 999 = 0 THEN 'connection.removed' WHEN n.i % 3 = 0 THEN 'connection.updated' \
     WHEN n.i % 3 = 1 THEN 'dataset.refreshed' ELSE 'notification.added' END, @long_ago, \
     CASE WHEN n.i % 999 = 0 THEN @member END, CASE WHEN n.i % 999 = 0 THEN @id('2', 1)) END, 'probe', 'connection', \
     @id('b', n.i)), '{}'@json";
