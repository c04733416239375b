//! The migrations: the same tables for SQLite and PostgreSQL, in explicit DDL, so that history never drifts with the
//! entities. `dialect.rs` holds the few words in which the two databases differ.

pub use sea_orm_migration::prelude::*;

mod dialect;
mod m20261123_000001_main_job;
mod m20261127_000002_api_keys;
mod m20261127_000003_bindings;
mod m20261127_000004_kept_answers;
mod m20261127_000005_noticing;
mod m20261127_000006_datasets;
mod m20261127_000007_reminders_and_links;
mod m20261130_000010_kept_answer_owner;
mod m20261130_000050_plans;
mod m20261130_000060_retention;
mod m20261201_000070_give_back;
mod m20261201_000080_counts;
mod m20261201_000085_api_key_parent;
mod m20261201_000090_open_counts;
mod m20261201_000100_unverified;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_main_job::Migration),
            Box::new(m20261127_000002_api_keys::Migration),
            Box::new(m20261127_000003_bindings::Migration),
            Box::new(m20261127_000004_kept_answers::Migration),
            Box::new(m20261127_000005_noticing::Migration),
            Box::new(m20261127_000006_datasets::Migration),
            Box::new(m20261127_000007_reminders_and_links::Migration),
            Box::new(m20261130_000010_kept_answer_owner::Migration),
            Box::new(m20261130_000050_plans::Migration),
            Box::new(m20261130_000060_retention::Migration),
            Box::new(m20261201_000070_give_back::Migration),
            Box::new(m20261201_000080_counts::Migration),
            Box::new(m20261201_000085_api_key_parent::Migration),
            Box::new(m20261201_000090_open_counts::Migration),
            Box::new(m20261201_000100_unverified::Migration),
        ]
    }
}
