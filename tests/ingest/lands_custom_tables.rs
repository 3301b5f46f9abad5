//! A topic and a table that only the settings define: values of every type land as they were sent, values that do not fit are
//! dead-lettered with a reason, and adding a column under a running worker does not stop it.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use sluice_ingest::config::{Pipeline, Settings};
use sluice_schemas::connect;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, TENANT, World, header, quick_settings};

const TOPIC: &str = "orders";

const TABLE: &str = "CREATE TABLE orders
(
    id          UInt64,
    tenant      LowCardinality(String),
    placed_at   DateTime64(6, 'UTC'),
    small       Int8,
    wide        Int128,
    natural     UInt128,
    ratio       Float32,
    exact       Float64,
    is_paid     Bool,
    price       Decimal(9, 2),
    total       Decimal(18, 4),
    huge        Decimal(38, 10),
    status      Enum8('open, or so' = 1, 'done' = -1),
    stage       Enum16('a' = 1, 'b' = 1000),
    currency    LowCardinality(FixedString(3)),
    due         Date,
    born        Date32,
    paid_at     DateTime('UTC'),
    from_v4     IPv4,
    from_v6     IPv6,
    note        Nullable(String),
    rank        LowCardinality(Nullable(String)),
    tags        Array(LowCardinality(String)),
    grid        Array(Array(Nullable(Int32))),
    counts      Map(String, UInt64),
    by_code     Map(UInt16, Nullable(String)),
    by_id       Map(UUID, Array(Float64)),
    by_word     Map(LowCardinality(String), Map(String, Bool)),
    place       Tuple(lat Float64, lon Float64, label Nullable(String)),
    pair        Tuple(UInt8, String),
    lines       Array(Tuple(sku String, price Decimal(9, 2))),
    document    JSON,
    documents   Array(JSON),
    source      String DEFAULT 'unknown',
    score       Nullable(UInt8) DEFAULT 7,
    _topic      LowCardinality(String),
    _topic_id   UUID,
    _partition  Int32,
    _offset     Int64,
    PROJECTION by_offset (SELECT _topic, _topic_id, _partition, _offset ORDER BY _topic, _partition, _offset)
)
ENGINE = MergeTree PARTITION BY toYYYYMM(placed_at) ORDER BY (tenant, id)
SETTINGS non_replicated_deduplication_window = 10000";

/// Settings that read rows back in the form in which they were sent.
const AS_SENT: &str = "SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1, \
                       date_time_output_format = 'iso'";

/// A record with a value of every type. `"=123"` stands for a number too large for a `serde_json::Value`.
fn order(id: u64) -> Value {
    json!({
        "id": id,
        "shop": {"tenant": TENANT},
        "placed_at": "2026-11-24T08:33:26.123456Z",
        "small": -128,
        "wide": "=-170141183460469231731687303715884105728",
        "natural": "=340282366920938463463374607431768211455",
        "ratio": 0.25,
        "exact": 0.1,
        "is_paid": true,
        "price": "=12.3",
        "total": "-99999999999999.9999",
        "huge": "1234567890123456789012345678.0000000001",
        "status": "open, or so",
        "stage": "b",
        "currency": "EUR",
        "due": "2026-12-31",
        "born": "1900-01-01",
        "paid_at": "2106-02-07T06:28:15Z",
        "from_v4": "192.168.0.1",
        "from_v6": "2001:db8::1",
        "note": null,
        "rank": "first \"\u{e4}\u{1f600}\u{0}\"",
        "tags": ["a", "", "b\\"],
        "grid": [[1, null], [], [-3]],
        "counts": {"": 0, "many": u64::MAX},
        "by_code": {"0": null, "65535": "most"},
        "by_id": {TENANT.to_string(): [0.5, 1.5]},
        "by_word": {"x": {"y": true}, "z": {}},
        "place": {"lat": 52.5, "lon": 13.25, "label": "here"},
        "pair": [255, "two"],
        "lines": [{"sku": "s", "price": "1.05"}, {"sku": "t", "price": "0"}],
        "document": {"a": {"b": [1, "x", true, 2.5]}, "at": "2026-11-24T08:33:26.120Z", "n": u64::MAX},
        "documents": [{"day": "2026-11-24"}, {"flags": [true, 2]}],
        "source": "a shop",
        "score": null,
    })
}

/// JSON text of a record.
fn text(order: &Value) -> String {
    let text = order.to_string();
    let mut parts = text.split("\"=");
    let mut unquoted = parts.next().unwrap().to_owned();
    for part in parts {
        unquoted.push_str(&part.replacen('"', "", 1));
    }
    unquoted
}

/// Expected row of a record.
fn row(order: &Value) -> Value {
    let mut row = order.clone();
    let fields = row.as_object_mut().unwrap();
    let tenant = fields.remove("shop").unwrap()["tenant"].take();
    fields.insert("tenant".to_owned(), tenant);
    for value in fields.values_mut() {
        let wide = value.as_str().and_then(|text| text.strip_prefix('=')).map(str::to_owned);
        *value = wide.map_or(value.take(), Into::into);
    }
    row
}

struct Orders {
    world: World,
    producer: FutureProducer,
}

impl Orders {
    async fn new() -> Self {
        let world = World::new().await;
        world.execute(TABLE).await;
        let name = world.names.topic(TOPIC);
        let topic = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
        let created = world.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
        created.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
        let producer = world.producer("lz4");
        Self { world, producer }
    }

    /// Settings with a section `[ingest.pipelines.orders]`.
    fn settings() -> Settings {
        let mut settings = quick_settings();
        let pipeline = Pipeline {
            table: "orders".to_owned(),
            columns: [("tenant".to_owned(), "shop.tenant".to_owned())].into(),
            tenant: "shop.tenant".to_owned(),
            max_age: settings.pipelines["communication-events"].max_age,
            ..Pipeline::default()
        };
        settings.pipelines.insert(TOPIC.to_owned(), pipeline);
        settings
    }

    async fn send(&self, payload: &str) -> (i32, i64) {
        let topic = self.world.names.topic(TOPIC);
        let record = FutureRecord::<[u8], _>::to(&topic).payload(payload);
        let sent = self.producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap();
        (sent.partition, sent.offset)
    }

    /// Rows of the table by ID, without the columns that ingest fills.
    async fn rows(&self) -> BTreeMap<u64, Value> {
        let query = format!(
            "SELECT * EXCEPT(_topic, _topic_id, _partition, _offset) REPLACE(toString(wide) AS wide, toString(natural) AS natural) FROM orders {AS_SENT}"
        );
        let client = connect::clickhouse(&self.world.stores, &self.world.names);
        let bytes = client.query(&query).fetch_bytes("JSONEachRow").unwrap().collect().await.unwrap();
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        rows.map(|row| row.unwrap()).map(|row| (row["id"].as_u64().unwrap(), row)).collect()
    }

    async fn wait_for_rows(&self, count: usize) {
        eventually(DEADLINE, "all rows land", || async { self.rows().await.len() >= count }).await;
    }

    async fn wait_for_commit(&self, count: i64) {
        eventually(DEADLINE, "everything is committed", || async { self.world.committed_sum(TOPIC).await == count })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_lands_as_it_was_sent() {
    let orders = Orders::new().await;
    let worker = orders.world.start(Orders::settings()).await;
    let mut bare = order(2);
    for field in ["note", "rank", "source", "score"] {
        bare.as_object_mut().unwrap().remove(field);
    }
    for record in [&order(1), &bare] {
        orders.send(&text(record)).await;
    }
    orders.wait_for_rows(2).await;
    orders.wait_for_commit(2).await;
    worker.stop().await;
    let rows = orders.rows().await;
    assert_eq!(rows[&1], row(&order(1)));
    let mut with_defaults = row(&bare);
    for (field, value) in
        [("note", Value::Null), ("rank", Value::Null), ("source", json!("unknown")), ("score", json!(7))]
    {
        with_defaults[field] = value;
    }
    assert_eq!(rows[&2], with_defaults);
    assert_ne!(rows[&1], row(&bare), "negative control: a missing field is detected");
    assert!(orders.world.dead_letters().await.is_empty());
    orders.world.drop_namespace().await;
}

/// Expected reason, the invalid field and its JSON text.
const FAULTS: [(&str, &str, &str); 26] = [
    ("out_of_range", "small", "128"),
    ("out_of_range", "natural", "-1"),
    ("out_of_range", "ratio", "1e39"),
    ("out_of_range", "price", "10000000"),
    ("out_of_range", "due", r#""2150-01-01""#),
    ("out_of_range", "born", r#""2300-01-01""#),
    ("out_of_range", "document", r#"{"a":18446744073709551616}"#),
    ("too_many_decimals", "price", "1.005"),
    ("invalid_decimal", "total", r#""a lot""#),
    ("wrong_type", "is_paid", r#""yes""#),
    ("wrong_type", "tags", r#"["a",null]"#),
    ("wrong_type", "grid", "[1]"),
    ("wrong_type", "by_code", r#"{"one":"x"}"#),
    ("wrong_type", "pair", "[1]"),
    ("wrong_type", "document", "[]"),
    ("missing_field", "placed_at", "null"),
    ("missing_field", "place", r#"{"lat":1.5}"#),
    ("invalid_uuid", "by_id", r#"{"x":[]}"#),
    ("invalid_time", "paid_at", r#""yesterday""#),
    ("invalid_address", "from_v4", r#""::1""#),
    ("invalid_address", "from_v6", r#""1.2.3.4""#),
    ("unknown_word", "status", r#""open""#),
    ("string_too_long", "currency", r#""EURO""#),
    ("duplicate_field", "counts", r#"{"a":1,"a":2}"#),
    ("duplicate_field", "document", r#"{"a":{"b":1,"b":1}}"#),
    // Only ClickHouse detects that both are the path `a.b`.
    ("incorrect_data", "document", r#"{"a.b":1,"a":{"b":2}}"#),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_do_not_fit_are_dead_lettered_with_a_reason() {
    let orders = Orders::new().await;
    let worker = orders.world.start(Orders::settings()).await;
    let mut sent = Vec::new();
    for (id, (reason, field, value)) in (0..).zip(FAULTS) {
        orders.send(&text(&order(id))).await;
        let mut bad = order(1_000 + id);
        bad[field] = json!("@");
        let payload = text(&bad).replace("\"@\"", value);
        sent.push((orders.send(&payload).await, reason, field, payload));
    }
    orders.wait_for_rows(sent.len()).await;
    orders.wait_for_commit(2 * i64::try_from(sent.len()).unwrap()).await;
    worker.stop().await;
    let letters = orders.world.dead_letters().await;
    assert_eq!(letters.len(), sent.len(), "every bad record, and no other");
    for (at, reason, field, payload) in &sent {
        let letter = &letters[at];
        assert_eq!(header(letter, "sluice.reason").as_deref(), Some(*reason), "{field}: {payload}");
        assert_eq!(header(letter, "sluice.topic"), Some(orders.world.names.topic(TOPIC)));
        assert_eq!(letter.payload(), Some(payload.as_bytes()));
    }
    assert!(orders.rows().await.keys().all(|id| *id < 1_000), "only their neighbors land");
    orders.world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_column_gets_its_default_until_a_restart() {
    let orders = Orders::new().await;
    let worker = orders.world.start(Orders::settings()).await;
    let with = |id| {
        let mut order = order(id);
        order["added"] = json!(9);
        order["maybe"] = json!("present");
        text(&order)
    };
    orders.send(&with(1)).await;
    orders.wait_for_rows(1).await;
    let columns = "ADD COLUMN added UInt8 DEFAULT 5, ADD COLUMN maybe Nullable(String)";
    orders.world.execute(&format!("ALTER TABLE orders {columns}")).await;
    orders.send(&with(2)).await;
    orders.wait_for_rows(2).await;
    worker.stop().await;
    let worker = orders.world.start(Orders::settings()).await;
    orders.send(&with(3)).await;
    orders.send(&text(&order(4))).await;
    orders.wait_for_rows(4).await;
    orders.wait_for_commit(4).await;
    worker.stop().await;
    let rows = orders.rows().await;
    let added: Vec<_> = rows.values().map(|row| (row["added"].as_u64().unwrap(), row["maybe"].as_str())).collect();
    assert_eq!(added, [(5, None), (5, None), (9, Some("present")), (5, None)]);
    assert!(orders.world.dead_letters().await.is_empty());
    orders.world.drop_namespace().await;
}
