//! DDL written once: `@words` that stand for what a database calls its types.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

/// The words, with what SQLite and PostgreSQL call them.
const WORDS: [(&str, &str, &str); 8] = [
    ("@uuid", "blob", "uuid"),
    ("@time", "text", "timestamptz"),
    ("@json", "text", "jsonb"),
    ("@bytes", "blob", "bytea"),
    ("@bigint", "bigint", "bigint"),
    ("@bool", "boolean", "boolean"),
    // Sort keys compare byte by byte on both, so that pages are alike.
    ("@key", "text COLLATE BINARY", "text COLLATE \"C\""),
    ("@nil_uuid", "x'00'", "'00000000-0000-0000-0000-000000000000'::uuid"),
];

/// Runs `statements`, separated by `;`, in the words of the database at hand.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &str) -> Result<(), DbErr> {
    let sqlite = manager.get_database_backend() == DatabaseBackend::Sqlite;
    let mut ddl = statements.to_owned();
    for (word, in_sqlite, in_postgres) in WORDS {
        ddl = ddl.replace(word, if sqlite { in_sqlite } else { in_postgres });
    }
    manager.get_connection().execute_unprepared(&ddl).await?;
    Ok(())
}
