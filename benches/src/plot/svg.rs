//! A minimal SVG writer.

use std::fmt::Write;

/// A drawing that grows row by row.
pub(super) struct Svg {
    body: String,
    height: f64,
}

/// The point of a text that is placed at its position.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) const fn new() -> Self {
        Self {
            body: String::new(),
            height: 8.0,
        }
    }

    /// Adds a row at the bottom and returns the position of its top edge.
    pub(super) fn add_row(&mut self, height: f64) -> f64 {
        let top = self.height;
        self.height += height;
        top
    }

    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.put(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"/>"#
        ));
    }

    pub(super) fn line(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let mut path = String::new();
        for (x, y) in points {
            // Writing to a `String` cannot fail.
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let path = path.trim_end();
        self.put(format_args!(
            r#"<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"/>"#
        ));
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.put(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" {style}>{text}</text>"#
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }

    pub(super) fn finish(self) -> String {
        let height = self.height + 8.0;
        // Draw a white background, because the page may have a dark background.
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
{}</svg>
"##,
            self.body
        )
    }
}

pub(super) const WIDTH: f64 = 760.0;
