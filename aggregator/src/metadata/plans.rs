//! The plans of views as they are defined now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::messages::ViewFacts;
use crate::view::ViewPlan;
use crate::window::ViewInfo;

/// Compiles all views, each after the one that it reads. A view that does not compile any more has no plan.
#[must_use]
pub fn compile_all(views: Vec<ViewInfo>) -> Vec<ViewFacts> {
    let mut plans: BTreeMap<Arc<str>, Arc<ViewPlan>> = BTreeMap::new();
    let mut waiting: Vec<&ViewInfo> = views.iter().collect();
    loop {
        let before = waiting.len();
        waiting.retain(
            |view| match ViewPlan::compile_over(&view.name, &view.sql, &plans) {
                Ok(plan) => {
                    plans.insert(view.name.as_str().into(), Arc::new(plan));
                    false
                }
                // its source may come later in the list
                Err(_) => true,
            },
        );
        if waiting.len() == before {
            break;
        }
    }
    let found = |name: &str| plans.get(name).cloned();
    views
        .into_iter()
        .map(|info| {
            let plan = found(&info.name);
            ViewFacts { info, plan }
        })
        .collect()
}
