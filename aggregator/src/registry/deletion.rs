//! Deleting in two steps: a deleted version is archived, readable by its id and with `deleted`; deleting it
//! again, permanently, forgets it.

use tributary_shared::time::now_millis;

use super::messages::{By, Deleted, Page, Settings, Version, VersionRow};
use super::rules;
use super::store::{NewChange, Store};
use super::{Registry, RegistryError};

impl Registry {
    /// Deletes one version; returns its number.
    ///
    /// # Errors
    /// When it is not there, already (or, for `permanent`, not yet) deleted, referred to, or the mode is
    /// against it.
    pub fn delete_version(
        &self,
        subject: &str,
        version: Version,
        permanent: bool,
        by: &By,
    ) -> Result<u32, RegistryError> {
        let _changing = self.changing();
        let number = match version {
            Version::Number(number) => number,
            Version::Latest => {
                let which = if permanent {
                    Deleted::With
                } else {
                    Deleted::Without
                };
                let numbers = self.numbers(subject, which, Page::default())?;
                numbers.last().copied().unwrap_or(0)
            }
        };
        let row = self.store().version_row(subject, number)?;
        let Some(row) = row else {
            let known = self.store().has_subject(subject, true)?;
            let subject = subject.to_owned();
            return Err(match known {
                true => RegistryError::UnknownVersion {
                    subject,
                    version: number,
                },
                false => RegistryError::UnknownSubject { subject },
            });
        };
        let place = (subject.to_owned(), number);
        match (row.deleted, permanent) {
            (true, false) => {
                return Err(RegistryError::VersionDeleted {
                    subject: place.0,
                    version: place.1,
                });
            }
            (false, true) => {
                return Err(RegistryError::VersionNotDeleted {
                    subject: place.0,
                    version: place.1,
                });
            }
            _ => {}
        }
        rules::may_change(subject, self.mode(subject)?)?;
        self.not_referenced(subject, &[row])?;
        self.delete(subject, &[row], permanent, by)?;
        Ok(number)
    }

    /// Deletes a subject; returns the numbers of the versions that went, ascending. Its own settings go with
    /// it.
    ///
    /// # Errors
    /// As [`Self::delete_version`].
    pub fn delete_subject(&self, subject: &str, permanent: bool, by: &By) -> Result<Vec<u32>, RegistryError> {
        let _changing = self.changing();
        let all = self.store().versions(subject)?;
        let live: Vec<VersionRow> = all.iter().filter(|row| !row.deleted).copied().collect();
        let owned = subject.to_owned();
        let doomed = match (all.is_empty(), live.is_empty(), permanent) {
            (true, ..) => return Err(RegistryError::UnknownSubject { subject: owned }),
            (_, true, false) => return Err(RegistryError::SubjectDeleted { subject: owned }),
            (_, false, true) => return Err(RegistryError::SubjectNotDeleted { subject: owned }),
            (_, true, true) => all,
            (_, false, false) => live,
        };
        rules::may_change(subject, self.mode(subject)?)?;
        self.not_referenced(subject, &doomed)?;
        self.delete(subject, &doomed, permanent, by)?;
        self.store()
            .write(|db| Store::put_settings(db, subject, Settings::default()))?;
        Ok(doomed.iter().map(|row| row.version).collect())
    }

    fn not_referenced(&self, subject: &str, doomed: &[VersionRow]) -> Result<(), RegistryError> {
        let store = self.store();
        for row in doomed {
            let ids = store.referenced_by(subject, row.version)?;
            if !ids.is_empty() {
                return Err(RegistryError::Referenced {
                    subject: subject.to_owned(),
                    version: row.version,
                    ids,
                });
            }
        }
        Ok(())
    }

    fn delete(
        &self,
        subject: &str,
        doomed: &[VersionRow],
        permanent: bool,
        by: &By,
    ) -> Result<(), RegistryError> {
        let what = if permanent { "deleted" } else { "archived" };
        self.store().write(|db| {
            for row in doomed {
                if permanent {
                    Store::remove(db, subject, *row)?;
                } else {
                    Store::archive(db, subject, row.version)?;
                }
                let change = NewChange {
                    subject,
                    version: Some(row.version),
                    what,
                    detail: None,
                };
                Store::record(db, now_millis(), by, change)?;
            }
            Ok(())
        })?;
        if permanent {
            let store = self.store();
            for row in doomed {
                if store.schema(row.id)?.is_none() {
                    self.shared.cache.drop_ids([row.id]);
                }
            }
            drop(store);
            // an id that was forgotten may come back in an import, as another schema
            self.shared.parsed.forget();
        }
        self.refresh(subject)
    }
}
