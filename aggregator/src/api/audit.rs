//! The audit: leaves, heads, the key, and proofs as documents that `tributary-audit-verify` checks.

use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tributary_audit::{Kind, SignedHead, time_text};

use super::events::{EventName, parse as parse_event};
use super::{ApiError, ApiState, query};
use crate::audit::{self, AuditQuery, Kinds, NotProved, ReceiptAnswer};
use crate::commit::{self, CommitError};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/audit", web::get().to(list))
        .route("/audit/head", web::get().to(head))
        .route("/audit/heads", web::get().to(heads))
        .route("/audit/key", web::get().to(key))
        .route("/audit/inclusion", web::get().to(inclusion))
        .route("/audit/consistency", web::get().to(consistency))
        .route("/audit/export", web::get().to(export))
        .route("/events/{id:.+}/receipt", web::get().to(receipt));
}

/// A whole number, from 0 on.
fn number(name: &str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        let message = format!("{name}={text} is no number");
        ApiError::bad_request("invalid_query", message).with("parameter", name)
    })
}

fn kinds(text: &str) -> Result<Kinds, ApiError> {
    match text {
        "all" => Ok(Kinds::All),
        "acts" => Ok(Kinds::Acts),
        name => Kind::parse(name).map(Kinds::One).ok_or_else(|| {
            let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            let message = format!(
                "there is no kind {name:?}; there are acts (all but commit groups), {}",
                names.join(", ")
            );
            ApiError::bad_request("invalid_query", message).with("parameter", "kind")
        }),
    }
}

fn page_query(request: &HttpRequest) -> Result<AuditQuery, ApiError> {
    let mut asked = AuditQuery {
        kinds: Kinds::All,
        from: None,
        newest_first: false,
        limit: DEFAULT_LIMIT,
    };
    let known = "from, after, before, order, kind, limit";
    for (name, value) in query::pairs(request)? {
        match name.as_str() {
            "from" => asked.from = Some(number("from", &value)?),
            "after" => asked.from = Some(number("after", &value)?.saturating_add(1)),
            "before" => {
                asked.from = Some(number("before", &value)?);
                asked.newest_first = true;
            }
            "order" => {
                asked.newest_first = match value.as_str() {
                    "oldest" => false,
                    "newest" => true,
                    _ => {
                        let message = format!("order={value}: there are oldest and newest");
                        return Err(
                            ApiError::bad_request("invalid_query", message).with("parameter", "order")
                        );
                    }
                };
            }
            "kind" => asked.kinds = kinds(&value)?,
            "limit" => asked.limit = query::count("limit", &value, MAX_LIMIT)?,
            other => return Err(query::unknown(other, known)),
        }
    }
    Ok(asked)
}

async fn list(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asked = page_query(&request)?;
    let page = state
        .read(move |log| log.with(|db| audit::page(db, asked)))
        .await?;
    let full = page.leaves.len() == asked.limit;
    let next = page.leaves.last().filter(|_| full).map(|leaf| leaf.index);
    let leaves: Vec<Value> = page.leaves.iter().map(tributary_audit::Leaf::to_json).collect();
    let mut answer = json!({ "size": page.size, "leaves": leaves });
    answer[if asked.newest_first {
        "next_before"
    } else {
        "next_after"
    }] = json!(next);
    Ok(HttpResponse::Ok().json(answer))
}

fn head_json(text: &str) -> Result<Value, CommitError> {
    let read = SignedHead::parse(text).map_err(|error| CommitError::Damaged {
        what: format!("a stored head of the audit: {error}"),
    })?;
    Ok(json!({ "size": read.head.size, "at": time_text(read.head.at), "key": read.key_id(), "head": text }))
}

async fn head(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let head = state.read(|log| log.with(audit::newest_head)).await?;
    let head = head.ok_or_else(|| ApiError::not_found("no_head", "no head was signed yet"))?;
    Ok(HttpResponse::Ok().json(head_json(&head)?))
}

async fn heads(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (mut after, mut limit) = (0, DEFAULT_LIMIT);
    for (name, value) in query::pairs(&request)? {
        match name.as_str() {
            "after" => after = number("after", &value)?,
            "limit" => limit = query::count("limit", &value, MAX_LIMIT)?,
            other => return Err(query::unknown(other, "after, limit")),
        }
    }
    let found = state
        .read(move |log| log.with(|db| audit::heads(db, after, limit)))
        .await?;
    let next = found
        .last()
        .filter(|_| found.len() == limit)
        .map(|(size, _)| *size);
    let heads = found
        .iter()
        .map(|(_, text)| head_json(text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(HttpResponse::Ok().json(json!({ "heads": heads, "next_after": next })))
}

async fn key(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let key = state.read(|log| audit::read_public(log.dir())).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body(format!("{key}\n")))
}

/// The numbers of a query, by name.
fn numbers<const N: usize>(request: &HttpRequest, names: [&str; N]) -> Result<[Option<u64>; N], ApiError> {
    let mut found = [None; N];
    for (name, value) in query::pairs(request)? {
        match names.iter().position(|known| *known == name) {
            Some(at) => found[at] = Some(number(&name, &value)?),
            None => return Err(query::unknown(&name, &names.join(", "))),
        }
    }
    Ok(found)
}

fn missing(name: &str) -> ApiError {
    ApiError::bad_request("invalid_query", format!("{name} is missing")).with("parameter", name)
}

/// Runs on the blocking pool, in one transaction.
async fn prove<T: Send + 'static>(
    state: &ApiState,
    prove: impl FnOnce(&rusqlite::Connection) -> Result<T, NotProved> + Send + 'static,
) -> Result<T, ApiError> {
    let log = state.log.clone();
    Ok(web::block(move || log.with(prove)).await??)
}

async fn inclusion(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let [leaf, size] = numbers(&request, ["leaf", "size"])?;
    let leaf = leaf.ok_or_else(|| missing("leaf"))?;
    let proof = prove(&state, move |db| audit::inclusion(db, leaf, size)).await?;
    Ok(HttpResponse::Ok().json(proof))
}

async fn consistency(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let [from, to] = numbers(&request, ["from", "to"])?;
    let from = from.ok_or_else(|| missing("from"))?;
    let proof = prove(&state, move |db| audit::consistency(db, from, to)).await?;
    Ok(HttpResponse::Ok().json(proof))
}

async fn receipt(state: web::Data<ApiState>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    for _ in 0..2 {
        let wanted = parse_event(&name)?;
        let answer = prove(&state, move |db| {
            let (lane, seq) = match wanted {
                EventName::Id(id) => (commit::lane_by_no(db, id.lane)?, id.seq),
                EventName::Words(key, seq) => (commit::lane_by_key(db, &key)?, seq),
            };
            audit::receipt(db, &lane.ok_or(NotProved::UnknownLane)?, seq)
        });
        match answer.await? {
            ReceiptAnswer::Proved(receipt) => return Ok(HttpResponse::Ok().json(receipt)),
            // the newest head does not reach it: now one does
            ReceiptAnswer::NotSigned => state.commit.sign().await?,
        }
    }
    Err(ApiError::unavailable(
        "not_signed",
        "no head covers the event yet; try again in a moment",
    ))
}

/// What an export has written, and its reader has not taken yet: so many chunks.
const EXPORT_QUEUE: usize = 4;
const EXPORT_CHUNK: usize = 64 << 10;

/// A writer whose other end is an answer. Blocks while the reader is slow; ends when it is gone.
struct Answer(mpsc::Sender<Bytes>);

impl std::io::Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        self.0
            .blocking_send(Bytes::copy_from_slice(bytes))
            .map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The whole audit, as `tributary-audit-verify` reads it. One at a time: each reads all of it.
async fn export(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let place = state.audit_export.clone().try_acquire_owned().map_err(|_| {
        let message = "the audit is being exported for somebody else; try again when that is done";
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
    })?;
    let (sender, receiver) = mpsc::channel(EXPORT_QUEUE);
    let dir = state.log.dir().to_owned();
    // a thread of its own: it lasts as long as its reader, and the pool is for short calls
    let reading = std::thread::Builder::new()
        .name("audit-export".to_owned())
        .spawn(move || {
            let _place = place;
            let mut out = std::io::BufWriter::with_capacity(EXPORT_CHUNK, Answer(sender));
            let written = audit::open_read_only(&dir).and_then(|db| {
                let key = audit::read_public(&dir)?;
                audit::export(&db, &key, &mut out, &mut |_, _| {})?;
                Ok(std::io::Write::flush(&mut out)?)
            });
            // a file without its last line is refused by who reads it
            if let Err(error) = written {
                tracing::warn!(%error, "an export of the audit was cut short");
            }
        });
    reading
        .map_err(|error| ApiError::unavailable("stopping", format!("no thread can be started: {error}")))?;
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), receiver))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/x-ndjson"))
        .streaming(chunks))
}

impl From<NotProved> for ApiError {
    fn from(error: NotProved) -> Self {
        let text = error.to_string();
        match error {
            NotProved::NoLeaf { .. } => Self::not_found("no_leaf", text),
            NotProved::NoHead { below, above, .. } => Self::not_found("no_head", text)
                .with("below", below)
                .with("above", above),
            NotProved::Backwards { .. } => Self::bad_request("invalid_query", text),
            NotProved::NotCommitted { mark } => {
                Self::new(StatusCode::NOT_FOUND, "not_committed", text).with("mark", mark)
            }
            NotProved::BeforeAudit { .. } | NotProved::Forgotten => Self::not_found("not_anchored", text),
            NotProved::UnknownLane => Self::not_found("unknown_event", "the event's lane was never opened"),
            NotProved::Log(error) => error.into(),
        }
    }
}
