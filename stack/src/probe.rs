//! Questions to a service that is starting: is the port open, what does this address answer. Short time limits, no
//! retries: whoever waits for readiness asks again.

use std::{sync::LazyLock, time::Duration};

use reqwest::{Client, header::HeaderMap, redirect};

const PATIENCE: Duration = Duration::from_secs(3);

static HTTP: LazyLock<Client> = LazyLock::new(|| {
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE)
        .pool_max_idle_per_host(0)
        .build();
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
    Ok(answer(url).await?.1)
}

/// The same with the headers, for a store that proves itself by them.
pub(crate) async fn answer(url: &str) -> Result<(HeaderMap, String), String> {
    let response = HTTP.get(url).send().await.map_err(|e| chain(&e))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.map_err(|e| chain(&e))?;
    if status.is_success() { Ok((headers, body)) } else { Err(format!("{url} answered {status}")) }
}

/// The JSON that `url` answers with: another server on the port answers with something else.
pub(crate) async fn json(url: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(&get(url).await?).map_err(|_| format!("{url} answers something else than JSON"))
}

/// The innermost cause says what happened; the outer ones only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
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

    /// Answers every request with the same text; the address it does so at comes back.
    async fn answering(text: String) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                // A client that says nothing and leaves gets no answer.
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
    async fn a_page_is_no_health_answer_and_a_redirect_is_not_followed() {
        let page = answering(with_body("<html>sign in</html>")).await;
        assert!(get(&page).await.is_ok(), "the control: by its status it is a success");
        assert!(json(&page).await.unwrap_err().ends_with("something else than JSON"));
        let health = answering(with_body("{\"cluster_name\":\"sluice\"}")).await;
        assert_eq!(json(&health).await.unwrap()["cluster_name"], "sluice");
        let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {health}\r\ncontent-length: 0\r\n\r\n");
        let redirect = answering(redirect).await;
        assert!(get(&redirect).await.unwrap_err().ends_with("answered 302 Found"));
    }
}
