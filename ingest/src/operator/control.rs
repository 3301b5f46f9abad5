//! What an operator can ask a running worker, over HTTP beside metrics and health: `GET /status`, `POST /pause`,
//! `POST /resume`, `POST /breaker/reset`, each with `?topic=` and `?partition=` where not all are meant.
//! Requests go in and travel to the consume loop, which answers; what it answers comes out as JSON. It changes nothing
//! itself, and nothing that it can do loses or doubles a record.
//!
//! A command needs the header [`HEADER`], which no page in a browser can send to another site without being asked first.
//! What a command says about a partition that this worker does not own is kept in case it comes to own it; a restart
//! forgets it.

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
use crate::event::request::{Command, PartitionStatus, Request, UnknownTopic, Which};

/// Header that a command has to carry, with any value.
pub const HEADER: &str = "x-sluice-command";
/// How long the consume loop may take to answer; it stands still during a rebalance.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a worker stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its consumer group, with its namespace.
    pub group: String,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// The way to the consume loop.
#[derive(Debug, Clone)]
pub struct Control {
    /// Where requests go.
    pub events: mpsc::Sender<Event>,
    /// The worker's group, with its namespace.
    pub group: String,
    /// What stands before every topic in this namespace.
    pub prefix: String,
}

impl Control {
    /// The pages.
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
        match self.ask(command, which).await {
            Ok(partitions) => {
                let status = WorkerStatus { group: self.group.clone(), partitions };
                let body = serde_json::to_string(&status).unwrap_or_default();
                ([(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(AskError::Unknown(unknown)) => (StatusCode::NOT_FOUND, format!("{unknown}\n")).into_response(),
            Err(AskError::Unanswered) => {
                let why = "the worker starts, ends or waits for Kafka, so it does not answer; ask again\n";
                (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
            }
        }
    }

    /// Asks the consume loop.
    async fn ask(&self, command: Command, which: Which) -> Result<Vec<PartitionStatus>, AskError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.events.send(Event::Command(Request { command, which, answer })).await.ok()?;
            answered.await.ok()
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
        answer.ok_or(AskError::Unanswered)?.map_err(AskError::Unknown)
    }
}

/// Why the consume loop gives no status.
enum AskError {
    /// No pipeline of the worker consumes the topic.
    Unknown(UnknownTopic),
    /// It did not answer in time.
    Unanswered,
}

/// Reads a query. Names of topics hold nothing that would have to be escaped in one.
fn which(query: &str, prefix: &str) -> Result<Which, String> {
    let mut which = Which::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("topic", topic) if topic.starts_with(prefix) => which.topic = Some(topic.to_owned()),
            ("topic", topic) => which.topic = Some(format!("{prefix}{topic}")),
            ("partition", number) => {
                let number = number.parse().map_err(|_| format!("partition={number} is no number"))?;
                which.partition = Some(number);
            }
            (name, _) => return Err(format!("{name} is not known; topic and partition are")),
        }
    }
    if which.partition.is_some() && which.topic.is_none() {
        return Err("name the partition's topic as well".to_owned());
    }
    Ok(which)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_all_one_topic_or_one_partition() {
        let of = |topic: &str, partition| Which { topic: Some(topic.to_owned()), partition };
        assert_eq!(which("", "ns."), Ok(Which::default()));
        assert_eq!(which("topic=events", "ns."), Ok(of("ns.events", None)));
        assert_eq!(which("topic=ns.events&partition=3", "ns."), Ok(of("ns.events", Some(3))));
        insta::assert_snapshot!(which("partition=3", "ns.").unwrap_err(), @"name the partition's topic as well");
        insta::assert_snapshot!(which("topic=a&partition=x", "").unwrap_err(), @"partition=x is no number");
        insta::assert_snapshot!(which("tpoic=a", "").unwrap_err(), @"tpoic is not known; topic and partition are");
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
        assert!(sent.try_recv().is_err(), "nothing came through");
        let answering = tokio::spawn(async move {
            let Some(Event::Command(Request { command, which, answer })) = sent.recv().await else { return };
            assert_eq!((command, which.topic.as_deref()), (Command::Pause, Some("t")));
            answer.send(Ok(Vec::new())).unwrap();
        });
        let taken = client.post(format!("{url}/pause?topic=t")).header(HEADER, "1").send().await.unwrap();
        assert_eq!(taken.text().await.unwrap(), r#"{"group":"g","partitions":[]}"#);
        answering.await.unwrap();
    }
}
