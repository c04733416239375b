//! What is in a database, asked of the database itself: tables, columns, rows.

use std::collections::{BTreeMap, BTreeSet};

use patchbay::db::Db;
use sea_orm::{ConnectionTrait, QueryResult};

/// A column as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    pub table: String,
    pub name: String,
    pub nullable: bool,
}

/// The names of all tables, the migrator's own left out.
pub async fn names(db: &Db) -> BTreeSet<String> {
    let sql = if db.is_sqlite() {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    } else {
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema()"
    };
    let names = all(db, sql).await.into_iter().map(|row| row.try_get("", "name").unwrap());
    names.filter(|name| name != "seaql_migrations").collect()
}

/// Every column of every table.
pub async fn columns(db: &Db) -> BTreeSet<Column> {
    let mut columns = BTreeSet::new();
    for table in names(db).await {
        let sql = if db.is_sqlite() {
            format!("SELECT name, \"notnull\" = 0 AS nullable FROM pragma_table_info('{table}')")
        } else {
            format!(
                "SELECT column_name AS name, is_nullable = 'YES' AS nullable FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = '{table}'"
            )
        };
        for row in all(db, &sql).await {
            let (name, nullable) = (row.try_get("", "name").unwrap(), row.try_get("", "nullable").unwrap());
            columns.insert(Column { table: table.clone(), name, nullable });
        }
    }
    columns
}

/// How many rows each table has.
pub async fn counts(db: &Db) -> BTreeMap<String, i64> {
    let tables = names(db).await;
    let counts = tables.iter().map(|table| format!("SELECT '{table}' AS name, count(*) AS n FROM \"{table}\""));
    let rows = all(db, &counts.collect::<Vec<_>>().join(" UNION ALL ")).await;
    rows.into_iter().map(|row| (row.try_get("", "name").unwrap(), row.try_get("", "n").unwrap())).collect()
}

/// A row: its columns by name, each as the database writes it as text.
pub type Row = BTreeMap<String, Option<String>>;

/// Every row of every table, in no order that means anything.
pub async fn rows(db: &Db) -> BTreeMap<String, BTreeSet<Row>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in columns(db).await {
        tables.entry(column.table).or_default().push(column.name);
    }
    let mut rows = BTreeMap::new();
    for (table, columns) in tables {
        // SQLite writes bytes as text only with `quote`.
        let shown = columns.iter().map(|name| match db.is_sqlite() {
            true => format!("quote(\"{name}\") AS \"{name}\""),
            false => format!("\"{name}\"::text AS \"{name}\""),
        });
        let sql = format!("SELECT {} FROM \"{table}\"", shown.collect::<Vec<_>>().join(", "));
        let row = |row: QueryResult| {
            columns.iter().map(|name| (name.clone(), row.try_get("", name).unwrap())).collect::<Row>()
        };
        rows.insert(table, all(db, &sql).await.into_iter().map(row).collect());
    }
    rows
}

/// Every row of every table of a PostgreSQL database, as text; bytes in hexadecimal.
pub async fn dump(db: &Db) -> String {
    let mut dump = String::new();
    for table in names(db).await {
        for row in all(db, &format!("SELECT t::text AS line FROM \"{table}\" t")).await {
            let line: String = row.try_get("", "line").unwrap();
            dump.push_str(&line);
            dump.push('\n');
        }
    }
    dump
}

async fn all(db: &Db, sql: &str) -> Vec<QueryResult> {
    use sea_orm::{DatabaseBackend, Statement};
    let backend = if db.is_sqlite() { DatabaseBackend::Sqlite } else { DatabaseBackend::Postgres };
    db.reader().query_all_raw(Statement::from_string(backend, sql)).await.unwrap()
}
