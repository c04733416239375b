//! MySQL or MariaDB, where `PATCHBAY_TEST_MYSQL` names one (`mysql://root:…@127.0.0.1:3306/`): as its administrator, in a
//! database of each test's own.

use sqlx::{Executor, MySqlConnection, mysql::MySqlConnectOptions};

use super::*;
use crate::provider::Rejection;

/// A database with a table and what might write to it.
struct Place {
    live: Live,
    admin: MySqlConnection,
    database: String,
}

impl Place {
    async fn new() -> Option<Self> {
        let (live, url) = Live::named_by("PATCHBAY_TEST_MYSQL", Driver::MySql)?;
        let mut admin = MySqlConnectOptions::from_url(&url).unwrap().connect().await.unwrap();
        let database = format!("patchbay_sql_{:016x}", rand::random::<u64>());
        for made in [
            "CREATE DATABASE @",
            "USE @",
            "CREATE TABLE sales (id int PRIMARY KEY, amount decimal(65, 30)) ENGINE = InnoDB",
            "INSERT INTO sales VALUES (1, 1.10), (2, 2.20), (3, NULL)",
            "CREATE FUNCTION deletes() RETURNS int DETERMINISTIC MODIFIES SQL DATA
                BEGIN DELETE FROM sales; RETURN 1; END",
            "CREATE PROCEDURE pays() BEGIN DELETE FROM sales; SELECT 1; END",
        ] {
            let made = made.replace('@', &database);
            admin.execute(sqlx::raw_sql(AssertSqlSafe(made))).await.unwrap();
        }
        let live = live.with("database", &database);
        Some(Self { live, admin, database })
    }

    async fn count(&mut self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.admin).await.unwrap()
    }

    async fn does(&mut self, statement: String) {
        self.admin.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
    }

    async fn gone(mut self) {
        self.does(format!("DROP DATABASE {}", self.database)).await;
    }
}

#[tokio::test]
async fn every_type_is_read_with_all_that_it_says() {
    let Some(mut place) = Place::new().await else { return };
    place
        .does(
            "CREATE TABLE kinds (
                tiny tinyint, flag boolean, small smallint unsigned, wide bigint, widest bigint unsigned,
                one float, two double, exact decimal(65, 30), day date, never date, span time(3), at datetime(6),
                stamp timestamp NULL, year year, bits bit(10), name varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
                latin varchar(20) CHARACTER SET latin1, raw varbinary(4), long_raw blob, mood enum('well', 'so so'),
                several set('a', 'b'), nothing int)"
                .to_owned(),
        )
        .await;
    place.does("SET sql_mode = '', time_zone = '+00:00'".to_owned()).await;
    place
        .does(
            "INSERT INTO kinds VALUES (-128, 1, 65535, -9223372036854775808, 18446744073709551615, 0.1, 0.1,
                1234567890123456789012345678901234.123456789012345678901234567890, '2026-01-31', '0000-00-00',
                '-838:59:58.999', '2026-01-31 12:34:56.000001', '2026-01-31 12:34:56', 2026, b'1000000001', 'é😀', 'é',
                x'00ff', x'00ff', 'so so', 'a,b', NULL)"
                .to_owned(),
        )
        .await;
    let row = place.live.rows("SELECT * FROM kinds").await.concat();
    assert_eq!(
        row,
        "{\"tiny\":-128,\"flag\":1,\"small\":65535,\"wide\":-9223372036854775808,\
            \"widest\":18446744073709551615,\"one\":0.1,\"two\":0.1,\
            \"exact\":\"1234567890123456789012345678901234.123456789012345678901234567890\",\
            \"day\":\"2026-01-31\",\"never\":null,\"span\":\"-838:59:58.999000\",\
            \"at\":\"2026-01-31T12:34:56.000001\",\"stamp\":\"2026-01-31T12:34:56Z\",\"year\":2026,\"bits\":513,\
            \"name\":\"é😀\",\"latin\":\"é\",\"raw\":\"AP8=\",\"long_raw\":\"AP8=\",\"mood\":\"so so\",\
            \"several\":\"a,b\",\"nothing\":null}"
    );
    place.gone().await;
}

#[tokio::test]
async fn nothing_writes() {
    let Some(mut place) = Place::new().await else { return };
    for query in [
        "SELECT deletes()",
        "SELECT 1; DELETE FROM sales",
        "SELECT 1 /*! ; DELETE FROM sales */",
        "SELECT * FROM sales INTO OUTFILE '/tmp/patchbay_sql_planted'",
        "SELECT 1 /*! INTO OUTFILE '/tmp/patchbay_sql_planted' */",
        "SELECT 1 INTO @planted",
        "WITH a AS (SELECT 1) DELETE FROM sales",
        "SELECT deletes() FROM sales WHERE id = (SELECT 1)",
    ] {
        let sentence = place.live.fault(query).await;
        assert!(sentence.ends_with('.') && !sentence.contains("planted"), "{query}: {sentence}");
    }
    assert_eq!(place.count("SELECT count(*) FROM sales").await, 3);
    place.gone().await;
}

#[tokio::test]
async fn what_is_too_much_stops_at_the_limit() {
    let Some(mut place) = Place::new().await else { return };
    let live = &place.live;
    let endless = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
        SELECT a.i FROM n a JOIN n b JOIN n c";
    assert!(live.too_much(endless, RowLimits { rows: 1500, ..LIMITS }).await.contains("more than 1500 rows"));
    let bytes = RowLimits { bytes: 5000, ..LIMITS };
    assert!(
        live.too_much("SELECT repeat('x', 3000) AS a UNION ALL SELECT repeat('y', 3000)", bytes).await.contains("5000")
    );
    assert!(live.too_much("SELECT repeat('x', 8000000) AS a", bytes).await.contains("5000"), "one large value");

    let time = RowLimits { time: Duration::from_millis(400), ..LIMITS };
    for query in [
        "SELECT count(*) FROM information_schema.columns a JOIN information_schema.columns b
            JOIN information_schema.columns c JOIN information_schema.columns d",
        "SELECT /*+ MAX_EXECUTION_TIME(0) */ SLEEP(60)",
        "SELECT SLEEP(60) FROM sales",
    ] {
        match live.read(query, &time).await {
            Err(NoRows::TooMuch(sentence)) => assert!(sentence.contains("0.4 seconds"), "{sentence}"),
            // MySQL wakes a sleeper and goes on, to an answer that says so.
            Ok(rows) => assert!(rows.rows.iter().all(|row| row.get().contains(":1}")), "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }
    let left =
        "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> connection_id()";
    assert_eq!(place.count(left).await, 0, "nothing runs on");
    place.gone().await;
}

#[tokio::test]
async fn a_session_that_would_run_on_is_ended_from_another() {
    let Some(mut place) = Place::new().await else { return };
    let outbound = place.live.provider.outbound.clone();
    let target = Target::of(Driver::MySql, &place.live.credential).unwrap();
    let way = Way::open(&outbound, &target, 1000).await.unwrap();
    let session = super::super::mysql::Session::begin(&target, &way).await.unwrap();
    let id: u64 = session.id();
    session.kill(&outbound, &target).await.unwrap();
    let left = format!("SELECT count(*) FROM information_schema.processlist WHERE id = {id} AND command <> 'Killed'");
    assert_eq!(place.count(&left).await, 0);
    place.gone().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said_without_a_word_of_it() {
    let Some(place) = Place::new().await else { return };
    for (query, sentence) in [
        ("SELECT planted FROM sales", "The query names a column that is not there."),
        ("SELECT 1 FROM planted", "The query names a table that is not there."),
        ("SELECT planted()", "The query calls a function that is not there, or not with such arguments."),
        ("SELECT 1 planted planted", "The query is not written in the database's SQL."),
        ("SELECT ? AS planted", "The query has a placeholder, which nothing fills in."),
        ("SELECT 1 AS a, 2 AS a", "Two columns of the query have the same name: give one of them another with AS."),
        ("SELECT (SELECT id FROM sales) AS planted", "The query comes upon a value that it cannot calculate with."),
    ] {
        assert_eq!(place.live.fault(query).await, sentence, "{query}");
    }
    let none = place.live.read("SELECT id, amount FROM sales WHERE id < 0", &LIMITS).await.unwrap();
    assert_eq!((none.columns, none.rows.len()), (vec!["id".to_owned(), "amount".to_owned()], 0));
    assert_eq!(place.live.rows("# all\n(SELECT * FROM sales LIMIT 1)").await.len(), 1);
    place.gone().await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_from_what_is_not_there() {
    let Some(mut place) = Place::new().await else { return };
    assert_eq!(place.live.probe().await, Ok(()));
    let user = format!("u{:016x}", rand::random::<u64>());
    place.does(format!("CREATE USER {user}@'%' IDENTIFIED BY 'first'")).await;
    place.does(format!("GRANT SELECT (id) ON {}.sales TO {user}@'%'", place.database)).await;
    let reader = place.live.with("username", &user).with("password", "first");
    assert_eq!(reader.probe().await, Ok(()));
    let denied = reader.fault("SELECT amount FROM sales").await;
    assert_eq!(denied, "The query asks for something that this user may not see.");
    let elsewhere = reader.with("database", "mysql").probe().await;
    assert_eq!(elsewhere, Err(Failure::Rejected(Rejection::Forbidden)));
    let missing = place.live.with("database", "patchbay_none").probe().await;
    assert!(matches!(missing, Err(Failure::Transient { .. })), "{missing:?}");
    let not_known = place.live.with("tls", "verify-full").probe().await;
    assert!(matches!(not_known, Err(Failure::Transient { .. })), "{not_known:?}");

    place.does(format!("ALTER USER {user}@'%' IDENTIFIED BY 'second'")).await;
    let refused = Err(Failure::Rejected(Rejection::Unauthorized));
    assert_eq!(reader.probe().await, refused);
    assert_eq!(reader.with("password", "second").probe().await, Ok(()));
    place.does(format!("ALTER USER {user}@'%' ACCOUNT LOCK")).await;
    assert_eq!(reader.with("password", "second").probe().await, refused);
    place.does(format!("DROP USER {user}@'%'")).await;
    assert_eq!(reader.probe().await, refused);
    place.gone().await;
}
