//! Letters to a mail server: the command that tries it, and what becomes of a letter when the server has its moods.

use std::process::Output;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{TimeZone, Utc};
use patchbay::{
    mail::{Letter, Mailer, Unsent},
    tasks::Tasks,
};
use uuid::Uuid;

use crate::harness::{
    JWT_SECRET, KEYS,
    mail::{Fault, MAIL_FROM, MailServer},
};

/// Runs `patchbay mail test --to TO` with `settings` and nothing else in its environment, in an empty folder.
async fn mail_test(to: &str, settings: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_patchbay"));
    command.args(["mail", "test", "--to", to]).current_dir(folder.path()).env_clear();
    command.envs([("PATCHBAY_ENCRYPTION_KEYS", KEYS), ("PATCHBAY_JWT_SECRET", JWT_SECRET)]);
    let output = command.envs(settings.iter().copied()).output().await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it needs no database");
    output
}

/// Exit code, stdout and stderr.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn letter(mailer: &Mailer) -> Letter {
    Letter {
        message_id: mailer.message_id(Uuid::from_u128(7)),
        to_name: "Ada".to_owned(),
        to_email: "ada@agency.example".to_owned(),
        subject: "Grüße".to_owned(),
        text: ".\n..\nAll is well — .\n".to_owned(),
        html: "<p>All is well</p>".to_owned(),
        at: Utc.with_ymd_and_hms(2026, 3, 2, 7, 0, 0).unwrap(),
        unsubscribe: None,
    }
}

fn mailer(server: &MailServer) -> Mailer {
    Mailer::new(&server.url().into(), MAIL_FROM, Tasks::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_sends_a_letter_and_says_so() {
    let server = MailServer::for_user("ada@agency.example", "PLANTED: a/b?").await;
    let more = [("PATCHBAY_PUBLIC_URL", "https://patchbay.lighthouse.example"), ("PATCHBAY_LOG", "trace")];
    let settings = server.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (&**name, &**value)).chain(more).collect();
    let (code, stdout, stderr) = said(&mail_test("bert@client.example", &settings).await);
    assert_eq!((code, stdout.as_str()), (Some(0), "sent to bert@client.example\n"), "{stderr}");
    let hidden = STANDARD.encode("\0ada@agency.example\0PLANTED: a/b?");
    assert!(!stderr.contains("PLANTED") && !stderr.contains(&hidden), "{stderr}");

    let letter = server.next_letter().await;
    assert_eq!(
        (letter.from.as_str(), &*letter.to),
        ("patchbay@lighthouse.example", &["bert@client.example".to_owned()][..])
    );
    assert_eq!(letter.header("From"), Some(MAIL_FROM));
    assert_eq!(letter.header("To"), Some("bert@client.example"));
    assert_eq!(letter.header("Auto-Submitted"), Some("auto-generated"));
    for part in [&letter.text, &letter.html] {
        assert!(part.contains("This is a test: Patchbay can send mail."), "{part}");
        assert!(part.contains("https://patchbay.lighthouse.example"), "{part}");
    }
    assert!(!letter.raw.contains("PLANTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_repeats_why_the_mail_server_refuses() {
    let server = MailServer::for_user("ada", "right").await;
    let tries = async |url: &str| {
        let settings = [("PATCHBAY_SMTP_URL", url), ("PATCHBAY_MAIL_FROM", MAIL_FROM)];
        let (code, stdout, stderr) = said(&mail_test("bert@client.example", &settings).await);
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        stderr
    };
    server.fail_next(Fault::Recipient("550 5.1.1 there is nobody of that name"));
    let refusal = "patchbay: the letter was not sent: 550 5.1.1 there is nobody of that name\n";
    assert_eq!(tries(&server.url()).await, refusal);

    let url = server.url().replace("right", "PLANTED");
    assert_eq!(tries(&url).await, "patchbay: the letter was not sent: 535 5.7.8 wrong user or password\n");

    drop(server);
    let stderr = tries(&url).await;
    let beginning = "patchbay: the letter was not sent: the mail server cannot be used: Connection refused";
    assert!(stderr.starts_with(beginning) && !stderr.contains("PLANTED"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_or_with_a_bad_one_the_command_says_what_to_set() {
    for (url, from, setting, what) in [
        ("", "", "PATCHBAY_SMTP_URL", "not set, so no mail is sent; set it to your mail server"),
        ("", "PLANTED@b.example", "PATCHBAY_SMTP_URL", "not set, and it goes with PATCHBAY_MAIL_FROM"),
        ("smtp://a:PLANTED@b", "", "PATCHBAY_MAIL_FROM", "not set, and it goes with PATCHBAY_SMTP_URL"),
        ("http://a:PLANTED@b", "a@b.example", "PATCHBAY_SMTP_URL", "must be smtp://HOST"),
        ("smtp://PLANTED@b", "a@b.example", "PATCHBAY_SMTP_URL", "a user goes with a password"),
        ("smtp://b?tls=PLANTED", "a@b.example", "PATCHBAY_SMTP_URL", "tls= must be none, opportunistic or required"),
        ("smtp://localhost", "PLANTED", "PATCHBAY_MAIL_FROM", "must be an address, with or without a name"),
    ] {
        let settings = [("PATCHBAY_SMTP_URL", url), ("PATCHBAY_MAIL_FROM", from)];
        let (code, stdout, stderr) = said(&mail_test("bert@client.example", &settings).await);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{url} {from}");
        assert!(stderr.contains(&format!("{setting}: {what}")), "{url} {from}: {stderr}");
        assert!(!stderr.contains("PLANTED"), "{url} {from}: {stderr}");
    }
    let (code, _, stderr) = said(&mail_test("bert", &[]).await);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("not an e-mail address"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_arrives_as_it_was_written() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    mailer.send(&letter).await.unwrap();
    let arrived = server.next_letter().await;
    assert_eq!(arrived.header("Message-ID"), Some("<reminder.00000000000000000000000000000007@lighthouse.example>"));
    assert_eq!((arrived.subject(), arrived.header("To")), ("Grüße", Some("Ada <ada@agency.example>")));
    assert_eq!((arrived.text.replace("\r\n", "\n"), &arrived.html), (letter.text, &letter.html));
    assert_eq!(server.attempts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_is_about_the_letter_and_any_other_about_now() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    let later = |said: &str| Err(Unsent::Later(said.to_owned()));
    let never = |said: &str| Err(Unsent::Never(said.to_owned()));
    for (fault, outcome) in [
        (Fault::Recipient("550 5.1.1 nobody"), never("550 5.1.1 nobody")),
        (Fault::Recipient("451 4.7.1 greylisted"), later("451 4.7.1 greylisted")),
        (Fault::Recipient("421 going down"), later("421 going down")),
        (Fault::Recipient("530 5.7.0 sign in first"), later("530 5.7.0 sign in first")),
        (Fault::Sender("550 5.7.60 not your address"), later("550 5.7.60 not your address")),
        (Fault::Letter("554 5.7.1 spam"), never("554 5.7.1 spam")),
        (Fault::Letter("452 4.2.2 full"), later("452 4.2.2 full")),
        (Fault::Letter("550-\x1b[31mone\r\n550 two"), never("550 [31mone two")),
    ] {
        server.fail_next(fault.clone());
        assert_eq!(mailer.send(&letter).await, outcome, "{fault:?}");
        assert_eq!(mailer.send(&letter).await, Ok(()), "{fault:?}");
    }
    server.fail_next(Fault::DropAtGreeting);
    let unsent = mailer.send(&letter).await.unwrap_err();
    assert!(matches!(unsent, Unsent::Later(_)), "{unsent:?}");
    assert_eq!(mailer.send(&letter).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_answer_is_not_heard_or_cannot_be_read_may_have_been_taken() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    for fault in [Fault::DropAfterLetter, Fault::Letter("2500 ok"), Fault::Letter("well, thank you")] {
        server.fail_next(fault.clone());
        let unsent = mailer.send(&letter).await.unwrap_err();
        assert!(matches!(unsent, Unsent::Unheard(_)), "{fault:?}: {unsent:?}");
        assert_eq!(mailer.send(&letter).await, Ok(()), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_answer_means_what_its_code_says() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    let later = |said: &str| Err(Unsent::Later(said.to_owned()));
    let never = |said: &str| Err(Unsent::Never(said.to_owned()));
    for (fault, outcome) in [
        (Fault::LetterBytes(b"250\r\n"), Ok(())),
        (Fault::LetterBytes(b"250\n"), Ok(())),
        (Fault::LetterBytes(b"250-taken\r\n250\r\n"), Ok(())),
        (Fault::LetterBytes(b"250 angenommen f\xfcr Ada\r\n"), Ok(())),
        (Fault::RecipientBytes(b"550 Empf\xe4nger unbekannt\r\n"), never("550 Empfänger unbekannt")),
        (Fault::RecipientBytes(b"550\r\n"), never("550")),
        (Fault::RecipientBytes(b"571 not authorized\r\n"), never("550 571 not authorized")),
        (Fault::RecipientBytes(b"451-sp\xe4ter\n451\n"), later("451 später")),
    ] {
        server.fail_next(fault.clone());
        let sent = mailer.send(&letter).await.map_err(|unsent| match unsent {
            Unsent::Later(said) => Unsent::Later(said.trim_end().to_owned()),
            Unsent::Never(said) => Unsent::Never(said.trim_end().to_owned()),
            unheard => unheard,
        });
        assert_eq!(sent, outcome, "{fault:?}");
        assert_eq!(mailer.send(&letter).await, Ok(()), "{fault:?}");
    }
    assert_eq!(server.letters().len(), 4 + 8, "nothing that was taken was sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_talks_without_end_is_not_listened_to() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    let endless: &str = "550 a".repeat(20_000).leak();
    for fault in [Fault::Recipient(endless), Fault::Sender(endless)] {
        server.fail_next(fault);
        let unsent = mailer.send(&letter).await.unwrap_err();
        assert!(matches!(&unsent, Unsent::Later(said) if said.contains("too much")), "{unsent:?}");
        assert_eq!(mailer.send(&letter).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_repeats_the_password_is_not_repeated() {
    let server = MailServer::for_user("ada", "PLANTED").await;
    let mailer = mailer(&server);
    for answer in ["550 you are PLANTED", "550 you said UExBTlRFRA==", "550 you said AGFkYQBQTEFOVEVE"] {
        server.fail_next(Fault::Recipient(answer));
        assert_eq!(mailer.send(&letter(&mailer)).await, Err(Unsent::Never("550".to_owned())), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_mail_server_closed_meanwhile_loses_no_letter() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    for _ in 0..5 {
        mailer.send(&letter).await.unwrap();
        mailer.send(&letter).await.unwrap();
        server.close_connections();
    }
    assert_eq!((server.letters().len(), server.connections()), (10, 5), "two letters share a connection");
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_is_given_up() {
    let server = MailServer::start().await;
    let mailer = mailer(&server);
    let letter = letter(&mailer);
    server.fail_next(Fault::Hang);
    tokio::time::pause();
    let unsent = mailer.send(&letter).await.unwrap_err();
    assert!(matches!(unsent, Unsent::Later(_)), "{unsent:?}");
    tokio::time::resume();
    mailer.send(&letter).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_sent_in_clear_unless_it_is_said() {
    let server = MailServer::for_user("ada", "PLANTED").await;
    let from = MAIL_FROM;
    for tls in ["required", "opportunistic"] {
        let mailer = Mailer::new(&format!("{}?tls={tls}", server.url()).into(), from, Tasks::default()).unwrap();
        let unsent = mailer.send(&letter(&mailer)).await.unwrap_err();
        assert!(matches!(&unsent, Unsent::Later(said) if !said.contains("PLANTED")), "{unsent:?}");
    }
    assert_eq!(server.attempts(), 0);
    let mailer = Mailer::new(&format!("{}?tls=none", server.url()).into(), from, Tasks::default()).unwrap();
    mailer.send(&letter(&mailer)).await.unwrap();
}
