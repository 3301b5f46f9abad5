//! Faults that tests inject: points at which the process ends, as with kill -9, and parts of the promise that are broken on
//! purpose, so that a test can show that its oracle notices. In builds with debug assertions only.
//!
//! - `SLUICE_FAILPOINT=NAME` or `NAME:COUNT` aborts when the point is reached for the COUNTth time.
//! - `SLUICE_DELAY=NAME:MILLISECONDS` delays the first to reach the point; `NAME:FILE` until that file exists.
//! - `SLUICE_FAULTS=NAME,NAME` injects these faults.
//!
//! A name is that of a variant in snake case. An unknown one ends the process, so that no control tests nothing.

macro_rules! named {
    ($(#[$doc:meta])* $kind:ident { $($(#[$variant_doc:meta])* $name:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $kind { $($(#[$variant_doc])* $name),+ }

        #[cfg(debug_assertions)]
        impl $kind {
            fn parse(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)+
                    _ => {
                        tracing::error!(text, concat!("no such ", stringify!($kind)));
                        std::process::abort()
                    }
                }
            }
        }
    };
}

named! {
    /// A point at which the process may end.
    Failpoint {
        /// A batch is announced and about to be written.
        Announced = "announced",
        /// A record is in its open batch.
        Buffered = "buffered",
        /// Kafka has acknowledged a commit.
        Committed = "committed",
        /// A commit is about to be sent.
        Committing = "committing",
        /// Dead letters are about to be sent.
        DeadLetter = "dead_letter",
        /// The dead letters of a batch are acknowledged.
        DeadLettered = "dead_lettered",
        /// An INSERT is about to be sent.
        Insert = "insert",
        /// The rows at fault are known.
        Judged = "judged",
        /// A part has landed.
        Landed = "landed",
        /// One dead letter is acknowledged or refused.
        Letter = "letter",
        /// A record was polled.
        Polled = "polled",
        /// The targets of a rebuild are replaced.
        Rebuilt = "rebuilt",
        /// Some refused rows are dead letters.
        Refused = "refused",
        /// A replay is about to send an INSERT.
        ReplayInsert = "replay_insert",
        /// A replay's INSERT is acknowledged.
        ReplayInserted = "replay_inserted",
        /// Partitions are about to be revoked.
        Revoking = "revoking",
        /// A batch is sealed.
        Sealed = "sealed",
        /// The refused rows of a part are set aside.
        SetAside = "set_aside",
    }
}

named! {
    /// A part of the promise that may be broken.
    Fault {
        /// A response counts as an answer whoever sent it.
        AcceptAnyResponse = "accept_any_response",
        /// A rebuild fills a table again if its INSERT is repeated.
        AllowRepeatedFill = "allow_repeated_fill",
        /// A rebuild accepts a view with a UNION.
        AllowUnion = "allow_union",
        /// The first producer of dead letters fails for good.
        BreakProducer = "break_producer",
        /// A consumer fetches as many messages ahead as it can.
        FetchFarAhead = "fetch_far_ahead",
        /// A new owner ignores what was announced.
        IgnoreIntent = "ignore_intent",
        /// A rebuild ignores other views that write to its target.
        IgnoreOtherWriters = "ignore_other_writers",
        /// An INSERT that still runs does not hold up a look-up.
        IgnoreRunningInserts = "ignore_running_inserts",
        /// A new owner does not ask which records are dead letters already.
        IgnoreSentLetters = "ignore_sent_letters",
        /// A partition whose records stop coming goes unnoticed.
        IgnoreSupply = "ignore_supply",
        /// A rebuild ignores what a TTL may have removed.
        IgnoreTtl = "ignore_ttl",
        /// Records that the client cannot read are not searched for.
        IgnoreUnreadable = "ignore_unreadable",
        /// Views that came or changed are ignored before a repetition.
        IgnoreViews = "ignore_views",
        /// A dead letter carries any number of headers.
        KeepAllHeaders = "keep_all_headers",
        /// Every dead letter is kept while some are searched for.
        KeepAllLetters = "keep_all_letters",
        /// A producer that failed for good is not replaced.
        KeepBrokenProducer = "keep_broken_producer",
        /// The statements of an abandoned rebuild are not ended.
        LeaveStatementsRunning = "leave_statements_running",
        /// An escaped character in a quoted name loses its meaning.
        MisreadEscapes = "misread_escapes",
        /// A lease never expires.
        NeverExpireLease = "never_expire_lease",
        /// Rows refused with an unclear code are never tried one by one.
        NeverJudgeUnclear = "never_judge_unclear",
        /// A dead letter never goes without its key.
        NeverLeaveKeyOut = "never_leave_key_out",
        /// The committed offset never passes offsets that have no record.
        NeverPassGaps = "never_pass_gaps",
        /// No partition starts while one of them gets no answer.
        PlaceAllOrNone = "place_all_or_none",
        /// Every INSERT has a token of its own.
        RandomToken = "random_token",
        /// A time is read only with a capital T between date and time.
        RequireCapitalT = "require_capital_t",
        /// Most settings are left to the profile of the user.
        SendFewSettings = "send_few_settings",
        /// A rebuild of one table holds up INSERTs into all others.
        ShareRebuildGate = "share_rebuild_gate",
        /// The settings of the dead-letter topic are not judged.
        SkipDeadLetterTopicCheck = "skip_dead_letter_topic_check",
        /// No range is looked up before it is sent.
        SkipLookup = "skip_lookup",
        /// Aggregates that may lack rows are left as they are.
        SkipRebuild = "skip_rebuild",
        /// A revoked partition is released with commits in flight.
        SkipRevocationWait = "skip_revocation_wait",
        /// Rows that are hidden from the user count as missing.
        SkipSightCheck = "skip_sight_check",
        /// Deduplication tokens are not tried before the first record.
        SkipTokenProof = "skip_token_proof",
        /// A rebuild does not wait for INSERTs in flight.
        SkipWriterWait = "skip_writer_wait",
        /// An acknowledgement counts without looking for the rows.
        TrustAcknowledgements = "trust_acknowledgements",
        /// An announcement dated in the future counts as new.
        TrustFutureAnnouncements = "trust_future_announcements",
    }
}

/// Ends or delays the process here if the point is armed.
#[cfg(debug_assertions)]
pub(crate) fn reached(point: Failpoint) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    type Armed = OnceLock<Option<(Failpoint, String)>>;
    static ABORT: Armed = OnceLock::new();
    static DELAY: Armed = OnceLock::new();
    static TIMES: AtomicU64 = AtomicU64::new(0);
    static DELAYS: AtomicU64 = AtomicU64::new(0);
    let set = |variable| {
        let text = std::env::var(variable).ok()?;
        let (name, how) = text.split_once(':').unwrap_or((&text, "1"));
        Some((Failpoint::parse(name), how.to_owned()))
    };
    if let Some((delayed, how)) = DELAY.get_or_init(|| set("SLUICE_DELAY"))
        && *delayed == point
        && DELAYS.fetch_add(1, Ordering::Relaxed) == 0
    {
        delay(how);
    }
    if let Some((armed, count)) = ABORT.get_or_init(|| set("SLUICE_FAILPOINT"))
        && *armed == point
        && TIMES.fetch_add(1, Ordering::Relaxed) + 1 == count.parse().unwrap_or(1)
    {
        std::process::abort();
    }
}

/// Never outside of tests.
#[cfg(not(debug_assertions))]
pub(crate) const fn reached(_: Failpoint) {}

#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "a test asks for the delay")]
fn delay(how: &str) {
    match how.parse() {
        Ok(millis) => std::thread::sleep(std::time::Duration::from_millis(millis)),
        Err(_) => {
            while !std::path::Path::new(how).exists() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Whether this fault is injected.
#[cfg(debug_assertions)]
pub(crate) fn is_injected(fault: Fault) -> bool {
    use std::sync::OnceLock;

    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
    let read = || {
        let text = std::env::var("SLUICE_FAULTS").unwrap_or_default();
        text.split(',').filter(|name| !name.is_empty()).map(Fault::parse).collect()
    };
    FAULTS.get_or_init(read).contains(&fault)
}

/// Never outside of tests.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_injected(_: Fault) -> bool {
    false
}
