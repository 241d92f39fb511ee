//! Reads a page of a list, object by object, so that only one parsed object is in memory at once.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Passes each object of a page to `found`. Returns the token of the next page, which is empty after the last page.
///
/// Returns `None` if the text is no list. `found` may have got some objects by then.
pub(super) fn read(text: &[u8], found: &mut dyn FnMut(Value)) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let next = json.deserialize_map(Page(found)).ok()?;
    json.end().ok()?;
    next
}

struct Page<'a>(&'a mut dyn FnMut(Value));

impl<'de> Visitor<'de> for Page<'_> {
    /// The token of the next page. `None` if the page has no metadata, and so is no list.
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut next = None;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "metadata" => {
                    let metadata: Value = map.next_value()?;
                    let token = metadata.get("continue").and_then(Value::as_str).unwrap_or_default();
                    next = Some(token.to_owned());
                }
                "items" => map.next_value_seed(Items(&mut *self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(next)
    }
}

/// The objects of a page. A server in Go may write an empty list as null.
struct Items<'a>(&'a mut dyn FnMut(Value));

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the objects of a list")
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Map<String, Value>>()? {
            (self.0)(item.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(text: &str) -> Option<(String, Vec<Value>)> {
        let mut found = Vec::new();
        let next = read(text.as_bytes(), &mut |item| found.push(item))?;
        Some((next, found))
    }

    #[test]
    fn the_objects_and_the_token_of_a_page_are_read_in_any_order() {
        let (a, b) = (json!({"metadata": {"name": "a"}}), json!({"data": [null, {"x": 1.5}]}));
        let items = format!("[{a},{b}]");
        for (text, next, count) in [
            (format!(r#"{{"metadata":{{"continue":"t"}},"items":{items}}}"#), "t", 2),
            (format!(r#"{{"items":{items},"kind":"List","metadata":{{}}}}"#), "", 2),
            (r#"{"metadata":{"continue":null},"items":null}"#.to_owned(), "", 0),
            (r#" {"metadata":{"resourceVersion":"1"}} "#.to_owned(), "", 0),
        ] {
            let expected: Vec<Value> = [a.clone(), b.clone()].into_iter().take(count).collect();
            assert_eq!(page(&text), Some((next.to_owned(), expected)), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_whole_list_is_none() {
        for text in [
            "",
            "null",
            "[]",
            r#""hello""#,
            r#"{"items":[]}"#,
            r#"{"metadata":{},"items":{}}"#,
            r#"{"metadata":{},"items":[{}"#,
            r#"{"metadata":{},"items":[{}]} x"#,
            r#"{"metadata":{},"items":[{"a":}]}"#,
            r#"{"metadata":{},"items":[{},"a"]}"#,
        ] {
            assert_eq!(page(text), None, "{text}");
        }
    }
}
