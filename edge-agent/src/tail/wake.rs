//! Wakes a reader: at once by the system's file notifications where they work, else by the clock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// What happened while the reader slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something was written, or somebody knocked.
    Written,
    /// Files came, went or were renamed.
    Names,
    /// Nothing.
    Timeout,
}

#[derive(Debug, Clone)]
pub(super) struct Knocker {
    // one token is enough: the reader looks at everything when it wakes
    token: SyncSender<()>,
    names: Arc<AtomicBool>,
}

impl Knocker {
    /// Wakes the reader.
    pub(super) fn knock(&self) {
        // a full channel means that the reader will wake anyway; a closed one that it is gone
        let _ = self.token.try_send(());
    }

    fn on_event(&self, event: &notify::Event) {
        match event.kind {
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => return,
            EventKind::Modify(ModifyKind::Data(_)) => {}
            _ => self.names.store(true, Ordering::Release),
        }
        self.knock();
    }
}

/// The receiving end, with the watcher that knocks.
#[derive(Debug)]
pub(super) struct Wake {
    tokens: Receiver<()>,
    knocker: Knocker,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    complained: bool,
}

impl Wake {
    pub(super) fn new() -> Self {
        let (token, tokens) = sync_channel(1);
        let knocker = Knocker {
            token,
            names: Arc::new(AtomicBool::new(false)),
        };
        let on_event = knocker.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => on_event.on_event(&event),
            // events were lost: look at everything
            Err(_) => {
                on_event.names.store(true, Ordering::Release);
                on_event.knock();
            }
        });
        let mut wake = Self {
            tokens,
            knocker,
            watcher: None,
            watched: BTreeSet::new(),
            complained: false,
        };
        match watcher {
            Ok(watcher) => wake.watcher = Some(watcher),
            Err(error) => wake.complain(Path::new(""), &error),
        }
        wake
    }

    pub(super) fn knocker(&self) -> Knocker {
        self.knocker.clone()
    }

    /// Watches exactly these directories from now on.
    pub(super) fn watch(&mut self, folders: BTreeSet<PathBuf>) {
        let Some(mut watcher) = self.watcher.take() else {
            return;
        };
        for gone in self.watched.difference(&folders) {
            // it fails for a directory that was deleted, which is what is wanted
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for folder in folders {
            if self.watched.contains(&folder) {
                watched.insert(folder);
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(folder)),
                Err(error) => self.complain(&folder, &error),
            }
        }
        self.watched = watched;
        self.watcher = Some(watcher);
    }

    /// Once is enough: polling does the work.
    fn complain(&mut self, folder: &Path, error: &notify::Error) {
        if !self.complained {
            tracing::warn!(folder = %folder.display(), %error, "no file notifications: files are polled instead");
            self.complained = true;
        }
    }

    /// Sleeps until something happens, or for `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Woken {
        let token = self.tokens.recv_timeout(timeout);
        if self.knocker.names.swap(false, Ordering::AcqRel) {
            return Woken::Names;
        }
        match token {
            Ok(()) => Woken::Written,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Woken::Timeout,
        }
    }
}
