//! Type-erased tools.

use std::{future::Future, sync::Arc};

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

/// A type-erased tool.
pub(crate) struct SharedTool(pub(crate) Arc<dyn DynTool>);

impl Tool for SharedTool {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn description(&self) -> &str {
        self.0.description()
    }

    fn parameters(&self) -> Map {
        self.0.parameters()
    }

    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self.0.execute(kwargs, context)
    }
}
