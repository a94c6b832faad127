//! The plan file as text → the plan as meant, or everything that is wrong with it.
//!
//! Nothing here stops at the first problem: each part reads what it can, and the plan is given out only if no
//! part found an error.

mod across;
mod backups;
mod catalogs;
mod fields;
mod file;
mod limits;
mod regions;
mod settings;
mod stores;
mod swift;
mod timetable;
mod unite;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::problem::{Place, Problem, Problems, Refused};
use super::shape::{Key, Kind, PLAN};
use super::yaml::{self, Node, Value};
use super::{Level, Plan, Region, RegionIndex, render};
use crate::id::Sha256Digest;

use fields::Fields;

/// A plan that is accepted.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan as meant.
    pub plan: Plan,
    /// What the operator should look at, in the order of the text.
    pub warnings: Vec<Problem>,
    /// Of the file's bytes.
    pub sha256: Sha256Digest,
    /// The file's text, for problems that are found later.
    pub source: Arc<str>,
    /// As given.
    pub path: PathBuf,
}

impl Loaded {
    /// Shows problems of this plan; see [`render`](super::render()).
    #[must_use]
    pub fn render(&self, problems: &[Problem], coloured: bool) -> String {
        render(problems, &self.source, &self.path, coloured)
    }
}

/// Reads the plan file at `path`, which must be a regular file that nobody else can write.
///
/// # Errors
/// [`Refused`], with one problem if the file cannot be had, else with all problems of its text.
pub fn read(path: &Path) -> Result<Loaded, Refused> {
    match file::read(path) {
        Ok(bytes) => parse(&bytes, path),
        Err(problem) => Err(refused(vec![problem], 0, "", path)),
    }
}

/// As [`read`], of a file that need not have `name` and `backups`: those that it lacks are empty.
///
/// # Errors
/// As [`read`].
pub fn read_regions(path: &Path) -> Result<Loaded, Refused> {
    match file::read(path) {
        Ok(bytes) => parse_as(&bytes, path, true),
        Err(problem) => Err(refused(vec![problem], 0, "", path)),
    }
}

/// Reads a plan from `text`, as if it were the file at `path`, which is not touched.
///
/// # Errors
/// [`Refused`], with all problems of the text.
pub fn parse(text: &[u8], path: &Path) -> Result<Loaded, Refused> {
    parse_as(text, path, false)
}

fn parse_as(text: &[u8], path: &Path, regions_alone: bool) -> Result<Loaded, Refused> {
    if let Err(problem) = file::check_size(text.len() as u64) {
        return Err(refused(vec![problem], 0, "", path));
    }
    let source = file::decode(text).map_err(|(problem, readable)| refused(vec![*problem], 0, readable, path))?;
    let mut reader = Reader { regions_alone, ..Reader::new(source) };
    let plan = reader.plan(path);
    let is_wrong = reader.problems.errors() > 0;
    let (problems, omitted) = reader.problems.into_sorted();
    match plan {
        Some(plan) if !is_wrong => Ok(Loaded {
            plan,
            warnings: problems,
            sha256: Sha256Digest(Sha256::digest(text).into()),
            source: Arc::from(source),
            path: path.to_owned(),
        }),
        _ => Err(refused(problems, omitted, source, path)),
    }
}

fn refused(problems: Vec<Problem>, omitted: usize, source: &str, path: &Path) -> Refused {
    debug_assert!(problems.iter().any(|problem| problem.level == Level::Error), "a plan is refused for a reason");
    Refused { problems, omitted, source: Arc::from(source), path: path.to_owned() }
}

/// What is known while a plan is read.
struct Reader<'s> {
    source: &'s str,
    problems: Problems,
    /// Whether nothing but regions is asked for: name and backups may be left out.
    regions_alone: bool,
    regions: Vec<Region>,
    /// Also of regions that are wrong: they are no unknown ones.
    index: HashMap<Arc<str>, RegionIndex>,
    /// For each region the first one with the same store: itself, unless two regions are one place.
    same_store: Vec<RegionIndex>,
    /// What each region's store is; none if it has a problem.
    places: Vec<Option<String>>,
}

impl<'s> Reader<'s> {
    fn new(source: &'s str) -> Self {
        Self {
            source,
            problems: Problems::default(),
            regions_alone: false,
            regions: Vec::new(),
            index: HashMap::new(),
            same_store: Vec::new(),
            places: Vec::new(),
        }
    }

    fn plan(&mut self, path: &Path) -> Option<Plan> {
        let root = yaml::parse(self.source, &mut self.problems);
        if self.problems.errors() > 0 && root.is_none() {
            return None;
        }
        let Some(root) = root.filter(|root| !root.is_null()) else {
            let hint = "start from `plans/minimal.yaml`, or let `backhaul init` write a plan";
            self.problems.push(Problem::of_file("the plan is empty").hint(hint));
            return None;
        };
        if !self.version(&root) {
            return None;
        }
        let folder = match std::path::absolute(path) {
            Ok(absolute) => absolute.parent().map(Path::to_owned).unwrap_or(absolute),
            Err(error) => {
                let message = format!("the folder of the plan cannot be told: {error}");
                self.problems.push(Problem::of_file(message).hint("change to a folder that exists"));
                return None;
            }
        };
        let fields = self.fields(&root, &PLAN)?;
        self.integer(&fields, "version");
        let name = self.name(&fields, "name");
        let database = self.database(&fields);
        self.regions(&fields, &folder);
        let defaults = self.defaults(&fields);
        let limits = self.limits(&fields);
        let retry = self.retry(&fields);
        let schedule = self.schedule(&fields);
        let entries = self.backups(&fields, &defaults);
        self.check_part_fits(&fields, defaults.part_size, limits.memory);
        Some(Plan {
            name: if self.regions_alone { name.unwrap_or_default() } else { name? },
            folder,
            database,
            regions: std::mem::take(&mut self.regions),
            default_to: defaults.to.as_deref().map(<[RegionIndex]>::to_vec).unwrap_or_default(),
            part_size: defaults.part_size,
            verify: defaults.verify,
            name_template: defaults.name_template,
            limits,
            retry,
            schedule,
            entries,
        })
    }

    /// Whether the plan is of a version whose keys are known here. Else that is the only problem worth naming.
    fn version(&mut self, root: &Node<'s>) -> bool {
        let Value::Mapping(pairs) = &root.value else { return true };
        let version = pairs.iter().find(|(key, _)| key.scalar() == Some("version")).map(|(_, value)| value);
        let Some((version, number)) = version.and_then(|node| Some((node, node.scalar()?.parse::<u64>().ok()?))) else {
            return true;
        };
        if number == 1 {
            return true;
        }
        let message = format!("plan version {number} is not known: this Backhaul reads version 1");
        let hint = if number > 1 { "use a newer Backhaul for this plan" } else { "write `version: 1`" };
        self.problems.push(Problem::error(version.place, message).hint(hint));
        false
    }

    fn check_part_fits(&mut self, fields: &Fields<'_, 's>, part_size: u64, memory: u64) {
        if part_size <= memory {
            return;
        }
        let (part, memory) = (super::format_bytes(part_size), super::format_bytes(memory));
        let place = fields.key("defaults").or_else(|| fields.key("limits")).unwrap_or(fields.place);
        self.problems.push(
            Problem::warning(place, format!("a part of {part} does not fit into the `memory` of {memory}: backups larger than that will be refused"))
                .hint("make `part_size` smaller or `memory` larger"),
        );
    }

    /// The range `inside` of a scalar's text as a place, or the whole scalar where quoting hides it.
    fn place_in(&self, node: &Node<'s>, inside: std::ops::Range<usize>) -> Place {
        let (Some(text), Some(raw)) =
            (node.scalar(), self.source.get(node.place.start as usize..node.place.end as usize))
        else {
            return node.place;
        };
        let quote = usize::from(raw.starts_with(['"', '\'']));
        if !raw[quote..].starts_with(text) || text.contains(['\n', '\r']) {
            return node.place;
        }
        let Some(before) = text.get(..inside.start) else { return node.place };
        let narrow = |wide: usize| u32::try_from(wide).unwrap_or(u32::MAX);
        Place {
            start: node.place.start + narrow(quote + inside.start),
            end: node.place.start + narrow(quote + inside.end),
            line: node.place.line,
            column: node.place.column + narrow(quote + before.chars().count()),
        }
    }
}

#[cfg(test)]
mod tests;
