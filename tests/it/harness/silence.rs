//! A way to a PostgreSQL that can fall silent: what is connected hears nothing more and is not closed either, as when a
//! network drops what it is given. New connections are let through.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Open while it lives.
pub struct Way {
    url: String,
    /// How often it fell silent; a connection that is older than that is silent for ever.
    silences: watch::Sender<usize>,
    _serving: AbortOnDropHandle<()>,
}

impl Way {
    /// A way to the PostgreSQL of `url`.
    pub async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let target = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (silences, heard) = watch::channel(0);
        let serving = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut heard = heard.clone();
                heard.mark_unchanged();
                let far = TcpStream::connect((target.0.as_str(), target.1)).await.unwrap();
                tokio::spawn(carry(near, far, heard));
            }
        });
        Self { url: url.into(), silences, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whatever is connected now hears nothing more.
    pub fn fall_silent(&self) {
        self.silences.send_modify(|times| *times += 1);
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut heard: watch::Receiver<usize>) {
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => return,
        _ = heard.changed() => {}
    }
    // Both stay open, and nobody reads.
    std::future::pending::<()>().await;
}
