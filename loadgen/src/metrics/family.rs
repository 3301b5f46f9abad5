//! The metrics of a drive as data: families of series, from a snapshot. Prometheus and OTLP are two forms of the same.
//! Labels are names of a scenario; none contains a tenant, a key or a value of a record.

use std::time::Duration;

use crate::drive::Progress;
use crate::measure::{Counts, DurationHistogram};
use crate::question::Store;
use crate::verdict::{Judged, Verdict};

/// Upper bounds of the buckets of latencies, in seconds.
const LATENCY_BOUNDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Upper bounds of the buckets of send lags, in seconds.
const LAG_BOUNDS: [f64; 8] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1];

/// A metric with its series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// Name without the prefix and without the suffix of its type.
    pub(super) name: &'static str,
    /// What it counts.
    pub(super) help: &'static str,
    pub(super) series: Series,
}

/// The series of a metric, by their labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Series {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, Buckets)>),
}

pub(super) type Labels = Vec<(&'static str, String)>;

/// A histogram of seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buckets {
    /// Upper bound of each bucket but the last, which has none.
    pub(super) bounds: &'static [f64],
    /// How many values are in each bucket, the last included.
    pub(super) counts: Vec<u64>,
    /// Sum of all values, to the resolution of the recorder: 0.1 %.
    pub(super) sum: f64,
}

impl Buckets {
    fn new(bounds: &'static [f64], histogram: &DurationHistogram) -> Self {
        let (mut counts, mut sum) = (vec![0; bounds.len() + 1], 0.0);
        for (value, count) in histogram.recorded() {
            let seconds = value.as_secs_f64();
            counts[bounds.partition_point(|bound| *bound < seconds)] += count;
            sum += seconds * count as f64;
        }
        Self { bounds, counts, sum }
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// All metrics of a snapshot.
pub(super) fn families(now: &Progress) -> Vec<Family> {
    let (sent, written) = (now.sent, now.acknowledged);
    let by_store = |kafka: u64, postgres: u64| vec![(store("kafka"), kafka), (store("postgres"), postgres)];
    let offered = now.offered.iter().map(|(store_of, count)| (store(store_of.as_str()), *count)).collect();
    let counters = |name, help, series| Family { name, help, series: Series::Counters(series) };
    let gauges = |name, help, series| Family { name, help, series: Series::Gauges(series) };
    let mut families = vec![
        gauges("elapsed_seconds", "Time in this phase of the drive", vec![(Labels::new(), seconds(now.elapsed))]),
        gauges("length_seconds", "Length of this phase of the drive", vec![(Labels::new(), seconds(now.length))]),
        counters("questions_offered", "Questions that were due", offered),
        counters("writes_sent", "Records handed to a store", by_store(sent.through_kafka(), sent.communications)),
        counters(
            "writes_acknowledged",
            "Records that a store acknowledged",
            by_store(written.through_kafka(), written.communications),
        ),
        counters(
            "held_back",
            "Writes and questions not started because a store pushed back",
            vec![(Labels::new(), now.held_back)],
        ),
    ];
    families.extend(of_questions(now));
    families.extend(of_objectives(&now.slos));
    families
}

fn of_questions(now: &Progress) -> [Family; 4] {
    let labels: Vec<Labels> =
        now.questions.iter().map(|one| question(&one.question, one.users.as_deref(), one.store)).collect();
    let labeled =
        |count: fn(&Counts) -> u64| labels.iter().cloned().zip(now.questions.iter().map(move |one| count(&one.counts)));
    let failures = labeled(|counts| counts.errors).map(|one| with_outcome(one, "error"));
    let failures = failures.chain(labeled(|counts| counts.timed_out).map(|one| with_outcome(one, "timed_out")));
    let failures = failures.chain(labeled(|counts| counts.wrong).map(|one| with_outcome(one, "wrong"))).collect();
    let histograms = |bounds: &'static [f64], of: fn(&crate::drive::QuestionProgress) -> &DurationHistogram| {
        labels.iter().cloned().zip(now.questions.iter().map(|one| Buckets::new(bounds, of(one)))).collect()
    };
    [
        Family {
            name: "questions_answered",
            help: "Questions that have ended, with or without an answer",
            series: Series::Counters(labeled(|counts| counts.samples).collect()),
        },
        Family {
            name: "question_failures",
            help: "Questions without a right answer in time",
            series: Series::Counters(failures),
        },
        Family {
            name: "latency_seconds",
            help: "Latency from the intended start",
            series: Series::Histograms(histograms(&LATENCY_BOUNDS, |one| &one.latency)),
        },
        Family {
            name: "send_lag_seconds",
            help: "How late the generator itself started a question",
            series: Series::Histograms(histograms(&LAG_BOUNDS, |one| &one.lag)),
        },
    ]
}

fn of_objectives(slos: &[Judged]) -> [Family; 4] {
    let labels = |one: &Judged| vec![("objective", one.slo.name.clone())];
    let counts = |count: fn(&Counts) -> u64| slos.iter().map(|one| (labels(one), count(&one.counts))).collect();
    let verdicts = slos.iter().flat_map(|one| {
        [("pass", Verdict::Pass), ("fail", Verdict::Fail), ("undecided", Verdict::Inconclusive)].map(
            |(name, verdict)| {
                let labels = labels(one).into_iter().chain([("verdict", name.to_owned())]).collect();
                (labels, f64::from(u8::from(one.test.verdict == verdict)))
            },
        )
    });
    let allowed = slos.iter().map(|one| (labels(one), one.test.allowed));
    [
        Family {
            name: "objective_samples",
            help: "Samples of an objective",
            series: Series::Counters(counts(|one| one.samples)),
        },
        Family {
            name: "objective_exceedances",
            help: "Samples above its limit",
            series: Series::Counters(counts(|one| one.exceedances)),
        },
        Family {
            name: "objective_allowed",
            help: "Share that may exceed its limit",
            series: Series::Gauges(allowed.collect()),
        },
        Family {
            name: "verdict_so_far",
            help: "1 for the verdict of the samples so far",
            series: Series::Gauges(verdicts.collect()),
        },
    ]
}

fn store(name: &str) -> Labels {
    vec![("store", name.to_owned())]
}

fn question(name: &str, users: Option<&str>, store: Store) -> Labels {
    let users = users.map(|users| ("users", users.to_owned()));
    [("question", name.to_owned()), ("store", store.as_str().to_owned())].into_iter().chain(users).collect()
}

fn with_outcome((mut labels, count): (Labels, u64), outcome: &str) -> (Labels, u64) {
    labels.push(("outcome", outcome.to_owned()));
    (labels, count)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
