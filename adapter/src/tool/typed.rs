//! Tools that are created from closures with typed arguments.

use std::future::Future;

use agentwire_codec::{ErrorCode, Map, ToolResult, Value, map, to_value};
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;

use super::{FnTool, ToolHandler, tool_fn};
use crate::{AgentError, RequestContext};

/// Creates a tool from a closure that takes its arguments as a struct, or as a struct and a
/// [`RequestContext`].
///
/// The JSON Schema of the [parameters](crate::Tool::parameters) is generated from the struct. If
/// the arguments cannot be deserialized, the closure is not called, and the caller receives the
/// error `INVALID_MESSAGE`. The text of the error and its detail `argument` contain the path of the
/// invalid argument.
///
/// ```
/// use agentwire::{RequestContext, Tool, ToolResult, map, typed_tool_fn};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Stay {
///     city: String,
///     nights: u8,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let price = typed_tool_fn("price", |stay: Stay| async move {
///     Ok(ToolResult::success(100 * i64::from(stay.nights)))
/// });
/// assert_eq!(price.parameters()["required"][1], "nights");
///
/// let context = RequestContext::new();
/// let error = price.execute(map! {"city": "Oslo", "nights": "two"}, context).await.unwrap_err();
/// assert!(error.message().starts_with("invalid argument nights: "));
/// # Ok(())
/// # }
/// ```
pub fn typed_tool_fn<F, Args>(
    name: impl Into<String>,
    execute: F,
) -> FnTool<TypedTool<F>, Typed<Args>>
where
    F: TypedToolHandler<Args>,
{
    let schema = match to_value(schema_for!(F::Arguments)) {
        Ok(Value::Map(schema)) => schema,
        // The schema is `true`, or contains a number that a `Value` cannot represent. Use an empty
        // schema, which allows any arguments.
        _ => Map::new(),
    };
    tool_fn(name, TypedTool(execute)).with_parameters(schema)
}

/// The closure of a tool that [`typed_tool_fn`] creates.
#[derive(Debug, Clone)]
pub struct TypedTool<F>(F);

/// A marker for closures with typed arguments, used as the type parameter `Args` of [`FnTool`].
#[derive(Debug)]
pub struct Typed<Args>(std::marker::PhantomData<Args>);

impl<F, Args> ToolHandler<Typed<Args>> for TypedTool<F>
where
    F: TypedToolHandler<Args>,
{
    async fn call(&self, kwargs: Map, context: RequestContext) -> Result<ToolResult, AgentError> {
        let arguments = serde_path_to_error::deserialize(Value::Map(kwargs));
        let arguments = arguments.map_err(|error| {
            let path = error.path().to_string();
            let problem = error.inner();
            let text = match &*path {
                "." => format!("invalid arguments: {problem}"),
                path => format!("invalid argument {path}: {problem}"),
            };
            let details = map! {"argument": path};
            AgentError::with_code(ErrorCode::INVALID_MESSAGE, text).with_details(details)
        })?;
        self.0.call(arguments, context).await
    }
}

/// A closure that [`typed_tool_fn`] accepts, which is a `Fn(Arguments)` or `Fn(Arguments,
/// RequestContext)`. The closure returns a future of `Result<ToolResult, AgentError>`.
///
/// The type parameter `Args` is the tuple of the closure's parameters. `Args` distinguishes
/// closures with and without a context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool with typed arguments",
    label = "not a closure that `typed_tool_fn` accepts",
    note = "it must be `Fn(Arguments) -> impl Future<Output = Result<ToolResult, AgentError>> + Send`, or take `(Arguments, RequestContext)`",
    note = "the type of the arguments must implement `serde::Deserialize` and `schemars::JsonSchema`"
)]
pub trait TypedToolHandler<Args>: Send + Sync + 'static {
    /// The type of the arguments.
    type Arguments: DeserializeOwned + JsonSchema + Send;

    /// Calls the closure.
    fn call(
        &self,
        arguments: Self::Arguments,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send;
}

impl<F, T, R> TypedToolHandler<(T,)> for F
where
    F: Fn(T) -> R + Send + Sync + 'static,
    T: DeserializeOwned + JsonSchema + Send,
    R: Future<Output = Result<ToolResult, AgentError>> + Send,
{
    type Arguments = T;

    fn call(
        &self,
        arguments: T,
        _: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self(arguments)
    }
}

impl<F, T, R> TypedToolHandler<(T, RequestContext)> for F
where
    F: Fn(T, RequestContext) -> R + Send + Sync + 'static,
    T: DeserializeOwned + JsonSchema + Send,
    R: Future<Output = Result<ToolResult, AgentError>> + Send,
{
    type Arguments = T;

    fn call(
        &self,
        arguments: T,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self(arguments, context)
    }
}
