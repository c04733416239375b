//! Logs go to stderr, as text or JSON, one event a line whatever a name in it holds.

use std::{fmt, io::stderr};

use patchbay::config::{LogFormat, Logging};
use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::{MakeWriter, format},
};

use crate::commands::Failure;

/// At each start PostgreSQL remarks that the tables are there, and people's own databases may remark what they like.
const QUIETER: &str = "sqlx::postgres::notice=off";

/// Installs the process's logging; once.
pub(crate) fn install(logging: &Logging) -> Result<(), Failure> {
    tracing::subscriber::set_global_default(subscriber(logging, stderr)?)?;
    Ok(())
}

fn subscriber<W>(logging: &Logging, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, Failure>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(format!("{QUIETER},{}", logging.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match logging.format {
        // The innermost span is enough: a request's has its id, and JSON repeats them all otherwise.
        LogFormat::Json => Box::new(builder.json().with_span_list(false).finish()),
        LogFormat::Text => {
            let fields = format::debug_fn(write_field).delimited(" ");
            Box::new(builder.with_ansi(false).fmt_fields(fields).finish())
        }
    })
}

/// Writes a field with its control characters escaped: a name cannot forge a line, nor paint the terminal.
fn write_field(writer: &mut format::Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    for character in format!("{value:?}").chars() {
        if character.is_control() {
            write!(writer, "{}", character.escape_default())?;
        } else {
            writer.write_char(character)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes.
    fn logged(filter: &str, format: LogFormat, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let logging = Logging { filter: filter.to_owned(), format };
        let subscriber = subscriber(&logging, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_name_cannot_forge_a_line_or_paint_the_terminal() {
        let name = "Acme\n2026 ERROR forged \u{1b}[31m\r";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged("info", format, || tracing::info!(client = %name, "renamed {name}"));
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("Acme\\n2026 ERROR forged"), "{text}");
            assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text}");
        }
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let log = || {
            tracing::info!("quiet");
            tracing::warn!(count = 2, "loud");
        };
        let text = logged("warn", LogFormat::Text, log);
        assert!(text.contains("loud count=2") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn json_is_one_object_an_event() {
        let text = logged("info", LogFormat::Json, || tracing::info!(count = 2, "told"));
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["fields"]["message"], "told");
        assert_eq!(event["fields"]["count"], 2);
    }
}
