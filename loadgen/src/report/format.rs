//! The forms of a report, and their file names. It renders text and never writes a file.

use super::contents::Report;
use super::{hdr, html, junit, markdown, read};

/// A form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tables of at most 80 columns.
    Table,
    /// Everything, as `docs/report.schema.json` describes it.
    Json,
    /// One page for a browser, which needs no other file.
    Html,
    /// Test results for a CI server.
    Junit,
    /// A summary for a pull request or a job.
    Markdown,
    /// The latencies, as a log of HdrHistogram.
    Hdr,
}

/// Why a form cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The JSON form.
    #[error("render the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The JUnit form.
    #[error("render the report as XML: {0}")]
    Xml(#[from] std::io::Error),
}

impl Format {
    /// The forms that a run writes as files. The JSON comes first: the others can be rendered from it.
    pub const FILES: [Self; 5] = [Self::Json, Self::Html, Self::Junit, Self::Markdown, Self::Hdr];

    /// The name of its file in the folder of a run.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Table => "report.txt",
            Self::Json => read::FILE_NAME,
            Self::Html => "report.html",
            Self::Junit => "junit.xml",
            Self::Markdown => "summary.md",
            Self::Hdr => "latency.hlog",
        }
    }
}

impl Report {
    /// The report in one of its forms.
    pub fn render(&self, format: Format) -> Result<String, RenderError> {
        Ok(match format {
            Format::Table => self.table(),
            Format::Json => serde_json::to_string_pretty(self)?,
            Format::Html => html::page(self)?,
            Format::Junit => junit::suite(self)?,
            Format::Markdown => markdown::summary(self),
            Format::Hdr => hdr::log(self)?,
        })
    }
}
