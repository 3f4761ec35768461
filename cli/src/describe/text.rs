//! Descriptions for people.

use std::fmt::{self, Write};

use agentwire::{
    AgentDescription, Endpoint, Map, ServerDescription, ToolDescription, Value, registry::Version,
    transport::internal::Untrusted,
};
use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::Instance;
use crate::{color, output};

/// Describes a server.
pub(crate) fn server(endpoint: &Endpoint, description: &ServerDescription) -> String {
    let mut text = Text::new();
    text.heading(0, "server", Untrusted(endpoint));
    text.server(1, description);
    text.finish()
}

/// Describes the registered instances of an agent.
pub(super) fn instances(name: &str, instances: &[Instance]) -> String {
    let mut text = Text::new();
    let count = instances.len();
    let plural = if count == 1 { "" } else { "s" };
    text.heading(0, "agent", Untrusted(name));
    text.line(1, format_args!("{count} registered instance{plural}"));
    for instance in instances {
        let registration = &*instance.registration;
        text.blank();
        text.heading(1, "instance", Untrusted(&registration.endpoint));
        text.version(2, registration.version.as_ref());
        text.map(2, "capabilities", &registration.capabilities);
        text.map(2, "metadata", &registration.metadata);
        match &instance.description {
            Ok(description) => text.server(2, description),
            Err(error) => text.line(
                2,
                format_args!("not described: {}", Untrusted(error.text())),
            ),
        }
    }
    text.finish()
}

/// Lists tools and their arguments.
pub(crate) fn tools(tools: &[ToolDescription]) -> String {
    let mut text = Text::new();
    if tools.is_empty() {
        text.line(0, "the server has no tools");
    }
    for (i, tool) in tools.iter().enumerate() {
        if i > 0 {
            text.blank();
        }
        text.tool(0, tool);
    }
    text.finish()
}

struct Text {
    text: String,
    is_colored: bool,
}

impl Text {
    fn new() -> Self {
        Self {
            text: String::new(),
            is_colored: color::colors_stdout(),
        }
    }

    fn finish(self) -> String {
        self.text
    }

    fn server(&mut self, depth: usize, description: &ServerDescription) {
        for agent in &description.agents {
            self.blank();
            self.agent(depth, agent);
        }
        for tool in &description.tools {
            self.blank();
            self.tool(depth, tool);
        }
        if description.tools.is_empty() {
            self.blank();
            self.line(depth, "no tools");
        }
    }

    fn agent(&mut self, depth: usize, agent: &AgentDescription) {
        self.heading(depth, "agent", Untrusted(&agent.name));
        self.version(depth + 1, agent.version.as_ref());
        self.map(depth + 1, "capabilities", &agent.capabilities);
        self.map(depth + 1, "metadata", &agent.metadata);
    }

    fn tool(&mut self, depth: usize, tool: &ToolDescription) {
        self.heading(depth, "tool", Untrusted(&tool.name));
        if !tool.description.is_empty() {
            self.line(depth + 1, Untrusted(&tool.description));
        }
        let rows = parameters(&tool.parameters);
        let width = |column: fn(&[String; 3]) -> &String| {
            let widths = rows.iter().map(|row| column(row).width());
            widths.max().unwrap_or_default()
        };
        let (names, types) = (width(|row| &row[0]), width(|row| &row[1]));
        for [name, kind, note] in &rows {
            let name_gap = " ".repeat(names - name.width());
            let kind_gap = " ".repeat(types - kind.width());
            let row = format!("{name}{name_gap}  {kind}{kind_gap}  {note}");
            self.line(depth + 1, row.trim_end());
        }
    }

    fn version(&mut self, depth: usize, version: Option<&Version>) {
        if let Some(version) = version {
            self.line(depth, format_args!("version       {version}"));
        }
    }

    fn map(&mut self, depth: usize, label: &str, map: &Map) {
        if !map.is_empty() {
            let json = output::json(map.clone());
            self.line(depth, format_args!("{label:12}  {}", Untrusted(json)));
        }
    }

    fn heading(&mut self, depth: usize, kind: &str, name: impl fmt::Display) {
        if self.is_colored {
            let bold = Style::new().bold();
            self.line(depth, format_args!("{kind} {bold}{name}{bold:#}"));
        } else {
            self.line(depth, format_args!("{kind} {name}"));
        }
    }

    fn line(&mut self, depth: usize, line: impl fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = 2 * depth);
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

/// Returns the name, the type and notes of each argument, from the properties of a JSON Schema.
fn parameters(schema: &Map) -> Vec<[String; 3]> {
    let Some(Value::Map(properties)) = schema.get("properties") else {
        let schema = if schema.is_empty() {
            "any arguments".to_owned()
        } else {
            Untrusted(output::json(schema.clone())).to_string()
        };
        return vec![[schema, String::new(), String::new()]];
    };
    let required = match schema.get("required") {
        Some(Value::List(required)) => required.as_slice(),
        _ => &[],
    };
    let rows = properties.iter().map(|(name, property)| {
        let is_required = required.iter().any(|it| it.as_str() == Some(name));
        let kind = match property {
            Value::Map(property) => match property.get("type") {
                Some(Value::Text(kind)) => kind.clone(),
                Some(Value::List(kinds)) => {
                    let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
                    kinds.join(" or ")
                }
                _ => "any".to_owned(),
            },
            _ => "any".to_owned(),
        };
        let note = match property {
            Value::Map(property) => property.get("description").and_then(Value::as_str),
            _ => None,
        };
        let note = note.unwrap_or_default();
        let note = match (is_required, note) {
            (true, "") => "required".to_owned(),
            (true, note) => format!("required; {note}"),
            (false, note) => note.to_owned(),
        };
        [
            Untrusted(name).to_string(),
            Untrusted(kind).to_string(),
            Untrusted(note).to_string(),
        ]
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use agentwire::map;

    use super::*;

    #[test]
    fn parameters_are_listed_with_type_and_notes() {
        let schema = map! {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city\u{1b}[31m"},
                "days": {"type": ["integer", "null"]},
                "any": true,
            },
            "required": ["city", "days"],
        };
        assert_eq!(
            parameters(&schema),
            [
                ["city", "string", "required; The city\\u{1b}[31m"],
                ["days", "integer or null", "required"],
                ["any", "any", ""],
            ]
        );
        assert_eq!(parameters(&Map::new())[0][0], "any arguments");
        assert_eq!(
            parameters(&map! {"type": "null"})[0][0],
            r#"{"type": "null"}"#
        );
    }
}
