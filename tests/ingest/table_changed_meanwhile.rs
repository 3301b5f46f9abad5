//! A column gets another type under a running worker: nothing is written that would mean something else, no good record
//! becomes a dead letter, the worker says what is the matter, and it goes on by itself once the column is as it was.

use sluice_testkit::eventually;

use crate::harness::{DEADLINE, World, in_partition, stands_still, status};
use crate::oracle::judge;
use crate::process::short_lived;

/// The table is made so before the worker starts, and the column `duration_ms` of type UInt32 changed to `of` later.
async fn changed(before: Option<&str>, of: &str) {
    let world = World::new().await;
    if let Some(sql) = before {
        world.execute(sql).await;
    }
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &in_partition(0, 0..40)).await;
    world.settled(40).await;
    world.execute(&format!("ALTER TABLE communication_events MODIFY COLUMN duration_ms {of}")).await;
    world.produce_all(&producer, &in_partition(0, 40..80)).await;
    stands_still(&worker.url, "have other types than when this worker started").await;
    assert_eq!((world.count().await, world.dead_letters().await.len()), (40, 0), "{of}");
    world.execute("ALTER TABLE communication_events MODIFY COLUMN duration_ms UInt32").await;
    world.settled(80).await;
    eventually(DEADLINE, "it is ready again", || async { status(&worker.url, "readyz").await == 200 }).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (80, 0), "{of}");
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_another_type_is_noticed_before_anything_is_written() {
    // Rows without the column's default in them say their types themselves; for the others the table is asked.
    let with_default = "ALTER TABLE communication_events MODIFY COLUMN error_code String DEFAULT 'none'";
    tokio::join!(
        changed(None, "Int32"),
        changed(None, "UInt64"),
        changed(Some(with_default), "Int32"),
        changed(Some(with_default), "UInt64"),
    );
}
