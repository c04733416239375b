//! `patchbay demo`: a throw-away server with sample data, beside a provider in a sandbox. Everything runs as it does in
//! earnest; only the provider is not one.

use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    App, Outside, StartError,
    commands::{bind, signing_secret},
    seed,
};
use crate::{
    clock::{Entropy, random},
    config::{Config, Limits, TrustedProxies},
    http::server,
    ids::{self, Kind},
    sandbox::{Options, PERSON_HEADER, Sandbox},
};

/// How long the demo's token lives.
const TOKEN_LIFE: TimeDelta = TimeDelta::hours(12);

/// Runs the demo until `stop` is cancelled. `variables` may say where to listen and what to log.
#[expect(clippy::disallowed_methods, reason = "the demo waits for both")]
pub async fn demo(variables: &[(String, String)], stop: CancellationToken) -> Result<(), StartError> {
    let outside = Outside::default();
    let folder = Folder::new(&*outside.entropy)?;
    let provider = TcpListener::bind("127.0.0.1:0").await?;
    let address = provider.local_addr()?;
    let base_url = Url::parse(&format!("http://{address}"))?;
    let sandbox = Sandbox::new(outside.clock.clone(), outside.entropy.clone(), &base_url, Options::default());
    let (router, sandbox_stop) = (sandbox.router(), stop.clone());
    let sandbox_server = tokio::spawn(async move {
        server::serve(provider, router, &Limits::default(), &TrustedProxies::default(), sandbox_stop).await;
    });

    let config = Config::for_demo(variables, settings(&sandbox, &folder.0, &address.to_string(), &*outside.entropy)?)?;
    let listener = bind("listen", config.listen).await?;
    let now = outside.clock.now();
    let app = App::build(&config, listener.local_addr()?, outside, stop).await?;
    let seeded = seed::seed(&app, &sandbox).await?;
    let token = signing_secret(&config)?.issue(seeded.admin.id, now, TOKEN_LIFE)?;
    let guide = guide(&app.public_url, &base_url, &token, &ids::encode(Kind::Connection, seeded.ads));
    let running = tokio::spawn(app.run(listener));
    stdout().write_all(guide.as_bytes())?;
    running.await??;
    sandbox_server.await?;
    Ok(())
}

/// The demo's own configuration: keys of its own, and the sandbox as the only provider that may be called.
fn settings(
    sandbox: &Sandbox,
    folder: &Path,
    address: &str,
    entropy: &dyn Entropy,
) -> Result<Vec<(String, String)>, StartError> {
    let connectors = folder.join("connectors");
    std::fs::create_dir_all(&connectors)?;
    let mut settings = vec![
        ("DATABASE_URL".to_owned(), format!("sqlite://{}", folder.join("demo.db").display())),
        ("ENCRYPTION_KEYS".to_owned(), format!("demo:{}", STANDARD.encode(random::<32>(entropy)))),
        ("JWT_SECRET".to_owned(), STANDARD.encode(random::<32>(entropy))),
        ("CONNECTORS_DIR".to_owned(), connectors.display().to_string()),
        ("ALLOWED_HOSTS".to_owned(), address.to_owned()),
        ("PROBE_INTERVAL".to_owned(), "3s".to_owned()),
        ("JOB_TICK".to_owned(), "500ms".to_owned()),
    ];
    for (name, text) in sandbox.connector_files() {
        let slug = name.trim_end_matches(".toml").replace('-', "_").to_uppercase();
        settings.push((format!("OAUTH_{slug}_CLIENT_ID"), sandbox.client_id().to_owned()));
        settings.push((format!("OAUTH_{slug}_CLIENT_SECRET"), sandbox.client_secret().expose_secret().to_owned()));
        std::fs::write(connectors.join(name), text)?;
    }
    Ok(settings.into_iter().map(|(name, value)| (format!("PATCHBAY_{name}"), value)).collect())
}

/// What to try, with commands to paste.
fn guide(server: &Url, sandbox: &Url, token: &str, connection: &str) -> String {
    let curl =
        format!("curl -sN {server}graphql -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json'");
    let watch = r#"{"query":"subscription { connectionsChanged { kind at connectionCount connections { name status client { name } } disconnection { message } } }"}"#;
    let mend = format!(
        r#"{{"query":"mutation {{ reconnect(input: {{connectionId: \"{connection}\"}}) {{ attempt {{ authorizationUrl }} errors {{ message }} }} }}"}}"#
    );
    format!(
        "Patchbay is running at {server}\n\
         \n\
         Explore    {server}explorer#token={token}\n\
         Sandbox    {sandbox}   (the provider: take a grant back, change a key, have an outage)\n\
         \n\
         1. Watch what happens. In a second terminal:\n\
         \n\
         {curl} -H 'Accept: text/event-stream' -d '{watch}'\n\
         \n\
         2. Break it: Ada takes her grant back at the provider. Within seconds the first terminal shows what it broke.\n\
         \n\
         curl -s -X POST {sandbox}control/revoke -d person=ada -d product=ads\n\
         \n\
         3. Mend it: one person signs in again, and everything that shares the account works. (Or open the printed\n   \
         address of the attempt in a browser, and press the button yourself.)\n\
         \n\
         {curl} -d '{mend}' | grep -o 'http[^\"]*/oauth/start/[^\"]*' | xargs curl -sL -b '' -H '{PERSON_HEADER}: ada' -o /dev/null -w 'Signed in (%{{http_code}}).\\n'\n\
         \n\
         Ctrl+C ends it and leaves nothing behind.\n"
    )
}

/// A folder that is gone with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(entropy: &dyn Entropy) -> std::io::Result<Self> {
        let name = u64::from_le_bytes(random(entropy));
        let path = std::env::temp_dir().join(format!("patchbay-demo-{name:016x}"));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the demo's folder was left behind");
        }
    }
}
