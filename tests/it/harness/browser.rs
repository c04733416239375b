//! A browser: it keeps cookies, follows nothing by itself, and clicks at the sandbox.

use std::{collections::HashMap, sync::Mutex};

use patchbay::sandbox::Sandbox;
use url::Url;

use super::person::http;

/// A browser with cookies of its own.
pub struct Browser {
    sandbox: Sandbox,
    http: reqwest::Client,
    cookies: Mutex<HashMap<String, String>>,
}

/// Where a browser ended.
#[derive(Debug)]
pub struct Landing {
    pub status: u16,
    pub location: Option<Url>,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Browser {
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, http: http(), cookies: Mutex::default() }
    }

    /// Opens an address, sending the cookies and keeping new ones.
    pub async fn opens(&self, url: &str) -> Landing {
        self.lands(self.http.get(url)).await
    }

    /// Sends a form.
    pub async fn submits(&self, url: &str, form: &[(&str, &str)]) -> Landing {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let media = "application/x-www-form-urlencoded";
        self.lands(self.http.post(url).header("content-type", media).body(body)).await
    }

    async fn lands(&self, request: reqwest::RequestBuilder) -> Landing {
        let cookies: Vec<String> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let location = headers.get("location").map(|to| Url::parse(to.to_str().unwrap()).unwrap());
        Landing { status, location, headers, body: response.text().await.unwrap() }
    }

    /// Looks without opening (HEAD), as a link preview does: the status.
    pub async fn peeks(&self, url: &str) -> u16 {
        self.http.head(url).send().await.unwrap().status().as_u16()
    }

    /// Opens an attempt's link: the provider's page that it is sent to.
    pub async fn departs(&self, authorization_url: &str) -> Url {
        let landing = self.opens(authorization_url).await;
        assert_eq!(landing.status, 303, "{}", landing.body);
        landing.location.unwrap()
    }

    /// Opens an attempt's link and allows everything as `person`: the callback that the browser is sent to, not opened.
    pub async fn allows(&self, authorization_url: &str, person: &str) -> Url {
        let provider = self.departs(authorization_url).await;
        self.sandbox.approve(&provider, person).unwrap()
    }

    /// The whole round trip as `person`.
    pub async fn signs_in(&self, authorization_url: &str, person: &str) -> Landing {
        let callback = self.allows(authorization_url, person).await;
        self.opens(callback.as_str()).await
    }

    /// The same, with Cancel at the provider.
    pub async fn cancels(&self, authorization_url: &str) -> Landing {
        let provider = self.departs(authorization_url).await;
        let callback = self.sandbox.cancel(&provider).unwrap();
        self.opens(callback.as_str()).await
    }
}
