//! What goes wrong with a record: [`AuditProblem`].

use std::{fmt, sync::Arc};

/// A problem of a record, or its end. See
/// [`JsonLinesBuilder::on_problem`](super::JsonLinesBuilder::on_problem).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditProblem {
    /// The file cannot be written. The thread keeps trying, and what happens to requests depends
    /// on the [`Overload`](super::Overload).
    Unwritable {
        /// What the operating system said.
        error: String,
    },
    /// The file is written again. No queued event has been lost.
    Recovered,
    /// Events are not in the record, and will never be.
    Lost {
        /// How many.
        events: u64,
    },
}

impl fmt::Display for AuditProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { error } => {
                write!(f, "the audit record cannot be written; retrying: {error}")
            }
            Self::Recovered => f.write_str("the audit record is written again"),
            Self::Lost { events: 1 } => f.write_str("1 audit event lost"),
            Self::Lost { events } => write!(f, "{events} audit events lost"),
        }
    }
}

/// Where problems are reported, in addition to the log.
#[derive(Clone, Default)]
pub(super) struct Reporter(Option<Arc<Report>>);

type Report = dyn Fn(&AuditProblem) + Send + Sync;

impl Reporter {
    pub(super) fn new(report: impl Fn(&AuditProblem) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    pub(super) fn report(&self, problem: AuditProblem) {
        match &problem {
            AuditProblem::Recovered => tracing::info!("{problem}"),
            AuditProblem::Unwritable { .. } | AuditProblem::Lost { .. } => {
                tracing::warn!("{problem}");
            }
        }
        if let Some(report) = &self.0 {
            report(&problem);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("is_set", &self.0.is_some())
            .finish()
    }
}
