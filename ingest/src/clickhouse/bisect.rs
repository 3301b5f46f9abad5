//! Finds the rows of a part that ClickHouse refuses, or finds that the table is at fault.
//! A part whose INSERT was permanently refused, and none of whose rows has landed, goes in; the rows at fault come out,
//! at most 250 per search. Rows are tried in temporary tables only, so nothing ever lands.
//!
//! Evidence decides, not the error code: rows that are refused alone while others are accepted are at fault. If all
//! sampled rows are refused alone, a row that the table already holds is tried: if it is accepted, the rows are still at fault,
//! otherwise the table is. Codes that can only mean a row need no such proof.
//!
//! # Layout
//! - [`search`]: which rows are tried next
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
/// Rows that are tried alone, evenly spread, before the full search.
const SAMPLE_ROWS: usize = 8;

/// The result of a search.
#[derive(Debug)]
pub(crate) enum FaultyRows {
    /// These rows are at fault, in order. There may be more: the rest is sent again, and searched again if refused.
    Rows(Vec<FaultyRow>),
    /// The table refuses every sampled row, and one that it already holds, if any.
    Table,
    /// No row is refused on its own.
    NoRow,
}

/// A row at fault.
#[derive(Debug)]
pub(crate) struct FaultyRow {
    /// Offset of the record.
    pub(crate) offset: i64,
    /// The reason: ClickHouse's name of the error.
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

    /// Searches the part. Fails if the search itself was not possible.
    pub(crate) async fn run(&self) -> Result<FaultyRows, Failure> {
        if self.failure.code == VIOLATED_CONSTRAINT {
            let rows = self.violating().await?;
            if !rows.is_empty() {
                return Ok(FaultyRows::Rows(rows));
            }
        }
        for engine in self.original.engines() {
            let copy = self.original.copy(engine).await?;
            let judged = self.search_in(&copy).await;
            copy.drop().await;
            match judged? {
                FaultyRows::NoRow => {}
                judged => return Ok(judged),
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
        let found = match rows.try_rows(&self.part.rows).await {
            Ok(Trial::Accepted) => rows.violating(&constraints).await,
            Ok(Trial::Refused(failure)) | Err(failure) => Err(failure),
        };
        rows.drop().await;
        match found {
            Ok(found) if found.iter().all(|offset| self.offsets.binary_search(offset).is_ok()) => {
                let refused = |offset| FaultyRow { offset, reason: VIOLATED_CONSTRAINT.to_owned() };
                Ok(found.into_iter().map(refused).collect())
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
        for (row, reason) in search.refused_rows() {
            // A server in trouble fails occasionally: a failure that is no proof must occur twice.
            if !self.failure.is_unclear || !copy.try_rows(&self.part.rows.slice(row..row + 1)).await?.is_accepted() {
                refused.push(FaultyRow { offset: self.offsets[row], reason });
            }
        }
        Ok(if refused.is_empty() { FaultyRows::NoRow } else { FaultyRows::Rows(refused) })
    }

    /// Whether the copy accepts a sampled row of the part, or else a row that the table already holds.
    async fn accepts_any_row(&self, copy: &TrialTable<'_>) -> Result<bool, Failure> {
        let (count, tries) = (self.part.count(), SAMPLE_ROWS.min(self.part.count()));
        for row in (0..tries).map(|number| number * count / tries) {
            if copy.try_rows(&self.part.rows.slice(row..row + 1)).await?.is_accepted() {
                return Ok(true);
            }
        }
        self.original.accepts_existing_row(copy).await
    }
}
