//! The life of schemas: states, owners, approval, who still uses what, and the record of it all.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_schema::compat::diff;
use tributary_shared::time::to_rfc3339;

use super::{ApiError, ApiState, query};
use crate::registry::rules::Step;
use crate::registry::{
    By, Change, Governance, Registry, RegistryError, SubjectSummary, Usage, Version, VersionRow,
};

/// Lines of the record that one answer holds.
const MAX_CHANGES: usize = 1_000;
/// Versions that one answer holds; the newest.
const MAX_VERSIONS: usize = 1_000;
/// The longest name, reason or description.
const MAX_TEXT: usize = 4 << 10;

type State = web::Data<ApiState>;
type Subject = web::Path<String>;

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/schemas", web::get().to(list))
        .route("/schema-changes", web::get().to(all_changes))
        .route("/schemas/{subject}", web::get().to(subject))
        .route("/schemas/{subject}/governance", web::patch().to(govern))
        .route("/schemas/{subject}/usage", web::get().to(usage))
        .route("/schemas/{subject}/changes", web::get().to(changes))
        .route("/schemas/{subject}/diff", web::get().to(difference))
        .route(
            "/schemas/{subject}/versions/{version}/{step}",
            web::post().to(step),
        );
}

/// Runs on the blocking pool: every call goes to the disk.
async fn call<T: Send + 'static>(
    state: &ApiState,
    call: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, ApiError> {
    let registry = state.schemas.clone();
    Ok(web::block(move || call(&registry)).await??)
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let text = error.to_string();
        let conflict = |code: &str| Self::new(StatusCode::CONFLICT, code, text.clone());
        match error {
            E::UnknownSubject { .. } => Self::not_found("unknown_subject", text),
            E::UnknownVersion { .. } | E::NoLatest { .. } => Self::not_found("unknown_version", text),
            E::UnknownId { .. } | E::UnknownSchema { .. } => Self::not_found("unknown_schema", text),
            E::NotApprover { .. } | E::NotApproverOf { .. } => {
                Self::new(StatusCode::FORBIDDEN, "not_the_approver", text)
            }
            E::WrongState { state, .. } => conflict("wrong_state").with("state", state.as_str()),
            E::InUse { agents, .. } => conflict("in_use").with("agents", agents),
            E::LastOne { .. } => conflict("last_version"),
            E::Incompatible { messages, .. } => conflict("incompatible").with("messages", messages),
            E::ReadOnly { .. } => conflict("read_only"),
            E::FormatTooNew { .. } | E::Damaged { .. } | E::Sqlite(_) => {
                tracing::error!(error = %text, "the schema registry cannot be read or written");
                Self::unavailable("registry_unavailable", text)
            }
            _ => Self::bad_request("invalid_schema", text),
        }
    }
}

async fn list(state: State) -> Result<HttpResponse, ApiError> {
    let rows = call(&state, |registry| {
        let summaries = registry.summaries()?;
        let rows = summaries.into_iter().map(|summary| {
            let governance = registry.governance(&summary.subject)?;
            Ok(summary_row(&summary, &governance))
        });
        rows.collect::<Result<Vec<Value>, RegistryError>>()
    });
    Ok(HttpResponse::Ok().json(json!({ "subjects": rows.await? })))
}

fn summary_row(summary: &SubjectSummary, governance: &Governance) -> Value {
    json!({
        "subject": summary.subject,
        "latest": summary.latest,
        "versions": summary.versions,
        "drafts": summary.drafts,
        "owner": governance.owner,
        "contact": governance.contact,
        "description": governance.description,
        "approver_role": governance.approver_role,
    })
}

async fn subject(state: State, subject: Subject) -> Result<HttpResponse, ApiError> {
    let shown = call(&state, move |registry| {
        let versions = registry.versions(&subject)?;
        let governance = registry.governance(&subject)?;
        let latest = match registry.version(&subject, Version::Latest, false) {
            Ok(latest) => Some(latest.version),
            Err(RegistryError::NoLatest { .. } | RegistryError::UnknownSubject { .. }) => None,
            Err(error) => return Err(error),
        };
        let usage = registry.usage(&subject)?;
        let newest = versions.iter().rev().take(MAX_VERSIONS);
        let rows: Vec<Value> = newest.map(|row| version_row(row, &usage)).collect();
        Ok(json!({
            "subject": *subject,
            "latest": latest,
            "compatibility": registry.level(&subject)?.as_str(),
            "mode": registry.mode(&subject)?.as_str(),
            "owner": governance.owner,
            "contact": governance.contact,
            "description": governance.description,
            "approver_role": governance.approver_role,
            "version_count": versions.len(),
            "versions": rows,
        }))
    });
    Ok(HttpResponse::Ok().json(shown.await?))
}

/// An archived version shows so, whatever state it was in.
fn version_row(row: &VersionRow, usage: &[Usage]) -> Value {
    let used: Vec<&Usage> = usage
        .iter()
        .filter(|usage| usage.version == row.version)
        .collect();
    json!({
        "version": row.version,
        "id": row.id,
        "state": if row.deleted { "archived" } else { row.state.as_str() },
        "registered_at": to_rfc3339(row.registered_at),
        "agents": used.len(),
        "events": used.iter().map(|usage| usage.rows).sum::<u64>(),
        "last_seen": used.iter().map(|usage| usage.last_seen).max().map(to_rfc3339),
    })
}

async fn usage(state: State, subject: Subject) -> Result<HttpResponse, ApiError> {
    let usage = call(&state, move |registry| {
        registry.versions(&subject)?;
        registry.usage(&subject)
    });
    let rows: Vec<Value> = usage
        .await?
        .iter()
        .map(|usage| {
            json!({
                "agent": usage.agent,
                "version": usage.version,
                "id": usage.id,
                "events": usage.rows,
                "first_seen": to_rfc3339(usage.first_seen),
                "last_seen": to_rfc3339(usage.last_seen),
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "usage": rows })))
}

async fn changes(state: State, subject: Subject, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    record(&state, Some(subject.into_inner()), &request).await
}

async fn all_changes(state: State, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    record(&state, None, &request).await
}

async fn record(
    state: &ApiState,
    subject: Option<String>,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (mut limit, mut before) = (100, None);
    for (name, value) in query::pairs(request)? {
        match name.as_str() {
            "limit" => limit = query::count(&name, &value, MAX_CHANGES)?,
            "before" => before = Some(number(&name, &value)?),
            _ => return Err(query::unknown(&name, "limit and before")),
        }
    }
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let changes = call(state, move |registry| {
        registry.recorded(subject.as_deref(), before.map(i64::from), limit)
    });
    let changes: Vec<Value> = changes.await?.iter().map(change_row).collect();
    Ok(HttpResponse::Ok().json(json!({ "changes": changes })))
}

fn change_row(change: &Change) -> Value {
    json!({
        "no": change.no,
        "at": to_rfc3339(change.at),
        "subject": change.subject,
        "version": change.version,
        "what": change.what,
        "detail": change.detail,
        "who": change.who,
        "role": change.role,
        "why": change.why,
    })
}

fn number(name: &str, text: &str) -> Result<u32, ApiError> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
        let message = format!("{name}={text} is not a number from 1");
        ApiError::bad_request("invalid_query", message).with("parameter", name)
    })
}

async fn difference(state: State, subject: Subject, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (mut from, mut to) = (None, None);
    for (name, value) in query::pairs(&request)? {
        match name.as_str() {
            "from" => from = Some(number(&name, &value)?),
            "to" => to = Some(number(&name, &value)?),
            _ => return Err(query::unknown(&name, "from and to")),
        }
    }
    let (Some(from), Some(to)) = (from, to) else {
        let message = "say which versions: ?from=1&to=2";
        return Err(ApiError::bad_request("invalid_query", message));
    };
    let changes = call(&state, move |registry| {
        let parsed = |version| {
            let found = registry.version(&subject, Version::Number(version), true)?;
            registry.parsed(found.schema.id)
        };
        Ok(diff(&*parsed(from)?, &*parsed(to)?))
    });
    let changes: Vec<String> = changes.await?.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(json!({ "from": from, "to": to, "changes": changes })))
}

/// Who asks for a change. As claimed: this API knows no users.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepBody {
    by: String,
    role: Option<String>,
    why: Option<String>,
    #[serde(default)]
    force: bool,
}

fn signed(by: String, role: Option<String>, why: Option<String>) -> Result<By, ApiError> {
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_TEXT);
    if by.trim().is_empty() || by.len() > MAX_TEXT || long(&role) || long(&why) {
        let message = format!("`by` says who asks: text, and no text is longer than {MAX_TEXT} bytes");
        return Err(ApiError::bad_request("invalid_body", message));
    }
    Ok(By { who: by, role, why })
}

async fn step(
    state: State,
    path: web::Path<(String, String, String)>,
    body: web::Json<StepBody>,
) -> Result<HttpResponse, ApiError> {
    let (subject, version, step) = path.into_inner();
    let version = number("version", &version)?;
    let step: Step = step.parse().map_err(|_| {
        let known = Step::ALL.map(Step::as_str).join(", ");
        ApiError::not_found(
            "not_found",
            format!("a version cannot {step:?}; there are {known}"),
        )
    })?;
    let StepBody { by, role, why, force } = body.into_inner();
    let by = signed(by, role, why)?;
    let shown = subject.clone();
    let state = call(&state, move |registry| {
        registry.step(&subject, version, step, force, &by)
    });
    let state = state.await?.as_str();
    Ok(HttpResponse::Ok().json(json!({ "subject": shown, "version": version, "state": state })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GovernBody {
    by: String,
    role: Option<String>,
    why: Option<String>,
    owner: Option<String>,
    contact: Option<String>,
    description: Option<String>,
    approver_role: Option<String>,
}

/// What is not said stays; an empty text makes it nobody's.
async fn govern(
    state: State,
    subject: Subject,
    body: web::Json<GovernBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let by = signed(body.by, body.role, body.why)?;
    let said = [body.owner, body.contact, body.description, body.approver_role];
    if said.iter().flatten().any(|text| text.len() > MAX_TEXT) {
        let message = format!("no text is longer than {MAX_TEXT} bytes");
        return Err(ApiError::bad_request("invalid_body", message));
    }
    let shown = call(&state, move |registry| {
        let old = registry.governance(&subject)?;
        let [owner, contact, description, approver_role] = said;
        let new = Governance {
            owner: changed(owner, old.owner),
            contact: changed(contact, old.contact),
            description: changed(description, old.description),
            approver_role: changed(approver_role, old.approver_role),
        };
        registry.set_governance(&subject, &new, &by)?;
        Ok(json!({
            "subject": *subject,
            "owner": new.owner,
            "contact": new.contact,
            "description": new.description,
            "approver_role": new.approver_role,
        }))
    });
    Ok(HttpResponse::Ok().json(shown.await?))
}

fn changed(said: Option<String>, old: Option<String>) -> Option<String> {
    match said {
        None => old,
        Some(text) => Some(text).filter(|text| !text.trim().is_empty()),
    }
}
