//! The control API's routes and their handlers.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::json;
use skydht_core::item::Seq;

use super::answers::{Answer, ok, unkept};
use super::register::RegisterBody;
use super::schema::GetBody;
use super::{ApiState, events, ui};
use crate::failure::{Code, Failure, Result};
use crate::http::{BodyError, read_body};
use crate::metrics::CONTENT_TYPE as CONTENT_TYPE_OF_METRICS;
use crate::registering::Registering;

/// Largest request body, in bytes: a value of 64 KiB in base64, and the other members.
const LONGEST_BODY: usize = 128 * 1024;

/// Largest registration, in bytes: several times the transports of upstream's largest hub.
const LONGEST_REGISTER: usize = 2 << 20;

/// Paths, methods and descriptions, as `GET /` lists them.
const INDEX: &[(&str, &str, &str)] = &[
    ("/", "GET", "this list"),
    (
        "/livez",
        "GET",
        "whether the process answers; wants no token",
    ),
    (
        "/readyz",
        "GET",
        "whether puts and gets have somebody to ask, with reasons if not",
    ),
    (
        "/status",
        "GET",
        "verdict with reasons, peers, store, limits, counters",
    ),
    (
        "/metrics",
        "GET",
        "everything that is counted and measured, in Prometheus' text format",
    ),
    ("/peers", "GET", "the routing table and its buckets, judged"),
    (
        "/items",
        "GET",
        "the node's own items: holders, age, next renewal",
    ),
    (
        "/full-node",
        "GET",
        "whether the node is a full node, until it stops",
    ),
    (
        "/full-node",
        "POST",
        "make it a full node or a regular one: {full_node}",
    ),
    ("/sync", "GET", "the reconciliations under way"),
    (
        "/sync",
        "POST",
        "reconcile with one full node or all known ones: {pk, timeout_ms}",
    ),
    (
        "/list",
        "POST",
        "what the node holds, a page: {salt, pk, prefix, from, limit, values}",
    ),
    (
        "/services",
        "POST",
        "services of visors, from a full node's records: {type, country, version}",
    ),
    (
        "/transports",
        "POST",
        "transports between visors, from the records held: {edge | id}",
    ),
    (
        "/register",
        "GET",
        "what this visor has registered, and how it goes at each service",
    ),
    (
        "/register",
        "POST",
        "what this visor has from now on, in upstream's words: {transports, services, address}",
    ),
    ("/config", "GET", "the configuration in force"),
    (
        "/put",
        "POST",
        "sign and publish: {value | text | delete, salt, seq, expect, min_replicas, force, once, timeout_ms}",
    ),
    (
        "/get",
        "POST",
        "read: {pk, salt, policy, unknown_mirrors, timeout_ms, trace}",
    ),
    ("/get/{pk}", "GET", "read the item without salt"),
    ("/get/{pk}/{salt}", "GET", "read an item"),
    (
        "/watch",
        "POST",
        "wait for the next version: {pk, salt, after, unknown_mirrors, timeout_ms}",
    ),
    (
        "/watch/{pk}",
        "GET",
        "versions of the item without salt as server-sent events",
    ),
    (
        "/watch/{pk}/{salt}",
        "GET",
        "versions of an item as server-sent events; Last-Event-ID or ?after=SEQ to go on",
    ),
    ("/ping", "POST", "ask a peer for a sign of life: {pk, addr}"),
    (
        "/verify",
        "POST",
        "read own items back from the nearest peers: {salts, all, timeout_ms}",
    ),
    ("/ui", "GET", "the status page, for browsers"),
    (
        "/ui/events",
        "GET",
        "what changes on it as server-sent events",
    ),
    (
        "/ui/code",
        "POST",
        "a path that opens the status page once, within a minute",
    ),
    ("/shutdown", "POST", "stop the node cleanly"),
];

pub(super) fn router(shared: Arc<ApiState>) -> Router {
    Router::new()
        .route("/", get(|| async { index() }))
        .route("/livez", get(|| async { live() }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/peers", get(peers))
        .route("/items", get(items))
        .route("/full-node", get(full_node).post(set_full_node))
        .route("/sync", get(syncs).post(sync))
        .route("/list", post(list))
        .route("/services", post(services))
        .route("/transports", post(transports))
        .route("/register", get(registered).post(register))
        .route("/config", get(config))
        .route("/put", post(put))
        .route("/get", post(read))
        .route("/get/{pk}", get(read_key))
        .route("/get/{pk}/{salt}", get(read_item))
        .route("/watch", post(watch))
        .route("/watch/{pk}", get(watch_key))
        .route("/watch/{pk}/{salt}", get(watch_item))
        .route("/ping", post(ping))
        .route("/verify", post(verify))
        .route("/ui", get(ui::show))
        .route("/ui/events", get(ui::events))
        .route("/ui/app.js", get(ui::script))
        .route("/ui/style.css", get(ui::style))
        .route("/ui/code", post(ui::new_code))
        .route("/ui/login", post(ui::log_in))
        .route("/shutdown", post(shutdown))
        .fallback(|| async {
            Failure::new(Code::NoSuchPath, "there is no such path").hint("`GET /` lists them")
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(Code::Method, "this path does not take this method")
                .hint("`GET /` lists them")
        })
        .with_state(shared)
}

fn index() -> Answer {
    let endpoints: Vec<_> = INDEX
        .iter()
        .map(|(path, method, meaning)| json!({"path": path, "method": method, "meaning": meaning}))
        .collect();
    ok(&json!({
        "schema": "skydht.index/1",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": endpoints,
    }))
}

fn live() -> Answer {
    ok(&json!({"schema": "skydht.live/1", "live": true}))
}

async fn ready(State(shared): State<Arc<ApiState>>) -> Answer {
    let status = shared.local.status().await?;
    if status.ready {
        return ok(&json!({"schema": "skydht.ready/1", "ready": true, "reasons": status.reasons}));
    }
    let why = status
        .reasons
        .first()
        .map_or("not ready", |reason| &reason.cause);
    Err(Failure::new(Code::NotReady, why).details(&json!({"reasons": status.reasons})))
}

async fn status(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&shared.local.status().await?)
}

async fn metrics(State(shared): State<Arc<ApiState>>) -> Answer {
    let text = shared.local.metrics().await?;
    Ok(unkept(StatusCode::OK, CONTENT_TYPE_OF_METRICS, text))
}

async fn peers(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&shared.local.peers().await?)
}

async fn items(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&shared.local.items().await?)
}

async fn config(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&shared.config)
}

async fn full_node(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&shared.local.full_node().await?)
}

async fn set_full_node(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.set_full_node(body(request).await?).await?)
}

async fn syncs(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&shared.local.syncs().await?)
}

async fn sync(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.sync(&body(request).await?).await?)
}

async fn services(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.services(&body(request).await?).await?)
}

async fn transports(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.transports(&body(request).await?).await?)
}

async fn registered(State(shared): State<Arc<ApiState>>) -> Answer {
    ok(&registering(&shared)?.report())
}

async fn register(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    let body: RegisterBody = body_of(request, LONGEST_REGISTER).await?;
    let given = body.read(&shared.local.key())?;
    ok(&registering(&shared)?.set(shared.local.key(), given))
}

fn registering(shared: &ApiState) -> Result<&Registering> {
    let none = || Failure::new(Code::Usage, "the nodes of a demo register nothing");
    shared.registering.as_ref().ok_or_else(none)
}

async fn list(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.list(&body(request).await?).await?)
}

async fn put(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.put(&body(request).await?).await?)
}

async fn read(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.get(&body(request).await?).await?)
}

async fn read_key(
    State(shared): State<Arc<ApiState>>,
    pk: std::result::Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(pk) = pk.map_err(unreadable)?;
    read_by_path(&shared, pk, String::new()).await
}

async fn read_item(
    State(shared): State<Arc<ApiState>>,
    words: std::result::Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let Path((owner, salt)) = words.map_err(unreadable)?;
    read_by_path(&shared, owner, salt).await
}

fn unreadable(rejection: PathRejection) -> Box<Failure> {
    let text = format!("the path cannot be read: {}", rejection.body_text());
    Failure::new(Code::Usage, text).hint("`POST /get` takes what no path can hold")
}

async fn read_by_path(shared: &ApiState, owner: String, salt: String) -> Answer {
    ok(&shared.local.get(&item(owner, salt)).await?)
}

fn item(owner: String, salt: String) -> GetBody {
    GetBody {
        owner,
        salt,
        policy: None,
        unknown_mirrors: false,
        timeout_ms: None,
        trace: false,
    }
}

async fn watch(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.watch(&body(request).await?).await?)
}

async fn watch_key(
    State(shared): State<Arc<ApiState>>,
    pk: std::result::Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let Path(pk) = pk.map_err(unreadable)?;
    let after = events::resume_after(request.headers(), request.uri().query())?;
    stream_versions(&shared, item(pk, String::new()), after).await
}

async fn watch_item(
    State(shared): State<Arc<ApiState>>,
    words: std::result::Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let Path((owner, salt)) = words.map_err(unreadable)?;
    let after = events::resume_after(request.headers(), request.uri().query())?;
    stream_versions(&shared, item(owner, salt), after).await
}

async fn stream_versions(shared: &ApiState, item: GetBody, after: Option<Seq>) -> Answer {
    let watch = shared.local.versions(&item, after).await?;
    Ok(events::stream(watch, item))
}

async fn ping(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.ping(&body(request).await?).await?)
}

async fn verify(State(shared): State<Arc<ApiState>>, request: Request) -> Answer {
    ok(&shared.local.verify(&body(request).await?).await?)
}

async fn shutdown(State(shared): State<Arc<ApiState>>) -> Answer {
    shared.stop.notify_one();
    ok(&json!({"schema": "skydht.shutdown/1", "stopping": true}))
}

async fn body<T: DeserializeOwned>(request: Request) -> Result<T> {
    body_of(request, LONGEST_BODY).await
}

async fn body_of<T: DeserializeOwned>(request: Request, longest: usize) -> Result<T> {
    let read = read_body(request.into_body(), longest).await;
    let bytes = read.map_err(|error| match error {
        BodyError::Late => Failure::new(Code::Timeout, "the request's body did not come in time"),
        BodyError::Broken(error) => Failure::new(
            Code::Usage,
            format_args!("the request's body broke off: {error}"),
        ),
        BodyError::TooLong => {
            let text = format!("the request's body is longer than {longest} bytes");
            Failure::new(Code::TooLarge, text)
        }
    })?;
    let wrong = |why: &dyn std::fmt::Display| {
        let text = format!("the request's body is not what this path takes: {why}");
        Failure::new(Code::Usage, text).hint("`GET /` says what it takes")
    };
    // Serde would accept a list and assign it by position.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong(&"it is no object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}
