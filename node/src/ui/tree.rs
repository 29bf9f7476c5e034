//! A page as a tree of elements: rendered as HTML, and as JSON from which the script builds the
//! same elements. Text is always escaped.

use serde_json::{Value, json};

use crate::printable::printable;

/// An element of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Element {
    tag: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Child>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Child {
    Element(Element),
    Text(String),
}

/// Creates an empty element.
pub(super) const fn el(tag: &'static str) -> Element {
    Element {
        tag,
        attributes: Vec::new(),
        children: Vec::new(),
    }
}

impl Element {
    pub(super) fn attr(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Adds text; characters that change the direction of writing are escaped.
    pub(super) fn text(mut self, text: impl ToString) -> Self {
        let text = printable(text.to_string().as_bytes());
        match self.children.last_mut() {
            // Adjacent texts are joined, as an HTML parser would join them.
            Some(Child::Text(before)) => before.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.children.push(Child::Text(text)),
        }
        self
    }

    pub(super) fn child(mut self, child: Self) -> Self {
        self.children.push(Child::Element(child));
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children
            .extend(children.into_iter().map(Child::Element));
        self
    }

    /// Renders the element as HTML.
    pub(super) fn html(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.tag);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        out.push('>');
        if is_void(self.tag) {
            return;
        }
        for child in &self.children {
            match child {
                Child::Element(element) => element.write(out),
                Child::Text(text) => escape(text, out),
            }
        }
        out.push_str("</");
        out.push_str(self.tag);
        out.push('>');
    }

    /// Renders the element as JSON: `[tag, {attribute: value}, child, …]`; a text is a string.
    pub(super) fn json(&self) -> Value {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, value)| ((*name).to_owned(), json!(value)));
        let head = [json!(self.tag), Value::Object(attributes.collect())];
        let children = self.children.iter().map(|child| match child {
            Child::Element(element) => element.json(),
            Child::Text(text) => json!(text),
        });
        Value::Array(head.into_iter().chain(children).collect())
    }
}

fn is_void(tag: &str) -> bool {
    matches!(tag, "meta" | "link" | "input")
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_whatever_they_hold() {
        let hostile = "<script>alert('1')</script>&\"\u{202e}";
        let element = el("td").attr("title", hostile).text("a").text(hostile);
        assert_eq!(
            element.html(),
            "<td title=\"&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\u{202e}\">\
             a&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\\u{202e}</td>"
        );
        // One text, as an HTML parser produces it.
        assert_eq!(element.json().as_array().unwrap().len(), 3);
    }
}
