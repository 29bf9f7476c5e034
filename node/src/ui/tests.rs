//! Tests of the page in each of its states.

use super::*;
use crate::condition::Condition;
use crate::report::tests::{dmsg, snapshot, status};
use crate::report::{ItemsReport, LimitReport, PeersReport, StatusReport, Verdict};
use crate::status::About;
use skydht_core::id::Target;
use skydht_core::item::{Salt, Seq};
use skydht_core::node::OwnItem;

fn page(status: StatusReport) -> Page {
    let snapshot = snapshot();
    Page {
        peers: PeersReport::new(&snapshot, &[], 20),
        items: ItemsReport::new(snapshot.key, &[]),
        snapshot: Some(snapshot),
        status,
        recent: Vec::new(),
        k: 20,
        sort: Sort::Bucket,
    }
}

/// Checks that tags are opened and closed in order, and each text is between them.
fn is_well_formed(html: &str) {
    let mut open = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        assert!(!text.contains('>'), "{text}");
        let name = tag.split(' ').next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{html}"),
            None if matches!(name, "!doctype" | "meta" | "link" | "input") => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Checks what must hold in every state; returns the HTML.
fn holds(page: &Page) -> String {
    let html = page.html();
    is_well_formed(&html);
    // Nothing is loaded from elsewhere, and nothing inline that the policy forbids.
    for refused in [
        "http://",
        "https://",
        "style=",
        "onclick",
        "javascript:",
        "<script>",
    ] {
        let allowed = html.matches(refused).count();
        assert_eq!(allowed, 0, "{refused} in {html}");
    }
    // Each drawing has a title and a description, each field a label, each heading a section.
    let drawings = html.matches("<svg ").count();
    assert_eq!(html.matches("<title id=").count(), drawings);
    assert_eq!(html.matches("<desc id=").count(), drawings);
    assert_eq!(
        html.matches("<table>").count(),
        html.matches("<caption>").count()
    );
    for part in html.split(" id=\"").skip(1) {
        let id = part.split('"').next().unwrap();
        let twice = html.matches(&format!(" id=\"{id}\"")).count();
        assert_eq!(twice, 1, "{id}");
    }
    let sections = html.matches("<section ").count();
    assert_eq!(
        html.matches("The same: ").count(),
        sections,
        "each names its command"
    );
    // The script gets the same tree.
    let tree: serde_json::Value = serde_json::from_str(&page.json()).unwrap();
    assert_eq!(tree[0], "main");
    html
}

#[test]
fn an_empty_node_says_what_fills_it() {
    let html = holds(&page(status()));
    for part in [
        "YELLOW",
        "alone",
        "Empty: no peer",
        "skydht put VALUE",
        "None is known.",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn a_node_that_starts_says_what_it_waits_for() {
    let about = About {
        key: snapshot().key,
        full_node: false,
        k: 20,
        listen: String::new(),
    };
    let status = StatusReport::starting(&about, &Condition::default());
    let mut page = page(status);
    page.snapshot = None;
    page.peers = PeersReport::none(about.key);
    let html = holds(&page);
    assert!(html.contains("Starting: waits for this machine"), "{html}");
    assert!(html.contains("The node is not up yet."));
}

#[test]
fn a_healthy_node_shows_its_buckets_and_records() {
    let mut status = status();
    status.verdict = Verdict::Green;
    status.reasons.clear();
    let mut page = page(status);
    let own = OwnItem {
        target: Target::default(),
        salt: Salt::from("dmsg"),
        seq: Seq(7),
        value_len: 5,
        holders: 19,
        age: None,
        next_renewal: None,
    };
    page.items = ItemsReport::new(page.status.key, &[own]);
    let mut snapshot = snapshot();
    snapshot.network_size = 1_000;
    snapshot.full_node = true;
    snapshot.measured.lookup_hops.observe(3);
    page.peers = PeersReport::new(&snapshot, &[], 20);
    page.snapshot = Some(snapshot);
    let html = holds(&page);
    for part in [
        "GREEN",
        ">19/20<",
        "hops of a lookup",
        "less than half of what is expected",
        "other full nodes known",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains(&("▮".repeat(19) + "▯")));
}

#[test]
fn a_starving_node_says_which_limit() {
    let mut status = status();
    status.limits = vec![LimitReport {
        key: "limits.calls".into(),
        used: 9,
        max: Some(10),
        hits: 1_234,
        recent_hits: 7,
    }];
    let html = holds(&page(status));
    assert!(html.contains("limits.calls") && html.contains("1,234"));
}

#[test]
fn hostile_names_are_text() {
    let mut status = status();
    let mut hostile = dmsg(0, 1, None);
    hostile.servers[0].address = "<img src=x onerror=alert(1)>\u{202e}\u{7}".into();
    hostile.servers[0].cause = Some("\"><script>alert(1)</script>".into());
    status.dmsg = Some(hostile);
    let page = page(status);
    let html = holds(&page);
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;\\u{202e}\\x07"));
    assert!(!html.contains("<img") && !html.contains('\u{202e}'));
    let tree = page.json();
    assert!(
        !tree.contains('\u{202e}') && tree.contains("<img src=x"),
        "as text"
    );
}

#[test]
fn the_bundle_is_small_and_the_sorts_are_known() {
    let size = STYLE.len() + SCRIPT.len() + page(status()).html().len();
    assert!(size < 150_000, "{size}");
    assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("));
    assert_eq!(Sort::of(""), Some(Sort::Bucket));
    assert_eq!(Sort::of("a=b&sort=rtt"), Some(Sort::RoundTrip));
    assert_eq!(Sort::of("sort=<b>"), None);
    for failed in [false, true] {
        let login = login_page(failed);
        is_well_formed(&login);
        assert_eq!(login.contains("role=\"alert\""), failed);
    }
}
