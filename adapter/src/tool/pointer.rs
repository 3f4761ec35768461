//! Implementations of [`Tool`] for shared and boxed tools.

use std::{future::Future, sync::Arc};

use agentwire_codec::{Map, ToolResult};

use super::Tool;
use crate::{AgentError, RequestContext};

impl<T: Tool> Tool for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn description(&self) -> &str {
        (**self).description()
    }

    fn parameters(&self) -> Map {
        (**self).parameters()
    }

    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        (**self).execute(kwargs, context)
    }
}

impl<T: Tool> Tool for Box<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn description(&self) -> &str {
        (**self).description()
    }

    fn parameters(&self) -> Map {
        (**self).parameters()
    }

    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        (**self).execute(kwargs, context)
    }
}
