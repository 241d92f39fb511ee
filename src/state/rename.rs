//! The recorded entries before, during and after the renaming of a project.

use std::collections::BTreeSet;

use super::payload::Entries;
use crate::object::ident::ObjectKey;
use crate::project::path::ProjectPath;

/// The renaming of one project, together with every project below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renaming {
    /// The old name of the project.
    pub from: ProjectPath,
    /// The new name of the project.
    pub to: ProjectPath,
}

impl Renaming {
    /// Returns the new name of `project`, or `None` if the project keeps its name.
    pub(crate) fn of(&self, project: &ProjectPath) -> Option<ProjectPath> {
        project.renamed(&self.from, &self.to)
    }

    /// Returns the entries of the renamed projects, under their new names.
    pub(crate) fn renamed(&self, entries: &Entries) -> Entries {
        let mut renamed = Entries::default();
        for (project, ident) in entries.iter() {
            if let Some(project) = self.of(project) {
                renamed.insert(&project, &ident);
            }
        }
        renamed
    }

    /// Returns the entries to record at the end, under their new names. The objects in `left` still carry the old mark,
    /// so they also stay recorded under their old names.
    #[must_use]
    pub(crate) fn finished(&self, mut entries: Entries, left: &BTreeSet<ObjectKey>) -> Entries {
        entries.union(&self.renamed(&entries));
        entries.retain(|project, key| self.of(project).is_none() || left.contains(key));
        entries
    }

    /// Finds a new name that the same renaming would change again. Such a renaming could not be resumed.
    pub(crate) fn repeats(&self, entries: &Entries) -> Option<ProjectPath> {
        entries.projects().chain([&self.from]).filter_map(|project| self.of(project)).find(|to| self.of(to).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::Ident;

    fn entries(list: &[(&str, &str)]) -> Entries {
        let mut entries = Entries::default();
        for (project, name) in list {
            let key: ObjectKey = format!("ConfigMap/x/{name}").parse().unwrap();
            entries.insert(&project.parse().unwrap(), &Ident { key, version: "v1".to_owned() });
        }
        entries
    }

    fn renaming(from: &str, to: &str) -> Renaming {
        Renaming { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn o9_the_old_name_goes_where_the_object_carries_the_new_mark() {
        let before = entries(&[("demo.a", "done"), ("demo.a.x", "left"), ("demo.ab", "other")]);
        let left = ["ConfigMap/x/left".parse().unwrap()].into();
        let after = renaming("demo.a", "demo.b").finished(before, &left);
        let expected = [("demo.b", "done"), ("demo.a.x", "left"), ("demo.b.x", "left"), ("demo.ab", "other")];
        assert_eq!(after, entries(&expected));
    }

    #[test]
    fn o9_a_name_that_would_be_renamed_again_is_found() {
        let check = |from: &str, to: &str, list: &[(&str, &str)], expected: bool| {
            assert_eq!(renaming(from, to).repeats(&entries(list)).is_some(), expected, "{from} {to} {list:?}");
        };
        check("demo.a", "demo.b", &[("demo.a.x", "x")], false);
        check("demo.a", "demo.a.b", &[], true);
        check("demo.a.b", "demo.a", &[("demo.a.b.x", "x")], false);
        check("demo.a.b", "demo.a", &[("demo.a.b.b", "x")], true);
        check("demo", "demo", &[], true);
    }
}
