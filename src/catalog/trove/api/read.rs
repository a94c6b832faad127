//! What Trove's API is asked.

use std::sync::Arc;

use super::wire::{Backup, Datastores, Page, max_backups};
use super::{Trouble, TroveApi};
use crate::catalog::trove::quota::Quota;
use crate::catalog::trove::versions::DatastoreVersion;
use crate::catalog::{CatalogError, Ledger, UnreadableLine};
use crate::failure::{Cause, Failure};
use crate::openstack::Scope;

/// Backups of one answer. Pages are counted off a list that changes while it is read, so the fewer the better.
const PAGE: u32 = 10_000;

/// What an error names as the place of a record.
const PLACE: &str = "Trove's API";

impl TroveApi {
    /// The backups of some projects, each asked with a token of its own; or of all, which takes the role `admin`: to whom
    /// Trove refuses that, it shows those of the token's project, and the ledger says so. Deleted ones are not shown.
    ///
    /// # Errors
    /// [`CatalogError`] when Trove cannot be reached, or does not let us look.
    pub async fn ledger(&self, projects: Option<&[String]>) -> Result<Ledger, CatalogError> {
        let read = match projects {
            Some(projects) => self.read_projects(projects).await,
            None => self.read_all().await,
        };
        read.map_err(CatalogError)
    }

    /// The project that the token is for, if it is for one.
    ///
    /// # Errors
    /// As [`TroveApi::ledger`].
    pub async fn own_project(&self) -> Result<Option<String>, Failure> {
        let token = self.session.token(&Scope::Own).await.map_err(Trouble::Session);
        let token = token.map_err(|trouble| trouble.failure("find its own project", Cause::SourceUnreadable))?;
        Ok(token.project_id.clone())
    }

    async fn read_projects(&self, projects: &[String]) -> Result<Ledger, Failure> {
        let mut ledger = Ledger::default();
        let mut versions = None;
        for project in projects {
            let scope = Scope::Project(project.clone());
            let backups = self.list(&scope, "").await.map_err(|trouble| {
                trouble.failure(&format!("list the backups of project `{project}`"), Cause::SourceUnreadable)
            })?;
            if versions.is_none() {
                versions = Some(self.versions_as(&scope).await?);
            }
            for backup in backups {
                add(&mut ledger, backup, project, versions.as_deref().unwrap_or_default());
            }
        }
        Ok(ledger)
    }

    async fn read_all(&self) -> Result<Ledger, Failure> {
        let trouble = match self.list(&Scope::Own, "all_projects=true&").await {
            Ok(backups) => {
                let versions = self.versions_as(&Scope::Own).await?;
                let mut ledger = Ledger::default();
                for backup in backups {
                    add(&mut ledger, backup, "", &versions);
                }
                return Ok(ledger);
            }
            Err(trouble) => trouble,
        };
        // Any other trouble says nothing about what the token may see.
        let own = if trouble.status() == Some(403) { self.own_project().await? } else { None };
        let Some(own) = own else {
            let what = "list the backups of all projects in Trove; the role `admin` may";
            return Err(trouble.failure(what, Cause::SourceUnreadable));
        };
        self.read_projects(std::slice::from_ref(&own)).await.map(|ledger| ledger.narrowed_to(own))
    }

    /// All backups that one token sees on its project's path, each once.
    pub(super) async fn list(&self, scope: &Scope, query: &str) -> Result<Vec<Backup>, Trouble> {
        let mut all: Vec<Backup> = Vec::new();
        let mut marker = String::new();
        loop {
            let page: Page = self.get(scope, &format!("backups?{query}limit={PAGE}{marker}")).await?;
            let next = page.next();
            all.extend(page.backups);
            match next {
                // Else a Trove that repeats its marker would be asked for ever.
                Some(next) if marker == format!("&marker={next}") => {
                    return Err(Trouble::Nonsense(
                        "its list of backups gives the same page again and again".to_owned(),
                    ));
                }
                Some(next) => marker = format!("&marker={next}"),
                None => break,
            }
        }
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all.dedup_by(|one, other| one.id == other.id);
        // An administrator's token sees others' too, whatever the path.
        if let Scope::Project(project) = scope {
            all.retain(|backup| backup.project_id.as_ref().is_none_or(|owner| owner == project));
        }
        Ok(all)
    }

    /// The datastore versions of the region that are switched on. Asked with the cloud entry's own token, or, where that is
    /// for no project, with one of `project`.
    ///
    /// # Errors
    /// When Trove cannot be reached, or does not let us look.
    pub async fn versions(&self, project: Option<&str>) -> Result<Vec<DatastoreVersion>, Failure> {
        let scope = match (self.own_project().await?, project) {
            (None, Some(project)) => Scope::Project(project.to_owned()),
            _ => Scope::Own,
        };
        self.versions_as(&scope).await
    }

    async fn versions_as(&self, scope: &Scope) -> Result<Vec<DatastoreVersion>, Failure> {
        let datastores: Result<Datastores, Trouble> = self.get(scope, "datastores").await;
        let read = datastores.map(Datastores::versions);
        read.map_err(|trouble| trouble.failure("list the datastores in Trove", Cause::SourceUnreadable))
    }

    /// What a project may have and has, asked with a token of its own. Nothing is written, as an administrator's way to
    /// ask would.
    ///
    /// # Errors
    /// When Trove cannot be reached, or does not let us look.
    pub async fn quota(&self, project: &str) -> Result<Quota, Failure> {
        let what = format!("read the limits of project `{project}` in Trove");
        let said = |trouble: Trouble| trouble.failure(&what, Cause::SourceUnreadable);
        let scope = Scope::Project(project.to_owned());
        let limits = self.get(&scope, "limits").await.map_err(said)?;
        let limit = max_backups(&limits).map_err(|why| said(Trouble::Nonsense(why.to_owned())))?;
        let live = self.list(&scope, "").await.map_err(said)?.len() as u64;
        Ok(Quota { limit, in_use: live, live })
    }
}

fn add(ledger: &mut Ledger, backup: Backup, asked: &str, versions: &[DatastoreVersion]) {
    let id = backup.id.clone();
    match backup.row(asked, versions).record() {
        Ok(record) => ledger.insert(&Arc::from(PLACE), record),
        Err(reason) => ledger.add_unreadable(UnreadableLine { object: format!("{PLACE}, `{id}`"), line: 1, reason }),
    }
}
