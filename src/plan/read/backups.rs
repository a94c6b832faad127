//! `backups:`: single entries, each by itself. What holds between entries is in `unite` and `across`.

use std::collections::HashMap;
use std::sync::Arc;

use super::settings::Defaults;
use super::{Fields, Node, Place, Problem, Reader, Value};
use crate::address;
use crate::id::Sha256Digest;
use crate::plan::shape::{ENTRY, EXCEPT, PIN, SELECT};
use crate::plan::{Entry, Except, Known, RegionIndex, Select, StoreSpec, Subject};
use crate::store::Pin;

/// The keys that say what an entry names.
const SUBJECTS: [&str; 3] = ["id", "location", "select"];

/// Lists of targets that were seen: a plan of a million backups has few different ones.
type Targets = HashMap<Vec<RegionIndex>, Arc<[RegionIndex]>>;

impl<'s> Reader<'s> {
    pub(super) fn backups(&mut self, fields: &Fields<'_, 's>, defaults: &Defaults) -> Vec<Entry> {
        let Some((node, _)) = fields.get("backups") else { return Vec::new() };
        let Some(items) = self.items(node, "backups") else { return Vec::new() };
        if items.is_empty() {
            let problem = Problem::warning(node.place, "the plan names no backups: a run has nothing to do");
            self.problems.push(
                problem.hint("add `{ id: …, from: … }`, `{ location: …, from: … }` or `{ select: { from: … } }`"),
            );
        }
        let mut targets = Targets::new();
        let entries = items.iter().filter_map(|item| self.entry(item, defaults, &mut targets)).collect();
        let entries = self.unite(entries);
        self.check_cycles(&entries);
        self.check_collisions(&entries);
        self.check_lengths(&entries);
        entries
    }

    /// The items of a list; the borrow is the node's.
    fn items<'n>(&mut self, node: &'n Node<'s>, name: &str) -> Option<&'n [Node<'s>]> {
        if let Value::Sequence(items) = &node.value {
            return Some(items);
        }
        let problem = Problem::error(node.place, format!("`{name}` must be a list, and this is {}", node.what()));
        self.problems.push(match node.scalar() {
            Some(text) if name == "to" && !text.contains(['\n', '[', ',']) => {
                problem.hint(format!("write it as `[{text}]`"))
            }
            _ => problem.hint("a list is lines that start with `- `"),
        });
        None
    }

    /// A list of regions as targets, none twice. None of the list if one of them is wrong.
    pub(super) fn targets(&mut self, fields: &Fields<'_, 's>) -> Option<Vec<RegionIndex>> {
        let (node, _) = fields.get("to")?;
        let items = self.items(node, "to")?;
        if items.is_empty() {
            let problem = Problem::error(node.place, "`to` is empty: a backup needs at least one target region");
            self.problems.push(problem.hint("name a region, or remove the key where `defaults` has one"));
            return None;
        }
        let mut targets: Vec<RegionIndex> = Vec::with_capacity(items.len());
        let mut is_right = true;
        for item in items {
            let Some(region) = self.region(item, "to") else {
                is_right = false;
                continue;
            };
            let found = &self.regions[usize::from(region.0)];
            if !found.copy_to {
                is_right = false;
                let message = format!("region `{}` is closed for copying to it", found.name);
                let problem = Problem::error(item.place, message).related(found.place, "`copy_to: false` stands here");
                self.problems.push(problem.hint("open the region, or name another one"));
            }
            if let Some(at) = targets.iter().position(|other| self.is_same_store(*other, region)) {
                is_right = false;
                let (name, other) = (self.name_of(region), self.name_of(targets[at]));
                let problem = if targets[at] == region {
                    Problem::error(item.place, format!("region `{name}` stands twice in `to`"))
                        .hint("remove one of the two")
                } else {
                    Problem::error(
                        item.place,
                        format!("regions `{other}` and `{name}` are the same store, and both stand in `to`"),
                    )
                    .hint("remove one of the two")
                };
                self.problems.push(problem);
            }
            targets.push(region);
        }
        is_right.then_some(targets)
    }

    fn entry(&mut self, node: &Node<'s>, defaults: &Defaults, targets: &mut Targets) -> Option<Entry> {
        let fields = self.fields(node, &ENTRY)?;
        let kind = self.kind(&fields);
        let subject = kind.and_then(|kind| self.subject(&fields, kind));
        let from = match kind {
            Some("select") => subject.as_ref().and_then(|(_, from)| *from),
            _ => self.from(&fields),
        };
        let to = self.to(&fields, from, defaults, targets);
        let (name, description) = (self.text(&fields, "name"), self.text(&fields, "description"));
        let (subject, _) = subject?;
        Some(Entry { place: node.place, subject, from: from?, to: to?, name, description })
    }

    /// Which of `id`, `location` and `select` the entry has; and names the keys that do not go with it.
    fn kind(&mut self, fields: &Fields<'_, 's>) -> Option<&'static str> {
        let mut present = SUBJECTS.into_iter().filter_map(|name| Some((name, fields.key(name)?)));
        let Some((kind, place)) = present.next() else {
            let problem = Problem::error(fields.place, "a backup needs `id`, `location` or `select`");
            self.problems.push(problem.hint(
                "`id` names a record of the source's catalog, `location` an object without one, `select` many records",
            ));
            return None;
        };
        if let Some((other, second)) = present.next() {
            let problem = Problem::error(second, format!("a backup has either `{kind}` or `{other}`"))
                .related(place, "the other one");
            self.problems.push(problem.hint("make two backups of it, or remove one of the two"));
            return None;
        }
        let foreign: &[(&str, &str)] = match kind {
            "id" => &[("parent", "the record of the source's catalog names it")],
            "select" => &[
                ("from", "write it inside `select`"),
                ("parent", "the records of the source's catalog name it"),
                ("sha256", "one digest cannot hold for many backups"),
                ("pin", "one version cannot hold for many backups"),
            ],
            _ => &[],
        };
        for (name, hint) in foreign {
            if let Some(place) = fields.key(name) {
                self.problems.push(Problem::error(place, format!("`{name}` does not go with `{kind}`")).hint(*hint));
            }
        }
        Some(kind)
    }

    /// What the entry names; for a select also its source region.
    fn subject(&mut self, fields: &Fields<'_, 's>, kind: &str) -> Option<(Subject, Option<RegionIndex>)> {
        if kind == "select" {
            let (node, _) = fields.get("select")?;
            let fields = self.fields(node, &SELECT)?;
            let from = self.from(&fields);
            return Some((Subject::Select(Box::new(self.select(&fields))), from));
        }
        let known = self.known(fields);
        if kind == "id" {
            let id = self.text(fields, "id")?;
            return Some((Subject::Id { id, known }, None));
        }
        let parent = self.object_key(fields, "parent");
        let key = self.object_key(fields, "location")?;
        if parent.as_ref() == Some(&key) {
            let place = fields.get("parent").map_or(fields.place, |(node, _)| node.place);
            let problem = Problem::error(place, format!("`{key}` is its own parent"));
            self.problems
                .push(problem.hint("remove `parent` if this is a full backup, else name the backup it builds on"));
            return None;
        }
        Some((Subject::Location { key, parent, known }, None))
    }

    fn from(&mut self, fields: &Fields<'_, 's>) -> Option<RegionIndex> {
        if let Some((node, _)) = fields.get("from") {
            let region = self.region(node, "from")?;
            let found = &self.regions[usize::from(region.0)];
            if !found.copy_from {
                let message = format!("region `{}` is closed for copying from it", found.name);
                let problem =
                    Problem::error(node.place, message).related(found.place, "`copy_from: false` stands here");
                self.problems.push(problem.hint("open the region, or remove this backup"));
                return None;
            }
            return Some(region);
        }
        // A select's shape asks for `from` by itself, and an empty one has been named.
        let is_asked_elsewhere = fields.shape.find("from").is_some_and(|(_, key)| key.required);
        if !is_asked_elsewhere && fields.key("from").is_none() {
            let problem = Problem::error(fields.place, "this backup has no `from`");
            self.problems.push(problem.hint("add `from:` with the region that it lies in"));
        }
        None
    }

    fn to(
        &mut self,
        fields: &Fields<'_, 's>,
        from: Option<RegionIndex>,
        defaults: &Defaults,
        seen: &mut Targets,
    ) -> Option<Arc<[RegionIndex]>> {
        let is_own = fields.key("to").is_some();
        let to: Arc<[RegionIndex]> = if is_own {
            let targets = self.targets(fields)?;
            match seen.get(&targets) {
                Some(shared) => shared.clone(),
                None => seen.entry(targets.clone()).or_insert(targets.into()).clone(),
            }
        } else {
            if !defaults.has_to {
                let problem =
                    Problem::error(fields.place, "this backup has no target: neither it nor `defaults` has `to`");
                self.problems.push(problem.hint("add `to: [region]` here, or to `defaults`"));
            }
            defaults.to.clone()?
        };
        let from = from?;
        let Some(at) = to.iter().position(|target| self.overlaps(*target, from)) else { return Some(to) };
        let place = place_of_target(fields, at).unwrap_or(fields.place);
        let (source, target) = (self.name_of(from), self.name_of(to[at]));
        let mut message = if to[at] == from {
            format!("region `{source}` is both source and target of this backup")
        } else if !self.is_same_store(to[at], from) {
            format!(
                "regions `{source}` and `{target}` lie one inside the other: this backup would be copied into its source"
            )
        } else {
            format!("regions `{source}` and `{target}` are the same store: this backup would be copied onto itself")
        };
        if !is_own {
            message.push_str(" (`to` comes from `defaults`)");
        }
        let problem = Problem::error(place, message);
        self.problems.push(problem.hint(if is_own {
            "name another target"
        } else {
            "give this backup a `to` of its own"
        }));
        None
    }

    fn known(&mut self, fields: &Fields<'_, 's>) -> Known {
        Known { sha256: self.sha256(fields), pin: self.pin(fields) }
    }

    fn sha256(&mut self, fields: &Fields<'_, 's>) -> Option<Sha256Digest> {
        let (node, _) = fields.get("sha256")?;
        // Sixty-four digits without a letter are a number to YAML and a digest to everybody else.
        let text = self.unit_text(node, "sha256")?;
        match text.parse() {
            Ok(digest) => Some(digest),
            Err(error) => {
                let message = match text.chars().count() {
                    64 => format!("`sha256` is no digest: {error}, and this has other characters"),
                    count => format!("`sha256` is no digest: {error}, and this has {count} characters"),
                };
                self.problems.push(Problem::error(node.place, message).hint("`sha256sum FILE` prints it"));
                None
            }
        }
    }

    fn pin(&mut self, fields: &Fields<'_, 's>) -> Option<Pin> {
        let (node, _) = fields.get("pin")?;
        let fields = self.fields(node, &PIN)?;
        let (etag, size) = (self.text(&fields, "etag"), self.integer(&fields, "size"));
        Some(Pin { etag: etag?, size: size? })
    }

    fn select(&mut self, fields: &Fields<'_, 's>) -> Select {
        Select {
            tenants: self.texts(fields, "tenant"),
            instances: self.texts(fields, "instance"),
            datastore: self.text(fields, "datastore"),
            newer_than: self.duration(fields, "newer_than"),
            latest: self.integer(fields, "latest").and_then(|number| u32::try_from(number).ok()),
            except: self.excepts(fields),
        }
    }

    fn excepts(&mut self, fields: &Fields<'_, 's>) -> Vec<Except> {
        let Some((node, _)) = fields.get("except") else { return Vec::new() };
        let Some(items) = self.items(node, "except") else { return Vec::new() };
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            let Some(fields) = self.fields(item, &EXCEPT) else { continue };
            let (id, reason) = (self.text(&fields, "id"), self.text(&fields, "reason"));
            all.extend(id.map(|id| Except { id, reason }));
        }
        all
    }

    pub(super) fn is_same_store(&self, one: RegionIndex, other: RegionIndex) -> bool {
        self.same_store[usize::from(one.0)] == self.same_store[usize::from(other.0)]
    }

    /// Whether two regions are one place, or buckets of which one lies inside the other. What is a folder is asked
    /// when it is opened.
    fn overlaps(&self, one: RegionIndex, other: RegionIndex) -> bool {
        let bucket = |region: RegionIndex| {
            let at = usize::from(region.0);
            self.places[at].as_ref().filter(|_| !matches!(self.regions[at].store, StoreSpec::File { .. }))
        };
        // Two Troves may share one Swift: between them only records are made.
        let (of_one, of_other) = (&self.regions[usize::from(one.0)], &self.regions[usize::from(other.0)]);
        let share_swift = matches!((&of_one.store, &of_other.store), (StoreSpec::Swift(_), StoreSpec::Swift(_)));
        if one != other && share_swift && of_one.catalog != of_other.catalog {
            return false;
        }
        self.is_same_store(one, other)
            || bucket(one).zip(bucket(other)).is_some_and(|(one, other)| address::overlap(one, other))
    }

    pub(super) fn name_of(&self, region: RegionIndex) -> Arc<str> {
        self.regions[usize::from(region.0)].name.clone()
    }
}

/// Where the target at this position of `to` stands.
fn place_of_target(fields: &Fields<'_, '_>, at: usize) -> Option<Place> {
    let (node, _) = fields.get("to")?;
    let Value::Sequence(items) = &node.value else { return None };
    items.get(at).map(|item| item.place)
}
