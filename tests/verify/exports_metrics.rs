//! While a run goes on, its metrics can be scraped, and a collector gets them; at the end they are those of the report.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use sluice_testkit::{eventually, free_address};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use crate::program::{SCENARIO, World};

/// The bodies that a collector got.
type Bodies = Arc<Mutex<Vec<Value>>>;

/// A collector that accepts everything.
async fn collector() -> (String, Bodies) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let bodies = Bodies::default();
    let received = Arc::clone(&bodies);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, Arc::clone(&received)));
        }
    });
    (address, bodies)
}

async fn serve(mut connection: TcpStream, bodies: Bodies) {
    let mut text = String::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = connection.read(&mut buffer).await {
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() < length.parse().unwrap() {
            continue;
        }
        assert!(head.starts_with("post /v1/metrics ") && head.contains("content-type: application/json"), "{head}");
        bodies.lock().await.push(serde_json::from_str(body).unwrap());
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        text.clear();
    }
}

/// The sum of all series of a counter in a scraped page.
fn scraped(page: &str, name: &str) -> u64 {
    let series = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// The sum of all series of a counter in a pushed request.
fn pushed(request: &Value, name: &str) -> u64 {
    let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let points = metric["sum"]["dataPoints"].as_array().unwrap();
    points.iter().map(|point| point["asInt"].as_str().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn metrics_can_be_scraped_during_a_run_and_are_pushed_until_its_end() {
    let world = World::new().await;
    let (collector, bodies) = collector().await;
    let address = free_address().to_string();
    let arguments = ["verify", "scenario.toml", "--no-up", "--metrics", &address, "--otlp", &collector];
    let mut run = world.run(&arguments, SCENARIO);
    run.wait_for_line("metrics of the drive at").await;
    let url = format!("http://{address}/metrics");
    let client = &reqwest::Client::builder().no_proxy().build().unwrap();
    eventually(Duration::from_mins(2), "a page shows a drive that goes on", || async {
        let page = async { client.get(&url).send().await?.text().await };
        let Ok(page) = page.await else { return false };
        let answered = scraped(&page, "sluice_loadgen_questions_answered_total");
        assert!(answered <= scraped(&page, "sluice_loadgen_questions_offered_total"), "{page}");
        answered > 0 && page.contains("sluice_loadgen_latency_seconds_bucket{") && page.ends_with("# EOF\n")
    })
    .await;
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let report = world.report();
    let asked = report["questions"].as_array().unwrap().iter().map(|one| one["counts"]["samples"].as_u64().unwrap());
    let bodies = bodies.lock().await;
    let last = bodies.last().expect("a push");
    assert_eq!(pushed(last, "sluice_loadgen_questions_answered"), asked.sum::<u64>());
    drop(bodies);
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_collector_that_is_down_fails_no_run() {
    let world = World::new().await;
    let nobody = format!("http://{}", free_address());
    let arguments = ["verify", "scenario.toml", "--no-up", "--otlp", &nobody];
    let (code, output) = world.run(&arguments, SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    assert_eq!(output.matches("the OpenTelemetry collector takes no metrics").count(), 1, "{output}");
    world.sweep_and_drop().await;
}
