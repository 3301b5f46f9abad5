//! `sluice ingest status | pause | resume | breaker reset`: requests to running workers over HTTP. They never access a
//! store.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use reqwest::{Client, Method, Url};
use sluice_ingest::event::request::PartitionStatus;
use sluice_ingest::operator::control::{HEADER, WorkerStatus};

use super::topic;
use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    table::{or_dash, table, text},
};

/// Timeout of a request; a worker waits a little less for its consume loop.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Which workers, and which of their partitions.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Address of a worker, may be repeated; by default, the worker at ingest.listen
    #[arg(long, value_name = "URL", value_parser = address)]
    worker: Vec<Url>,
    /// Only partitions of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only this partition of the topic
    #[arg(long, value_name = "N", requires = "topic", value_parser = arguments::whole_number::<i32>(0..=i32::MAX))]
    partition: Option<i32>,
}

fn address(text: &str) -> Result<Url, &'static str> {
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    Url::parse(text).ok().filter(is_http).ok_or("write it as http://HOST:PORT")
}

/// The responses of workers, and the last failure, if any.
type Responses = (Vec<(Url, WorkerStatus)>, Option<Failure>);

/// Prints a table of all partitions; exit code 1 if one of them is in trouble.
pub(super) async fn status(which: &Which, settings: &Settings) -> Result<Exit, Failure> {
    let (responses, failure) = which.query_all(&Method::GET, "status", settings).await?;
    if !responses.is_empty() {
        screen::print(&status_table(&responses, settings))?;
    }
    let partitions = || responses.iter().flat_map(|(_, status)| &status.partitions);
    for partition in partitions() {
        if let Some(why) = &partition.trouble {
            screen::note(&format!("{} is stalled: {why}", name(partition, settings)));
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None if partitions().any(|partition| partition.trouble.is_some()) => Ok(Exit::Fail),
        None => Ok(Exit::Pass),
    }
}

pub(super) async fn pause(which: &Which, settings: &Settings) -> Result<Exit, Failure> {
    let note =
        "the pause ends when the worker restarts or the partition moves to a worker that did not receive this command";
    which.command("pause", "paused", note, settings).await
}

pub(super) async fn resume(which: &Which, settings: &Settings) -> Result<Exit, Failure> {
    which.command("resume", "resumed", "", settings).await
}

pub(super) async fn reset(which: &Which, settings: &Settings) -> Result<Exit, Failure> {
    let window = settings.ingest.breaker.window;
    let note =
        format!("the next {window} records of each are not judged; those that cannot land go to the dead-letter topic");
    which.command("breaker/reset", "resumed", &note, settings).await
}

impl Which {
    async fn command(&self, path: &str, done: &str, note: &str, settings: &Settings) -> Result<Exit, Failure> {
        let (responses, failure) = self.query_all(&Method::POST, path, settings).await?;
        let changed: Vec<_> = responses.iter().flat_map(|(_, status)| &status.partitions).collect();
        for partition in &changed {
            screen::print(&format!("{} {done}", name(partition, settings)))?;
        }
        if !changed.is_empty() && !note.is_empty() {
            screen::note(note);
        }
        // A worker that did not respond may own the partition.
        if let Some(failure) = failure {
            return Err(failure);
        }
        if changed.is_empty() {
            if self.has_none(settings).await? {
                let unknown =
                    "find that partition: these workers do not own it; `sluice ingest status` shows what they own";
                return Err(anyhow!(unknown)).or_exit(Exit::Usage);
            }
            screen::note("nothing to do: every partition of these workers is in that state already");
        }
        Ok(Exit::Pass)
    }

    /// Whether the workers own none of the named partitions.
    async fn has_none(&self, settings: &Settings) -> Result<bool, Failure> {
        let (responses, failure) = self.query_all(&Method::GET, "status", settings).await?;
        Ok(self.topic.is_some()
            && failure.is_none()
            && responses.iter().all(|(_, status)| status.partitions.is_empty()))
    }

    /// Sends the request to every worker, even if one of them does not respond.
    async fn query_all(&self, method: &Method, path: &str, settings: &Settings) -> Result<Responses, Failure> {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.timeout(TIMEOUT).build().context("prepare the HTTP client")?;
        let (mut responses, mut failure) = (Vec::new(), None);
        for worker in self.workers(settings)? {
            match self.query(&client, method, &worker, path, settings).await {
                Ok(status) => responses.push((worker, status)),
                Err(other) => failure = Some(other),
            }
        }
        Ok((responses, failure))
    }

    fn workers(&self, settings: &Settings) -> Result<Vec<Url>, Failure> {
        if !self.worker.is_empty() {
            return Ok(self.worker.clone());
        }
        let listen = settings.ingest.listen;
        Ok(vec![Url::parse(&format!("http://{listen}")).context("build a URL from ingest.listen")?])
    }

    async fn query(
        &self,
        client: &Client,
        method: &Method,
        worker: &Url,
        path: &str,
        settings: &Settings,
    ) -> Result<WorkerStatus, Failure> {
        let url = worker.join(path).with_context(|| format!("build a URL from --worker {worker}"))?;
        let topic = self.topic.as_ref().map(|topic| ("topic", topic::full(settings, topic)));
        let partition = self.partition.map(|partition| ("partition", partition.to_string()));
        let query: Vec<_> = topic.into_iter().chain(partition).collect();
        let request = client.request(method.clone(), url).query(&query).header(HEADER, "1");
        let response = request.send().await.map_err(|_| {
            anyhow!("reach the worker at {worker}: it does not respond; start it, or name one that runs with --worker")
        })?;
        let (status, body) = (response.status(), response.text().await.context("read the worker's response")?);
        if status.is_client_error() {
            return Err(anyhow!("send the request to the worker at {worker}: {}", body.trim())).or_exit(Exit::Usage);
        }
        if !status.is_success() {
            return Err(anyhow!("send the request to the worker at {worker}: {}", body.trim()).into());
        }
        let unreadable =
            || format!("read the response of the worker at {worker}: it is not valid; is it a worker of this version?");
        Ok(serde_json::from_str(&body).with_context(unreadable)?)
    }
}

fn name(partition: &PartitionStatus, settings: &Settings) -> String {
    format!("{} {}", topic::short(settings, &partition.topic), partition.partition)
}

fn status_table(responses: &[(Url, WorkerStatus)], settings: &Settings) -> String {
    let header = ["TOPIC", "PARTITION", "COMMITTED", "LAG", "HELD BACK", "NEXT", "BATCHES", "BYTES", "STATE", "WORKER"];
    let mut table = table(&header, &[1, 2, 3, 4, 5, 6, 7]);
    for (worker, status) in responses {
        for partition in &status.partitions {
            let state = if partition.holds.is_empty() { "consuming".to_owned() } else { partition.holds.join(", ") };
            table.add_row([
                topic::short(settings, &partition.topic).to_owned(),
                partition.partition.to_string(),
                or_dash(partition.committed),
                or_dash(partition.lag),
                or_dash(partition.held_back),
                partition.position.to_string(),
                partition.ranges.to_string(),
                partition.bytes.to_string(),
                state,
                worker.as_str().trim_end_matches('/').to_owned(),
            ]);
        }
    }
    text(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_and_a_held_partition_are_shown() {
        let partition = |partition, holds: &[&str]| PartitionStatus {
            topic: "events".to_owned(),
            partition,
            position: 120,
            watermark: Some(100),
            committed: (partition == 0).then_some(100),
            lag: Some(25),
            held_back: Some(0),
            holds: holds.iter().map(|why| (*why).to_owned()).collect(),
            trouble: None,
            ranges: 1,
            bytes: 4000,
        };
        let partitions = vec![partition(0, &[]), partition(1, &["memory is short", "paused by an operator"])];
        let status = WorkerStatus { group: "g".to_owned(), partitions };
        let worker = Url::parse("http://127.0.0.1:21050").unwrap();
        insta::assert_snapshot!(status_table(&[(worker, status)], &Settings::default()), @r"
        TOPIC   PARTITION  COMMITTED  LAG  HELD BACK  NEXT  BATCHES  BYTES  STATE                                   WORKER
        events          0        100   25          0   120        1   4000  consuming                               http://127.0.0.1:21050
        events          1          -   25          0   120        1   4000  memory is short, paused by an operator  http://127.0.0.1:21050
        ");
    }
}
