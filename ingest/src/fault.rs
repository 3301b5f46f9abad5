//! Fault injection for tests: points at which the process aborts, as with kill -9, and guarantees that are broken on
//! purpose, so that a test can show that its oracle detects it. It never acts in builds without debug assertions.
//!
//! - `SLUICE_FAILPOINT=NAME` or `NAME:COUNT` aborts when the point is reached for the COUNTth time.
//! - `SLUICE_DELAY=NAME:MILLISECONDS` delays the first thread that reaches the point; `NAME:FILE` until that file exists.
//! - `SLUICE_FAULTS=NAME,NAME` injects these faults.
//!
//! A name is that of a variant in snake case. An unknown name aborts the process, so that no test silently runs without its
//! fault.

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
                        tracing::error!(text, concat!("unknown ", stringify!($kind)));
                        std::process::abort()
                    }
                }
            }
        }
    };
}

named! {
    /// A point at which the process may abort.
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
        /// The search for rows at fault has ended.
        Searched = "searched",
        /// A part has landed.
        Landed = "landed",
        /// A dead letter is acknowledged or refused.
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
        /// Partitions are being revoked; writes and commits in flight are not awaited yet.
        Revoking = "revoking",
        /// A batch is sealed.
        Sealed = "sealed",
        /// All refused rows of a part are dead letters.
        AllRefused = "all_refused",
    }
}

named! {
    /// A guarantee that may be broken.
    Fault {
        /// A response is accepted regardless of its sender.
        AcceptAnyResponse = "accept_any_response",
        /// A repeated INSERT of a rebuild fills a table twice.
        AllowRepeatedFill = "allow_repeated_fill",
        /// A rebuild accepts a view with a UNION.
        AllowUnion = "allow_union",
        /// The first producer of dead letters fails permanently.
        #[cfg_attr(not(debug_assertions), expect(dead_code, reason = "release builds lack the call that breaks it"))]
        BreakProducer = "break_producer",
        /// A consumer prefetches as many messages as it can.
        FetchFarAhead = "fetch_far_ahead",
        /// A new owner ignores announced ranges.
        IgnoreIntent = "ignore_intent",
        /// A rebuild ignores other views that write to its target.
        IgnoreOtherWriters = "ignore_other_writers",
        /// A lookup ignores running INSERTs.
        IgnoreRunningInserts = "ignore_running_inserts",
        /// A new owner does not look up which records are already dead letters.
        IgnoreSentLetters = "ignore_sent_letters",
        /// A partition whose records stop arriving is not reported.
        IgnoreStalledFetch = "ignore_stalled_fetch",
        /// A topic counts as the same whatever its ID is.
        IgnoreTopicIds = "ignore_topic_ids",
        /// A rebuild ignores rows that a TTL may have removed.
        IgnoreTtl = "ignore_ttl",
        /// Records that the client cannot read are not searched for.
        IgnoreUnreadable = "ignore_unreadable",
        /// A repeated INSERT ignores views that were added or changed.
        IgnoreViews = "ignore_views",
        /// A dead letter keeps any number of headers.
        KeepAllHeaders = "keep_all_headers",
        /// A search for dead letters keeps all letters that it reads.
        KeepAllLetters = "keep_all_letters",
        /// A producer that failed permanently is not replaced.
        KeepBrokenProducer = "keep_broken_producer",
        /// The statements of an abandoned rebuild are not killed.
        LeaveStatementsRunning = "leave_statements_running",
        /// An escape sequence in a quoted name is not decoded.
        MisreadEscapes = "misread_escapes",
        /// A lease never expires.
        NeverExpireLease = "never_expire_lease",
        /// Rows refused with an unclear code are never tried one by one.
        NeverSearchUnclear = "never_search_unclear",
        /// A dead letter never omits its key, even if it is too large.
        NeverOmitKey = "never_omit_key",
        /// The committed offset never passes offsets without a record.
        NeverPassGaps = "never_pass_gaps",
        /// No partition starts while Kafka returns no offsets for one of them.
        LocateAllOrNone = "locate_all_or_none",
        /// Every INSERT has a different token.
        RandomToken = "random_token",
        /// A time is read only with a capital T between date and time.
        RequireCapitalT = "require_capital_t",
        /// Most query settings are left to the user's profile.
        SendFewSettings = "send_few_settings",
        /// A rebuild of one table blocks INSERTs into all others.
        ShareRebuildGate = "share_rebuild_gate",
        /// The settings of the dead-letter topic are not checked.
        SkipDeadLetterTopicCheck = "skip_dead_letter_topic_check",
        /// No range is looked up before it is sent.
        SkipLookup = "skip_lookup",
        /// Aggregates that may lack rows are not rebuilt.
        SkipRebuild = "skip_rebuild",
        /// A revoked partition is released with commits in flight.
        SkipRevocationWait = "skip_revocation_wait",
        /// Rows that are hidden from the user count as missing.
        SkipVisibilityCheck = "skip_visibility_check",
        /// Deduplication tokens are not tested before the first record.
        SkipTokenCheck = "skip_token_check",
        /// A rebuild does not wait for INSERTs in flight.
        SkipWriterWait = "skip_writer_wait",
        /// An acknowledgement is trusted without looking up the rows.
        TrustAcknowledgements = "trust_acknowledgements",
        /// An announcement dated in the future counts as recent.
        TrustFutureAnnouncements = "trust_future_announcements",
    }
}

/// Aborts or delays the process here if the point is armed.
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

/// Does nothing in release builds.
#[cfg(not(debug_assertions))]
pub(crate) const fn reached(_: Failpoint) {}

#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "a test requests the delay")]
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

/// Always `false` in release builds.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_injected(_: Fault) -> bool {
    false
}
