use std::{fmt, future::Future};

use agentwire_codec::{Map, ToolResult};

use super::Tool;
use crate::AgentError;

/// Makes a tool of a closure.
///
/// ```
/// use agentwire::{Map, Tool, ToolResult, map, tool_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let add = tool_fn("add", |kwargs: Map| async move {
///     let sum = kwargs["a"].as_i64().zip(kwargs["b"].as_i64()).map(|(a, b)| a + b);
///     Ok(match sum {
///         Some(sum) => ToolResult::success(sum),
///         None => ToolResult::failure("a and b must be integers"),
///     })
/// })
/// .with_description("Adds two integers");
///
/// let result = add.execute(map! {"a": 2, "b": 3}).await?;
/// assert_eq!(result.data.as_i64(), Some(5));
/// # Ok::<(), agentwire::AgentError>(())
/// # }).map_err(|error| error.to_string())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tool_fn<F, R>(name: impl Into<String>, execute: F) -> FnTool<F>
where
    F: Fn(Map) -> R + Send + Sync + 'static,
    R: Future<Output = Result<ToolResult, AgentError>> + Send,
{
    FnTool {
        name: name.into(),
        description: String::new(),
        parameters: Map::new(),
        execute,
    }
}

/// A tool made of a closure by [`tool_fn`].
#[derive(Clone)]
pub struct FnTool<F> {
    name: String,
    description: String,
    parameters: Map,
    execute: F,
}

impl<F> FnTool<F> {
    /// Says what the tool does.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Describes the arguments, as a JSON Schema.
    #[must_use]
    pub fn with_parameters(mut self, schema: Map) -> Self {
        self.parameters = schema;
        self
    }
}

impl<F, R> Tool for FnTool<F>
where
    F: Fn(Map) -> R + Send + Sync + 'static,
    R: Future<Output = Result<ToolResult, AgentError>> + Send,
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

    async fn execute(&self, kwargs: Map) -> Result<ToolResult, AgentError> {
        (self.execute)(kwargs).await
    }
}

impl<F> fmt::Debug for FnTool<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnTool")
            .field("name", &self.name)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}
