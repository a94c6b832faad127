//! The plan as meant → as written.

use super::{
    Written, WrittenDefaults, WrittenEntry, WrittenExcept, WrittenLimits, WrittenPin, WrittenRegion,
    WrittenRegionLimits, WrittenRetry, WrittenSchedule, WrittenSelect, WrittenTimetable,
};
use crate::plan::unit::{format_bytes, format_duration, format_rate};
use crate::plan::{
    Entry, Except, IfRunning, Known, Limits, Plan, RegionLimits, Schedule, Select, Subject, Timetable, Verify,
};
use crate::store::Pin;

impl Written {
    /// The plan as it would be written, with its paths as they are.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            version: 1,
            name: plan.name.clone(),
            database: plan.database.as_ref().map(ToString::to_string),
            regions: plan.regions.iter().map(|region| (region.name.to_string(), WrittenRegion::of(region))).collect(),
            defaults: Some(WrittenDefaults {
                to: Vec::new(),
                part_size: Some(format_bytes(plan.part_size)),
                verify: Some(match plan.verify {
                    Verify::Store => "store".to_owned(),
                    Verify::ReadBack => "read-back".to_owned(),
                }),
                name: Some(plan.name_template.clone()),
            }),
            limits: Some(WrittenLimits::of(plan, &plan.limits)),
            retry: Some(WrittenRetry {
                attempts: plan.retry.attempts,
                max_delay: format_duration(plan.retry.max_delay),
            }),
            schedule: Some(WrittenSchedule::of(&plan.schedule)),
            backups: plan.entries.iter().map(|entry| WrittenEntry::of(plan, entry)).collect(),
        }
    }
}

impl WrittenLimits {
    fn of(plan: &Plan, limits: &Limits) -> Self {
        let region = |(region, limits): &(_, RegionLimits)| {
            let written = WrittenRegionLimits {
                concurrency: limits.concurrency,
                bandwidth: (limits.bandwidth != Timetable::default()).then(|| WrittenTimetable::of(&limits.bandwidth)),
                requests_per_second: limits.requests_per_second,
            };
            (plan.region(*region).name.to_string(), written)
        };
        Self {
            concurrency: limits.concurrency,
            memory: format_bytes(limits.memory),
            bandwidth: WrittenTimetable::of(&limits.bandwidth),
            regions: limits.regions.iter().map(region).collect(),
        }
    }
}

impl WrittenTimetable {
    fn of(timetable: &Timetable) -> Self {
        if timetable.windows.is_empty() {
            return Self::Rate(format_rate(timetable.default));
        }
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let windows = timetable.windows.iter();
        let windows = windows.map(|window| {
            (format!("{}-{}", clock(window.start_minute), clock(window.end_minute)), format_rate(window.rate))
        });
        Self::Windows(windows.chain([("default".to_owned(), format_rate(timetable.default))]).collect())
    }
}

impl WrittenSchedule {
    fn of(schedule: &Schedule) -> Self {
        let if_running = match schedule.if_running {
            IfRunning::Skip => "skip",
            IfRunning::Wait => "wait",
            IfRunning::Fail => "fail",
            IfRunning::Join => "join",
        };
        Self {
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.clone(),
            stop_after: schedule.stop_after.map(format_duration),
            if_running: Some(if_running.to_owned()),
        }
    }
}

impl WrittenEntry {
    /// The entry as it would be written, its targets in full.
    #[must_use]
    pub fn of(plan: &Plan, entry: &Entry) -> Self {
        let from = plan.region(entry.from).name.to_string();
        let mut written = Self {
            to: entry.to.iter().map(|target| plan.region(*target).name.to_string()).collect(),
            name: entry.name.clone(),
            description: entry.description.clone(),
            ..Self::default()
        };
        match &entry.subject {
            Subject::Id { id, known } => {
                written.id = Some(id.clone());
                written.from = Some(from);
                written.know(known);
            }
            Subject::Location { key, parent, known } => {
                written.location = Some(key.to_string());
                written.from = Some(from);
                written.parent = parent.as_ref().map(ToString::to_string);
                written.know(known);
            }
            Subject::Select(select) => written.select = Some(WrittenSelect::of(from, select)),
        }
        written
    }

    fn know(&mut self, known: &Known) {
        self.sha256 = known.sha256;
        self.pin = known.pin.as_ref().map(|Pin { etag, size }| WrittenPin { etag: etag.clone(), size: *size });
    }
}

impl WrittenSelect {
    fn of(from: String, select: &Select) -> Self {
        let except = |except: &Except| WrittenExcept { id: except.id.clone(), reason: except.reason.clone() };
        Self {
            from,
            tenant: select.tenants.clone(),
            instance: select.instances.clone(),
            datastore: select.datastore.clone(),
            newer_than: select.newer_than.map(format_duration),
            latest: select.latest,
            except: select.except.iter().map(except).collect(),
        }
    }
}
