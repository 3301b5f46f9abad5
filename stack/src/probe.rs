//! Questions to a service that is starting: is the port open, what does this address answer. Short time limits, no
//! retries: whoever waits for readiness asks again.

use std::{sync::LazyLock, time::Duration};

use reqwest::Client;

const PATIENCE: Duration = Duration::from_secs(3);

static HTTP: LazyLock<Client> = LazyLock::new(|| {
    let client = Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0).build();
    client.expect("a client without certificates or proxies has nothing that can fail")
});

/// Whether something accepts connections on `port` of 127.0.0.1.
pub(crate) async fn answers(port: u16) -> Result<(), String> {
    let connect = tokio::net::TcpStream::connect(("127.0.0.1", port));
    match tokio::time::timeout(PATIENCE, connect).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(format!("port {port}: {e}")),
        Err(_) => Err(format!("port {port} does not answer")),
    }
}

/// The body that `url` answers with, when its status is a success.
pub(crate) async fn get(url: &str) -> Result<String, String> {
    let response = HTTP.get(url).send().await.map_err(|e| chain(&e))?;
    let status = response.status();
    let body = response.text().await.map_err(|e| chain(&e))?;
    if status.is_success() { Ok(body) } else { Err(format!("{url} answered {status}")) }
}

/// The innermost cause says what happened; the outer ones only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
