//! A minimal SVG writer. Text is escaped and numbers have one decimal place.

use std::fmt::Write as _;

/// Colours that people with colour blindness can distinguish (Okabe and Ito), dark enough on white.
pub const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#007a5a", "#a8508a", "#7a6a00", "#333333", "#2f86bd",
];

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stroke<'a> {
    /// Any SVG colour.
    pub colour: &'a str,
    /// Width in pixels.
    pub width: f64,
    /// Lengths of dashes and gaps; empty for a solid line.
    pub dashes: &'a str,
}

impl<'a> Stroke<'a> {
    /// A solid line.
    #[must_use]
    pub const fn solid(colour: &'a str, width: f64) -> Self {
        let dashes = "";
        Self {
            colour,
            width,
            dashes,
        }
    }
}

/// Which point of a text is at the given position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// The left end.
    Start,
    /// The centre.
    Middle,
    /// The right end.
    End,
}

/// An SVG image.
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    description: String,
    body: String,
}

impl Svg {
    /// Creates an empty white image. Screen readers read `title` and `description`.
    #[must_use]
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        Self {
            width,
            height,
            title: escape(title),
            description: escape(description),
            body: String::new(),
        }
    }

    /// Draws a line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke<'_>) {
        self.element(format_args!(
            r#"<line x1="{}" y1="{}" x2="{}" y2="{}"{}/>"#,
            number(from.0),
            number(from.1),
            number(to.0),
            number(to.1),
            drawn(stroke)
        ));
    }

    /// Draws lines from point to point.
    pub fn path(&mut self, points: &[(f64, f64)], stroke: Stroke<'_>) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{},{}", number(*x), number(*y)))
            .collect();
        self.element(format_args!(
            r#"<polyline points="{}" fill="none"{}/>"#,
            points.join(" "),
            drawn(stroke)
        ));
    }

    /// Draws a filled rectangle. `tip` is shown when the pointer is over it.
    pub fn rect(&mut self, at: (f64, f64), size: (f64, f64), colour: &str, tip: &str) {
        let tip = match tip {
            "" => String::new(),
            tip => format!("<title>{}</title>", escape(tip)),
        };
        self.element(format_args!(
            r#"<rect x="{}" y="{}" width="{}" height="{}" fill="{}">{tip}</rect>"#,
            number(at.0),
            number(at.1),
            number(size.0.max(0.0)),
            number(size.1.max(0.0)),
            escape(colour)
        ));
    }

    /// Draws a small marker. Each `kind` has its own shape.
    pub fn marker(&mut self, kind: usize, at: (f64, f64), colour: &str) {
        let (x, y) = at;
        let shape: &[(f64, f64)] = match kind % 4 {
            0 => {
                self.element(format_args!(
                    r#"<circle cx="{}" cy="{}" r="3.5" fill="{}"/>"#,
                    number(x),
                    number(y),
                    escape(colour)
                ));
                return;
            }
            1 => &[(-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)],
            2 => &[(0.0, -4.5), (4.5, 3.5), (-4.5, 3.5)],
            _ => &[(0.0, -4.8), (4.8, 0.0), (0.0, 4.8), (-4.8, 0.0)],
        };
        let points: Vec<String> = shape
            .iter()
            .map(|(dx, dy)| format!("{},{}", number(x + dx), number(y + dy)))
            .collect();
        self.element(format_args!(
            r#"<polygon points="{}" fill="{}"/>"#,
            points.join(" "),
            escape(colour)
        ));
    }

    /// Draws a text with this size in pixels.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        self.element(format_args!(
            r##"<text x="{}" y="{}" font-size="{}"{} fill="#222">{}</text>"##,
            number(at.0),
            number(at.1),
            number(size),
            anchored(anchor),
            escape(text)
        ));
    }

    /// Draws a text that runs upwards.
    pub fn text_upwards(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        let (x, y) = (number(at.0), number(at.1));
        self.element(format_args!(
            r##"<text x="{x}" y="{y}" font-size="{}"{} fill="#222" transform="rotate(-90 {x} {y})">{}</text>"##,
            number(size),
            anchored(anchor),
            escape(text)
        ));
    }

    /// Returns the complete file.
    #[must_use]
    pub fn finish(self) -> String {
        let Self {
            title,
            description,
            body,
            ..
        } = self;
        let (width, height) = (number(self.width), number(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"system-ui, sans-serif\">\n<title>{title}</title>\n<desc>{description}</desc>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn drawn(stroke: Stroke<'_>) -> String {
    let dashes = match stroke.dashes {
        "" => String::new(),
        dashes => format!(r#" stroke-dasharray="{}""#, escape(dashes)),
    };
    format!(
        r#" stroke="{}" stroke-width="{}"{dashes}"#,
        escape(stroke.colour),
        number(stroke.width)
    )
}

const fn anchored(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "",
        Anchor::Middle => r#" text-anchor="middle""#,
        Anchor::End => r#" text-anchor="end""#,
    }
}

/// Approximate width of a text in pixels.
#[must_use]
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

/// Escapes text for elements and attributes. Characters that XML forbids become U+FFFD.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A coordinate with at most one decimal place; 0 if it is not a finite number.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "0".into();
    }
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_element() {
        let mut svg = Svg::new(100.0, 50.0, "<script>", "a & b");
        let hostile = "\"/><script>alert('x')</script>\u{1}\u{ffff}";
        svg.text((1.0, 2.0), Anchor::End, 10.0, hostile);
        svg.rect((0.0, 0.0), (1.0, 1.0), hostile, hostile);
        svg.line((0.0, 0.0), (1.0, 1.0), Stroke::solid(hostile, 1.0));
        svg.marker(1, (0.0, 0.0), hostile);
        svg.path(
            &[(0.0, 0.0)],
            Stroke {
                colour: "#000",
                width: 1.0,
                dashes: hostile,
            },
        );
        let text = svg.finish();
        assert!(!text.contains("<script") && !text.contains('\u{1}'));
        assert_eq!(text.matches("&lt;script&gt;").count(), 7, "{text}");
        assert!(text.contains("<desc>a &amp; b</desc>"));
    }

    #[test]
    fn coordinates_are_short_and_always_numbers() {
        for (value, text) in [
            (1.0, "1"),
            (-0.01, "0"),
            (2.25, "2.2"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
            (-3.96, "-4"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
