//! The sections of the page, from the verdict down. Each names the command that shows the same.

use std::time::Duration;

use skydht_core::item::Origin;
use skydht_core::node::{Counter, Label as _, OperationKind, Side, Source};
use skydht_core::store::Refusal;

use super::charts;
use super::page::{Page, Sort};
use super::tree::{Element, el};
use crate::output::{Human, count};
use crate::report::{BucketState, PeerReport, Verdict, from_ms};

/// Maximum number of rows in a table; the command beside it shows all.
const MOST_ROWS: usize = 200;

fn section(id: &'static str, title: &str, command: &str) -> Element {
    let heading = format!("{id}-h");
    let how = el("p").attr("class", "how");
    let how = how.text("The same: ").child(el("code").text(command));
    el("section")
        .attr("id", id)
        .attr("aria-labelledby", &heading)
        .child(el("h2").attr("id", &heading).text(title))
        .child(how)
}

/// Builds a table; columns whose heading begins with `#` are numeric.
fn table(caption: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Element {
    let class = |name: &str| if name.starts_with('#') { "n" } else { "t" };
    let cells = head.iter().map(|name| {
        let cell = el("th").attr("scope", "col").attr("class", class(name));
        cell.text(name.trim_start_matches('#'))
    });
    let top = el("thead").child(el("tr").children(cells));
    framed(caption, top, body(head, rows))
}

fn body(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Element {
    let class = |index: usize| match head.get(index) {
        Some(name) if name.starts_with('#') => "n",
        _ => "t",
    };
    let rows = rows.into_iter().take(MOST_ROWS).map(|row| {
        let cells = row.into_iter().enumerate();
        el("tr")
            .children(cells.map(|(index, cell)| el("td").attr("class", class(index)).text(cell)))
    });
    el("tbody").children(rows)
}

fn framed(caption: &str, head: Element, body: Element) -> Element {
    let table = el("table")
        .child(el("caption").text(caption))
        .child(head)
        .child(body);
    // The element can be focused, so that a wide table can be scrolled with keys.
    el("div")
        .attr("class", "scroll")
        .attr("role", "region")
        .attr("tabindex", "0")
        .attr("aria-label", caption)
        .child(table)
}

fn time(ms: f64) -> String {
    Human(from_ms(ms)).to_string()
}

fn nothing(text: &str) -> Element {
    el("p").text(text)
}

/// Shows the verdict with every reason.
pub(super) fn verdict(page: &Page) -> Element {
    let status = &page.status;
    let (word, class) = match status.verdict {
        Verdict::Green => ("GREEN", "verdict green"),
        Verdict::Yellow => ("YELLOW", "verdict yellow"),
        Verdict::Red => ("RED", "verdict red"),
    };
    let role = match (&status.dmsg, status.full_node) {
        (Some(dmsg), _) if dmsg.clients.is_some() => "DMSG server and full node",
        (_, true) => "full node",
        (_, false) => "node",
    };
    let reasons = status.reasons.iter().map(|reason| {
        let evidence = format!("{}: {} — {}", reason.verdict, reason.cause, reason.evidence);
        let remedy = el("p").attr("class", "how").text(&reason.remedy);
        el("li").text(evidence).child(remedy)
    });
    let facts = format!(
        "{} · up {} · {} proven peers · network ≈ {} · version {}",
        status.listen,
        time(status.uptime_ms),
        count(status.peers as u64),
        count(status.network_size),
        status.version
    );
    let mut section = el("section")
        .attr("id", "verdict")
        .attr("aria-label", "Verdict")
        .child(el("h1").text(format_args!("{role} {}", status.key)))
        .child(el("p").attr("class", class).text(word));
    if let Some(waits_for) = &status.waits_for {
        section = section.child(el("p").text(format_args!("Starting: waits for {waits_for}")));
    }
    if !status.reasons.is_empty() {
        section = section.child(el("ul").attr("class", "reasons").children(reasons));
    }
    let how = el("p").attr("class", "how").text("The same: ");
    section
        .child(el("p").text(facts))
        .child(how.child(el("code").text("skydht status")))
}

pub(super) fn buckets(page: &Page) -> Element {
    let section = section("buckets", "Routing table", "skydht peers --buckets");
    let buckets = &page.peers.buckets;
    if buckets.is_empty() {
        return section.child(nothing(
            "Empty: no peer has been met. It fills when the first one answers.",
        ));
    }
    let rows = buckets.iter().map(|bucket| {
        vec![
            bucket.bucket.to_string(),
            bucket.peers.to_string(),
            bucket.expected.to_string(),
            bucket.replacements.to_string(),
            match bucket.state {
                BucketState::Good => "good",
                BucketState::Low => "low: less than half of what is expected",
                BucketState::Irrelevant => "the network is too small to fill it",
            }
            .into(),
        ]
    });
    let caption = "Peers by the length of the prefix that they share with this node";
    let head = ["#Bucket", "#Peers", "#Expected", "#Spare", "State"];
    section
        .child(charts::bucket_strip(buckets, page.k))
        .child(details("As a table", table(caption, &head, rows)))
}

fn details(summary: &str, content: Element) -> Element {
    el("details")
        .child(el("summary").text(summary))
        .child(content)
}

pub(super) fn ring(page: &Page) -> Element {
    let section = section("ring", "Key space", "skydht peers");
    let caption = el("figcaption").text(
        "Each dot is a peer, the large one this node, by the first bits of its id. Closeness on the \
         circle is not XOR distance, by which the DHT goes.",
    );
    let figure = el("figure").child(charts::ring(&page.peers)).child(caption);
    section.child(figure)
}

pub(super) fn lookups(page: &Page) -> Element {
    let section = section("lookups", "Lookups and operations", "skydht status --json");
    let Some(measured) = page.measured() else {
        return section.child(nothing("The node is not up yet."));
    };
    let mut drawn = Vec::new();
    let mut rows = Vec::new();
    let timed = OperationKind::ALL.iter().map(|kind| {
        let (name, histogram) = (kind.name(), measured.operation_time.of(*kind));
        (name.to_owned(), histogram)
    });
    let others = [
        (
            "first value of a read".to_owned(),
            &measured.first_value_time,
        ),
        ("hops of a lookup".to_owned(), &measured.lookup_hops),
        ("requests of a lookup".to_owned(), &measured.lookup_requests),
        ("replicas of a put".to_owned(), &measured.put_replicas),
    ];
    for (name, histogram) in timed.chain(others) {
        if histogram.count() == 0 {
            continue;
        }
        let percentiles = [50, 95, 99].map(|percent| charts::percentile(histogram, percent));
        let numbers = [name.clone(), count(histogram.count())];
        rows.push(numbers.into_iter().chain(percentiles).collect());
        let id = format!("h{}", drawn.len());
        let steps = charts::steps(histogram).into_iter();
        let steps = steps.map(|(bound, n)| vec![bound, n.to_string()]);
        let content = el("div")
            .child(charts::histogram(&id, &name, histogram))
            .child(table(&name, &["Value", "#Count"], steps));
        drawn.push(details(&name, content));
    }
    if rows.is_empty() {
        return section.child(nothing("None since the start."));
    }
    let last = page.recent.iter().map(|ended| {
        let cost = ended
            .lookup
            .as_ref()
            .map(|it| [it.hops, it.requests, it.answered, it.failed].map(|n| n.to_string()));
        let cost = cost.unwrap_or_else(|| ["–"; 4].map(str::to_owned));
        let head = [
            Human(ended.ago).to_string(),
            ended.kind.to_owned(),
            ended.item.clone(),
            ended.outcome.clone(),
        ];
        head.into_iter().chain(cost).collect()
    });
    let columns = [
        "#Ago",
        "What",
        "Item",
        "Outcome",
        "#Hops",
        "#Requests",
        "#Answered",
        "#Failed",
    ];
    let last = table("Reads and puts that ended last", &columns, last);
    let caption = "Since the start; percentiles are bounds of the histograms";
    let head = ["What", "#Count", "#p50", "#p95", "#p99"];
    let traces = page.recent.iter().filter(|ended| !ended.hops.is_empty());
    let traces = traces.enumerate().map(|(index, ended)| {
        let title = format!("{} {}: {}", ended.kind, ended.item, ended.outcome);
        let rows = ended.hops.iter().map(|hop| {
            vec![
                format!("{:.1} ms", hop.at_ms),
                hop.peer.to_string(),
                hop.prefix.to_string(),
                hop.what(),
            ]
        });
        let columns = ["#After", "Peer", "#Bits shared", "What"];
        let content = el("div")
            .child(charts::read_trace(
                &format!("c{index}"),
                &title,
                &ended.hops,
            ))
            .child(table("Its steps", &columns, rows));
        details(&format!("Course of {title}"), content)
    });
    section
        .child(table(caption, &head, rows))
        .child(last)
        .children(traces)
        .children(drawn)
}

pub(super) fn own_items(page: &Page) -> Element {
    let section = section("own", "Own records", "skydht ls; skydht verify");
    if page.items.items.is_empty() {
        let how = "None: `skydht put VALUE --salt SALT` publishes one, and the node renews it.";
        return section.child(nothing(how));
    }
    let k = page.k;
    let rows = page.items.items.iter().map(|item| {
        let held = usize::from(item.holders).min(k);
        let cells = "▮".repeat(held) + &"▯".repeat(k - held);
        vec![
            match item.salt.as_str() {
                "" => "(none)".into(),
                salt => salt.to_owned(),
            },
            format!("{}/{k}", item.holders),
            cells,
            item.age_ms.map_or("not published yet".into(), time),
            item.next_renewal_ms.map_or("–".into(), time),
            count(item.bytes as u64),
        ]
    });
    let head = ["Salt", "#Holders", "Share", "#Age", "#Renewed in", "#Bytes"];
    let mut section = section.child(table("Items that this node keeps renewed", &head, rows));
    if let Some(verified) = &page.status.verified {
        let found = match verified.not_held.is_empty() {
            true => "all were found".to_owned(),
            false => format!("not as they should be: {}", verified.not_held.join(", ")),
        };
        let (items, age) = (verified.items, time(verified.age_ms));
        let text = format!("Read back {age} ago, {items} items: {found}.");
        section = section.child(el("p").text(text));
    }
    section
}

pub(super) fn refusals(page: &Page) -> Element {
    let section = section("refusals", "Refusals and limits", "skydht status --limits");
    let limits = page.status.limits.iter();
    let mut limits: Vec<_> = limits
        .filter(|it| it.hits > 0 || it.percent() >= Some(50))
        .collect();
    limits.sort_by_key(|limit| std::cmp::Reverse((limit.recent_hits, limit.hits)));
    let rows = limits.iter().map(|limit| {
        vec![
            limit.key.clone(),
            limit.used.to_string(),
            limit.most(),
            count(limit.recent_hits),
            count(limit.hits),
        ]
    });
    let head = [
        "Configuration key",
        "#Used",
        "#Most",
        "#Hits in 5 min",
        "#Hits",
    ];
    let mut section = match limits.is_empty() {
        true => section.child(nothing("No limit is half used, and none was ever hit.")),
        false => section.child(table("Limits that are half used or were hit", &head, rows)),
    };
    let Some(measured) = page.measured() else {
        return section;
    };
    let mut rows = Vec::new();
    for side in Side::ALL {
        for refusal in Refusal::ALL {
            let n = *measured.refusals.of((*side, *refusal));
            if n > 0 {
                let whose = match side {
                    Side::Inbound => "this node",
                    Side::Outbound => "peers",
                };
                rows.push(vec![whose.into(), refusal.to_string(), count(n)]);
            }
        }
    }
    if !rows.is_empty() {
        let head = ["By", "Why", "#Items"];
        section = section.child(table("Items refused since the start", &head, rows));
    }
    section
}

pub(super) fn replication(page: &Page) -> Element {
    let section = section(
        "replication",
        "Replication",
        "skydht sync; skydht full-node",
    );
    let Some(snapshot) = page.snapshot.as_ref().filter(|it| it.full_node) else {
        return section.child(nothing(
            "This is no full node: it holds what is near to it. `skydht full-node on` changes that.",
        ));
    };
    let counters = &snapshot.counters;
    let n = |counter| count(counters.get(counter));
    let text = format!(
        "{} other full nodes known · {} sessions, {} failed · {} items came, {} went · {} bytes",
        snapshot.full_nodes,
        n(Counter::SyncsStarted),
        n(Counter::SyncsFailed),
        n(Counter::SyncFetched),
        n(Counter::SyncGiven),
        n(Counter::SyncBytes),
    );
    let section = section.child(el("p").text(text));
    if snapshot.syncs.is_empty() {
        return section;
    }
    let rows = snapshot.syncs.iter().map(|(peer, progress)| {
        vec![
            peer.to_string(),
            progress.rounds.to_string(),
            count(progress.fetched),
            count(progress.given),
            count(progress.bytes),
        ]
    });
    let head = ["With", "#Rounds", "#Came", "#Went", "#Bytes"];
    section.child(table("Sessions under way", &head, rows))
}

/// Shows the DMSG client or server.
pub(super) fn relay(page: &Page) -> Element {
    let section = section("dmsg", "DMSG", "skydht status");
    let Some(dmsg) = &page.status.dmsg else {
        return section.child(nothing("Peers are reached over TCP."));
    };
    let mut text = format!(
        "{} of {} servers connected",
        dmsg.connected,
        dmsg.servers.len()
    );
    if let Some(clients) = dmsg.clients {
        text += &format!(" · {clients} clients");
    }
    if let Some(relay) = &dmsg.relay {
        text += &format!(
            " · {} streams relayed now, {} since the start, {} bytes",
            relay.relaying,
            count(relay.relayed),
            count(relay.relayed_bytes)
        );
    }
    let mut section = section.child(el("p").text(text));
    if let Some(discovery) = &dmsg.discovery {
        section = section.child(el("p").text(format_args!("Discovery {discovery}")));
    }
    let rows = dmsg.servers.iter().map(|server| {
        let state = match (&server.cause, server.connected) {
            (_, true) => "connected".to_owned(),
            (Some(cause), false) => format!("not connected: {cause}"),
            (None, false) => "not tried".to_owned(),
        };
        vec![server.key.to_string(), server.address.clone(), state]
    });
    section.child(table("Servers", &["Key", "Address", "State"], rows))
}

pub(super) fn peers(page: &Page) -> Element {
    let section = section("peers", "Peers", "skydht peers; skydht ping PK");
    let mut peers: Vec<&PeerReport> = page.peers.peers.iter().collect();
    if peers.is_empty() {
        return section.child(nothing("None is known."));
    }
    match page.sort {
        Sort::Bucket => {}
        Sort::Seen => peers.sort_by(|a, b| a.last_seen_ms.total_cmp(&b.last_seen_ms)),
        Sort::Key => peers.sort_by_key(|peer| peer.key),
        Sort::RoundTrip => {
            let time = |peer: &PeerReport| peer.rtt_ms.unwrap_or(f64::INFINITY);
            peers.sort_by(|a, b| time(a).total_cmp(&time(b)));
        }
    }
    let names = [
        "#Bucket",
        "Key",
        "#Last seen",
        "#Round trip",
        "Address",
        "Proven",
    ];
    let heads = names.iter().enumerate().map(|(index, name)| {
        let class = if name.starts_with('#') { "n" } else { "t" };
        let cell = el("th").attr("scope", "col").attr("class", class);
        let text = name.trim_start_matches('#');
        match Sort::ALL.get(index) {
            Some(sort) if *sort == page.sort => cell.attr("aria-sort", "ascending").text(text),
            Some(sort) => {
                let link = el("a").attr("href", format_args!("/ui?sort={}#peers", sort.name()));
                cell.child(link.text(text))
            }
            None => cell.text(text),
        }
    });
    let head = el("thead").child(el("tr").children(heads));
    let rows = peers.iter().map(|peer| {
        vec![
            peer.bucket.to_string(),
            peer.key.to_string(),
            time(peer.last_seen_ms),
            peer.rtt_ms.map_or("–".into(), |ms| format!("{ms:.1} ms")),
            peer.addr.clone().unwrap_or_else(|| "–".into()),
            if peer.proven { "yes" } else { "no" }.into(),
        ]
    });
    let shown = peers.len().min(MOST_ROWS);
    let caption = format!("{shown} of {} peers", peers.len());
    section.child(framed(&caption, head, body(&names, rows)))
}

pub(super) fn sources(page: &Page) -> Element {
    let section = section("sources", "Sources", "skydht status --json");
    let mut rows = Vec::new();
    if let Some(measured) = page.measured() {
        for source in Source::ALL {
            let of = |origin| *measured.reads.of((origin, *source));
            let (owner, mirror) = (of(Origin::Owner), of(Origin::Mirror));
            let what = match source {
                Source::Network => "items: peers",
                Source::Store => "items: this node's store",
                Source::Cache => "items: this node's cache",
            };
            rows.push(vec![what.into(), count(owner), count(mirror)]);
        }
    }
    let dmsg = page.status.dmsg.as_ref();
    let mut section = match rows.is_empty() {
        true => section.child(nothing("The node is not up yet.")),
        false => {
            let head = ["Reads answered by", "#Owners' items", "#Mirrors"];
            section.child(table("Since the start", &head, rows))
        }
    };
    if let Some(lookups) = dmsg
        .and_then(|it| it.discovery.as_ref())
        .map(|it| it.lookups)
    {
        let rows = [
            ("the DHT", lookups.lookup_dht_hits),
            ("the discovery", lookups.lookup_http_hits),
            ("the discovery has none", lookups.lookup_http_misses),
            ("neither could be asked", lookups.unknown),
            ("both, differently", lookups.disagreements),
        ];
        let rows = rows.map(|(what, n)| vec![what.to_owned(), count(n)]);
        let head = ["DMSG entries answered by", "#Questions"];
        section = section.child(table("Since the start", &head, rows));
    }
    if let Some(ago) = page.status.last_sign_of_life_ms {
        let ago = Human(Duration::from_secs_f64(ago.max(0.0) / 1e3));
        section =
            section.child(el("p").text(format_args!("The last sign of life came {ago} ago.")));
    }
    section
}
