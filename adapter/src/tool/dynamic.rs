//! Type-erased tools.

use agentwire_codec::{Map, ToolResult};
use futures_core::future::BoxFuture;

use super::Tool;
use crate::{AgentError, RequestContext};

/// The dyn-compatible form of [`Tool`], which is implemented for every tool.
pub(crate) trait DynTool: Send + Sync {
    fn name(&self) -> &str;
    fn description(&self) -> &str;
    fn parameters(&self) -> Map;
    fn execute<'a>(
        &'a self,
        kwargs: Map,
        context: RequestContext,
    ) -> BoxFuture<'a, Result<ToolResult, AgentError>>;
}

impl<T: Tool> DynTool for T {
    fn name(&self) -> &str {
        Tool::name(self)
    }

    fn description(&self) -> &str {
        Tool::description(self)
    }

    fn parameters(&self) -> Map {
        Tool::parameters(self)
    }

    fn execute<'a>(
        &'a self,
        kwargs: Map,
        context: RequestContext,
    ) -> BoxFuture<'a, Result<ToolResult, AgentError>> {
        Box::pin(Tool::execute(self, kwargs, context))
    }
}
