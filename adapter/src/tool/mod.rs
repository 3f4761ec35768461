mod dynamic;
mod function;

use std::future::Future;

use agentwire_codec::{Map, ToolResult};

pub(crate) use self::dynamic::DynTool;
pub use self::function::{FnTool, ToolHandler, tool_fn};
use crate::{AgentError, RequestContext};

/// Something that is run with arguments and returns data, such as a search or a calculation.
///
/// A [`LocalAgent`](crate::LocalAgent) offers tools beside its agent:
/// [`LocalAgentBuilder::tool`](crate::LocalAgentBuilder::tool). They are run by
/// [`RemoteAgent::execute`](crate::RemoteAgent::execute). For tools that a closure can express there is
/// [`tool_fn`].
///
/// Runs go on concurrently, on `&self`. A caller that goes away drops the future that works for it, at any
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
///         let side = |name: &str| kwargs[name].as_f64().ok_or_else(|| AgentError::new("two numbers, please"));
///         Ok(ToolResult::success(side("width")? * side("height")?))
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// The name that callers use. It must not be empty.
    fn name(&self) -> &str;

    /// What the tool does, for those who choose among tools, which may be language models. Empty by default.
    fn description(&self) -> &str {
        ""
    }

    /// A JSON Schema of the arguments. Empty, which allows anything, by default. It is for callers to read;
    /// arguments are not checked against it.
    fn parameters(&self) -> Map {
        Map::new()
    }

    /// Runs the tool with arguments by name.
    ///
    /// What went wrong within the tool's own trade, such as a city that nobody knows, may as well be a
    /// [`ToolResult::failure`], which reaches the caller as an answer.
    ///
    /// # Errors
    ///
    /// The caller gets the code, the text and the details. In place of `INTERNAL_ERROR`, which is what an error
    /// has that chose no code, it gets `TOOL_EXECUTION_FAILED`.
    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send;
}
