//! Tools that are created from closures.

use std::{fmt, future::Future, marker::PhantomData};

use agentwire_codec::{Map, ToolResult};

use super::Tool;
use crate::{AgentError, RequestContext};

/// Creates a tool from a closure that takes a [`Map`] of arguments, or a [`Map`] and a
/// [`RequestContext`].
///
/// ```
/// use agentwire::{Map, RequestContext, Tool, ToolResult, map, tool_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let add = tool_fn("add", |kwargs: Map| async move {
///     let sum = kwargs["a"].as_i64().zip(kwargs["b"].as_i64()).map(|(a, b)| a + b);
///     Ok(match sum {
///         Some(sum) => ToolResult::success(sum),
///         None => ToolResult::failure("a and b must be integers"),
///     })
/// })
/// .with_description("Adds two integers");
///
/// let result = add.execute(map! {"a": 2, "b": 3}, RequestContext::new()).await?;
/// assert_eq!(result.data.as_i64(), Some(5));
/// # Ok(())
/// # }
/// ```
///
/// The closure must specify the types of its parameters, because the types select one of the two
/// forms.
pub fn tool_fn<F, Args>(name: impl Into<String>, execute: F) -> FnTool<F, Args>
where
    F: ToolHandler<Args>,
{
    FnTool {
        name: name.into(),
        description: String::new(),
        parameters: Map::new(),
        execute,
        args: PhantomData,
    }
}

/// A tool that [`tool_fn`] creates from a closure.
pub struct FnTool<F, Args> {
    name: String,
    description: String,
    parameters: Map,
    execute: F,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> FnTool<F, Args> {
    /// Sets the description of the tool.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the JSON Schema of the arguments.
    #[must_use]
    pub fn with_parameters(mut self, schema: Map) -> Self {
        self.parameters = schema;
        self
    }
}

impl<F, Args> Tool for FnTool<F, Args>
where
    F: ToolHandler<Args>,
    Args: 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn parameters(&self) -> Map {
        self.parameters.clone()
    }

    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self.execute.call(kwargs, context)
    }
}

/// A closure that [`tool_fn`] accepts, which is a `Fn(Map)` or `Fn(Map, RequestContext)`. The
/// closure returns a future of `Result<ToolResult, AgentError>`.
///
/// The type parameter `Args` is the tuple of the closure's parameters. `Args` distinguishes
/// closures with and without a context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool",
    label = "not a closure that `tool_fn` accepts",
    note = "it must be `Fn(Map) -> impl Future<Output = Result<ToolResult, AgentError>> + Send`, or take `(Map, RequestContext)`",
    note = "write the types of its parameters: `|kwargs: Map|` or `|kwargs: Map, context: RequestContext|`"
)]
pub trait ToolHandler<Args>: Send + Sync + 'static {
    /// Calls the closure.
    fn call(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send;
}

impl<F, R> ToolHandler<(Map,)> for F
where
    F: Fn(Map) -> R + Send + Sync + 'static,
    R: Future<Output = Result<ToolResult, AgentError>> + Send,
{
    fn call(
        &self,
        kwargs: Map,
        _: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self(kwargs)
    }
}

impl<F, R> ToolHandler<(Map, RequestContext)> for F
where
    F: Fn(Map, RequestContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<ToolResult, AgentError>> + Send,
{
    fn call(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self(kwargs, context)
    }
}

impl<F: Clone, Args> Clone for FnTool<F, Args> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.parameters.clone(),
            execute: self.execute.clone(),
            args: PhantomData,
        }
    }
}

impl<F, Args> fmt::Debug for FnTool<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnTool")
            .field("name", &self.name)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}
