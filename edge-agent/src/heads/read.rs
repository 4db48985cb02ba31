//! What a head says, as far as an agent compares it. Pure.

/// The lines of a head: origin, leaves, root, `time` and Unix milliseconds; then its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub origin: String,
    pub size: u64,
    pub root: String,
    pub at: i64,
    pub text: String,
}

impl Told {
    /// `None` for what is no head.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let at = lines.next()?.strip_prefix("time ")?;
        Some(Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: root.to_owned(),
            at: at.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

/// How a head that is told compares with the newest one that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Newer,
    /// Known already, or on its way for long: another gateway may know of a newer one.
    Older,
    /// Both cannot be of one tree.
    Odd(String),
}

/// Compares two heads.
pub(super) fn compare(known: Option<&Told>, told: &Told) -> Verdict {
    let Some(known) = known else { return Verdict::Newer };
    if known.origin != told.origin {
        return Verdict::Odd(format!(
            "another log: the aggregator's audit was {} with {} leaves, and is {} with {}",
            known.origin, known.size, told.origin, told.size
        ));
    }
    if known.size == told.size && known.root != told.root {
        return Verdict::Odd(format!(
            "forked tree: two heads of {} leaves have different roots",
            told.size
        ));
    }
    if told.size < known.size && told.at > known.at {
        return Verdict::Odd(format!(
            "removed tail: the audit had {} leaves, and a later head has {}; a restore of the aggregator does that, and \
             its audit says so",
            known.size, told.size
        ));
    }
    if told.size > known.size {
        Verdict::Newer
    } else {
        Verdict::Older
    }
}

/// Makes room for one more, of a bounded list: thins the older half, so that what stays reaches far back. The first stays.
pub(super) fn thin<T>(heads: &mut Vec<T>, most: usize) {
    if heads.len() < most {
        return;
    }
    let older = heads.len() / 2;
    let mut at = 0;
    heads.retain(|_| {
        at += 1;
        at > older || at % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, root: &str, at: i64) -> Told {
        Told::read(&format!("t/a\n{size}\n{root}\ntime {at}\n\n— t/a xxxx\n")).expect("a head")
    }

    #[test]
    fn what_cannot_be_of_one_tree_is_odd_and_what_is_late_is_not() {
        let known = head(100, "r", 50);
        let verdict = |told: &Told| compare(Some(&known), told);
        assert_eq!(compare(None, &known), Verdict::Newer);
        assert_eq!(verdict(&head(101, "s", 51)), Verdict::Newer);
        assert_eq!(verdict(&known), Verdict::Older);
        assert_eq!(
            verdict(&head(90, "q", 40)),
            Verdict::Older,
            "through a gateway that is behind"
        );
        assert!(matches!(verdict(&head(90, "q", 60)), Verdict::Odd(why) if why.starts_with("removed tail")));
        assert!(matches!(verdict(&head(100, "q", 60)), Verdict::Odd(why) if why.starts_with("forked tree")));
        let other = Told {
            origin: "t/b".to_owned(),
            ..head(200, "r", 60)
        };
        assert!(matches!(verdict(&other), Verdict::Odd(why) if why.starts_with("another log")));
        assert_eq!(Told::read("x"), None);
    }

    #[test]
    fn a_bounded_list_reaches_far_back() {
        let mut kept: Vec<u64> = Vec::new();
        for at in 0..10_000 {
            thin(&mut kept, 32);
            kept.push(at);
        }
        assert!(kept.len() <= 32 && kept.len() > 16, "{kept:?}");
        assert_eq!((kept[0], kept.last()), (0, Some(&9_999)));
        assert!(kept.is_sorted());
    }
}
