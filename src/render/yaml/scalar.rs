//! Finds the type and value of a scalar by the rules of goyaml.v2, which are those of YAML 1.1 as in kubectl.
//!
//! No message in this module contains the text of a scalar, because the text may be a secret.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Number, Value};

/// A scalar with its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    /// The null value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits into 64 bits with a sign.
    Integer(i64),
    /// A larger integer, which fits into 64 bits without a sign.
    Large(u64),
    /// A floating-point number. It may be infinite or NaN.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
}

/// Finds the type of a scalar from its text, its style and its tag.
pub(super) fn resolve<'a>(text: &'a str, plain: bool, tag: Option<&str>) -> Result<Scalar<'a>, String> {
    match tag {
        Some(tag) => match tag.strip_prefix("tag:yaml.org,2002:") {
            Some("binary") => decode_binary(text),
            Some(wanted @ ("bool" | "int" | "float" | "null" | "timestamp")) => resolve_as(text, wanted),
            _ => Ok(Scalar::Text(text.into())),
        },
        None if plain => Ok(resolve_plain(text)),
        None => Ok(Scalar::Text(text.into())),
    }
}

/// Converts a scalar to a JSON value.
pub(super) fn to_json(scalar: Scalar<'_>) -> Result<Value, String> {
    match scalar {
        Scalar::Null => Ok(Value::Null),
        Scalar::Bool(value) => Ok(Value::Bool(value)),
        Scalar::Integer(value) => Ok(Value::Number(value.into())),
        #[expect(clippy::cast_precision_loss, reason = "kubectl reads what does not fit a signed 64-bit integer so")]
        Scalar::Large(value) => Ok(number(value as f64).into()),
        Scalar::Float(value) if value.is_finite() => Ok(number(value).into()),
        Scalar::Float(_) => Err("JSON has no infinity and no NaN: put the value in quotes".to_owned()),
        Scalar::Text(text) => Ok(Value::String(text.into_owned())),
    }
}

/// Converts a scalar to a key of a JSON object.
pub(super) fn to_key(scalar: Scalar<'_>) -> Result<String, String> {
    match scalar {
        Scalar::Null => Err("null is no key: put it in quotes, or write the key that is missing".to_owned()),
        Scalar::Large(_) => Err("this number is too large for a key: put it in quotes".to_owned()),
        Scalar::Bool(value) => Ok(value.to_string()),
        Scalar::Integer(value) => Ok(value.to_string()),
        Scalar::Float(value) => Ok(float_key(value)),
        Scalar::Text(text) => Ok(text.into_owned()),
    }
}

/// Converts a float to a number as kubectl does: with its shortest decimal digits, as an integer if these digits are
/// one.
fn number(value: f64) -> Number {
    let integer = if value.abs() < 1e21 { format!("{value}").parse::<i64>().ok() } else { None };
    integer.map(Number::from).or_else(|| Number::from_f64(value)).unwrap_or_else(|| Number::from(0))
}

/// Converts a float to a key as sigs.k8s.io/yaml does: the shortest digits of a 32-bit float, in the format `%g` of Go.
fn float_key(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the key is what the narrower type prints")]
    let narrow = value as f32;
    if narrow.is_nan() {
        return ".nan".to_owned();
    }
    if narrow.is_infinite() {
        return if narrow > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{narrow:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{narrow}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn decode_binary(text: &str) -> Result<Scalar<'static>, String> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true);
    let packed: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = GeneralPurpose::new(&STANDARD, LENIENT)
        .decode(packed)
        .map_err(|_| "the value is not base64, as `!!binary` promises".to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| {
        "the value of `!!binary` is not text, and JSON holds nothing else: use a Secret's `data` or a ConfigMap's \
         `binaryData` without the tag"
            .to_owned()
    })?;
    Ok(Scalar::Text(text.into()))
}

/// Gives a scalar the type that its tag requires. It is an error if the text does not have this type.
fn resolve_as<'a>(text: &'a str, wanted: &str) -> Result<Scalar<'a>, String> {
    #[expect(clippy::cast_precision_loss, reason = "`!!float` asks for a float")]
    match (wanted, resolve_plain(text)) {
        ("float", Scalar::Integer(value)) => Ok(Scalar::Float(value as f64)),
        ("bool", found @ Scalar::Bool(_))
        | ("int", found @ (Scalar::Integer(_) | Scalar::Large(_)))
        | ("float", found @ Scalar::Float(_))
        | ("null", found @ Scalar::Null) => Ok(found),
        ("timestamp", found @ Scalar::Text(_)) if is_timestamp(text) => Ok(found),
        _ => Err(format!("the value is no `!!{wanted}`, as its tag says: correct one of them")),
    }
}

/// Finds the type of a text without a tag and without quotes.
fn resolve_plain(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let found = match text.as_bytes().first() {
        Some(b'.') => point_float(text),
        Some(b'+' | b'-' | b'0'..=b'9') => {
            let digits = if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    };
    found.unwrap_or(Scalar::Text(text.into()))
}

/// Parses an integer as Go does in base 0: `0x`, `0o`, `0b`, and a leading `0` for octal.
fn integer(text: &str) -> Option<Scalar<'static>> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("+", &text[1..]),
        _ => ("", text),
    };
    let (radix, digits) = match body.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &body[2..]),
        [b'0', b'o' | b'O', ..] => (8, &body[2..]),
        [b'0', b'b' | b'B', ..] => (2, &body[2..]),
        [b'0', _, ..] => (8, &body[1..]),
        _ => (10, body),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match sign {
        "-" => 0_i64.checked_sub_unsigned(magnitude).map(Scalar::Integer),
        _ => match i64::try_from(magnitude) {
            Ok(value) => Some(Scalar::Integer(value)),
            // Go's parser of unsigned integers accepts no sign.
            Err(_) if sign.is_empty() => Some(Scalar::Large(magnitude)),
            Err(_) => None,
        },
    }
}

/// Parses a float of the form `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(text: &str) -> Option<Scalar<'static>> {
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let power = exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent));
    if digits && power { finite(text) } else { None }
}

/// Parses a text that starts with a point, as Go parses floats: an underscore may only be between two digits.
fn point_float(text: &str) -> Option<Scalar<'static>> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let separates = |at: usize| digit(at.checked_sub(1)) && digit(at.checked_add(1));
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'_' && !separates(at)) {
        return None;
    }
    float(&text.replace('_', ""))
}

/// Parses a float. Returns `None` if it overflows, because Go does not read such a text as a number.
fn finite(text: &str) -> Option<Scalar<'static>> {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Scalar::Float)
}

/// Returns `true` if Go parses the text as a time in one of the formats of goyaml.v2.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let number = |part: &str, longest: usize| {
        let short = (1..=longest).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if short { part.parse::<i16>().ok() } else { None }
    };
    let two = |part: &str| number(part, 2).and_then(|value| i8::try_from(value).ok());
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let date = (number(year, 4).filter(|_| year.len() == 4), two(month), two(day));
    let (Some(year), Some(month), Some(day)) = date else { return false };
    if jiff::civil::Date::new(year, month, day).is_err() {
        return false;
    }
    let Some((separator, time)) = time else { return true };
    let time = match (separator, time.strip_suffix('Z')) {
        (" ", _) => time,
        (_, Some(time)) => time,
        (_, None) => match time.rfind(['+', '-']).map(|at| (&time[..at], &time[at + 1..])) {
            Some((time, zone)) if is_offset(zone) => time,
            _ => return false,
        },
    };
    let mut parts = time.split(':');
    let (Some(hour), Some(minute), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let within = |part: &str, limit: i8| two(part).is_some_and(|value| value < limit);
    within(hour, 24)
        && within(minute, 60)
        && within(second, 60)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns `true` for the form `hh:mm`.
fn is_offset(zone: &str) -> bool {
    matches!(zone.as_bytes(), [a, b, b':', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()))
}
