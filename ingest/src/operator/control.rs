//! The operator's requests to a running worker, over HTTP next to metrics and health: `GET /status`, `POST /pause`,
//! `POST /resume`, `POST /breaker/reset`, each with `?topic=` and `?partition=` unless all are meant.
//! Requests go in and are forwarded to the consume loop; its response comes out as JSON. This module changes nothing
//! itself, and no command can lose or duplicate a record.
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
    /// Its consumer group, with its namespace.
    pub group: String,
    /// Its partitions.
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
                    let why = format!("send the header {HEADER}: 1, so that no page in a browser can do this\n");
                    return (StatusCode::FORBIDDEN, why).into_response();
                }
                control.answer(command, query.as_deref()).await
            })
        };
        let status = |State(control): State<Arc<Self>>, RawQuery(query): RawQuery| async move {
            control.answer(Command::Status, query.as_deref()).await
        };
        Router::new()
            .route("/status", get(status))
            .route("/pause", command(Command::Pause))
            .route("/resume", command(Command::Resume))
            .route("/breaker/reset", command(Command::Reset))
            .with_state(Arc::new(self))
    }

    async fn answer(&self, command: Command, query: Option<&str>) -> Response {
        let which = match which(query.unwrap_or_default(), &self.prefix) {
            Ok(which) => which,
            Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        };
        match self.send(command, which).await {
            Ok(partitions) => {
                let status = WorkerStatus { group: self.group.clone(), partitions };
                let body = serde_json::to_string(&status).unwrap_or_default();
                ([(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(RequestError::Unknown(unknown)) => (StatusCode::NOT_FOUND, format!("{unknown}\n")).into_response(),
            Err(RequestError::NoResponse) => {
                let why = "the worker is starting, stopping or waiting for Kafka and does not respond; try again\n";
                (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
            }
        }
    }

    /// Sends a request to the consume loop.
    async fn send(&self, command: Command, filter: PartitionFilter) -> Result<Vec<PartitionStatus>, RequestError> {
        let (answer, answered) = oneshot::channel();
        let response = async {
            self.events.send(Event::Command(Request { command, filter, reply: answer })).await.ok()?;
            answered.await.ok()
        };
        let answer = tokio::time::timeout(TIMEOUT, response).await.ok().flatten();
        answer.ok_or(RequestError::NoResponse)?.map_err(RequestError::Unknown)
    }
}

/// Why there is no response from the consume loop.
enum RequestError {
    /// No pipeline of the worker consumes the topic.
    Unknown(UnknownTopic),
    /// It did not respond in time.
    NoResponse,
}

/// Parses a query. Topic names contain no characters that need escaping in one.
fn which(query: &str, prefix: &str) -> Result<PartitionFilter, String> {
    let mut which = PartitionFilter::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("topic", topic) if topic.starts_with(prefix) => which.topic = Some(topic.to_owned()),
            ("topic", topic) => which.topic = Some(format!("{prefix}{topic}")),
            ("partition", number) => {
                let number = number.parse().map_err(|_| format!("partition={number} is not a number"))?;
                which.partition = Some(number);
            }
            (name, _) => return Err(format!("{name} is unknown; use topic and partition")),
        }
    }
    if which.partition.is_some() && which.topic.is_none() {
        return Err("also name the partition's topic".to_owned());
    }
    Ok(which)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects_all_one_topic_or_one_partition() {
        let of = |topic: &str, partition| PartitionFilter { topic: Some(topic.to_owned()), partition };
        assert_eq!(which("", "ns."), Ok(PartitionFilter::default()));
        assert_eq!(which("topic=events", "ns."), Ok(of("ns.events", None)));
        assert_eq!(which("topic=ns.events&partition=3", "ns."), Ok(of("ns.events", Some(3))));
        insta::assert_snapshot!(which("partition=3", "ns.").unwrap_err(), @"also name the partition's topic");
        insta::assert_snapshot!(which("topic=a&partition=x", "").unwrap_err(), @"partition=x is not a number");
        insta::assert_snapshot!(which("tpoic=a", "").unwrap_err(), @"tpoic is unknown; use topic and partition");
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
        let answering = tokio::spawn(async move {
            let Some(Event::Command(Request { command, filter: which, reply: answer })) = sent.recv().await else {
                return;
            };
            assert_eq!((command, which.topic.as_deref()), (Command::Pause, Some("t")));
            answer.send(Ok(Vec::new())).unwrap();
        });
        let accepted = client.post(format!("{url}/pause?topic=t")).header(HEADER, "1").send().await.unwrap();
        assert_eq!(accepted.text().await.unwrap(), r#"{"group":"g","partitions":[]}"#);
        answering.await.unwrap();
    }
}
