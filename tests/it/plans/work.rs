//! How much of the database a statement looks at, on tables that are filled: it is run once more, and its work counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, Statement,
    sqlx::{postgres::PgPoolOptions, sqlite::SqlitePoolOptions},
};
use serde_json::Value;

/// Instructions between two counts.
const STEP: u64 = 50;
/// How many instructions of SQLite's machine a statement may take that reads one page of a list, or finds what is due:
/// a look at each row of a filled table takes several times as many.
const MOST_INSTRUCTIONS: u64 = 20_000;
/// How many rows a statement may look at on PostgreSQL.
const MOST_ROWS: f64 = 1_500.0;

/// One handle beside the server's own.
pub struct Scales {
    db: DatabaseConnection,
    instructions: Arc<AtomicU64>,
}

impl Scales {
    pub async fn new(url: &str) -> Self {
        let instructions = Arc::new(AtomicU64::new(0));
        if !url.starts_with("sqlite:") {
            let pool = PgPoolOptions::new().max_connections(1).connect(url).await.unwrap();
            let db: DatabaseConnection = pool.into();
            // As for a table that is too large to be read as a whole: these are not, and a disk that seeks is far away.
            db.execute_unprepared("SET random_page_cost = 1.1").await.unwrap();
            return Self { db, instructions };
        }
        let counted = instructions.clone();
        let options = SqlitePoolOptions::new().max_connections(1).after_connect(move |handle, _| {
            let counted = counted.clone();
            Box::pin(async move {
                let count = move || counted.fetch_add(STEP, Ordering::Relaxed) < u64::MAX;
                handle.lock_handle().await?.set_progress_handler(i32::try_from(STEP).unwrap(), count);
                Ok(())
            })
        });
        let db: DatabaseConnection = options.connect(url).await.unwrap().into();
        // The first statement of a handle reads the schema.
        db.execute_unprepared("SELECT * FROM workspace").await.unwrap();
        Self { db, instructions }
    }

    /// What is wrong with a statement; none where it looks at few rows. What it writes is taken back.
    pub async fn weigh(&self, statement: &Statement) -> Option<String> {
        self.db.execute_unprepared("BEGIN").await.unwrap();
        let flaw = match self.db.get_database_backend() {
            DatabaseBackend::Sqlite => self.weigh_on_sqlite(statement).await,
            _ => self.weigh_on_postgres(statement).await,
        };
        self.db.execute_unprepared("ROLLBACK").await.unwrap();
        flaw
    }

    async fn weigh_on_sqlite(&self, statement: &Statement) -> Option<String> {
        let before = self.instructions.load(Ordering::Relaxed);
        self.db.query_all_raw(statement.clone()).await.unwrap();
        let taken = self.instructions.load(Ordering::Relaxed) - before;
        if taken <= MOST_INSTRUCTIONS {
            return None;
        }
        let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {}", statement.sql), ..statement.clone() };
        let plan = self.db.query_all_raw(explain).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.try_get("", "detail").unwrap()).collect();
        Some(format!("{taken} instructions\n{statement}\n    {}", steps.join("\n    ")))
    }

    async fn weigh_on_postgres(&self, statement: &Statement) -> Option<String> {
        let sql = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {}", statement.sql);
        let plan = self.db.query_one_raw(Statement { sql, ..statement.clone() }).await.unwrap().unwrap();
        let plan: Value = plan.try_get("", "QUERY PLAN").unwrap();
        let plan = &plan[0]["Plan"];
        let rows = rows_looked_at(plan);
        (rows > MOST_ROWS).then(|| format!("{rows} rows\n{statement}\n{}", told(plan, 1)))
    }
}

fn number(plan: &Value, name: &str) -> f64 {
    plan[name].as_f64().unwrap_or_default()
}

/// What it reads of tables and indices, and what it sorts.
fn rows_looked_at(plan: &Value) -> f64 {
    let below = plan["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    let kept = number(plan, "Actual Rows");
    let dropped = number(plan, "Rows Removed by Filter") + number(plan, "Rows Removed by Index Recheck");
    let here = match plan["Node Type"].as_str().unwrap_or_default() {
        kind if kind.contains("Scan") && !kind.starts_with("Subquery") => kept + dropped,
        _ => 0.0,
    };
    here * number(plan, "Actual Loops").max(1.0) + below.iter().map(rows_looked_at).sum::<f64>()
}

fn told(plan: &Value, depth: usize) -> String {
    let below = plan["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |name: &str| plan[name].as_str().unwrap_or_default();
    let line = format!(
        "{}{} {}{} rows {} dropped {} loops {} {}{}\n",
        "    ".repeat(depth),
        of("Node Type"),
        of("Relation Name"),
        if of("Index Name").is_empty() { String::new() } else { format!(" by {}", of("Index Name")) },
        plan["Actual Rows"],
        plan["Rows Removed by Filter"],
        plan["Actual Loops"],
        of("Index Cond"),
        of("Filter"),
    );
    line + &below.iter().map(|plan| told(plan, depth + 1)).collect::<String>()
}
