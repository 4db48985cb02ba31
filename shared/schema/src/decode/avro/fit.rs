//! Which type of a reader's union a writer's type is read as.

use super::model::{Type, TypeId, simple};

/// The branch of a union that a type goes into: the same type, else one that it widens to.
pub(super) fn best_branch(branches: &[TypeId], fitness: impl Fn(TypeId) -> u8) -> Option<TypeId> {
    let best = branches.iter().copied().map(|branch| (fitness(branch), branch));
    // of equals the first
    let best = best
        .filter(|(fitness, _)| *fitness > 0)
        .rev()
        .max_by_key(|(fitness, _)| *fitness);
    best.map(|(_, branch)| branch)
}

/// How well a type can be read as another; 0: not at all.
pub(super) fn fitness(from: &Type, to: &Type) -> u8 {
    use Type as T;
    let same_name = |a: &str, b: &str| if simple(a) == simple(b) { 3 } else { 2 };
    match (from, to) {
        (T::Null, T::Null)
        | (T::Boolean, T::Boolean)
        | (T::Int(_), T::Int(_))
        | (T::Long(_), T::Long(_))
        | (T::Float, T::Float)
        | (T::Double, T::Double)
        | (T::Bytes(_), T::Bytes(_))
        | (T::Text, T::Text)
        | (T::Array(_), T::Array(_))
        | (T::Map(_), T::Map(_)) => 3,
        (T::Fixed { name: a, size: x, .. }, T::Fixed { name: b, size: y, .. }) if x == y => same_name(a, b),
        (T::Enum { name: a, .. }, T::Enum { name: b, .. }) => same_name(a, b),
        (T::Record { name: a, .. }, T::Record { name: b, aliases, .. }) => {
            if aliases.iter().any(|alias| simple(alias) == simple(a)) {
                3
            } else {
                same_name(a, b)
            }
        }
        (T::Int(_), T::Long(_) | T::Float | T::Double)
        | (T::Long(_), T::Float | T::Double)
        | (T::Float, T::Double)
        | (T::Text, T::Bytes(_))
        | (T::Bytes(_), T::Text) => 1,
        _ => 0,
    }
}
