//! Which rows of a part ClickHouse refuses, and whose fault a refusal is.
//! A part whose INSERT was refused for good, and of which nothing has landed, goes in; the rows at fault come out, all of
//! them at once, or that it is the table. It tries rows in temporary tables only, so nothing lands by it.
//!
//! What is seen decides, not the code: rows that are refused alone while others are taken are at fault. Where every row is
//! refused alone, a row that the table already holds is tried: if that is taken, the rows are at fault all the same, else
//! the table is. Codes that can only mean a row need no such proof.
//!
//! # Layout
//! - [`search`]: which rows are tried next
//! - [`twin`]: the temporary tables

pub mod trial;

mod search;

use super::client::ClickHouse;
use super::insert::Insert;
use crate::batch::{Batch, Part};
use crate::failure::{Class, Failure};
use search::Search;
use trial::{SourceTable, Trial, TrialTable};

/// Code of a row that violates a constraint.
const VIOLATED: &str = "violated_constraint";
/// Rows that are tried alone, evenly spread, before all are searched.
const SAMPLE: usize = 8;

/// What was found out about a refused part.
#[derive(Debug)]
pub(crate) enum FaultyRows {
    /// These rows are at fault, in order. There may be more: the rest is sent again, and judged again where it is refused.
    Rows(Vec<FaultyRow>),
    /// It refuses every row, also one that it holds, if it holds any.
    Table,
    /// No row is refused alone.
    NoRow,
}

/// A row at fault.
#[derive(Debug)]
pub(crate) struct FaultyRow {
    /// Offset of its record.
    pub(crate) offset: i64,
    /// Why, ClickHouse's name of an error.
    pub(crate) reason: String,
}

/// A part that was refused.
#[derive(Debug)]
pub(crate) struct FaultSearch<'a> {
    part: &'a Part,
    failure: &'a Failure,
    original: SourceTable<'a>,
    offsets: Vec<i64>,
}

impl<'a> FaultSearch<'a> {
    /// Ready to judge a part of a batch that was refused with `failure`.
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

    /// Judges it. A failure says that this was not possible.
    pub(crate) async fn judge(&self) -> Result<FaultyRows, Failure> {
        if self.failure.code == VIOLATED {
            let rows = self.violating().await?;
            if !rows.is_empty() {
                return Ok(FaultyRows::Rows(rows));
            }
        }
        for engine in self.original.engines() {
            let twin = self.original.twin(engine).await?;
            let judged = self.try_in(&twin).await;
            twin.drop().await;
            match judged? {
                FaultyRows::NoRow => {}
                judged => return Ok(judged),
            }
        }
        Ok(FaultyRows::NoRow)
    }

    /// Rows that violate the table's own constraints; none where those cannot be evaluated.
    async fn violating(&self) -> Result<Vec<FaultyRow>, Failure> {
        let constraints = self.original.constraints().await?;
        if constraints.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.original.rows().await?;
        let found = match rows.try_rows(&self.part.rows).await {
            Ok(Trial::Accepted) => rows.violating(&constraints).await,
            Ok(Trial::Refused(failure)) | Err(failure) => Err(failure),
        };
        rows.drop().await;
        match found {
            Ok(found) if found.iter().all(|offset| self.offsets.binary_search(offset).is_ok()) => {
                let refused = |offset| FaultyRow { offset, reason: VIOLATED.to_owned() };
                Ok(found.into_iter().map(refused).collect())
            }
            Ok(_) => Err(Failure::new(Class::Transient, "rows are said to violate a constraint that were never sent")),
            // An expression that fails for some of them is met by trying.
            Err(failure) if failure.may_be_of_a_row() => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Tries rows in a twin of the table.
    async fn try_in(&self, twin: &TrialTable<'_>) -> Result<FaultyRows, Failure> {
        let count = self.part.count();
        if twin.try_rows(&self.part.rows).await?.is_accepted() {
            return Ok(FaultyRows::NoRow);
        }
        let is_of_rows = !self.failure.is_unclear || self.is_some_row_taken(twin).await?;
        if !is_of_rows {
            return Ok(FaultyRows::Table);
        }
        let mut search = Search::new(count);
        while let Some(rows) = search.next() {
            search.answer(match twin.try_rows(&self.part.rows.slice(rows)).await? {
                Trial::Accepted => None,
                Trial::Refused(failure) => Some(failure.code),
            });
        }
        let mut refused = Vec::new();
        for (row, reason) in search.found() {
            // A server in trouble fails now and then: what proves nothing by itself has to happen twice.
            if !self.failure.is_unclear || !twin.try_rows(&self.part.rows.slice(row..row + 1)).await?.is_accepted() {
                refused.push(FaultyRow { offset: self.offsets[row], reason });
            }
        }
        Ok(if refused.is_empty() { FaultyRows::NoRow } else { FaultyRows::Rows(refused) })
    }

    /// Whether the twin takes one of some rows of the part, or else one that the table holds.
    async fn is_some_row_taken(&self, twin: &TrialTable<'_>) -> Result<bool, Failure> {
        let (count, tries) = (self.part.count(), SAMPLE.min(self.part.count()));
        for row in (0..tries).map(|number| number * count / tries) {
            if twin.try_rows(&self.part.rows.slice(row..row + 1)).await?.is_accepted() {
                return Ok(true);
            }
        }
        self.original.accepts_existing_row(twin).await
    }
}
