//! What a leaf is about.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $name:literal;)*) => {
        /// What a leaf is about. Codes are in the leaves' bytes and names in the API: neither ever changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The number that stands for it in a leaf.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$kind => $code,)* }
            }

            /// As the API writes it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// The tree begins; says what was committed before.
    Begin = 1, "begin";
    /// The digests of the log entries of one commit.
    CommitGroup = 2, "commit_group";
    /// A lane got its number: from here on the number stands for agent, stream and epoch.
    Lane = 3, "lane";
    /// An agent or a gateway was seen for the first time.
    Enrolment = 4, "enrolment";
    /// A view was asked to be made, replaced or deleted.
    View = 5, "view";
    /// A schema was asked to be registered, deleted or governed.
    Schema = 6, "schema";
    /// Dead letters were replayed.
    Replay = 7, "replay";
    /// Dead letters were given up.
    Discard = 8, "discard";
    /// A setting of the registry was asked to be changed.
    Setting = 9, "setting";
    /// The aggregator was started with another configuration than before.
    Configuration = 10, "configuration";
    /// Peers were turned away, so many for a reason.
    Refusal = 11, "refusal";
    /// The aggregator's state was put back from a backup.
    Restore = 12, "restore";
    /// Events were dropped.
    Drop = 13, "drop";
    /// Retention has deleted log entries.
    Retention = 14, "retention";
    /// Heads are signed by another key from here on.
    KeyChange = 15, "key_change";
    /// An act that an earlier leaf names was not done.
    Failed = 16, "failed";
    /// The tree did not fit its own newest head when the aggregator started.
    Alarm = 17, "alarm";
}

impl Kind {
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_and_never_change() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_code(kind.code()), Some(*kind));
            assert_eq!(Kind::parse(kind.name()), Some(*kind));
            let json = serde_json::to_value(kind).expect("serializes");
            assert_eq!(json, kind.name());
        }
        assert_eq!((Kind::CommitGroup.code(), Kind::Alarm.code()), (2, 17));
        assert_eq!((Kind::of_code(0), Kind::parse("")), (None, None));
    }
}
