use chrono::TimeZone;
use mailparse::MailHeaderMap;
use secrecy::ExposeSecret;

use super::{
    server::{Encryption, Meant},
    *,
};

/// Host, port, encryption, user and password of a URL.
fn meant(url: &str) -> (String, u16, Encryption, Option<(String, String)>) {
    let Meant { host, port, encryption, user } = Meant::read(url).unwrap_or_else(|said| panic!("{url}: {said}"));
    (host, port, encryption, user.map(|(user, password)| (user, password.expose_secret().to_owned())))
}

fn letter() -> Letter {
    Letter {
        message_id: "<reminder.1@lighthouse.example>".to_owned(),
        to_name: "Ada".to_owned(),
        to_email: "ada@agency.example".to_owned(),
        subject: "Two data sources wait for you".to_owned(),
        text: "Hello,\nall is well.\n".to_owned(),
        html: "<p>Hello, all is well.</p>".to_owned(),
        at: Utc.with_ymd_and_hms(2026, 3, 2, 7, 0, 0).unwrap(),
        unsubscribe: None,
    }
}

/// A letter as it goes over the wire; whatever is in it, it keeps to the rules of lines.
fn written(letter: &Letter) -> String {
    let from = form::sender("Patchbay <patchbay@lighthouse.example>").unwrap();
    let bytes = form::write(&from, letter).unwrap().bytes;
    let text = String::from_utf8(bytes).unwrap();
    for line in text.split("\r\n") {
        assert!(line.len() <= 998, "{line}");
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    text
}

/// The names of the headers of a letter, and the decoded value of one.
fn headers(written: &str) -> Vec<String> {
    let (headers, _) = mailparse::parse_headers(written.as_bytes()).unwrap();
    headers.iter().map(|header| header.get_key()).collect()
}

fn header(written: &str, name: &str) -> Option<String> {
    let (headers, _) = mailparse::parse_headers(written.as_bytes()).unwrap();
    headers.get_first_value(name)
}

#[test]
fn a_url_says_where_and_how_and_the_rest_is_what_is_usual() {
    let ada = || Some(("ada".to_owned(), "secret".to_owned()));
    for (url, host, port, encryption, user) in [
        ("smtp://mail.example", "mail.example", 25, Encryption::Opportunistic, None),
        ("smtp://mail.example/", "mail.example", 25, Encryption::Opportunistic, None),
        (" smtp://mail:2525 ", "mail", 2525, Encryption::Opportunistic, None),
        ("smtp://ada:secret@mail.example", "mail.example", 587, Encryption::Required, ada()),
        ("smtp://ada:secret@mail.example:25", "mail.example", 25, Encryption::Required, ada()),
        ("smtp://ada:secret@mail.example?tls=none", "mail.example", 587, Encryption::None, ada()),
        ("smtp://ada:secret@mail.example?tls=opportunistic", "mail.example", 587, Encryption::Opportunistic, ada()),
        ("smtp://mail.example?tls=required", "mail.example", 25, Encryption::Required, None),
        ("smtps://mail.example", "mail.example", 465, Encryption::Always, None),
        ("smtps://ada:secret@mail.example:4465", "mail.example", 4465, Encryption::Always, ada()),
        ("smtp://localhost:1025", "localhost", 1025, Encryption::None, None),
        ("smtp://ada:secret@127.0.0.1:1025", "127.0.0.1", 1025, Encryption::None, ada()),
        ("smtp://[::1]", "::1", 25, Encryption::None, None),
        ("smtp://[2001:db8::1]:25", "2001:db8::1", 25, Encryption::Opportunistic, None),
        ("smtp://localhost?tls=required", "localhost", 25, Encryption::Required, None),
    ] {
        assert_eq!(meant(url), (host.to_owned(), port, encryption, user), "{url}");
    }
}

#[test]
fn a_user_and_a_password_are_decoded() {
    let (_, _, _, user) = meant("smtps://ada%40agency.example:p%3A%2F%40%C3%A9@mail.example");
    assert_eq!(user, Some(("ada@agency.example".to_owned(), "p:/@é".to_owned())));
}

#[test]
fn what_is_no_mail_server_is_refused_without_being_shown() {
    for url in [
        "",
        "PLANTED",
        "smtp:PLANTED",
        "smtp://",
        "smtp://:25",
        "http://PLANTED",
        "smtp://mail/PLANTED",
        "smtp://mail#PLANTED",
        "smtp://mail?PLANTED=1",
        "smtp://mail?tls=PLANTED",
        "smtp://mail?tls=none&tls=PLANTED",
        "smtps://mail?tls=none",
        "smtp://PLANTED@mail",
        "smtp://PLANTED:@mail",
        "smtp://:PLANTED@mail",
        "smtp://a:PLANTED%ff@mail",
        "smtp://mail:PLANTED",
        "smtp://mail:99999",
        "smtp://PLANTED%20PLANTED",
    ] {
        let refused = Mailer::new(&url.into(), "a@b.example", Tasks::default()).unwrap_err();
        assert!(matches!(refused, BadMailSetting::Url(_)), "{url}: {refused}");
        assert!(!format!("{refused} {refused:?}").contains("PLANTED"), "{url}: {refused}");
    }
}

#[test]
fn a_sender_is_an_address_with_or_without_a_name() {
    let sender = |text: &str| form::sender(text).map(|from| (from.name.unwrap_or_default(), from.email.to_string()));
    let is = |name: &str, email: &str| Some((name.to_owned(), email.to_owned()));
    assert_eq!(sender("a@b.example"), is("", "a@b.example"));
    assert_eq!(sender(" <a@b.example> "), is("", "a@b.example"));
    assert_eq!(sender("Patch, Bay & Co. <a@b.example>"), is("Patch, Bay & Co.", "a@b.example"));
    assert_eq!(sender("\"Patch Bay\" <a@b.example>"), is("Patch Bay", "a@b.example"));
    assert_eq!(sender("a@bücher.example"), is("", "a@xn--bcher-kva.example"));
    for wrong in
        ["", "PLANTED", "a@", "@b", "PLANTED <>", "P <a@b.example", "a@b.example, c@d.example", "P\n<a@b.example>"]
    {
        assert_eq!(sender(wrong), None, "{wrong:?}");
        let refused = Mailer::new(&"smtp://mail".into(), wrong, Tasks::default()).unwrap_err();
        assert!(matches!(refused, BadMailSetting::From(_)) && !refused.to_string().contains("PLANTED"), "{refused}");
    }
}

#[test]
fn debug_shows_no_password() {
    let mailer = Mailer::new(&"smtp://ada:PLANTED@localhost".into(), "a@b.example", Tasks::default()).unwrap();
    assert!(!format!("{mailer:?}").contains("PLANTED"));
}

#[test]
fn a_letters_name_is_the_same_each_time_and_of_the_senders_domain() {
    let mailer = Mailer::new(&"smtp://localhost".into(), "Patchbay <a@b.example>", Tasks::default()).unwrap();
    let id = Uuid::from_u128(7);
    assert_eq!(mailer.message_id(id), "<reminder.00000000000000000000000000000007@b.example>");
}

#[test]
fn a_letter_is_the_same_bytes_each_time_its_text_before_its_html() {
    let letter = letter();
    let text = written(&letter);
    assert_eq!(text, written(&letter));
    assert_eq!(header(&text, "From").as_deref(), Some("Patchbay <patchbay@lighthouse.example>"));
    assert_eq!(header(&text, "To").as_deref(), Some("Ada <ada@agency.example>"));
    assert_eq!(header(&text, "Date").as_deref(), Some("Mon, 02 Mar 2026 07:00:00 +0000"));
    assert_eq!(header(&text, "Message-ID").as_deref(), Some("<reminder.1@lighthouse.example>"));
    assert_eq!(header(&text, "Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(header(&text, "List-Unsubscribe"), None);
    let mail = mailparse::parse_mail(text.as_bytes()).unwrap();
    assert_eq!(mail.ctype.mimetype, "multipart/alternative");
    let parts: Vec<_> = mail.subparts.iter().map(|part| (&*part.ctype.mimetype, part.get_body().unwrap())).collect();
    let html = ("text/html", "<p>Hello, all is well.</p>".to_owned());
    assert_eq!(parts, [("text/plain", "Hello,\r\nall is well.\r\n".to_owned()), html]);
    assert!(mail.subparts.iter().all(|part| part.ctype.charset.eq_ignore_ascii_case("utf-8")));
}

#[test]
fn where_letters_can_be_ended_the_header_says_so_in_one_line() {
    let url = format!("https://patchbay.example/unsubscribe?token={}", "x".repeat(200));
    let text = written(&Letter { unsubscribe: Some(Url::parse(&url).unwrap()), ..letter() });
    assert_eq!(header(&text, "List-Unsubscribe"), Some(format!("<{url}>")));
    assert_eq!(header(&text, "List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
}

#[test]
fn no_name_and_no_subject_makes_a_header() {
    let plain = headers(&written(&letter()));
    for evil in [
        "A\r\nBcc: eve@evil.example",
        "A\nBcc: eve",
        "A\rBcc: eve",
        "A\u{2028}Bcc: e",
        "A\r\n\r\nBody",
        "é\r\nBcc: eve",
    ] {
        let text = written(&Letter { to_name: evil.to_owned(), subject: evil.to_owned(), ..letter() });
        assert_eq!(headers(&text), plain, "{evil:?}");
        let one_line =
            evil.split(['\r', '\n', '\u{2028}']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        assert_eq!(header(&text, "Subject"), Some(one_line));
    }
}

#[test]
fn names_and_subjects_beyond_ascii_arrive() {
    for name in ["Jürgen Groß", "Бюро", "小さな会社", "Ada \"the <first>\"", "\"", "<eve@evil.example>", "🛠"]
    {
        let text = written(&Letter { to_name: name.to_owned(), subject: name.to_owned(), ..letter() });
        assert!(text.is_ascii());
        assert_eq!(header(&text, "Subject").as_deref(), Some(name));
        let (headers, _) = mailparse::parse_headers(text.as_bytes()).unwrap();
        let to = mailparse::addrparse_header(headers.get_first_header("To").unwrap()).unwrap();
        let to = to.extract_single_info().unwrap();
        assert_eq!((to.display_name.as_deref(), &*to.addr), (Some(name), "ada@agency.example"));
    }
}

#[test]
fn what_is_too_long_stays_within_the_lines() {
    for piece in ["x", "é", "小", "x ", "."] {
        let long = piece.repeat(5000);
        let letter =
            Letter { to_name: long.clone(), subject: long.clone(), text: long.clone(), html: long.clone(), ..letter() };
        let text = written(&letter);
        let mail = mailparse::parse_mail(text.as_bytes()).unwrap();
        assert_eq!(mail.subparts[0].get_body().unwrap(), long, "{piece}");
    }
}

#[test]
fn odd_characters_in_a_text_do_no_harm() {
    let text = "a\r.\r\nb\0c\n.\n..\u{1b}[31m\r\n";
    let mail = written(&Letter { text: text.to_owned(), ..letter() });
    let mail = mailparse::parse_mail(mail.as_bytes()).unwrap();
    assert_eq!(mail.subparts[0].get_body().unwrap(), "a\r\n.\r\nb\0c\r\n.\r\n..\u{1b}[31m\r\n");
}

#[test]
fn an_address_that_is_none_is_refused_for_good() {
    let from = form::sender("a@b.example").unwrap();
    for wrong in [
        "",
        "ada",
        "ada@",
        "a b@c.example",
        "a@b.example\r\nRCPT TO:<eve@evil.example>",
        "\"a\nb\"@c.example",
        "a>@b.example",
    ] {
        assert!(!is_address(wrong), "{wrong:?}");
        let refused = form::write(&from, &Letter { to_email: wrong.to_owned(), ..letter() }).map(|_| ());
        assert_eq!(refused, Err(Unsent::Never("not an e-mail address".to_owned())), "{wrong:?}");
    }
    for right in ["ada@agency.example", "a+b@localhost", "jörg@agency.example", "a@bücher.example", "a@[192.0.2.1]"] {
        assert!(is_address(right), "{right}");
    }
}
