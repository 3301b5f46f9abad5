//! A session runs any number of trials, and the account of each contains exactly its own records.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_loadgen::account::{Account, Origin};
use sluice_loadgen::drive::{Driven, Progress};
use sluice_loadgen::load::LOADED_TOPIC;
use sluice_loadgen::observer::Observer;
use sluice_loadgen::question::Question;
use sluice_loadgen::run_context::RunContext;
use sluice_loadgen::scenario::Scenario;
use sluice_loadgen::session::{Planning, Session};
use sluice_loadgen::trial::Trial;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::{Store, drop_namespace};
use sluice_testkit::{Service, Stack, fresh_names};
use tokio_util::sync::CancellationToken;

use crate::world::{Worker, scenario};

/// Reports nothing.
#[derive(Debug)]
struct Silent;

impl Observer for Silent {
    fn step_started(&self, _: &str) {}
    fn step_advanced(&self, _: &str) {}
    fn step_finished(&self, _: &str) {}
    fn load_started(&self, _: &BTreeMap<String, u64>) {}
    fn loaded(&self, _: &str, _: u64) {}
    fn kept(&self, _: &str, _: u64) {}
    fn drive_started(&self) {}
    fn driving(&self, _: &Arc<Progress>) {}
}

/// Runs trial `number` and returns what it drove, its account, and the number of records in its plan.
async fn run(session: &Session, number: u32, scenario: Scenario) -> (Driven, Account, u64) {
    let stop = CancellationToken::new();
    let mut trial = Trial::numbered(number, scenario, session, &Silent, &stop).await.unwrap();
    let planned = trial.plan().all_totals().all();
    let driven = trial.drive().await.unwrap();
    assert!(trial.settle(&driven).await.unwrap().unwrap().is_complete());
    let account = trial.account(&driven).await.unwrap();
    (driven, account, planned)
}

fn landed(account: &Account, origin: Origin) -> u64 {
    account.ledgers.iter().filter(|ledger| ledger.origin == origin).map(|ledger| ledger.landed).sum()
}

/// Communications in PostgreSQL since the start of the first trial, and events in ClickHouse that were not loaded.
async fn driven_rows(session: &Session) -> [u64; 2] {
    let RunContext { stores, names, scenario, .. } = session.context();
    let mut admin = connect::postgres_connection(stores, &names.database(), Role::Admin).await.unwrap();
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM communications WHERE created_at >= $1");
    let communications = count.bind(scenario.start).fetch_one(&mut admin).await.unwrap();
    let events = "SELECT count() FROM communication_events WHERE _topic != ?";
    let events = connect::clickhouse(stores, names).query(events).bind(LOADED_TOPIC).fetch_one().await.unwrap();
    [communications.unsigned_abs(), events]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_trials_of_a_session_are_each_exact() {
    let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), Service::DEFAULT).await;
    let names = fresh_names("trials");
    let stores = stack.stores(&names);
    let (mut scenario, stop) = (scenario(), CancellationToken::new());
    // Those about what the drive writes must not see other trials.
    scenario.probes.extend([(Question::LiveTimeline, 40.0), (Question::LiveDashboard, 10.0)]);
    let groups = [names.group("sluice-ingest")];
    let session = Session::open(Planning::start(&scenario), (&stores, &names), &groups, &Silent, &stop).await.unwrap();
    let worker = Worker::start_on(&stores, session.names());

    let mut loaded = None;
    for (number, scenario) in [(0, scenario.clone()), (1, scenario.at_rate(2.0)), (2, scenario.clone())] {
        let (driven, account, planned) = run(&session, number, scenario).await;
        assert!(driven.lost.sentences().is_empty(), "{:?}", driven.lost);
        let asked = driven.measured.questions.iter().map(|recorder| recorder.measured().counts);
        let (samples, wrong) = asked.fold((0, 0), |sum, counts| (sum.0 + counts.samples, sum.1 + counts.wrong));
        assert!(samples > 0 && wrong == 0, "{wrong} of {samples} answers are wrong in trial {number}");
        assert!(account.is_balanced(), "trial {number}: {:#?}", account.discrepancies());
        assert_eq!(landed(&account, Origin::Driven), planned, "trial {number}");
        let same = *loaded.get_or_insert(landed(&account, Origin::Loaded));
        assert_eq!(landed(&account, Origin::Loaded), same, "trial {number}");
    }

    // Without the rows of earlier trials, the next one finds what the first one found.
    session.restore(&stop).await.unwrap();
    assert_eq!(driven_rows(&session).await, [0, 0], "restored");
    let (_, account, planned) = run(&session, 3, scenario.clone()).await;
    assert!(account.is_balanced(), "{:#?}", account.discrepancies());
    assert_eq!((landed(&account, Origin::Driven), landed(&account, Origin::Loaded)), (planned, loaded.unwrap()));
    assert!(driven_rows(&session).await.iter().all(|rows| *rows > 0), "the control: a trial leaves rows");

    // The control: a trial whose identities are those of an earlier one.
    let (_, account, _) = run(&session, 3, scenario).await;
    assert!(!account.is_balanced(), "a repeated trial was not noticed");

    worker.stop().await;
    let names = session.names().clone();
    session.close().await;
    let all = [Store::Postgres, Store::Kafka, Store::ClickHouse, Store::Elasticsearch, Store::Redis];
    drop_namespace(&stores, &names, &all).await.unwrap();
}
