//! Databases: each row of the tables, as their own words are told from a session that was asked nothing yet, and from a
//! query.

use std::collections::HashSet;

use super::*;
use crate::provider::classify::database::{
    MYSQL_QUERIES, MYSQL_SESSIONS, POSTGRES_QUERIES, POSTGRES_SESSIONS, SqlFault, mysql_query, mysql_session,
    postgres_query, postgres_session,
};

/// A verdict in a word, or the sentence that people read.
fn said(fault: SqlFault) -> String {
    match fault {
        SqlFault::Failure(failure) => word::<()>(Err(failure)).to_owned(),
        SqlFault::Query(sentence) => sentence,
        SqlFault::TooSlow => "too slow".to_owned(),
    }
}

#[test]
fn who_is_let_in() {
    let postgres = [
        ("28P01", "unauthorized"),
        ("28000", "unauthorized"),
        ("42501", "forbidden"),
        ("53300", "transient"), // too_many_connections
        ("53200", "transient"), // out_of_memory
        ("57P03", "transient"), // cannot_connect_now: starting up
        ("57P01", "transient"), // admin_shutdown
        ("08006", "transient"),
        ("08P01", "transient"),
        ("3D000", "transient"), // no such database: nobody says that it will not come back
        ("XX000", "transient"),
        ("", "transient"),
    ];
    for (code, verdict) in postgres {
        assert_eq!(word::<()>(Err(postgres_session(code))), verdict, "{code}");
    }
    let mysql = [
        (1045, "unauthorized"),
        (1130, "unauthorized"),
        (1698, "unauthorized"),
        (1820, "unauthorized"),
        (1862, "unauthorized"),
        (3118, "unauthorized"),
        (3955, "unauthorized"),
        (4151, "unauthorized"),
        (1044, "forbidden"),
        (1040, "transient"),
        (1129, "transient"),
        (1203, "transient"),
        (1226, "transient"),
        (1049, "transient"), // no such database
        (1105, "transient"),
    ];
    for (number, verdict) in mysql {
        assert_eq!(word::<()>(Err(mysql_session(number))), verdict, "{number}");
    }
    let has_case = |row: &str| postgres.iter().any(|(code, _)| code.starts_with(row));
    assert!(POSTGRES_SESSIONS.iter().all(|(row, _)| has_case(row)));
    assert!(MYSQL_SESSIONS.iter().all(|(row, _)| mysql.iter().any(|(number, _)| number == row)));
}

#[test]
fn what_is_wrong_with_a_query() {
    let postgres = [
        ("42601", "The query is not written in the database's SQL."),
        ("42703", "The query names a column that is not there."),
        ("42P01", "The query names a table that is not there."),
        ("3F000", "The query names a schema that is not there."),
        ("42883", "The query calls a function that is not there, or not with such arguments."),
        ("42704", "The query names something that is not there."),
        ("42702", "The query names a column that could be one of several."),
        ("42803", "The query does not group by a column that it asks for."),
        ("42P20", "The query does not group by a column that it asks for."),
        ("42P02", "The query has a placeholder, which nothing fills in."),
        ("08P01", "The query has a placeholder, which nothing fills in."),
        ("42P18", "The query puts types together that do not go together."),
        ("42804", "The query puts types together that do not go together."),
        ("42846", "The query puts types together that do not go together."),
        ("42501", "The query asks for something that this user may not see."),
        ("42712", "The query does not fit the database."),
        ("25006", "The query writes, and a dataset only reads."),
        ("25001", "The query writes, and a dataset only reads."),
        ("2F002", "The query writes, and a dataset only reads."),
        ("0A000", NOT_A_QUERY),
        ("21000", "The query comes upon a value that it cannot calculate with."),
        ("22012", "The query comes upon a value that it cannot calculate with."),
        ("P0001", "The query was stopped by a rule of the database's own."),
        ("54001", "The query is more than the database can work out."),
        ("57014", "too slow"),
        ("57P01", "transient"),
        ("28P01", "transient"), // another database's, that a function asks
        ("40001", "transient"),
        ("53100", "transient"),
        ("XX000", "transient"),
    ];
    for (code, verdict) in postgres {
        assert_eq!(said(postgres_query(code, None)), verdict, "{code}");
    }
    let covers = |code: &str, row: &str| row == code || row.len() == 2 && code.starts_with(row);
    for (row, _) in POSTGRES_QUERIES {
        assert!(postgres.iter().any(|(code, _)| covers(code, row)), "no case ends with {row}");
    }
    let at = postgres_query("42703", Some(8));
    assert_eq!(said(at), "The query names a column that is not there, at character 8.");
}

#[test]
fn what_is_wrong_with_a_query_by_the_numbers_of_mysql() {
    let sentences = [
        ("The query is not written in the database's SQL.", &[1064, 1065, 1149][..]),
        ("The query names a column that is not there.", &[1054]),
        ("The query names a table that is not there.", &[1146, 1109]),
        ("The query names a schema that is not there.", &[1049]),
        ("The query calls a function that is not there, or not with such arguments.", &[1305, 1630, 1582, 1318]),
        ("The query names a column that could be one of several.", &[1052]),
        ("The query does not group by a column that it asks for.", &[1055, 1111, 1140]),
        ("The query has a placeholder, which nothing fills in.", &[1210]),
        ("The query puts types together that do not go together.", &[1222, 1241, 1267]),
        ("The query asks for something that this user may not see.", &[1044, 1142, 1143, 1227, 1370]),
        ("The query does not fit the database.", &[1060, 1066, 1248]),
        ("The query writes, and a dataset only reads.", &[1290, 1568, 1792]),
        (NOT_A_QUERY, &[1295]),
        ("The query comes upon a value that it cannot calculate with.", &[1242, 1292, 1365, 1411, 1690, 3141, 3143]),
        ("The query was stopped by a rule of the database's own.", &[1644]),
        ("The query is more than the database can work out.", &[1116, 1436]),
        ("too slow", &[1969, 3024]),
        ("transient", &[1045, 1205, 1213, 1317]),
    ];
    for (verdict, numbers) in sentences {
        for number in numbers {
            assert_eq!(said(mysql_query(*number)), verdict, "{number}");
        }
    }
    let has_case = |row: &u16| sentences.iter().any(|(_, numbers)| numbers.contains(row));
    assert!(MYSQL_QUERIES.iter().all(|(row, _)| has_case(row)));
}

#[test]
fn no_row_of_a_database_hides_another() {
    let mut known = HashSet::new();
    assert!(POSTGRES_SESSIONS.iter().all(|(row, _)| known.insert(("session", *row))));
    assert!(POSTGRES_QUERIES.iter().all(|(row, _)| known.insert(("query", *row))));
    let mut known = HashSet::new();
    assert!(MYSQL_SESSIONS.iter().all(|(row, _)| known.insert(("session", *row))));
    assert!(MYSQL_QUERIES.iter().all(|(row, _)| known.insert(("query", *row))));
}

#[test]
fn silence_is_nobody_s_fault() {
    let kinds = [
        sqlx::Error::Io(std::io::Error::other("planted")),
        sqlx::Error::Io(std::io::Error::other(rustls::Error::General("planted".to_owned()))),
        sqlx::Error::Tls("planted".into()),
        sqlx::Error::Configuration("planted".into()),
        sqlx::Error::Protocol("planted".to_owned()),
        sqlx::Error::WorkerCrashed,
    ];
    for error in kinds {
        let session = session_failure(&error);
        let query = query_fault(&error, 0);
        assert!(
            matches!(session, Failure::Transient { .. }) && query == SqlFault::Failure(session.clone()),
            "{error:?}"
        );
        assert!(!format!("{session:?} {query:?}").contains("planted"));
    }
    let distrust = sqlx::Error::Io(std::io::Error::other(rustls::Error::General("planted".to_owned())));
    assert_eq!(session_failure(&distrust), session_failure(&sqlx::Error::Tls("planted".into())));
    assert_ne!(session_failure(&distrust), session_failure(&sqlx::Error::Io(std::io::Error::other("planted"))));
}
