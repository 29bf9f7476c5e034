//! The HTML documents: the status page, and the login form.

use super::page::Page;
use super::sections;
use super::tree::{Element, el};
use crate::report::Verdict;

impl Page {
    fn main(&self) -> Element {
        let sections = [
            sections::verdict(self),
            sections::buckets(self),
            sections::ring(self),
            sections::lookups(self),
            sections::own_items(self),
            sections::refusals(self),
            sections::replication(self),
            sections::relay(self),
            sections::peers(self),
            sections::sources(self),
        ];
        el("main").children(sections)
    }

    /// Returns the part of the page that changes, as JSON.
    pub(crate) fn json(&self) -> String {
        self.main().json().to_string()
    }

    /// Returns the whole page.
    pub(crate) fn html(&self) -> String {
        let word = match self.status.verdict {
            Verdict::Green => "GREEN",
            Verdict::Yellow => "YELLOW",
            Verdict::Red => "RED",
        };
        let age = el("p").attr("id", "age");
        let age = age.text("as of this page's loading; reload for news, where scripts are off");
        let body = el("body")
            .child(age)
            .child(self.main())
            .child(el("script").attr("src", "/ui/app.js").attr("defer", ""));
        document(&format!("{word} · skydht"), body)
    }
}

/// Returns the login form; `failed` after a wrong token.
pub(crate) fn login_page(failed: bool) -> String {
    let label = el("label").attr("for", "token").text("Token");
    let token = el("input")
        .attr("id", "token")
        .attr("name", "token")
        .attr("type", "password")
        .attr("autocomplete", "off")
        .attr("required", "");
    let form = el("form")
        .attr("method", "post")
        .attr("action", "/ui/login")
        .child(el("p").child(label).text(" ").child(token))
        .child(el("p").child(el("button").text("Look")));
    let mut main = el("main").child(el("h1").text("skydht"));
    if failed {
        let wrong = el("p").attr("class", "red").attr("role", "alert");
        main = main.child(wrong.text("This is not the token, or the link was used before."));
    }
    let how = el("p")
        .text("On the node's machine, ")
        .child(el("code").text("skydht ui"))
        .text(" prints a link that opens this page once. Or type what is in the file ")
        .child(el("code").text("api.token"))
        .text(" of its state directory.");
    document("skydht", el("body").child(main.child(how).child(form)))
}

fn document(title: &str, body: Element) -> String {
    let viewport = el("meta")
        .attr("name", "viewport")
        .attr("content", "width=device-width, initial-scale=1");
    let style = el("link")
        .attr("rel", "stylesheet")
        .attr("href", "/ui/style.css");
    let head = el("head")
        .child(el("meta").attr("charset", "utf-8"))
        .child(viewport)
        .child(el("title").text(title))
        .child(style);
    let html = el("html").attr("lang", "en").child(head).child(body);
    format!("<!doctype html>{}", html.html())
}
