//! Probes of a starting service: whether a port accepts connections, and what a URL returns. Timeouts are short, and
//! nothing is retried: the caller polls.

use std::{sync::LazyLock, time::Duration};

use reqwest::{Client, header::HeaderMap, redirect};

const TIMEOUT: Duration = Duration::from_secs(3);

static HTTP: LazyLock<Client> = LazyLock::new(|| {
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(0)
        .build();
    client.expect("building a client fails only with certificates or proxies, and it has neither")
});

/// Fails unless `port` of 127.0.0.1 accepts a connection.
pub(crate) async fn connect(port: u16) -> Result<(), String> {
    let connecting = tokio::net::TcpStream::connect(("127.0.0.1", port));
    match tokio::time::timeout(TIMEOUT, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(format!("port {port}: {e}")),
        Err(_) => Err(format!("port {port} does not respond")),
    }
}

/// The body of a successful response from `url`.
pub(crate) async fn get(url: &str) -> Result<String, String> {
    Ok(get_with_headers(url).await?.1)
}

/// Like [`get`], with the headers, for a server that identifies itself there.
pub(crate) async fn get_with_headers(url: &str) -> Result<(HeaderMap, String), String> {
    let response = HTTP.get(url).send().await.map_err(|e| root_cause(&e))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.map_err(|e| root_cause(&e))?;
    if status.is_success() { Ok((headers, body)) } else { Err(format!("{url} returned {status}")) }
}

/// The JSON that `url` returns; another server on the port would return something else.
pub(crate) async fn get_json(url: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(&get(url).await?).map_err(|_| format!("{url} returned something other than JSON"))
}

/// Returns the innermost cause, which describes the failure; the outer errors state only that a request failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Returns the URL of a server that responds to every request with the same text.
    async fn serve(text: String) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                // A client that disconnects without a request gets no response.
                if client.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {
                    client.write_all(text.as_bytes()).await.ok();
                }
            }
        });
        url
    }

    fn with_body(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_page_is_not_a_health_response_and_a_redirect_is_not_followed() {
        let page = serve(with_body("<html>sign in</html>")).await;
        assert!(get(&page).await.is_ok(), "the control: the status is a success");
        assert!(get_json(&page).await.unwrap_err().ends_with("something other than JSON"));
        let health = serve(with_body("{\"cluster_name\":\"sluice\"}")).await;
        assert_eq!(get_json(&health).await.unwrap()["cluster_name"], "sluice");
        let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {health}\r\ncontent-length: 0\r\n\r\n");
        let redirect = serve(redirect).await;
        assert!(get(&redirect).await.unwrap_err().ends_with("returned 302 Found"));
    }
}
