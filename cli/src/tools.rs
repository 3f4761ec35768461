//! The built-in tools of `serve`: add, echo, fail and slow.

use std::{str::FromStr, time::Duration};

use agentwire::{AgentError, Map, RequestContext, Tool, ToolResult, Value, map};

/// A tool that `serve` can offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltInTool {
    /// Returns the sum of two numbers.
    Add,
    /// Returns its arguments.
    Echo,
    /// Fails every time.
    Fail,
    /// Returns its arguments after a delay.
    Slow(Duration),
}

impl Tool for BuiltInTool {
    fn name(&self) -> &str {
        match self {
            Self::Add => "add",
            Self::Echo => "echo",
            Self::Fail => "fail",
            Self::Slow(_) => "slow",
        }
    }

    fn description(&self) -> &str {
        match self {
            Self::Add => "Adds two numbers",
            Self::Echo => "Returns its arguments",
            Self::Fail => "Fails every time",
            Self::Slow(_) => "Returns its arguments after a delay",
        }
    }

    fn parameters(&self) -> Map {
        match self {
            Self::Add => map! {
                "type": "object",
                "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                "required": ["a", "b"],
            },
            _ => map! {"type": "object", "properties": {}},
        }
    }

    async fn execute(&self, kwargs: Map, _: RequestContext) -> Result<ToolResult, AgentError> {
        match self {
            Self::Add => Ok(add(&kwargs)),
            Self::Echo => Ok(ToolResult::success(kwargs)),
            Self::Fail => Ok(ToolResult::failure("this tool fails every time")),
            Self::Slow(delay) => {
                tokio::time::sleep(*delay).await;
                Ok(ToolResult::success(kwargs))
            }
        }
    }
}

fn add(kwargs: &Map) -> ToolResult {
    let argument = |name: &str| kwargs.get(name).unwrap_or(&Value::Null);
    let (a, b) = (argument("a"), argument("b"));
    if let Some(sum) = a
        .as_i64()
        .zip(b.as_i64())
        .and_then(|(a, b)| a.checked_add(b))
    {
        return ToolResult::success(sum);
    }
    let number = |value: &Value| value.as_f64().or(value.as_i64().map(|it| it as f64));
    match (number(a), number(b)) {
        (Some(a), Some(b)) => ToolResult::success(a + b),
        _ => ToolResult::failure("a and b must be numbers"),
    }
}

impl FromStr for BuiltInTool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let delay = |millis: &str| millis.parse().map(Duration::from_millis);
        match (text, text.strip_prefix("slow:").map(delay)) {
            ("add", _) => Ok(Self::Add),
            ("echo", _) => Ok(Self::Echo),
            ("fail", _) => Ok(Self::Fail),
            (_, Some(Ok(delay))) => Ok(Self::Slow(delay)),
            _ => Err(format!(
                "unknown tool {text:?}; use add, echo, fail or slow:MS"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_parsed() {
        for (text, tool) in [
            ("add", BuiltInTool::Add),
            ("echo", BuiltInTool::Echo),
            ("fail", BuiltInTool::Fail),
            ("slow:20", BuiltInTool::Slow(Duration::from_millis(20))),
        ] {
            assert_eq!(text.parse(), Ok(tool));
            assert!(text.starts_with(tool.name()));
        }
        for text in ["", "Add", "slow", "slow:", "slow:-1", "add:1"] {
            assert!(text.parse::<BuiltInTool>().is_err(), "{text}");
        }
    }

    #[test]
    fn sums_of_integers_are_exact_until_they_overflow() {
        let sum = |a: Value, b: Value| add(&map! {"a": a, "b": b}).data;
        assert_eq!(sum(1.into(), 2.into()), Value::from(3));
        assert_eq!(sum(1.5.into(), 2.into()), Value::from(3.5));
        assert_eq!(sum(i64::MAX.into(), 1.into()), Value::from(2_f64.powi(63)));
        assert!(!add(&map! {"a": 1}).success);
    }
}
