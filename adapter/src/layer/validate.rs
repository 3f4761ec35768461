//! A layer that checks arguments and messages against JSON Schemas: [`Validate`].

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt,
    future::{Future, ready},
    sync::Arc,
};

use agentwire_codec::{Map, Message, ToolResult, Value, map};
use agentwire_transport::internal::Mutex;
use futures_core::Stream;
use futures_util::future::Either;
use jsonschema::{PatternOptions, Validator};

use super::{
    Layer,
    stream::admitted,
    target::{ByTarget, Target},
};
use crate::{Agent, AgentError, RequestContext, Tool};

/// A layer that checks the arguments of tools, and the contents of messages, against JSON Schemas.
///
/// The schema of a tool is what [`Tool::parameters`] returns. An agent has no schema, unless
/// [`message`](Self::message) sets one. What does not fit is refused with the code
/// `INVALID_ARGUMENT` before the tool or the agent sees it. The list `errors` in the details says
/// what is wrong, for up to 10 places: `path` is a JSON Pointer to the value, `keyword` is the
/// keyword of the schema that the value violates, and `message` is a text. No error repeats a
/// value.
///
/// A schema has no access to files or to other machines. The keyword `pattern` takes regular
/// expressions without look-around and back-references, so that the time of a match is linear in
/// the length of the text. A tool whose schema is not valid fails with `INTERNAL_ERROR`.
///
/// ```
/// use agentwire::{
///     Map, RequestContext, Tool, ToolResult, layer::Validate, map, tool_fn,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let forecast = tool_fn("forecast", |_: Map| async { Ok(ToolResult::success("sunny")) })
///     .with_parameters(map! {
///         "type": "object",
///         "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 14}},
///         "required": ["city"],
///     })
///     .layer(Validate::new());
/// let kwargs = map! {"city": "Oslo", "days": 30};
/// let error = forecast.execute(kwargs, RequestContext::new()).await.unwrap_err();
/// assert_eq!(error.code().as_str(), "INVALID_ARGUMENT");
/// assert_eq!(error.details()["errors"][0]["path"], "/days");
/// assert_eq!(error.details()["errors"][0]["keyword"], "maximum");
/// # }
/// ```
#[must_use]
#[derive(Default)]
pub struct Validate {
    messages: BTreeMap<String, Arc<Validator>>,
    /// The schemas of tools, which are compiled when they are first needed.
    tools: Mutex<ByTarget<Option<Compiled>>>,
}

/// A schema, or the text of what is wrong with it.
type Compiled = Result<Arc<Validator>, Arc<str>>;

/// A JSON Schema that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError(String);

impl Validate {
    /// Creates a layer that checks the arguments of tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the schema of the content of the messages for an agent. By default, any content fits.
    ///
    /// # Errors
    ///
    /// Returns an error if the schema is not valid.
    pub fn message(mut self, agent: impl Into<String>, schema: Map) -> Result<Self, SchemaError> {
        let validator = compile(schema).map_err(SchemaError)?;
        self.messages.insert(agent.into(), Arc::new(validator));
        Ok(self)
    }

    fn check_message(&self, message: &Message, agent: &impl Agent) -> Result<(), AgentError> {
        let target = Target::agent(agent);
        match self.messages.get(target.name) {
            Some(validator) => check(validator, message.content.clone(), target),
            None => Ok(()),
        }
    }

    fn check_arguments(&self, kwargs: &Map, tool: &impl Tool) -> Result<(), AgentError> {
        let target = Target::tool(tool);
        let mut tools = self.tools.lock();
        let compiled = tools.of(target).clone();
        drop(tools);
        let compiled = compiled.unwrap_or_else(|| {
            let compiled = compile(tool.parameters()).map(Arc::new).map_err(Arc::from);
            *self.tools.lock().of(target) = Some(compiled.clone());
            compiled
        });
        match compiled {
            Ok(validator) => check(&validator, Value::Map(kwargs.clone()), target),
            Err(problem) => {
                let text = format!("{target} has an invalid schema");
                tracing::error!(%target, %problem, "schema of a tool is not valid");
                Err(AgentError::new(text))
            }
        }
    }
}

impl Layer for Validate {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        match self.check_message(&message, next) {
            Ok(()) => Either::Left(next.process(message, context)),
            Err(error) => {
                refused(&context, next.name());
                Either::Right(ready(Err(error)))
            }
        }
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let checked = self.check_message(&message, next);
        let checked = ready(checked);
        admitted((LAYER, REFUSED), checked, message, context, next)
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        match self.check_arguments(&kwargs, next) {
            Ok(()) => Either::Left(next.execute(kwargs, context)),
            Err(error) => {
                refused(&context, next.name());
                Either::Right(ready(Err(error)))
            }
        }
    }
}

/// Reports that a request was refused.
fn refused(context: &RequestContext, name: &str) {
    context.observers().layer_acted(LAYER, REFUSED, name);
}

const LAYER: &str = "validate";
const REFUSED: &str = "refused";

fn compile(schema: Map) -> Result<Validator, String> {
    let schema =
        serde_json::Value::try_from(Value::Map(schema)).map_err(|error| error.to_string())?;
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string())
}

fn check(validator: &Validator, value: Value, target: Target<'_>) -> Result<(), AgentError> {
    let Ok(json) = serde_json::Value::try_from(value) else {
        // JSON has no bytes and no infinite numbers.
        return Err(invalid(
            target,
            vec![map! {
                "path": "",
                "keyword": "type",
                "message": "value has no form in JSON",
            }],
        ));
    };
    if validator.is_valid(&json) {
        return Ok(());
    }
    let errors = validator.iter_errors(&json).take(MAX_ERRORS).map(|error| {
        map! {
            "path": (error.instance_path().as_str()),
            "keyword": (error.kind().keyword()),
            "message": (error.masked().to_string()),
        }
    });
    Err(invalid(target, errors.collect()))
}

fn invalid(target: Target<'_>, errors: Vec<Map>) -> AgentError {
    let mut text = format!("{target} cannot use this input");
    if let Some(first) = errors.first() {
        let part = |key: &str| first[key].as_str().unwrap_or_default();
        text += &format!(": {:?}: {}", part("path"), part("message"));
    }
    let errors: Value = errors.into_iter().collect();
    AgentError::with_code(INVALID_ARGUMENT, text).with_details(map! {"errors": errors})
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON Schema: {}", self.0)
    }
}

impl StdError for SchemaError {}

impl fmt::Debug for Validate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validate")
            .field("messages", &self.messages.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";
const MAX_ERRORS: usize = 10;

#[cfg(test)]
mod tests {
    use agentwire_codec::ErrorCode;
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::{agent_fn, stream_fn, tool_fn};

    fn schema() -> Map {
        map! {
            "type": "object",
            "properties": {
                "city": {"type": "string", "pattern": "^[A-Z]"},
                "days": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            },
            "required": ["city"],
            "additionalProperties": false,
        }
    }

    /// Returns the paths and the keywords of an error.
    fn errors(error: &AgentError) -> Vec<(&str, &str)> {
        assert_eq!(error.code().as_str(), INVALID_ARGUMENT);
        let errors = error.details()["errors"].as_list().unwrap();
        let pairs = errors.iter().map(|error| {
            assert!(error["message"].as_str().is_some());
            (
                error["path"].as_str().unwrap(),
                error["keyword"].as_str().unwrap(),
            )
        });
        pairs.collect()
    }

    #[tokio::test]
    async fn arguments_that_do_not_fit_are_refused_with_the_path() {
        let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(1)) });
        let tool = tool.with_parameters(schema()).layer(Validate::new());
        for (kwargs, expected) in [
            (map! {"city": "Oslo", "days": [1, 2]}, vec![]),
            (map! {}, vec![("", "required")]),
            (map! {"city": 7}, vec![("/city", "type")]),
            (map! {"city": "oslo"}, vec![("/city", "pattern")]),
            (
                map! {"city": "Oslo", "days": [0, -1, "secret"]},
                vec![("/days/1", "minimum"), ("/days/2", "type")],
            ),
            (
                map! {"city": "Oslo", "more": 1},
                vec![("", "additionalProperties")],
            ),
            (
                map! {"city": (Value::Bytes(vec![1].into()))},
                vec![("", "type")],
            ),
        ] {
            let result = tool.execute(kwargs, RequestContext::new()).await;
            match result {
                Ok(_) => assert_eq!(expected, []),
                Err(error) => {
                    assert_eq!(errors(&error), expected, "{error}");
                    assert!(!format!("{error:#?}").contains("secret"));
                }
            }
        }
        let many: Value = (0..1000).map(|_| Value::from("x")).collect();
        let kwargs = map! {"city": "Oslo", "days": many};
        let error = tool
            .execute(kwargs, RequestContext::new())
            .await
            .unwrap_err();
        assert_eq!(errors(&error).len(), MAX_ERRORS);
    }

    #[tokio::test]
    async fn messages_are_checked_for_the_agents_that_have_a_schema() {
        let layer = Validate::new().message("strict", schema()).unwrap();
        let layer = Arc::new(layer);
        let agent = |name: &str| {
            let agent = agent_fn(name, |message: Message| async move { Ok(message) });
            agent.layer(Arc::clone(&layer))
        };
        let message = || Message::user(map! {"city": 1});
        let strict = agent("strict")
            .process(message(), RequestContext::new())
            .await;
        assert_eq!(errors(&strict.unwrap_err()), [("/city", "type")]);
        agent("other")
            .process(message(), RequestContext::new())
            .await
            .unwrap();
        let streams = stream_fn("strict", |message: Message| stream::iter([Ok(message)]));
        let streams = streams.layer(layer);
        let mut answers: Vec<_> = streams
            .stream(message(), RequestContext::new())
            .collect()
            .await;
        assert_eq!(
            errors(&answers.pop().unwrap().unwrap_err()),
            [("/city", "type")]
        );
        let good = Message::user(map! {"city": "Oslo"});
        assert_eq!(streams.stream(good, RequestContext::new()).count().await, 1);
    }

    #[tokio::test]
    async fn a_schema_that_is_not_valid_is_an_error_and_reaches_nothing_outside() {
        for schema in [
            map! {"type": "text"},
            map! {"$ref": "https://example.com/schema.json"},
            map! {"$ref": "file:///etc/hostname"},
            map! {"pattern": "(a)\\1"},
        ] {
            let error = Validate::new().message("a", schema.clone());
            assert!(error.is_err(), "{schema:?}");
            let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(1)) });
            let tool = tool.with_parameters(schema).layer(Validate::new());
            let error = tool
                .execute(Map::new(), RequestContext::new())
                .await
                .unwrap_err();
            assert_eq!(*error.code(), ErrorCode::INTERNAL_ERROR);
        }
    }
}
