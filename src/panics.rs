//! What becomes of a panic, which is always a bug: its place is reported, and what it says only where that stands so in
//! the source. A message that was put together may quote a value (`unwrap` shows what it found), and a value may be a
//! secret.
//!
//! That a panic ends its own operation and no other is the transports' concern.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{Write, stderr},
    panic::PanicHookInfo,
};

/// Replaces the standard report, which prints everything.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|panic| {
        let (said, backtrace) = (describe(panic), Backtrace::capture());
        let frames = match backtrace.status() {
            BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        if tracing::dispatcher::has_been_set() {
            tracing::error!("{said}{frames}");
        } else {
            // Where stderr is closed, the exit code has to do.
            let _ = writeln!(stderr(), "patchbay: {said}{frames}");
        }
    }));
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    match panic.payload().downcast_ref::<&'static str>() {
        Some(constant) => format!("panicked at {place}: {constant}"),
        None => format!("panicked at {place}; what it said is withheld, since it may hold a secret"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{UnwindSafe, catch_unwind, set_hook, take_hook},
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What is reported of the panic in `work`. One test at a time: there is one hook.
    fn reported(work: impl FnOnce() + UnwindSafe) -> String {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock();
        let said = Arc::new(Mutex::new(String::new()));
        let (usual, heard) = (take_hook(), said.clone());
        let here = std::thread::current().id();
        set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                *heard.lock().unwrap() = describe(panic);
            }
        }));
        let panicked = catch_unwind(work);
        set_hook(usual);
        assert!(panicked.is_err());
        Arc::into_inner(said).unwrap().into_inner().unwrap()
    }

    #[test]
    fn the_place_is_reported_and_no_value() {
        let (secret, found) = ("hunter2".to_owned(), Err::<(), _>("hunter2".to_owned()));
        for said in [reported(move || panic!("the key is {secret}")), reported(move || found.unwrap())] {
            assert!(said.contains(file!()) && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn what_stands_in_the_source_is_reported() {
        assert!(reported(|| panic!("nobody can get here")).ends_with(": nobody can get here"));
        assert!(reported(|| assert!(std::hint::black_box(false), "never")).ends_with(": never"));
    }
}
