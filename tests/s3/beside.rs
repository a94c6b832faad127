//! A folder beside a bed's target: what goes on elsewhere while a store is ill.

use super::bed::{Bed, Object};

impl Bed {
    /// Lets copies go to a folder too.
    pub(crate) fn with_a_folder_beside(&self) {
        let plan = std::fs::read_to_string(self.plan()).expect("the plan");
        let folder = "regions:\n  folder: { store: { type: file, path: folder, identity: bed-folder } }\n";
        let plan = plan.replace("regions:\n", folder).replace("to: [target]", "to: [target, folder]");
        std::fs::write(self.plan(), plan).expect("the plan");
    }

    /// Whether all copies lie in the folder.
    pub(crate) fn is_in_folder(&self) -> bool {
        let read = |object: &Object| std::fs::read(self.path().join("folder").join(&object.name));
        self.objects.iter().all(|object| read(object).is_ok_and(|bytes| bytes == object.bytes()))
    }
}
