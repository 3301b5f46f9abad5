//! Finds the rows of a part that ClickHouse refuses, or finds that the table is at fault.
//! The part's INSERT must have been refused permanently, without a row landing. It tries rows in
//! temporary tables only, so nothing ever lands. Rows that violate a constraint of the table are all found by one query; other
//! rows are searched for by trying them, which finds a limited number of rows at a time.
//!
//! Trials decide, not the error code: rows that are refused alone while others are accepted are at fault. If all
//! sampled rows are refused alone, the search tries a row that the table already holds: if it is accepted, the sampled
//! rows are at fault, otherwise the table is. Codes that only a row can cause need no such proof.
//!
//! # Layout
//! - [`search`]: the order in which rows are tried
//! - [`trial`]: the temporary tables

pub mod trial;

mod search;

use super::client::ClickHouse;
use super::insert::Insert;
use crate::batch::{Batch, Part};
use crate::failure::{Class, Failure};
use search::Search;
use trial::{SourceTable, Trial, TrialTable};

/// Error code of a row that violates a constraint.
const VIOLATED_CONSTRAINT: &str = "violated_constraint";
/// Number of evenly spread rows that are tried alone before the full search.
const SAMPLE_ROWS: usize = 8;

/// The result of a search.
#[derive(Debug)]
pub(crate) enum FaultyRows {
    /// These rows are at fault, in order. There may be more: the remaining rows are sent again, and searched again if
    /// refused.
    Rows(Vec<FaultyRow>),
    /// The table refuses every sampled row, and a row that it already holds, if any.
    Table,
    /// No row is refused on its own.
    NoRow,
}

/// A row at fault.
#[derive(Debug)]
pub(crate) struct FaultyRow {
    /// Offset of the record.
    pub(crate) offset: i64,
    /// Why ClickHouse refuses the row: its name of the error.
    pub(crate) reason: String,
}

/// The search for faulty rows in a refused part.
#[derive(Debug)]
pub(crate) struct FaultSearch<'a> {
    part: &'a Part,
    failure: &'a Failure,
    original: SourceTable<'a>,
    offsets: Vec<i64>,
}

impl<'a> FaultSearch<'a> {
    /// Prepares the search in a part of a batch that was refused with `failure`.
    pub(crate) async fn new(
        clickhouse: &'a ClickHouse,
        insert: &'a Insert,
        batch: &Batch,
        part: &'a Part,
        failure: &'a Failure,
    ) -> Result<Self, Failure> {
        let original = SourceTable::read(clickhouse, insert).await?;
        Ok(Self { part, failure, original, offsets: batch.offsets(part).collect() })
    }

    /// Searches the part. Fails if the search itself is not possible.
    pub(crate) async fn run(&self) -> Result<FaultyRows, Failure> {
        if self.failure.code == VIOLATED_CONSTRAINT {
            let rows = self.violating().await?;
            if !rows.is_empty() {
                return Ok(FaultyRows::Rows(rows));
            }
        }
        for engine in self.original.engines() {
            let copy = self.original.copy(engine).await?;
            let outcome = self.search_in(&copy).await;
            copy.drop().await;
            match outcome? {
                FaultyRows::NoRow => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(FaultyRows::NoRow)
    }

    /// Rows that violate the table's own constraints; empty if the constraints cannot be evaluated.
    async fn violating(&self) -> Result<Vec<FaultyRow>, Failure> {
        let constraints = self.original.constraints().await?;
        if constraints.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.original.unconstrained().await?;
        let offsets = match rows.try_rows(&self.part.rows).await {
            Ok(Trial::Accepted) => rows.violating(&constraints).await,
            Ok(Trial::Refused(failure)) | Err(failure) => Err(failure),
        };
        rows.drop().await;
        match offsets {
            Ok(offsets) if offsets.iter().all(|offset| self.offsets.binary_search(offset).is_ok()) => {
                let faulty = |offset| FaultyRow { offset, reason: VIOLATED_CONSTRAINT.to_owned() };
                Ok(offsets.into_iter().map(faulty).collect())
            }
            Ok(_) => {
                Err(Failure::new(Class::Transient, "a constraint is reported as violated by rows that were never sent"))
            }
            // If an expression fails for some rows, they are found by trying.
            Err(failure) if failure.may_be_row_fault() => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Searches by trying rows in a copy of the table.
    async fn search_in(&self, copy: &TrialTable<'_>) -> Result<FaultyRows, Failure> {
        let count = self.part.count();
        if copy.try_rows(&self.part.rows).await?.is_accepted() {
            return Ok(FaultyRows::NoRow);
        }
        let is_row_fault = !self.failure.is_unclear || self.accepts_any_row(copy).await?;
        if !is_row_fault {
            return Ok(FaultyRows::Table);
        }
        let mut search = Search::new(count);
        while let Some(rows) = search.next() {
            search.record(match copy.try_rows(&self.part.rows.slice(rows)).await? {
                Trial::Accepted => None,
                Trial::Refused(failure) => Some(failure.code),
            });
        }
        let mut refused = Vec::new();
        for (row, reason) in search.into_refused_rows() {
            // An overloaded server fails occasionally: a failure that does not prove a row's fault must occur twice.
            if !self.failure.is_unclear || !copy.try_rows(&self.part.rows.slice(row..row + 1)).await?.is_accepted() {
                refused.push(FaultyRow { offset: self.offsets[row], reason });
            }
        }
        Ok(if refused.is_empty() { FaultyRows::NoRow } else { FaultyRows::Rows(refused) })
    }

    /// Whether the copy accepts a sampled row of the part, or else a row that the table already holds.
    async fn accepts_any_row(&self, copy: &TrialTable<'_>) -> Result<bool, Failure> {
        let (count, samples) = (self.part.count(), SAMPLE_ROWS.min(self.part.count()));
        for row in (0..samples).map(|sample| sample * count / samples) {
            if copy.try_rows(&self.part.rows.slice(row..row + 1)).await?.is_accepted() {
                return Ok(true);
            }
        }
        self.original.accepts_existing_row(copy).await
    }
}
