//! The values that settings files give to templates: what the setting names. The renderer reads and merges them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::snapshot::SourcePlace;

/// A part of the values of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValuesSource {
    /// A map in a settings file: the setting itself, or the item of its list with this index.
    Settings {
        /// The path of the settings file.
        file: PathBuf,
        /// The target whose setting it is. `None` if it is the setting of the directory.
        target: Option<String>,
        /// The index in the list. `None` if the setting is a map.
        index: Option<usize>,
    },
    /// A YAML file.
    File {
        /// The path, normalized and relative to the root directory. It may begin with `..`.
        path: PathBuf,
        /// The place that names the file.
        named_at: SourcePlace,
    },
}

/// The setting `values`.
#[derive(Debug)]
pub struct ValuesSetting {
    /// The entries, each with the line and the column that names it.
    entries: Vec<(Entry, usize, usize)>,
    is_list: bool,
}

#[derive(Debug)]
enum Entry {
    /// A map. The renderer reads its content, because it reads YAML as kubectl does.
    Map,
    /// The path of a file.
    File(String),
}

impl ValuesSetting {
    /// Returns the parts in their order. `base` is the directory of the settings file, `target` the target whose setting
    /// it is, and `normalized` removes `.` and `..` from a path.
    ///
    /// # Errors
    ///
    /// The place of an absolute or empty path.
    pub(super) fn sources(
        &self,
        file: &Path,
        base: &Path,
        target: Option<&str>,
        normalized: fn(&Path) -> PathBuf,
    ) -> Result<Vec<ValuesSource>, SourcePlace> {
        let source = |(index, (entry, line, column)): (usize, &(Entry, usize, usize))| match entry {
            Entry::Map => {
                let (file, target) = (file.to_owned(), target.map(str::to_owned));
                Ok(ValuesSource::Settings { file, target, index: self.is_list.then_some(index) })
            }
            Entry::File(path) => {
                let named_at = SourcePlace::new(file, *line, *column);
                if path.is_empty() || Path::new(path).is_absolute() {
                    return Err(named_at);
                }
                Ok(ValuesSource::File { path: normalized(&base.join(path)), named_at })
            }
        };
        self.entries.iter().enumerate().map(source).collect()
    }
}

fn number(position: impl TryInto<usize>) -> usize {
    position.try_into().unwrap_or(0)
}

impl<'de> Deserialize<'de> for ValuesSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = ValuesSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map, or a list of maps and of paths")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(ValuesSetting { entries: vec![(Entry::Map, 0, 0)], is_list: false })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(Spanned { value, referenced: at, .. }) = items.next_element()? {
                    entries.push((value, number(at.line()), number(at.column())));
                }
                Ok(ValuesSetting { entries, is_list: true })
            }
        }

        deserializer.deserialize_any(Values)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map, or the path of a YAML file")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Entry::Map)
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Self::Value, E> {
                Ok(Entry::File(path.to_owned()))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for ValuesSetting {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ValuesSetting".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "object" },
                { "type": "array", "items": { "anyOf": [{ "type": "object" }, { "type": "string" }] } },
            ]
        })
    }
}
