//! JSON for people: indented, and colored if the terminal shows colors.

use std::fmt::Write;

use agentwire::Value;
use anstyle::{AnsiColor, Style};

/// Returns a value as indented JSON. The value must be representable in JSON.
pub(crate) fn pretty(value: &Value, is_colored: bool) -> String {
    let mut printer = Printer {
        text: String::new(),
        is_colored,
    };
    printer.value(value, 0);
    printer.text
}

struct Printer {
    text: String,
    is_colored: bool,
}

impl Printer {
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::List(list) if !list.is_empty() => {
                self.text.push('[');
                for (i, item) in list.iter().enumerate() {
                    self.begin_line(i == 0, depth + 1);
                    self.value(item, depth + 1);
                }
                self.end(']', depth);
            }
            Value::Map(map) if !map.is_empty() => {
                self.text.push('{');
                for (i, (key, item)) in map.iter().enumerate() {
                    self.begin_line(i == 0, depth + 1);
                    self.styled(KEY, &Value::from(key));
                    self.text.push_str(": ");
                    self.value(item, depth + 1);
                }
                self.end('}', depth);
            }
            Value::Text(_) => self.styled(TEXT, value),
            Value::Null => self.styled(NULL, value),
            Value::List(_) | Value::Map(_) => self.styled(Style::new(), value),
            _ => self.styled(SCALAR, value),
        }
    }

    fn begin_line(&mut self, is_first: bool, depth: usize) {
        self.text.push_str(if is_first { "\n" } else { ",\n" });
        self.indent(depth);
    }

    fn end(&mut self, bracket: char, depth: usize) {
        self.text.push('\n');
        self.indent(depth);
        self.text.push(bracket);
    }

    fn indent(&mut self, depth: usize) {
        self.text.extend(std::iter::repeat_n("  ", depth));
    }

    fn styled(&mut self, style: Style, value: &Value) {
        // Writing to a string cannot fail.
        let _ = if self.is_colored {
            write!(self.text, "{style}{value}{style:#}")
        } else {
            write!(self.text, "{value}")
        };
    }
}

const KEY: Style = AnsiColor::Blue.on_default().bold();

const TEXT: Style = AnsiColor::Green.on_default();

const NULL: Style = AnsiColor::BrightBlack.on_default();

const SCALAR: Style = AnsiColor::Yellow.on_default();

#[cfg(test)]
mod tests {
    use agentwire::value;

    use super::*;

    #[test]
    fn lists_and_maps_are_indented() {
        let value = value!({"a": [1, {"b": null}], "empty": [[], {}], "text": "x"});
        let expected = r#"{
  "a": [
    1,
    {
      "b": null
    }
  ],
  "empty": [
    [],
    {}
  ],
  "text": "x"
}"#;
        assert_eq!(pretty(&value, false), expected);
    }

    #[test]
    fn colors_do_not_change_the_text() {
        let value = value!({"a": ["x", null, 1.5, true]});
        let colored = pretty(&value, true);
        assert!(colored.contains("\u{1b}[32m\"x\"\u{1b}[0m"), "{colored:?}");
        let mut plain = String::new();
        let mut parts = colored.split('\u{1b}');
        plain.push_str(parts.next().unwrap());
        for part in parts {
            plain.push_str(part.split_once('m').unwrap().1);
        }
        assert_eq!(plain, pretty(&value, false));
    }
}
