//! The commands: what they are called, what they take, what they print on stdout.
//!
//! `serve`, `migrate`, `workspace`, `token`, `mail` and `keys` read the same configuration; `demo` brings its own; `schema` and
//! `connectors` need none. Logs go to stderr, so that stdout holds the result and nothing else.

use std::{
    error::Error,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use clap::{Parser, Subcommand};
use patchbay::{
    app, catalogue,
    config::{self, Config, Logging},
    ids::{self, Kind},
    mail,
    vault::{Rotated, Unopened},
};
use serde_json::json;
use uuid::Uuid;

use crate::{logging, signals};

/// Why a command did not do its work, fit to be shown.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Keeps an organisation's data sources plugged in.
#[derive(Debug, Parser)]
#[command(
    name = "patchbay",
    version,
    after_help = "Settings come from patchbay.toml and the environment; see the README."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Default, Subcommand)]
enum Command {
    /// Bring the database up to date and serve (the default)
    #[default]
    Serve,
    /// Try it out: a throw-away database with sample data, and a provider in a sandbox
    Demo,
    /// Bring the database up to date
    Migrate,
    /// Workspaces, the tenants of this server
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Print a bearer token for a person
    Token {
        #[arg(long)]
        email: String,
        /// Which workspace, for someone in several
        #[arg(long, value_name = "ID", value_parser = workspace_id)]
        workspace: Option<Uuid>,
        /// How long the token is valid
        #[arg(long, default_value = "1h", value_parser = lifetime)]
        ttl: TimeDelta,
    },
    /// Reminders by e-mail
    #[command(subcommand)]
    Mail(MailCommand),
    /// The keys that seal what is stored
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print the GraphQL schema
    Schema,
    /// The catalogue of connectors
    #[command(subcommand)]
    Connectors(ConnectorsCommand),
}

#[derive(Debug, Subcommand)]
enum WorkspaceCommand {
    /// Make a workspace and its first ADMIN; prints workspaceId, userId and token (null without PATCHBAY_JWT_SECRET) as
    /// one line of JSON
    Create {
        #[arg(long)]
        name: String,
        #[arg(long)]
        admin_email: String,
        #[arg(long)]
        admin_name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum MailCommand {
    /// Send a letter, to see whether the mail server takes it
    Test {
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        to: String,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Seal with the first of PATCHBAY_ENCRYPTION_KEYS what the others sealed, beside running servers; says which keys may
    /// go. Fails where something is left
    Rotate,
}

#[derive(Debug, Subcommand)]
enum ConnectorsCommand {
    /// Say what is wrong with the connector files of a folder
    Check { dir: PathBuf },
}

/// Runs what the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or_default() {
        Command::Schema => print(app::schema_sdl().trim_end()),
        Command::Connectors(ConnectorsCommand::Check { dir }) => check(&dir),
        Command::Demo => demo(),
        Command::Serve => serve(),
        Command::Migrate => wait_for(app::migrate(configured()?)),
        Command::Workspace(WorkspaceCommand::Create { name, admin_email, admin_name }) => {
            let created = wait_for(app::create_workspace(configured()?, name, admin_email, admin_name))?;
            print(&json!({
                "workspaceId": created.workspace_id,
                "userId": created.user_id,
                "token": created.token,
            }))
        }
        Command::Mail(MailCommand::Test { to }) => {
            wait_for(app::test_mail(configured()?, to.clone()))?;
            print(&format!("sent to {to}"))
        }
        Command::Keys(KeysCommand::Rotate) => report(&wait_for(app::rotate_keys(configured()?))?),
        Command::Token { email, workspace, ttl } => print(&wait_for(app::token(configured()?, email, workspace, ttl))?),
    }
}

fn serve() -> Result<(), Failure> {
    let config = configured()?;
    wait_for(async { app::serve(config, signals::shutdown()?).await })
}

fn demo() -> Result<(), Failure> {
    let variables = config::environment()?;
    logging::install(&Logging::from_variables(&variables)?)?;
    wait_for(async { app::demo(&variables, signals::shutdown()?).await })
}

fn check(dir: &Path) -> Result<(), Failure> {
    let problems = catalogue::check(dir);
    for problem in &problems {
        print(problem)?;
    }
    match problems.len() {
        0 => Ok(()),
        1 => Err("there is 1 problem with these connector files".into()),
        many => Err(format!("there are {many} problems with these connector files").into()),
    }
}

/// Prints what came of a rotation of keys, a line for each key.
fn report(rotated: &Rotated) -> Result<(), Failure> {
    let Some((first, others)) = rotated.keys.split_first() else { return Ok(()) };
    print(&format!("{}: {}, {} of them sealed anew just now", first.name, secrets(first.secrets), rotated.resealed))?;
    for key in others {
        match key.secrets {
            0 => print(&format!("{}: no secrets left; it may go", key.name))?,
            left => print(&format!("{}: {} left; it has to stay", key.name, secrets(left)))?,
        }
    }
    for Unopened { column, row, why } in &rotated.unopened {
        tracing::error!(table = column.table(), column = column.column(), %row, "{why}");
    }
    let left = rotated.unknown + others.iter().map(|key| key.secrets).sum::<u64>();
    match left {
        0 => Ok(()),
        left => Err(format!(
            "{} not sealed with `{}`: they do not open (the log names them), or a server still seals with another key",
            if left == 1 { "1 secret is".to_owned() } else { format!("{left} secrets are") },
            first.name
        )
        .into()),
    }
}

fn secrets(count: u64) -> String {
    if count == 1 { "1 secret".to_owned() } else { format!("{count} secrets") }
}

/// This process's configuration, with the logging that it asks for installed and its warnings logged.
fn configured() -> Result<Config, Failure> {
    let config = Config::load(config::environment()?)?;
    logging::install(&config.logging)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// How much stack each worker has, in bytes: unoptimised futures need more than the usual 2 MiB.
const STACK: usize = 8 << 20;

/// Runs `work` to its end on a runtime of its own.
fn wait_for<T, E: Into<Failure>>(work: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build()?;
    runtime.block_on(work).map_err(Into::into)
}

fn print(result: &(impl std::fmt::Display + ?Sized)) -> Result<(), Failure> {
    writeln!(stdout(), "{result}").map_err(|error| format!("the result could not be printed: {error}").into())
}

fn workspace_id(text: &str) -> Result<Uuid, String> {
    ids::decode(Kind::Workspace, text).ok_or_else(|| "not a workspace's id; it begins with workspace_".to_owned())
}

fn address(text: &str) -> Result<String, String> {
    if mail::is_address(text) { Ok(text.to_owned()) } else { Err("not an e-mail address".to_owned()) }
}

/// How long a token may live.
const SHORTEST_TOKEN: TimeDelta = TimeDelta::seconds(1);
const LONGEST_TOKEN: TimeDelta = TimeDelta::days(3_653);

fn lifetime(text: &str) -> Result<TimeDelta, String> {
    let span = humantime::parse_duration(text).ok().and_then(|span| TimeDelta::from_std(span).ok());
    let span = span.ok_or_else(|| "not a span of time; write for example 30s, 1h or 90d".to_owned())?;
    if (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&span) {
        Ok(span)
    } else {
        Err("must be between 1s and 10y".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_well_formed_and_serves_unless_told_otherwise() {
        Cli::command().debug_assert();
        assert!(matches!(parse("patchbay").unwrap().command.unwrap_or_default(), Command::Serve));
    }

    #[test]
    fn a_token_lasts_an_hour_unless_told_otherwise() {
        let ttl = |line: &str| match parse(line).unwrap().command {
            Some(Command::Token { ttl, .. }) => ttl,
            other => panic!("{other:?}"),
        };
        assert_eq!(ttl("patchbay token --email a@b.example"), TimeDelta::hours(1));
        assert_eq!(ttl("patchbay token --email a@b.example --ttl 3s"), TimeDelta::seconds(3));
    }

    #[test]
    fn what_is_no_workspace_or_no_lifetime_is_refused_by_the_command_line() {
        for wrong in [
            "--ttl soon",
            "--ttl 0s",
            "--ttl 11y",
            "--ttl 500000000000y",
            "--ttl 1",
            "--workspace acme",
            "--workspace user_01h455vb4pex5vsknk084sn02q",
        ] {
            let refused = parse(&format!("patchbay token --email a@b.example {wrong}")).unwrap_err();
            assert_eq!(refused.kind(), clap::error::ErrorKind::ValueValidation, "{wrong}");
        }
    }
}
