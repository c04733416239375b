//! PostgreSQL, where `PATCHBAY_TEST_POSTGRES` names one: as its administrator, in a schema of each test's own.

use sqlx::{Executor, PgConnection, postgres::PgConnectOptions};

use super::*;
use crate::provider::Rejection;

/// A schema with a table and what might write to it.
struct Place {
    live: Live,
    admin: PgConnection,
    schema: String,
}

impl Place {
    async fn new() -> Option<Self> {
        let (live, url) = Live::named_by("PATCHBAY_TEST_POSTGRES", Driver::Postgres)?;
        let mut admin = PgConnectOptions::from_url(&url).unwrap().connect().await.unwrap();
        let schema = format!("patchbay_sql_{:032x}", rand::random::<u128>());
        let made = format!(
            "CREATE SCHEMA {schema};
            SET search_path = {schema};
            CREATE TABLE sales (id int PRIMARY KEY, amount numeric);
            INSERT INTO sales SELECT n, n * 1.10 FROM generate_series(1, 3000) n;
            CREATE SEQUENCE numbers;
            CREATE TYPE mood AS ENUM ('well', 'so so');
            CREATE FUNCTION {schema}.deletes() RETURNS int LANGUAGE plpgsql
                AS $$ BEGIN DELETE FROM {schema}.sales; RETURN 1; END $$;
            CREATE FUNCTION {schema}.stubborn() RETURNS int LANGUAGE plpgsql
                AS $$ BEGIN PERFORM pg_sleep(60); RETURN 1; EXCEPTION WHEN query_canceled THEN
                PERFORM pg_sleep(60); RETURN 2; END $$;
            CREATE FUNCTION {schema}.complains() RETURNS int LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;"
        );
        admin.execute(sqlx::raw_sql(AssertSqlSafe(made))).await.unwrap();
        Some(Self { live, admin, schema })
    }

    /// The query with `@` for the schema.
    fn sql(&self, query: &str) -> String {
        query.replace('@', &self.schema)
    }

    async fn count(&mut self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(self.sql(query))).fetch_one(&mut self.admin).await.unwrap()
    }

    async fn gone(mut self) {
        let gone = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.admin.execute(sqlx::raw_sql(AssertSqlSafe(gone))).await.unwrap();
    }
}

#[tokio::test]
async fn every_type_is_read_with_all_that_it_says() {
    let Some(place) = Place::new().await else { return };
    for (expression, json) in [
        ("1::int2", "1"),
        ("-2147483648", "-2147483648"),
        ("9223372036854775807", "9223372036854775807"),
        ("0.1::float4", "0.1"),
        ("0.1::float8 + 0.2", "0.30000000000000004"),
        ("'NaN'::float8", "\"NaN\""),
        ("'-Infinity'::float4", "\"-Infinity\""),
        (
            "12345678901234567890123456789.012345678901234567890",
            "\"12345678901234567890123456789.012345678901234567890\"",
        ),
        ("'NaN'::numeric", "\"NaN\""),
        ("1.10", "\"1.10\""),
        ("true", "true"),
        ("NULL", "null"),
        ("NULL::int[]", "null"),
        ("E'a\"\\u00e9\\n'", "\"a\\\"é\\n\""),
        ("'{00000000-0000-0000-0000-000000000001}'::uuid", "\"00000000-0000-0000-0000-000000000001\""),
        ("'so so'::@.mood", "\"so so\""),
        ("ARRAY['well','so so']::@.mood[]", "\"{well,\\\"so so\\\"}\""),
        ("date '2026-01-31'", "\"2026-01-31\""),
        ("time '12:34:56.7'", "\"12:34:56.7\""),
        ("timestamp '2026-01-31 12:34:56'", "\"2026-01-31T12:34:56\""),
        ("timestamptz '2026-01-31 12:34:56.789+02'", "\"2026-01-31T10:34:56.789Z\""),
        ("interval '1 day 2 hours'", "\"P1DT2H\""),
        ("'{\"b\": 1.10, \"a\": [1]}'::json", "{\"b\": 1.10, \"a\": [1]}"),
        ("'{\"b\": 1.10}'::jsonb", "{\"b\": 1.10}"),
        ("'\\x00ff'::bytea", "\"AP8=\""),
        ("ARRAY[[1,2],[3,NULL]]", "[[1,2],[3,null]]"),
        ("ARRAY['a', 'b,\"', NULL]", "[\"a\",\"b,\\\"\",null]"),
        ("ARRAY[1.10]", "[\"1.10\"]"),
        ("'10.0.0.1/8'::inet", "\"10.0.0.1/8\""),
        ("int4range(1, 5)", "\"[1,5)\""),
        ("point(1, 2)", "\"(1,2)\""),
        ("ROW(1, 'a')", "\"(1,a)\""),
    ] {
        assert_eq!(place.live.value(&place.sql(expression)).await, json, "{expression}");
    }
    let role_s_own = "SELECT now() - now() AS zero, timestamptz '2026-01-31 12:00+00' AS at /* ; */ ;-- the end";
    assert_eq!(place.live.rows(role_s_own).await, [r#"{"zero":"PT0S","at":"2026-01-31T12:00:00Z"}"#]);
    place.gone().await;
}

#[tokio::test]
async fn rows_come_in_order_over_many_portions_and_columns_even_without_rows() {
    let Some(place) = Place::new().await else { return };
    let all = place.live.read(&place.sql("TABLE @.sales ORDER BY id"), &LIMITS).await.unwrap();
    assert_eq!((all.columns, all.rows.len()), (vec!["id".to_owned(), "amount".to_owned()], 3000));
    assert_eq!(all.rows[2999].get(), r#"{"id":3000,"amount":"3300.00"}"#);
    for none in ["SELECT * FROM @.sales WHERE id < 0", "SELECT id, 'well'::@.mood AS amount FROM @.sales LIMIT 0"] {
        let none = place.live.read(&place.sql(none), &LIMITS).await.unwrap();
        assert_eq!((none.columns, none.rows.len()), (vec!["id".to_owned(), "amount".to_owned()], 0));
    }
    assert_eq!(place.live.rows("VALUES (1), (2)").await, [r#"{"column1":1}"#, r#"{"column1":2}"#]);
    assert_eq!(place.live.rows("WITH a AS (SELECT 1 AS b) SELECT * FROM a").await, [r#"{"b":1}"#]);
    place.gone().await;
}

#[tokio::test]
async fn nothing_writes() {
    let Some(mut place) = Place::new().await else { return };
    for query in [
        "SELECT @.deletes()",
        "SELECT 1; DELETE FROM @.sales",
        "SELECT 1; COMMIT; DELETE FROM @.sales; --",
        "WITH gone AS (DELETE FROM @.sales RETURNING *) SELECT * FROM gone",
        "SELECT * INTO @.copy FROM @.sales",
        "SELECT * FROM @.sales FOR UPDATE",
        "SELECT nextval('@.numbers')",
        "SELECT setval('@.numbers', 7)",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT set_config('transaction_read_only', 'off', true), @.deletes()",
        "SELECT set_config('default_transaction_read_only', 'off', false), @.deletes()",
        "SELECT query_to_xml('DELETE FROM @.sales', true, true, '')",
        "SELECT 1) ; DELETE FROM @.sales; --",
        "VALUES (1) UNION ALL (DELETE FROM @.sales RETURNING id)",
    ] {
        let sentence = place.live.fault(&place.sql(query)).await;
        assert!(sentence.ends_with('.') && !sentence.contains("sales"), "{query}: {sentence}");
    }
    assert_eq!(place.count("SELECT count(*) FROM @.sales").await, 3000);
    assert_eq!(place.count("SELECT last_value FROM @.numbers WHERE NOT is_called").await, 1);
    place.gone().await;
}

#[tokio::test]
async fn what_is_too_much_stops_at_the_limit() {
    let Some(mut place) = Place::new().await else { return };
    let live = &place.live;
    let rows = RowLimits { rows: 1500, ..LIMITS };
    let endless = "SELECT generate_series(1, 1000000000) AS n";
    assert!(live.too_much(endless, rows).await.contains("more than 1500 rows"));
    let bytes = RowLimits { bytes: 5000, ..LIMITS };
    assert!(live.too_much("SELECT repeat('x', 3000) FROM generate_series(1, 9)", bytes).await.contains("5000 bytes"));
    assert!(live.too_much("SELECT repeat('x', 100000000)", bytes).await.contains("5000 bytes"), "one large value");
    assert_eq!(live.read("SELECT n FROM generate_series(1, 1500) n", &rows).await.unwrap().rows.len(), 1500);

    let time = RowLimits { time: Duration::from_millis(400), ..LIMITS };
    for query in [
        "SELECT pg_sleep(60)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)",
        "SELECT set_config('statement_timeout', '0', false), CASE WHEN n > 1000 THEN pg_sleep(60) END
            FROM generate_series(1, 2000) n",
        "SELECT count(*) FROM generate_series(1, 100000000000) n",
        "SELECT @.stubborn()",
    ] {
        assert!(live.too_much(&place.sql(query), time).await.contains("longer than 0.4 seconds"), "{query}");
    }
    let left = "SELECT count(*) FROM pg_stat_activity
        WHERE state = 'active' AND query LIKE '%@%' AND pid <> pg_backend_pid() AND query_start < now() - interval '5 s'";
    assert_eq!(place.count(left).await, 0, "nothing runs on");
    place.gone().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said_without_a_word_of_it() {
    let Some(place) = Place::new().await else { return };
    for (query, sentence) in [
        ("SELECT planted FROM @.sales", "The query names a column that is not there, at character 8."),
        ("SELECT é, planted", "The query names a column that is not there, at character 8."),
        ("SELECT 1 FROM planted", "The query names a table that is not there, at character 15."),
        ("SELECT 1 FROM planted.sales", "The query names a table that is not there, at character 15."),
        (
            "SELECT planted()",
            "The query calls a function that is not there, or not with such arguments, at character 8.",
        ),
        ("SELECT 1 planted planted", "The query is not written in the database's SQL, at character 18."),
        ("SELECT 'planted", "The query is not written in the database's SQL, at character 8."),
        ("SELECT 1 / 0", "The query comes upon a value that it cannot calculate with."),
        ("SELECT 'planted'::int", "The query comes upon a value that it cannot calculate with, at character 8."),
        ("SELECT $1", "The query has a placeholder, which nothing fills in."),
        ("SELECT @.complains()", "The query was stopped by a rule of the database's own."),
        ("SELECT 1 AS a, 2 AS a", "Two columns of the query have the same name: give one of them another with AS."),
        (
            "SELECT 1 AS a, 2 AS a WHERE false",
            "Two columns of the query have the same name: give one of them another with AS.",
        ),
    ] {
        assert_eq!(place.live.fault(&place.sql(query)).await, sentence, "{query}");
    }
    place.gone().await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_from_what_is_not_there() {
    let Some(mut place) = Place::new().await else { return };
    assert_eq!(place.live.probe().await, Ok(()));
    let role = place.schema.clone();
    let made = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'first'; REVOKE ALL ON SCHEMA {role} FROM PUBLIC;
        GRANT USAGE ON SCHEMA {role} TO {role}; CREATE DATABASE {role}; REVOKE CONNECT ON DATABASE {role} FROM PUBLIC"
    );
    for statement in made.split(';') {
        place.admin.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await.unwrap();
    }
    let reader = place.live.with("username", &role).with("password", "first");
    assert_eq!(reader.probe().await, Ok(()));
    let denied = reader.fault(&place.sql("SELECT * FROM @.sales")).await;
    assert_eq!(denied, "The query asks for something that this user may not see.");
    let elsewhere = reader.with("database", &role).probe().await;
    assert_eq!(elsewhere, Err(Failure::Rejected(Rejection::Forbidden)));
    let missing = reader.with("database", "patchbay_none").probe().await;
    assert!(matches!(missing, Err(Failure::Transient { .. })), "{missing:?}");
    let nobody = place.live.with("username", "patchbay_none").probe().await;
    assert_eq!(nobody, Err(Failure::Rejected(Rejection::Unauthorized)));
    let not_by_tls = place.live.with("tls", "verify-full").probe().await;
    assert!(matches!(not_by_tls, Err(Failure::Transient { .. })), "{not_by_tls:?}");

    place.admin.execute(sqlx::raw_sql(AssertSqlSafe(format!("ALTER ROLE {role} NOLOGIN")))).await.unwrap();
    assert_eq!(reader.probe().await, Err(Failure::Rejected(Rejection::Unauthorized)));
    for gone in [format!("DROP DATABASE {role}"), format!("DROP OWNED BY {role}"), format!("DROP ROLE {role}")] {
        place.admin.execute(sqlx::raw_sql(AssertSqlSafe(gone))).await.unwrap();
    }
    place.gone().await;
}
