//! The demo, as somebody tries it who has just cloned this: the real binary, and its three commands pasted into a shell.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, Command},
    time::timeout,
};
use url::Url;

use crate::harness::Person;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A demo that runs.
struct Demo {
    process: Child,
    /// For whatever it, and the commands, leave behind.
    temporary: TempDir,
    guide: Vec<String>,
}

impl Demo {
    /// Starts it, and reads its guide to the end.
    async fn start() -> Self {
        let temporary = TempDir::new().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_patchbay"))
            .arg("demo")
            .env("PATCHBAY_LISTEN", "127.0.0.1:0")
            .env("TMPDIR", temporary.path())
            .current_dir(temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (mut lines, mut guide) = (lines(process.stdout.take().unwrap()), Vec::new());
        while guide.last().is_none_or(|line: &String| !line.contains("Ctrl+C")) {
            match timeout(PATIENCE, lines.next_line()).await.expect("the guide ends").unwrap() {
                Some(line) => guide.push(line),
                None => panic!("it ended: {:?}", process.wait_with_output().await),
            }
        }
        Self { process, temporary, guide }
    }

    /// The first address that is printed.
    fn url(&self) -> Url {
        let first = self.guide.iter().find_map(|line| line.split_whitespace().find(|word| word.starts_with("http")));
        Url::parse(first.expect("an address is printed")).unwrap()
    }

    /// Somebody with the token that the guide hands out.
    fn visitor(&self) -> Person {
        let explorer = self.guide.iter().find_map(|line| line.split_once("#token=")).expect("the explorer has a token");
        Person::new(&self.url(), "", explorer.1.trim().to_owned())
    }

    /// The commands to paste.
    fn commands(&self) -> [String; 3] {
        let commands: Vec<String> = self.guide.iter().filter(|line| line.starts_with("curl ")).cloned().collect();
        commands.try_into().unwrap_or_else(|found| panic!("not three commands: {found:#?}\n{}", self.guide.join("\n")))
    }

    /// Asks it to end: how it ended, and what it logged.
    async fn ends(self, signal: &str) -> (Option<i32>, String, TempDir) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
        let output = timeout(PATIENCE, self.process.wait_with_output()).await.expect("it ends").unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), self.temporary)
    }
}

fn lines<R: AsyncRead + Unpin>(output: R) -> Lines<BufReader<R>> {
    BufReader::new(output).lines()
}

/// As a terminal would run what was pasted.
fn bash(command: &str, folder: &Path) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", command]).current_dir(folder).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    bash
}

async fn pasted(command: &str, folder: &Path) -> String {
    let output = timeout(PATIENCE, bash(command, folder).output()).await.expect("the command ends").unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The next change that the subscription shows, whatever its kind.
async fn any_change<R: AsyncRead + Unpin>(events: &mut Lines<BufReader<R>>) -> Value {
    loop {
        let line = events.next_line().await.unwrap().expect("it goes on");
        if let Some(data) = line.strip_prefix("data:").filter(|data| !data.trim().is_empty()) {
            let event: Value = serde_json::from_str(data).unwrap();
            return event["data"]["connectionsChanged"].clone();
        }
    }
}

/// The next change that is more than a name.
async fn change<R: AsyncRead + Unpin>(events: &mut Lines<BufReader<R>>) -> Value {
    loop {
        let change = timeout(PATIENCE, any_change(events)).await.expect("an event comes");
        if change["kind"] != "UPDATED" {
            return change;
        }
    }
}

/// A subscription begins with what comes after it: renames a connection until that is seen.
async fn until_it_watches<R: AsyncRead + Unpin>(visitor: &Person, events: &mut Lines<BufReader<R>>) {
    let connections = visitor.sees("{ connections(first: 1) { nodes { id } } }").await;
    let id = &connections["connections"]["nodes"][0]["id"];
    for n in 0..100 {
        visitor.does("updateConnection", json!({ "connectionId": id, "name": format!("Renamed {n}") }), "").await;
        if timeout(Duration::from_millis(500), any_change(events)).await.is_ok() {
            return;
        }
    }
    panic!("the subscription shows nothing");
}

async fn statuses(visitor: &Person) -> Vec<String> {
    let seen = visitor.sees("{ connections { nodes { status } } }").await;
    let nodes = seen["connections"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["status"].as_str().unwrap().to_owned()).collect()
}

/// The commands are for `curl`. Without it nothing can be said about them; that is a failure where the tests must be whole.
fn curl_is_there() -> bool {
    let there = std::process::Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "curl is missing, and the demo's commands were not tried");
    if !there {
        eprintln!("curl is missing: the demo's commands were not tried");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_commands_show_an_outage_and_one_sign_in_that_ends_it() {
    if !curl_is_there() {
        return;
    }
    let demo = Demo::start().await;
    let (visitor, folder) = (demo.visitor(), demo.temporary.path().to_owned());
    let before = statuses(&visitor).await;
    assert!(before.len() >= 12 && before.iter().all(|status| status == "CONNECTED"), "{before:?}");

    let [watch, take_back, mend] = demo.commands();
    let mut watching = bash(&watch, &folder).spawn().unwrap();
    let mut events = lines(watching.stdout.take().unwrap());
    until_it_watches(&visitor, &mut events).await;

    pasted(&take_back, &folder).await;
    let lost = change(&mut events).await;
    assert_eq!(lost["kind"], "DISCONNECTED", "{lost:#}");
    let broken = lost["connections"].as_array().unwrap().len();
    assert!(broken > 1 && lost["connections"].as_array().unwrap().iter().all(|one| one["status"] == "DISCONNECTED"));
    assert_eq!(lost["connectionCount"], broken);
    assert!(lost["disconnection"]["message"].as_str().is_some_and(|message| !message.is_empty()));

    let said = pasted(&mend, &folder).await;
    assert!(said.contains("200"), "{said}");
    let healed = change(&mut events).await;
    assert_eq!((&healed["kind"], &healed["connectionCount"]), (&"RECONNECTED".into(), &broken.into()), "{healed:#}");
    assert!(statuses(&visitor).await.iter().all(|status| status == "CONNECTED"));
    watching.kill().await.unwrap();
    assert_eq!(demo.ends("-TERM").await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_address_that_is_printed_is_the_servers_own_and_answers() {
    let demo = Demo::start().await;
    let url = demo.url();
    let http = crate::harness::http();
    let ready = http.get(url.join("/readyz").unwrap()).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let front = http.get(url).send().await.unwrap();
    assert_eq!(front.status(), 200);
    assert!(front.text().await.unwrap().contains("Patchbay"));
    assert_eq!(demo.visitor().sees("{ viewer { role } }").await["viewer"]["role"], "ADMIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_told_to_and_leaves_nothing_behind() {
    for signal in ["-TERM", "-INT"] {
        let demo = Demo::start().await;
        let own = demo.url();
        let made = std::fs::read_dir(demo.temporary.path()).unwrap().count();
        assert_eq!(made, 1, "its folder is where temporary things belong");
        let (code, logged, temporary) = demo.ends(signal).await;
        assert_eq!(code, Some(0), "{signal}: {logged}");
        let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{signal}: {left:?}");
        let addresses = logged.split_whitespace().filter(|word| word.starts_with("http"));
        let others: Vec<_> = addresses.filter(|address| !address.starts_with(own.as_str())).collect();
        assert!(others.is_empty(), "an address in the log that is not the server's own: {others:?}");
    }
}
