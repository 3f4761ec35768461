//! The trait [`Tool`], and tools made of closures.

mod dynamic;
mod function;
mod pointer;
#[cfg(feature = "typed-tools")]
mod typed;

use std::future::Future;

use agentwire_codec::{Map, ToolResult};

pub(crate) use self::dynamic::DynTool;
pub use self::function::{FnTool, ToolHandler, tool_fn};
#[cfg(feature = "typed-tools")]
pub use self::typed::{Typed, TypedTool, TypedToolHandler, typed_tool_fn};
use crate::{AgentError, RequestContext};

/// Something that takes arguments and returns data, such as a search or a calculation.
///
/// A [`LocalAgent`](crate::LocalAgent) can offer tools beside its agent
/// ([`LocalAgentBuilder::tool`](crate::LocalAgentBuilder::tool)), which clients execute with
/// [`RemoteAgent::execute`](crate::RemoteAgent::execute). [`tool_fn`] makes a tool of a closure.
///
/// Executions run concurrently on `&self`. If the caller disconnects, its future is dropped at an
/// await point.
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
    /// Returns the name that callers use. It must not be empty.
    fn name(&self) -> &str;

    /// Returns what the tool does, for callers that choose among tools, such as language models.
    /// Empty by default.
    fn description(&self) -> &str {
        ""
    }

    /// Returns a JSON Schema of the arguments. By default it is empty, which allows anything. The
    /// schema informs callers; arguments are not checked against it.
    fn parameters(&self) -> Map {
        Map::new()
    }

    /// Executes the tool with named arguments.
    ///
    /// For a failure that is part of what the tool does, such as an unknown city, return
    /// [`ToolResult::failure`]. It reaches the caller as an answer.
    ///
    /// # Errors
    ///
    /// The caller receives the code, text and details of the error. An error without a code of its
    /// own has the code `TOOL_EXECUTION_FAILED` there, not `INTERNAL_ERROR`.
    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send;
}
