//! Attributes as JSON text, for adapters. All adapters that use these two functions read what the others wrote.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use sessionmesh_core::session::ValueBytes;

use crate::error::{JsonError, ValueError};

/// How deep arrays and objects may be nested. Deeper JSON could be written, but the parser would refuse to read it.
pub const JSON_DEPTH_MAX: usize = 127;

/// The JSON text of an attribute. It stays readable after a field is added to `T`. NaN and infinite numbers become
/// `null`, as always in JSON.
///
/// # Errors
///
/// `value` cannot be written as JSON, for example because a map's keys are not text; or it is nested deeper than
/// [`JSON_DEPTH_MAX`].
pub fn to_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<ValueBytes, ValueError> {
    let bytes = serde_json::to_vec(value).map_err(|error| refused(key, "written", error))?;
    check_depth(key, &bytes)?;
    Ok(ValueBytes::from(bytes))
}

/// Reads a value that [`to_json`] wrote.
///
/// # Errors
///
/// The stored value is not a `T`.
pub fn from_json<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, ValueError> {
    serde_json::from_slice(value).map_err(|error| refused(key, "read", error))
}

/// Refuses JSON text that could not be read again.
pub(crate) fn check_depth(key: &str, json: &[u8]) -> Result<(), ValueError> {
    // What opens so few cannot lie deeper, and counting them is many times as fast as following them.
    let opened = json.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opened <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let depth = depth(json);
    if depth <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let why = format!("it is nested {depth} levels deep, and only {JSON_DEPTH_MAX} can be read");
    Err(refused(key, "written", serde_json::Error::custom(why)))
}

fn refused(key: &str, action: &'static str, error: serde_json::Error) -> ValueError {
    ValueError { key: key.to_owned(), action, source: JsonError::new(error) }
}

/// How many arrays and objects lie in each other.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize, open: &str, close: &str) -> String {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn what_is_written_is_read_and_what_could_not_be_read_is_refused_by_name() {
        for depth in [1, 2, JSON_DEPTH_MAX - 1, JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1, 400] {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"[":"#, "}]")] {
                let text = nested(depth, open, close);
                let readable = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                let written = check_depth("menu", text.as_bytes());
                assert_eq!(written.is_ok(), readable, "{open} {depth} deep");
                if let Err(error) = written {
                    assert!(error.to_string().contains("`menu`") && error.action == "written", "{error}");
                }
            }
        }
    }

    #[test]
    fn brackets_in_texts_nest_nothing() {
        for text in [r#""[[[""#, r#""\"[[""#, r#"{"[":"\\"}"#, r#"["\\\"[",1]"#] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            assert!(depth(text.as_bytes()) <= 1, "{text}");
        }
        assert_eq!((depth(b"1"), depth(b"[[],[[]]]"), depth(b"\"")), (0, 3, 0));
    }

    #[test]
    fn a_value_that_nests_too_deep_is_refused_when_it_is_written() {
        let mut value = serde_json::Value::Null;
        for _ in 0..JSON_DEPTH_MAX {
            value = serde_json::json!([value]);
        }
        let written = to_json("a", &value).unwrap();
        assert_eq!(from_json::<serde_json::Value>("a", &written).unwrap(), value);
        assert!(to_json("a", &[value]).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_attribute_and_what_serde_said() {
        let serde = serde_json::from_str::<u8>("300").unwrap_err().to_string();
        let error = from_json::<u8>("age", b"300").unwrap_err();
        let expected = format!("attribute `age` cannot be read as the requested type: {serde}; nothing was changed");
        assert_eq!((error.to_string(), error.source.to_string()), (expected, serde));
    }
}
