//! What a statement has to be before it is sent at all: one that plainly asks for rows.
//!
//! This is for the sake of a clear answer, and of MySQL, where some statements that give rows also do something (`CALL`,
//! `ANALYZE TABLE`) or end the transaction that keeps them from writing. What hides behind the first word the databases see
//! better, and refuse.

use super::super::NoRows;
use crate::catalogue::Driver;

/// The words that a query may begin with. A bracket before them is skipped.
const FIRST_WORDS: [&str; 4] = ["select", "with", "values", "table"];

/// Refuses what is not one query that reads, as far as that can be seen from here.
pub(super) fn check(driver: Driver, sql: &str) -> Result<(), NoRows> {
    if sql.contains('\0') {
        return Err(NoRows::Query("The query holds a character that no query may hold.".to_owned()));
    }
    let begins_well = FIRST_WORDS.iter().any(|word| first_word(driver, sql).eq_ignore_ascii_case(word));
    if begins_well {
        return Ok(());
    }
    Err(NoRows::Query(
        "A dataset asks one query that only reads: it begins with SELECT, WITH, VALUES or TABLE.".to_owned(),
    ))
}

/// The first word behind comments and brackets; empty where something else stands there.
fn first_word(driver: Driver, sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        match after_comment(driver, rest) {
            Some(after) => rest = after,
            None => break,
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    &rest[..end]
}

/// What follows the comment that `sql` begins with; none where it begins with none, or the comment does not end.
fn after_comment(driver: Driver, sql: &str) -> Option<&str> {
    let line = |text: &'_ str| text.find('\n').map(|end| end + 1);
    match driver {
        // https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-COMMENTS
        Driver::Postgres if sql.starts_with("--") => sql.get(line(sql)?..),
        Driver::Postgres if sql.starts_with("/*") => after_nested(sql),
        // https://dev.mysql.com/doc/refman/8.4/en/comments.html: what is in `/*! … */` is run, and so it is in MariaDB's `/*M! … */`.
        Driver::MySql if sql.starts_with("/*!") || sql.starts_with("/*M!") => None,
        Driver::MySql if sql.starts_with("/*") => {
            sql.find("*/").and_then(|end| sql.get(end + 2..)).filter(|_| !sql.starts_with("/*/"))
        }
        Driver::MySql if sql.starts_with('#') => sql.get(line(sql)?..),
        Driver::MySql if sql.strip_prefix("--").is_some_and(|rest| rest.starts_with(char::is_whitespace)) => {
            sql.get(line(sql)?..)
        }
        Driver::Postgres | Driver::MySql => None,
    }
}

/// PostgreSQL's comments may hold others.
fn after_nested(sql: &str) -> Option<&str> {
    let (mut depth, mut rest) = (0_usize, sql);
    loop {
        if let Some(inner) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, inner);
        } else if let Some(outer) = rest.strip_prefix("*/") {
            (depth, rest) = (depth - 1, outer);
            if depth == 0 {
                return Some(rest);
            }
        } else {
            let mut characters = rest.chars();
            characters.next()?;
            rest = characters.as_str();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(driver: Driver, sql: &str) -> bool {
        check(driver, sql).is_ok()
    }

    #[test]
    fn queries_pass_whatever_comments_stand_before_them() {
        for sql in [
            "select 1",
            "  SELECT 1;",
            "With a AS (SELECT 1) SELECT * FROM a",
            "VALUES (1)",
            "TABLE sales",
            "((SELECT 1) UNION (SELECT 2))",
            "/* a */ ( /* b */ SELECT 1)",
            "-- a\r\n-- b\nSELECT 1",
        ] {
            assert!(passes(Driver::Postgres, sql) && passes(Driver::MySql, sql), "{sql}");
        }
        assert!(passes(Driver::Postgres, "/* a /* b */ c */SELECT 1"));
        assert!(passes(Driver::Postgres, "--a\nSELECT 1"));
        assert!(passes(Driver::MySql, "# a\nSELECT 1"));
    }

    #[test]
    fn whatever_else_a_statement_begins_with_is_refused_before_it_is_sent() {
        for sql in [
            "",
            " ",
            ";SELECT 1",
            "DELETE FROM sales",
            "SELECTED",
            "SELECT_1",
            "selec\u{0442} 1",
            "INSERT INTO sales VALUES (1) RETURNING *",
            "CALL pay()",
            "DO $$ BEGIN END $$",
            "COPY sales TO PROGRAM 'sh'",
            "SET default_transaction_read_only = off",
            "SET STATEMENT max_statement_time = 0 FOR SELECT 1",
            "COMMIT; DELETE FROM sales",
            "EXPLAIN ANALYZE DELETE FROM sales",
            "SHOW TABLES",
            "PREPARE a AS SELECT 1",
            "/* SELECT 1",
            "-- SELECT 1",
            "/*/ SELECT 1",
            "SELECT '\0'",
        ] {
            assert!(!passes(Driver::Postgres, sql) && !passes(Driver::MySql, sql), "{sql}");
        }
        for sql in ["/*! DELETE FROM sales */", "/*!50000 SELECT */ 1", "/*M! SELECT */ 1", "--a\nSELECT 1"] {
            assert!(!passes(Driver::MySql, sql), "{sql}");
        }
        assert!(!passes(Driver::Postgres, "# a\nSELECT 1"));
        assert!(!passes(Driver::Postgres, "/* a /* b */ SELECT 1"));
    }
}
