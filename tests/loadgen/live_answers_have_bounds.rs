//! Answers about what the drive writes are right while it writes, and wrong if they are ahead of it or lack what was there.

use sluice_loadgen::drive::Driven;
use sluice_loadgen::question::Question;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::tenant;
use tokio_util::sync::CancellationToken;

use crate::world::{Worker, World};

const LIVE: [(Question, f64); 2] = [(Question::LiveTimeline, 60.0), (Question::LiveDashboard, 15.0)];

async fn world() -> World {
    let (world, _) = World::loaded_with(|scenario| scenario.probes = LIVE.into()).await;
    world
}

/// Answers, and the wrong ones among them, of each live question.
fn answers(driven: &Driven) -> [(u64, u64); 2] {
    LIVE.map(|(question, _)| {
        let recorder = driven.measured.questions.iter().find(|recorder| recorder.question() == question).unwrap();
        let counts = recorder.measured().counts;
        (counts.samples - counts.errors - counts.timed_out, counts.wrong)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_right_while_records_land_and_wrong_ahead_of_them() {
    let world = world().await;
    let worker = Worker::start(&world);
    let driven = world.drive_on(&world.stores, &CancellationToken::new()).await;
    let first = answers(&driven);
    assert!(first.iter().all(|(answers, wrong)| *answers > 20 && *wrong == 0), "{first:?}");
    world.wait_until_landed(&driven.acknowledged).await;
    worker.stop().await;
    // Negative control: the same drive finds all that it is about to write.
    let again = answers(&world.drive_on(&world.stores, &CancellationToken::new()).await);
    assert!(again.iter().all(|(answers, wrong)| *wrong > answers / 2), "{again:?}");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_lack_what_was_there_before_the_drive_are_wrong() {
    let world = world().await;
    delete_text_messages(&world).await;
    let [timelines, dashboards] = answers(&world.drive_on(&world.stores, &CancellationToken::new()).await);
    assert!(timelines.1 > 20, "{timelines:?}: some customers had a text message");
    assert!(dashboards.0 > 20 && dashboards.0 == dashboards.1, "{dashboards:?}");
    world.drop_namespace().await;
}

async fn delete_text_messages(world: &World) {
    let client = connect::clickhouse(&world.stores, &world.names).with_setting("mutations_sync", "2");
    client.query("ALTER TABLE communication_events DELETE WHERE channel = 'sms'").execute().await.unwrap();
    let pool = connect::postgres(&world.stores, &world.names, Role::App).await.unwrap();
    for owner in world.plan.population().tenants() {
        let mut transaction = tenant::begin(&pool, owner.id).await.unwrap();
        sqlx::query("DELETE FROM communications WHERE channel = 'sms'").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
    pool.close().await;
}
