//! What an edit of a plan changes of what its last run wanted: shown, and refused where work in progress would be left
//! behind unless the operator accepts that.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{complain, open};
use crate::database::{Database, Row};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::number::counted;
use crate::plan::Loaded;
use crate::report::printable;
use crate::state::State;
use crate::survey::Survey;

/// Abandoned copies that are named before "and N more".
const NAMED: usize = 5;

/// The difference between what the last run of a plan wanted and what its edited file wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Migrations that it did not want.
    more: u64,
    /// Migrations of which the plan or the catalog says something else now, and that are not done.
    described_anew: u64,
    /// No longer wanted, and done: they stay the plan's.
    done: u64,
    /// No longer wanted, and nothing was stored for them.
    never_begun: u64,
    /// No longer wanted by this plan nor by another one, with something stored: one line each.
    orphans: Vec<String>,
}

impl Edit {
    /// What `loaded` wants (the survey) against what its last run wanted (`planned`); none if the file is the same.
    ///
    /// # Errors
    /// Those of reading the database.
    pub(super) async fn of(
        loaded: &Loaded,
        database: &Database,
        rows: &HashMap<Uuid, Row>,
        planned: &[Uuid],
        survey: &Survey,
    ) -> Result<Option<Self>, CommandError> {
        let plan = &loaded.plan.name;
        let last = database.last_run(plan).await.map_err(|error| open::database_error(&error))?;
        if last.is_none_or(|run| run.plan_sha256 == loaded.sha256) {
            return Ok(None);
        }
        let begun: Vec<Uuid> = planned.iter().filter(|id| rows.get(id).is_some_and(is_under_way)).copied().collect();
        let elsewhere =
            database.wanted_by_other_plans(plan, &begun).await.map_err(|error| open::database_error(&error))?;
        let wanted: HashMap<Uuid, &Row> =
            survey.migrations.iter().map(|migration| (migration.row.id, &migration.row)).collect();
        Ok(Some(Self::between(rows, planned, &wanted, &elsewhere)))
    }

    fn between(
        rows: &HashMap<Uuid, Row>,
        planned: &[Uuid],
        wanted: &HashMap<Uuid, &Row>,
        elsewhere: &HashSet<Uuid>,
    ) -> Self {
        let mut edit = Self::default();
        let before: HashSet<&Uuid> = planned.iter().collect();
        edit.more = wanted.keys().filter(|id| !before.contains(id)).count() as u64;
        for row in planned.iter().filter_map(|id| rows.get(id)) {
            match wanted.get(&row.id) {
                Some(now) => edit.described_anew += u64::from(row.completed_ms.is_none() && !row.is_described_as(now)),
                None if row.completed_ms.is_some() => edit.done += 1,
                None if !is_under_way(row) => edit.never_begun += 1,
                None if elsewhere.contains(&row.id) => {}
                None => edit.orphans.push(orphan(row)),
            }
        }
        edit.orphans.sort_unstable();
        edit
    }

    /// Says on stderr what changed, if anything did.
    pub(super) fn tell(&self) {
        if let Some(text) = self.text() {
            complain(&text);
        }
    }

    fn text(&self) -> Option<String> {
        let gone = self.done + self.never_begun + self.orphans.len() as u64;
        let mut parts = Vec::new();
        if self.more > 0 {
            parts.push(format!("{} more", self.more));
        }
        if self.described_anew > 0 {
            parts.push(format!("{} described anew", self.described_anew));
        }
        if gone > 0 {
            let fates = [
                (self.done, "done, and kept"),
                (self.never_begun, "never begun"),
                (self.orphans.len() as u64, "under way"),
            ];
            let fates = fates.iter().filter(|(count, _)| *count > 0).map(|(count, fate)| format!("{count} {fate}"));
            parts.push(format!("{gone} no longer wanted ({})", fates.collect::<Vec<_>>().join("; ")));
        }
        let parts = parts.join(", ");
        (!parts.is_empty()).then(|| format!("note: the plan was edited since its last run: migrations: {parts}"))
    }

    /// # Errors
    /// [`Exit::Usage`] if something that is stored would be wanted by nobody any more, unless that is `accepted`.
    pub(super) fn check(&self, accepted: bool) -> Result<(), CommandError> {
        if accepted || self.orphans.is_empty() {
            return Ok(());
        }
        let count = self.orphans.len() as u64;
        let what = if count == 1 { "that is" } else { "that are" };
        let message = format!(
            "the edited plan no longer wants {} {what} under way; nothing was touched",
            counted(count, "migration")
        );
        let mut error = CommandError::new(Exit::Usage, message);
        for line in self.orphans.iter().take(NAMED) {
            error = error.caused_by(line);
        }
        if self.orphans.len() > NAMED {
            error = error.caused_by(format!("and {} more", self.orphans.len() - NAMED));
        }
        Err(error.hint(
            "put them back into the plan until they are done; or add --accept-changes: what they have stored is given up, and \
             `backhaul gc` removes what was not published",
        ))
    }
}

/// Whether something of it may lie in the target that only its row knows of.
fn is_under_way(row: &Row) -> bool {
    row.completed_ms.is_none() && (row.upload_token.is_some() || matches!(row.state, State::Building | State::Saving))
}

fn orphan(row: &Row) -> String {
    let how = if row.state == State::Saving { "copied, not registered yet" } else { "its copy was begun" };
    format!("`{}` for region `{}`: {how}", printable(&row.name), printable(&row.region))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(orphans: usize) -> Edit {
        Edit {
            orphans: (0..orphans).map(|n| format!("`b{n}` for region `two`: its copy was begun")).collect(),
            ..Edit::default()
        }
    }

    #[test]
    fn nothing_changed_says_nothing() {
        assert_eq!(Edit::default().text(), None);
        assert!(Edit::default().check(false).is_ok());
    }

    #[test]
    fn all_that_changed_in_one_line() {
        let edit = Edit { more: 2, described_anew: 1, done: 3, never_begun: 4, ..edit(1) };
        assert_eq!(
            edit.text().as_deref(),
            Some(
                "note: the plan was edited since its last run: migrations: 2 more, 1 described anew, 8 no longer wanted (3 \
                 done, and kept; 4 never begun; 1 under way)"
            )
        );
    }

    #[test]
    fn what_became_of_each_migration() {
        let row = |number: u128, name: &str, state, begun: bool| Row {
            name: name.to_owned(),
            region: "two".to_owned(),
            state,
            completed_ms: (state == State::Completed).then_some(1),
            upload_token: begun.then(|| "token".to_owned()),
            ..Row::new(Uuid::from_u128(number))
        };
        let before = [
            row(1, "kept", State::Building, true),
            row(2, "done", State::Completed, false),
            row(3, "waiting", State::New, false),
            row(4, "given up", State::Failed, true),
            row(5, "copied", State::Saving, false),
            row(6, "another plan's", State::Building, true),
        ];
        let planned: Vec<Uuid> = before.iter().map(|row| row.id).collect();
        let rows: HashMap<Uuid, Row> = before.into_iter().map(|row| (row.id, row)).collect();
        let renamed = row(1, "renamed", State::Building, true);
        let new = row(7, "new", State::New, false);
        let wanted = HashMap::from([(renamed.id, &renamed), (new.id, &new)]);
        let elsewhere = HashSet::from([Uuid::from_u128(6)]);
        let orphans = vec![
            "`copied` for region `two`: copied, not registered yet".to_owned(),
            "`given up` for region `two`: its copy was begun".to_owned(),
        ];
        let expected = Edit { more: 1, described_anew: 1, done: 1, never_begun: 1, orphans };
        assert_eq!(Edit::between(&rows, &planned, &wanted, &elsewhere), expected);
    }

    #[test]
    fn work_in_progress_is_left_behind_only_where_that_is_accepted() {
        assert!(edit(7).check(true).is_ok());
        let error = edit(7).check(false).expect_err("refused");
        assert_eq!(error.exit, Exit::Usage);
        assert_eq!(
            error.message,
            "the edited plan no longer wants 7 migrations that are under way; nothing was touched"
        );
        assert_eq!(error.causes.len(), NAMED + 1);
        assert_eq!(error.causes[NAMED], "and 2 more");
    }
}
