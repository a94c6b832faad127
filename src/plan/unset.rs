//! References of a plan that the environment cannot answer.

use super::{Plan, Problem, Reference, Tenants};

/// A warning for each reference to a variable that `environment` does not have, in the order of the plan.
#[must_use]
pub fn unset_variables(plan: &Plan, environment: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
    let regions = plan.regions.iter().flat_map(|region| {
        let tenants = match &region.tenants {
            Some(Tenants::File(path)) => Some(path),
            _ => None,
        };
        region.store.references().into_iter().chain(region.catalog.references()).chain(tenants)
    });
    let references: Vec<&Reference> = plan.database.iter().chain(regions).collect();
    let mut problems = Vec::new();
    for reference in references {
        let is_unset = |name: &&str| environment(name).is_none_or(|value| value.is_empty());
        for name in reference.variables().filter(is_unset) {
            let problem = Problem::warning(
                reference.place().unwrap_or_default(),
                format!("the environment variable `{name}` is not set"),
            );
            problems.push(problem.hint(format!("`export {name}=…` before `backhaul plan` and `backhaul run`")));
        }
    }
    problems
}
