//! `limits:`: ceilings of the plan and of single regions.

use std::collections::HashMap;

use super::{Fields, Problem, Reader};
use crate::plan::shape::REGION_LIMITS;
use crate::plan::{Limits, Place, RegionIndex, RegionLimits, Timetable};

const CONCURRENCY_DEFAULT: u16 = 16;
const MEMORY_DEFAULT: u64 = 192 << 20;

impl<'s> Reader<'s> {
    pub(super) fn limits(&mut self, fields: &Fields<'_, 's>) -> Limits {
        let mut limits = Limits {
            concurrency: CONCURRENCY_DEFAULT,
            memory: MEMORY_DEFAULT,
            bandwidth: Timetable::default(),
            regions: Vec::new(),
        };
        let Some(fields) = self.section(fields, "limits") else { return limits };
        limits.concurrency = self.concurrency(&fields).unwrap_or(CONCURRENCY_DEFAULT);
        limits.memory = self.size(&fields, "memory").unwrap_or(MEMORY_DEFAULT);
        limits.bandwidth = self.timetable(&fields, "bandwidth");
        limits.regions = self.limits_of_regions(&fields);
        limits
    }

    fn limits_of_regions(&mut self, fields: &Fields<'_, 's>) -> Vec<(RegionIndex, RegionLimits)> {
        let Some((node, _)) = fields.get("regions") else { return Vec::new() };
        let Some(pairs) = self.pairs(node, "`regions` in `limits`") else { return Vec::new() };
        let mut first: HashMap<RegionIndex, Place> = HashMap::new();
        let mut all = Vec::new();
        for (key, value) in pairs {
            let region = self.region(key, "the name of a region");
            let limits = self.limits_of_region(value);
            let Some(region) = region else { continue };
            if let Some(other) = first.insert(region, key.place) {
                let name = &self.regions[usize::from(region.0)].name;
                let problem = Problem::error(key.place, format!("`limits` has region `{name}` twice"));
                self.problems.push(problem.related(other, "the first one").hint("remove one of the two"));
            }
            all.extend(limits.map(|limits| (region, limits)));
        }
        all
    }

    fn limits_of_region(&mut self, node: &super::Node<'s>) -> Option<RegionLimits> {
        let fields = self.fields(node, &REGION_LIMITS)?;
        Some(RegionLimits {
            concurrency: self.concurrency(&fields),
            bandwidth: self.timetable(&fields, "bandwidth"),
            requests_per_second: self
                .integer(&fields, "requests_per_second")
                .and_then(|number| u32::try_from(number).ok()),
        })
    }

    fn concurrency(&mut self, fields: &Fields<'_, 's>) -> Option<u16> {
        self.integer(fields, "concurrency").and_then(|number| u16::try_from(number).ok())
    }
}
