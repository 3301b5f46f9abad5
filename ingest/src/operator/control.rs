//! The operator's requests to a running worker, over HTTP next to metrics and health: `GET /status`, `POST /pause`,
//! `POST /resume`, `POST /breaker/reset`, each with `?topic=` and `?partition=` unless all are meant.
//! It forwards each request to the consume loop and returns the loop's response as JSON. It changes nothing itself, and
//! no command can lose or duplicate a record.
//!
//! A command requires the header [`HEADER`], which a page in a browser cannot send to another site without a preflight
//! request. A command about a partition that is not assigned to this worker is remembered in case it is assigned later;
//! a restart forgets it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::event::Event;
use crate::event::request::{Command, PartitionFilter, PartitionStatus, Request, UnknownTopic};

/// Header that a command must have, with any value.
pub const HEADER: &str = "x-sluice-command";
/// How long to wait for the consume loop, which is blocked during a rebalance.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The status of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The worker's consumer group, with its namespace.
    pub group: String,
    /// The worker's partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// The channel to the consume loop.
#[derive(Debug, Clone)]
pub struct Control {
    /// The queue of the consume loop.
    pub events: mpsc::Sender<Event>,
    /// The worker's group, with its namespace.
    pub group: String,
    /// Prefix of every topic in this namespace.
    pub prefix: String,
}

impl Control {
    /// The HTTP routes.
    pub fn router(self) -> Router {
        let command = |command: Command| {
            post(move |State(control): State<Arc<Self>>, headers: HeaderMap, RawQuery(query): RawQuery| async move {
                if !headers.contains_key(HEADER) {
                    let message = format!("send the header {HEADER}: 1, so that no page in a browser can do this\n");
                    return (StatusCode::FORBIDDEN, message).into_response();
                }
                control.respond(command, query.as_deref()).await
            })
        };
        let status = |State(control): State<Arc<Self>>, RawQuery(query): RawQuery| async move {
            control.respond(Command::Status, query.as_deref()).await
        };
        Router::new()
            .route("/status", get(status))
            .route("/pause", command(Command::Pause))
            .route("/resume", command(Command::Resume))
            .route("/breaker/reset", command(Command::Reset))
            .with_state(Arc::new(self))
    }

    async fn respond(&self, command: Command, query: Option<&str>) -> Response {
        let filter = match parse_filter(query.unwrap_or_default(), &self.prefix) {
            Ok(filter) => filter,
            Err(message) => return (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response(),
        };
        match self.send(command, filter).await {
            Ok(partitions) => {
                let status = WorkerStatus { group: self.group.clone(), partitions };
                let body = serde_json::to_string(&status).unwrap_or_default();
                ([(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(RequestError::Unknown(unknown)) => (StatusCode::NOT_FOUND, format!("{unknown}\n")).into_response(),
            Err(RequestError::NoResponse) => {
                let message = "the worker is starting, stopping or waiting for Kafka and does not respond; try again\n";
                (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
            }
        }
    }

    /// Sends a request to the consume loop.
    async fn send(&self, command: Command, filter: PartitionFilter) -> Result<Vec<PartitionStatus>, RequestError> {
        let (reply, receiver) = oneshot::channel();
        let response = async {
            self.events.send(Event::Command(Request { command, filter, reply })).await.ok()?;
            receiver.await.ok()
        };
        let outcome = tokio::time::timeout(TIMEOUT, response).await.ok().flatten();
        outcome.ok_or(RequestError::NoResponse)?.map_err(RequestError::Unknown)
    }
}

/// Why there is no response from the consume loop.
enum RequestError {
    /// No pipeline of the worker consumes the topic.
    Unknown(UnknownTopic),
    /// The consume loop did not respond in time.
    NoResponse,
}

/// Parses a URL query. Topic names contain no characters that need escaping in a URL.
fn parse_filter(query: &str, prefix: &str) -> Result<PartitionFilter, String> {
    let mut filter = PartitionFilter::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("topic", topic) if topic.starts_with(prefix) => filter.topic = Some(topic.to_owned()),
            ("topic", topic) => filter.topic = Some(format!("{prefix}{topic}")),
            ("partition", number) => {
                let number = number.parse().map_err(|_| format!("partition={number} is not a number"))?;
                filter.partition = Some(number);
            }
            (name, _) => return Err(format!("{name} is unknown; use topic and partition")),
        }
    }
    if filter.partition.is_some() && filter.topic.is_none() {
        return Err("also name the partition's topic".to_owned());
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects_all_one_topic_or_one_partition() {
        let filter = |topic: &str, partition| PartitionFilter { topic: Some(topic.to_owned()), partition };
        assert_eq!(parse_filter("", "ns."), Ok(PartitionFilter::default()));
        assert_eq!(parse_filter("topic=events", "ns."), Ok(filter("ns.events", None)));
        assert_eq!(parse_filter("topic=ns.events&partition=3", "ns."), Ok(filter("ns.events", Some(3))));
        insta::assert_snapshot!(parse_filter("partition=3", "ns.").unwrap_err(), @"also name the partition's topic");
        insta::assert_snapshot!(parse_filter("topic=a&partition=x", "").unwrap_err(), @"partition=x is not a number");
        insta::assert_snapshot!(parse_filter("tpoic=a", "").unwrap_err(), @"tpoic is unknown; use topic and partition");
    }

    #[tokio::test]
    async fn a_command_without_the_header_is_refused_and_never_sent() {
        let (events, mut sent) = mpsc::channel(1);
        let control = Control { events, group: "g".to_owned(), prefix: String::new() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, control.router()).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let refused = client.post(format!("{url}/pause")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(client.get(format!("{url}/pause")).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(sent.try_recv().is_err(), "no command was sent");
        let responder = tokio::spawn(async move {
            let Some(Event::Command(Request { command, filter, reply })) = sent.recv().await else { return };
            assert_eq!((command, filter.topic.as_deref()), (Command::Pause, Some("t")));
            reply.send(Ok(Vec::new())).unwrap();
        });
        let accepted = client.post(format!("{url}/pause?topic=t")).header(HEADER, "1").send().await.unwrap();
        assert_eq!(accepted.text().await.unwrap(), r#"{"group":"g","partitions":[]}"#);
        responder.await.unwrap();
    }
}
