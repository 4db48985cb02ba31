//! What a schema refers to, directly and by way of others: the texts in the order in which a parser needs them.

use std::collections::{HashMap, HashSet};

use tributary_shared::wire::NamedText;

use super::error::RegistryError;
use super::messages::{MAX_REFERENCES, MAX_RESOLVED_BYTES, Reference, StoredSchema};

/// Brings the schema of a subject's version.
type Find<'a> = dyn FnMut(&str, u32) -> Result<Option<StoredSchema>, RegistryError> + 'a;

/// Gathers the texts behind `references`, each once and after those that it needs itself. `find` brings the
/// schema of a version, deleted ones too.
///
/// # Errors
/// [`RegistryError::Reference`] when a version is not there, or one name stands for two texts; limits.
pub fn resolve(
    references: &[Reference],
    own_bytes: usize,
    find: &mut Find<'_>,
) -> Result<Vec<NamedText>, RegistryError> {
    let mut walk = Walk {
        find,
        bytes: own_bytes,
        seen: HashSet::new(),
        texts: HashMap::new(),
        resolved: Vec::new(),
    };
    for reference in references {
        walk.visit(reference)?;
    }
    Ok(walk.resolved)
}

struct Walk<'a> {
    find: &'a mut Find<'a>,
    bytes: usize,
    seen: HashSet<(String, u32, String)>,
    /// Position in `resolved`, by name.
    texts: HashMap<String, usize>,
    resolved: Vec<NamedText>,
}

impl Walk<'_> {
    /// Depth first. Its recursion is bounded by `MAX_REFERENCES`: a reference that was seen is not entered
    /// again.
    fn visit(&mut self, reference: &Reference) -> Result<(), RegistryError> {
        let place = (
            reference.subject.clone(),
            reference.version,
            reference.name.clone(),
        );
        if !self.seen.insert(place) {
            return Ok(());
        }
        if self.seen.len() > MAX_REFERENCES {
            return Err(RegistryError::TooManyReferences);
        }
        let Reference {
            name,
            subject,
            version,
        } = reference;
        let wrong = |why: String| RegistryError::Reference {
            name: name.clone(),
            why,
        };
        let found = (self.find)(subject, *version)?
            .ok_or_else(|| wrong(format!("subject {subject:?} has no version {version}")))?;
        for deeper in &found.references {
            self.visit(deeper)?;
        }
        if let Some(at) = self.texts.get(name) {
            if self.resolved[*at].text == found.text {
                return Ok(());
            }
            return Err(wrong("this name stands for two schemas that differ".to_owned()));
        }
        self.bytes += name.len() + found.text.len();
        if self.bytes > MAX_RESOLVED_BYTES {
            return Err(RegistryError::TooLargeResolved);
        }
        self.texts.insert(name.clone(), self.resolved.len());
        self.resolved.push(NamedText {
            name: name.clone(),
            text: found.text,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tributary_schema::language::SchemaFormat;

    use super::*;

    fn reference(name: &str, subject: &str) -> Reference {
        Reference {
            name: name.to_owned(),
            subject: subject.to_owned(),
            version: 1,
        }
    }

    fn resolved(
        from: &[Reference],
        graph: &[(&str, &str, Vec<Reference>)],
    ) -> Result<Vec<String>, RegistryError> {
        let mut find = |subject: &str, _: u32| {
            let found = graph.iter().find(|(name, ..)| *name == subject);
            Ok(found.map(|(_, text, references)| StoredSchema {
                id: 1,
                format: SchemaFormat::Json,
                text: (*text).to_owned(),
                references: references.clone(),
                metadata: None,
                rule_set: None,
            }))
        };
        let texts = resolve(from, 0, &mut find)?;
        Ok(texts.into_iter().map(|named| named.name).collect())
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let graph = [
            ("a", "A", vec![reference("b.json", "b"), reference("c.json", "c")]),
            ("b", "B", vec![reference("c.json", "c")]),
            ("c", "C", vec![]),
        ];
        let from = [reference("a.json", "a"), reference("c.json", "c")];
        assert_eq!(
            resolved(&from, &graph).expect("resolves"),
            ["c.json", "b.json", "a.json"]
        );
    }

    #[test]
    fn a_ring_ends() {
        let graph = [
            ("a", "A", vec![reference("b.json", "b")]),
            ("b", "B", vec![reference("a.json", "a")]),
        ];
        assert_eq!(
            resolved(&[reference("a.json", "a")], &graph).expect("ends"),
            ["b.json", "a.json"]
        );
    }

    #[test]
    fn what_is_missing_doubtful_or_too_much_is_named() {
        let missing = resolved(&[reference("x.json", "x")], &[]).expect_err("missing");
        assert!(
            missing.to_string().contains("x.json") && missing.to_string().contains("no version 1"),
            "{missing}"
        );
        let graph = [("a", "A", vec![]), ("b", "B", vec![])];
        let doubtful = resolved(&[reference("n", "a"), reference("n", "b")], &graph).expect_err("two texts");
        assert!(doubtful.to_string().contains("two schemas"), "{doubtful}");
        let many: Vec<_> = (0..=MAX_REFERENCES)
            .map(|n| reference(&format!("{n}"), "a"))
            .collect();
        assert!(matches!(
            resolved(&many, &graph),
            Err(RegistryError::TooManyReferences)
        ));
        let huge = "x".repeat(MAX_RESOLVED_BYTES);
        let graph = [("a", huge.as_str(), vec![])];
        assert!(matches!(
            resolved(&[reference("a", "a")], &graph),
            Err(RegistryError::TooLargeResolved)
        ));
    }
}
