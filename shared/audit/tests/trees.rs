//! Trees against a naive model, and every kind of tampering with one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tributary_audit::*;

/// A tree that keeps everything, as an aggregator's tables do.
#[derive(Clone, Default)]
struct Store {
    tree: Tree,
    leaves: Vec<Vec<u8>>,
    nodes: BTreeMap<(u32, u64), Hash>,
}

impl Store {
    fn of(count: u64) -> Self {
        let mut store = Self::default();
        (0..count).for_each(|_| store.append("x"));
        store
    }

    fn append(&mut self, text: &str) {
        let detail = serde_json::json!({ "text": text });
        let leaf = Leaf {
            index: self.tree.size(),
            at: 5,
            content: Content::Act {
                kind: Kind::View,
                detail: detail.as_object().expect("an object").clone(),
            },
        };
        self.push(leaf.encode());
    }

    fn push(&mut self, bytes: Vec<u8>) {
        for node in self.tree.append(&bytes) {
            self.nodes.insert((node.level, node.index), node.hash);
        }
        self.leaves.push(bytes);
    }

    fn head(&self, key: &SigningKey) -> SignedHead {
        let head = Head {
            origin: "t".to_owned(),
            size: self.tree.size(),
            root: self.tree.root(),
            at: 9,
        };
        head.sign(key)
    }

    fn prove(&mut self, index: u64, head: &SignedHead) -> InclusionProof {
        let size = head.head.size;
        let proof = inclusion(self, index, size).expect("there");
        let leaf = &self.leaves[usize::try_from(index).expect("small")];
        InclusionProof::new(index, size, leaf, &proof, Some(&head.to_string()))
    }
}

impl NodeSource for Store {
    type Error = String;

    fn leaves(&mut self, from: u64, to: u64) -> Result<Vec<Hash>, String> {
        assert!(to - from <= 256, "bounded");
        let range = from as usize..to as usize;
        let leaves = self.leaves.get(range).ok_or("no such leaves")?;
        Ok(leaves.iter().map(|leaf| leaf_hash(leaf)).collect())
    }

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, String> {
        self.nodes
            .get(&(level, index))
            .copied()
            .ok_or(format!("no node {level} {index}"))
    }
}

/// RFC 6962, section 2.1, word by word.
fn naive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::new()
            .chain_update([0])
            .chain_update(leaf)
            .finalize()
            .into(),
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            let hash = Sha256::new().chain_update([1]);
            hash.chain_update(naive_root(&leaves[..k]))
                .chain_update(naive_root(&leaves[k..]))
                .finalize()
                .into()
        }
    }
}

fn key() -> SigningKey {
    SigningKey::generate().expect("randomness")
}

fn walk(store: &Store, keys: Vec<PublicKey>, heads: &[SignedHead]) -> Outcome {
    let mut walk = Walk::new(keys);
    heads.iter().for_each(|head| walk.head(&head.to_string()));
    store
        .nodes
        .iter()
        .for_each(|((level, index), hash)| walk.node(*level, *index, *hash));
    store
        .leaves
        .iter()
        .zip(0..)
        .for_each(|(leaf, index)| walk.leaf(index, leaf));
    walk.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn roots_and_proofs_are_those_of_the_naive_tree(count in 1u64..1_400, a: u64, b: u64) {
        let key = key();
        let keys = [key.public("t")];
        let mut store = Store::of(count);
        prop_assert_eq!(store.tree.root(), naive_root(&store.leaves));
        let (size, index) = (a % count + 1, b % (a % count + 1));
        let root = root_at(&mut store, size).expect("there");
        prop_assert_eq!(root, naive_root(&store.leaves[..size as usize]));
        // a tree that is read back grows on alike
        let blocks = Tree::blocks_of(count)
            .map(|(level, index)| Node { level, index, hash: store.nodes[&(level, index)], bytes: 0 })
            .collect();
        let mut again = Tree::of_blocks(blocks);
        for at in again.size()..count {
            again.append(&store.leaves[at as usize]);
        }
        prop_assert_eq!(again.root(), store.tree.root());

        let earlier = Head { origin: "t".to_owned(), size, root, at: 0 }.sign(&key);
        let proof = store.prove(index, &earlier);
        prop_assert_eq!(proof.verify(None, &keys).expect("right").0.index, index);
        let head = store.head(&key);
        let hashes = consistency(&mut store, size, count).expect("there");
        let (old, new) = (earlier.to_string(), head.to_string());
        let proof = ConsistencyProof::new(size, count, &hashes, (Some(&old), Some(&new)));
        prop_assert!(proof.verify(None, None, &keys).is_ok());
    }

    #[test]
    fn a_leaf_that_was_edited_is_found_where_it_is(count in 2u64..1_400, at: u64, signed in proptest::collection::vec(any::<u64>(), 1..6)) {
        let key = key();
        let mut store = Store::default();
        let sizes: Vec<u64> = signed.iter().map(|size| size % count + 1).chain([count]).collect();
        let mut heads = Vec::new();
        for index in 0..count {
            store.append(&index.to_string());
            if sizes.contains(&(index + 1)) {
                heads.push(store.head(&key));
            }
        }
        let sound = walk(&store, vec![key.public("t")], &heads);
        prop_assert!(sound.is_sound(), "{:?}", sound.findings);
        prop_assert_eq!((sound.size, sound.heads, sound.unsigned()), (count, heads.len() as u64, 0));
        let at = at % count;
        *store.leaves[at as usize].last_mut().expect("bytes") ^= 1;
        let found = walk(&store, vec![key.public("t")], &heads).findings;
        let named = found.iter().any(|finding| matches!(finding, Finding::TamperedLeaf { from, to } if (*from..*to).contains(&at)));
        prop_assert!(named, "{:?} does not name {}", found, at);
        prop_assert!(!found.iter().any(|finding| matches!(finding, Finding::EditedNode { .. } | Finding::Forked { .. })), "{:?}", found);
    }
}

#[test]
fn an_edited_node_is_told_from_an_edited_leaf() {
    let key = key();
    let mut store = Store::of(1_100);
    let heads = [store.head(&key)];
    for (level, index) in [(8, 2), (9, 0), (10, 0)] {
        let mut edited = store.clone();
        edited.nodes.get_mut(&(level, index)).expect("kept")[0] ^= 1;
        let found = walk(&edited, vec![key.public("t")], &heads).findings;
        assert!(found.contains(&Finding::EditedNode { level, index }), "{found:?}");
        assert!(
            !found
                .iter()
                .any(|finding| matches!(finding, Finding::TamperedLeaf { .. })),
            "{found:?}"
        );
    }
    store.nodes.remove(&(9, 1));
    let found = walk(&store, vec![key.public("t")], &heads).findings;
    assert_eq!(found, [Finding::RemovedNode { level: 9, index: 1 }]);
}

#[test]
fn removed_tails_moved_and_missing_leaves_are_named() {
    let key = key();
    let store = Store::of(700);
    let kept = [store.head(&key)];
    let found = |store: &Store, heads: &[SignedHead]| walk(store, vec![key.public("t")], heads).findings;
    let shorter = Store::of(650);
    assert_eq!(
        found(&shorter, &kept),
        [Finding::RemovedTail {
            kept: 700,
            found: 650
        }]
    );
    let mut cut = store.clone();
    cut.leaves.truncate(500);
    assert!(found(&cut, &[]).contains(&Finding::SurplusNode { level: 8, index: 1 }));
    let mut swapped = store.clone();
    swapped.leaves.swap(3, 4);
    assert!(found(&swapped, &kept).contains(&Finding::MovedLeaf { at: 3, says: 4 }));
    let mut walk = Walk::new(vec![key.public("t")]);
    walk.leaf(0, &store.leaves[0]);
    walk.leaf(2, &store.leaves[2]);
    assert_eq!(
        walk.finish().findings,
        [Finding::MissingLeaves {
            expected: 1,
            found: 2
        }]
    );
}

#[test]
fn a_fork_and_a_strange_key_are_named() {
    let (key, strange) = (key(), key());
    let keys = vec![key.public("t")];
    let kept = Store::of(40).head(&key);
    let mut forked = Store::of(30);
    (0..30).for_each(|_| forked.append("another"));
    // whoever has the key signs another history: a head that somebody has kept shows it
    let outcome = walk(&forked, keys.clone(), &[kept.clone(), forked.head(&key)]);
    assert_eq!(outcome.findings, [Finding::Forked { size: 40, fits: 60 }]);
    // two heads of one size
    let mut same = Store::of(39);
    same.append("another");
    let outcome = walk(&same, keys.clone(), &[kept.clone(), same.head(&key)]);
    assert_eq!(outcome.findings, [Finding::Forked { size: 40, fits: 40 }]);
    let outcome = walk(&forked, keys.clone(), &[forked.head(&strange)]);
    assert!(
        matches!(outcome.findings[..], [Finding::Head(AuditError::WrongKey { .. })]),
        "{outcome:?}"
    );
    // the same by proofs
    let (old, new) = (kept.to_string(), forked.head(&key).to_string());
    let hashes = consistency(&mut forked, 40, 60).expect("there");
    let proof = ConsistencyProof::new(40, 60, &hashes, (Some(&old), Some(&new)));
    assert_eq!(
        proof.verify(None, None, &keys),
        Err(AuditError::Forked { from: 40, to: 60 })
    );
    let backwards = ConsistencyProof::new(60, 40, &[], (Some(&new), Some(&old)));
    assert_eq!(
        backwards.verify(None, None, &keys),
        Err(AuditError::RemovedTail { kept: 60, found: 40 })
    );
}

#[test]
fn proofs_that_were_changed_are_named() {
    let key = key();
    let keys = [key.public("t")];
    let mut store = Store::of(600);
    let head = store.head(&key);
    let right = store.prove(300, &head);
    assert!(right.verify(None, &keys).is_ok());
    let verdict = |change: &dyn Fn(&mut InclusionProof)| {
        let mut proof = right.clone();
        change(&mut proof);
        proof.verify(None, &keys).expect_err("changed")
    };
    let other = store.prove(301, &head);
    let tampered = AuditError::TamperedLeaf {
        index: 300,
        size: 600,
    };
    assert_eq!(
        verdict(&|proof| proof.leaf_index = 301),
        AuditError::WrongIndex {
            said: 301,
            found: 300
        }
    );
    assert_eq!(verdict(&|proof| proof.proof.swap(0, 1)), tampered);
    assert!(matches!(
        verdict(&|proof| drop(proof.proof.pop())),
        AuditError::Malformed(_)
    ));
    assert!(matches!(
        verdict(&|proof| proof.leaf = "!".to_owned()),
        AuditError::Malformed(_)
    ));
    assert_eq!(verdict(&|proof| proof.head = None), AuditError::NoHead);
    assert_eq!(
        verdict(&|proof| proof.tree_size = 599),
        AuditError::OtherSize {
            proof: 599,
            head: 600
        }
    );
    assert!(matches!(
        verdict(&|proof| (proof.leaf, proof.leaf_index) = (other.leaf.clone(), 301)),
        AuditError::TamperedLeaf { index: 301, .. }
    ));
    let mut bytes = store.leaves[300].clone();
    let last = bytes.len() - 3;
    bytes[last] = b'y';
    assert_eq!(verdict(&|proof| proof.leaf = STANDARD.encode(&bytes)), tampered);
    let changed = head.to_string().replace("time 9", "time 8");
    assert_eq!(
        verdict(&|proof| proof.head = Some(changed.clone())),
        AuditError::BadSignature { size: 600 }
    );
}

#[test]
fn an_export_is_checked_and_one_that_was_cut_short_is_refused() {
    let key = key();
    let store = Store::of(300);
    let head = store.head(&key);
    let mut lines = vec![
        ExportLine::begin(&key.public("t")),
        ExportLine::Head {
            head: head.to_string(),
        },
    ];
    lines.extend(
        store
            .nodes
            .iter()
            .map(|((level, index), hash)| ExportLine::node(*level, *index, hash)),
    );
    lines.extend(
        store
            .leaves
            .iter()
            .zip(0..)
            .map(|(leaf, index)| ExportLine::leaf(index, leaf)),
    );
    lines.push(ExportLine::End { end: 300 });
    let check = |lines: &[ExportLine], keys: Vec<PublicKey>| {
        let mut export = Export::new(keys, vec![head.clone()]);
        for line in lines {
            export.line(&serde_json::to_string(line).expect("serializes"))?;
        }
        export.finish()
    };
    let (outcome, own) = check(&lines, vec![]).expect("reads");
    assert!(outcome.is_sound(), "{outcome:?}");
    assert_eq!((outcome.size, own), (300, key.public("t")));
    let strange = SigningKey::generate().expect("k").public("t");
    let (outcome, _) = check(&lines, vec![strange]).expect("reads");
    assert!(matches!(
        outcome.findings[0],
        Finding::Head(AuditError::WrongKey { .. })
    ));
    for cut in [0, 1, 2, lines.len() - 1] {
        assert!(
            matches!(check(&lines[..cut], vec![]), Err(AuditError::Malformed(_))),
            "{cut}"
        );
    }
}
