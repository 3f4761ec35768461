//! The trait [`Tool`], and tools that are created from closures.

mod dynamic;
mod function;
mod pointer;
mod remote;
#[cfg(feature = "typed-tools")]
mod typed;

use std::future::Future;

use agentwire_codec::{Map, ToolResult};

pub(crate) use self::dynamic::{DynTool, SharedTool};
#[cfg(feature = "typed-tools")]
pub use self::typed::{Typed, TypedTool, TypedToolHandler, typed_tool_fn};
pub use self::{
    function::{FnTool, ToolHandler, tool_fn},
    remote::RemoteTool,
};
use crate::{
    AgentError, RequestContext,
    layer::{Layer, Layered},
};

/// A function that takes named arguments and returns data, such as a search or a calculation.
///
/// A [`LocalAgent`](crate::LocalAgent) can offer tools in addition to its agent.
/// [`LocalAgentBuilder::tool`](crate::LocalAgentBuilder::tool) adds a tool to a server. Clients
/// execute tools with [`RemoteAgent::execute`](crate::RemoteAgent::execute). [`tool_fn`] creates a
/// tool from a closure.
///
/// Executions run concurrently on `&self`. If the caller disconnects, the future of the execution
/// is dropped, which can happen at any await point.
///
/// ```
/// use agentwire::{AgentError, Map, RequestContext, Tool, ToolResult, map};
///
/// struct Area;
///
/// impl Tool for Area {
///     fn name(&self) -> &str {
///         "area"
///     }
///
///     fn description(&self) -> &str {
///         "The area of a rectangle"
///     }
///
///     fn parameters(&self) -> Map {
///         map! {
///             "type": "object",
///             "properties": {"width": {"type": "number"}, "height": {"type": "number"}},
///             "required": ["width", "height"],
///         }
///     }
///
///     async fn execute(&self, kwargs: Map, _: RequestContext) -> Result<ToolResult, AgentError> {
///         let side = |name: &str| kwargs[name].as_f64().ok_or_else(|| AgentError::new("width and height must be numbers"));
///         Ok(ToolResult::success(side("width")? * side("height")?))
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// Returns the name of the tool, which must not be empty.
    fn name(&self) -> &str;

    /// Returns a description of the tool for callers that choose between tools, such as language
    /// models. The default implementation returns an empty string.
    fn description(&self) -> &str {
        ""
    }

    /// Returns a JSON Schema of the arguments. The default implementation returns an empty schema,
    /// which allows any arguments. The schema is published for callers. Arguments are not validated
    /// against the schema.
    fn parameters(&self) -> Map {
        Map::new()
    }

    /// Executes the tool with named arguments.
    ///
    /// To report an expected failure, such as an unknown city, return [`ToolResult::failure`]. The
    /// caller receives the failure as an answer and not as an error.
    ///
    /// # Errors
    ///
    /// Returns an [`AgentError`] if the tool fails. The caller receives the code, text and details
    /// of the error. The code `INTERNAL_ERROR` is replaced by `TOOL_EXECUTION_FAILED`.
    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send;

    /// Wraps the tool in a [layer](crate::layer), which becomes the outermost.
    fn layer<L: Layer>(self, layer: L) -> Layered<Self, L>
    where
        Self: Sized,
    {
        Layered::new(self, layer)
    }
}
