//! `/config` and `/mode`, of one subject or of all.

use actix_web::{HttpRequest, web};
use serde_json::{Map, Value, json};
use tributary_schema::compat::CompatibilityLevel;

use super::body::{self, Arrived};
use super::switches::Switches;
use super::{Answer, ApiState, Refusal, bare, by, call, path};
use crate::registry::rules::Mode;
use crate::registry::{DEFAULT_LEVEL, RegistryError, Settings};

type State = web::Data<ApiState>;
/// Nothing for all subjects.
type Scope = Option<web::Path<String>>;

pub fn configure(service: &mut web::ServiceConfig) {
    for scope in ["/config", "/config/{subject}"] {
        service.service(
            path(scope)
                .route(web::get().to(config))
                .route(web::put().to(set_config))
                .route(web::delete().to(unset_config)),
        );
    }
    for scope in ["/mode", "/mode/{subject}"] {
        service.service(
            path(scope)
                .route(web::get().to(mode))
                .route(web::put().to(set_mode))
                .route(web::delete().to(unset_mode)),
        );
    }
}

fn name(scope: &Scope) -> String {
    scope
        .as_ref()
        .map_or(String::new(), |subject| bare(subject).to_owned())
}

async fn config(state: State, scope: Scope, request: HttpRequest) -> Result<Answer, Refusal> {
    let subject = name(&scope);
    let fall_back = Switches::of(&request)?.on("defaultToGlobal")? || subject.is_empty();
    let shown = call(&state, move |registry| {
        let own = registry.settings(&subject)?;
        let all = registry.settings("")?;
        if own.level.is_none() && own.normalize.is_none() && !fall_back {
            return Err(RegistryError::NoSubjectLevel { subject });
        }
        let level = own.level.or(all.level).unwrap_or(DEFAULT_LEVEL);
        Ok(Settings {
            level: Some(level),
            normalize: own.normalize.or(if fall_back { all.normalize } else { None }),
            mode: None,
        })
    });
    let shown = shown.await?;
    let mut answer = json!({ "compatibilityLevel": shown.level.map(CompatibilityLevel::as_str) });
    if let Some(normalize) = shown.normalize {
        answer["normalize"] = normalize.into();
    }
    Ok(Answer::json(&answer))
}

/// What of a configuration is known here. What is not would not be kept to, so it is refused.
#[derive(Debug, Default)]
struct Asked {
    level: Option<CompatibilityLevel>,
    normalize: Option<bool>,
}

fn asked(body: &Map<String, Value>) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for (key, value) in body.iter().filter(|(_, value)| !value.is_null()) {
        match (key.as_str(), value) {
            ("compatibility" | "compatibilityLevel", Value::String(level)) => {
                let level = level.to_ascii_uppercase().parse();
                asked.level = Some(level.map_err(RegistryError::from)?);
            }
            ("normalize", Value::Bool(normalize)) => asked.normalize = Some(*normalize),
            _ => {
                let message = format!(
                    "{key}={value} is no setting of this registry; there are compatibility (text) and normalize \
                     (true or false)"
                );
                return Err(Refusal::new(42203, message));
            }
        }
    }
    if asked.level.is_none() && asked.normalize.is_none() {
        return Err(Refusal::new(
            42203,
            r#"nothing is set; write {"compatibility":"BACKWARD"}"#,
        ));
    }
    Ok(asked)
}

async fn set_config(
    state: State,
    scope: Scope,
    request: HttpRequest,
    body: Arrived,
) -> Result<Answer, Refusal> {
    let body: Map<String, Value> = body::json(body, r#"{"compatibility":"BACKWARD"}"#)?;
    let Asked { level, normalize } = asked(&body)?;
    let (subject, by) = (name(&scope), by(&request));
    call(&state, move |registry| {
        registry.set_config(&subject, level, normalize, &by)
    })
    .await?;
    Ok(Answer::json(&body))
}

async fn unset_config(state: State, scope: Scope, request: HttpRequest) -> Result<Answer, Refusal> {
    let (subject, by) = (name(&scope), by(&request));
    let was = call(&state, move |registry| registry.unset_config(&subject, &by));
    Ok(Answer::json(
        &json!({ "compatibilityLevel": was.await?.as_str() }),
    ))
}

async fn mode(state: State, scope: Scope, request: HttpRequest) -> Result<Answer, Refusal> {
    let subject = name(&scope);
    let fall_back = Switches::of(&request)?.on("defaultToGlobal")? || subject.is_empty();
    let mode = call(&state, move |registry| {
        if fall_back {
            return registry.mode(&subject);
        }
        let own = registry.settings(&subject)?.mode;
        own.ok_or(RegistryError::NoSubjectMode { subject })
    });
    Ok(Answer::json(&json!({ "mode": mode.await?.as_str() })))
}

async fn set_mode(
    state: State,
    scope: Scope,
    request: HttpRequest,
    body: Arrived,
) -> Result<Answer, Refusal> {
    let example = r#"{"mode":"READWRITE"}"#;
    let body: Map<String, Value> = body::json(body, example)?;
    let wanted = body.get("mode").and_then(Value::as_str).unwrap_or_default();
    let mode: Mode = wanted.parse().map_err(|_| RegistryError::Mode {
        mode: wanted.chars().take(40).collect(),
    })?;
    let force = Switches::of(&request)?.on("force")?;
    let (subject, by) = (name(&scope), by(&request));
    call(&state, move |registry| {
        registry.set_mode(&subject, mode, force, &by)
    })
    .await?;
    Ok(Answer::json(&json!({ "mode": mode.as_str() })))
}

async fn unset_mode(state: State, scope: Scope, request: HttpRequest) -> Result<Answer, Refusal> {
    let (subject, by) = (name(&scope), by(&request));
    let was = call(&state, move |registry| registry.unset_mode(&subject, &by));
    Ok(Answer::json(&json!({ "mode": was.await?.as_str() })))
}
