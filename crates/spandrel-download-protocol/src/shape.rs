//! Taking known members out of objects, refusing the rest with a pointer to it (protocol section 3).

use std::collections::HashSet;

use crate::error::shorten;
use crate::json::Json;
use crate::path::Path;
use crate::{ErrorCode, ErrorResponse};

/// What to do with members nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Names beginning `x-` pass, others are refused.
    Refuse,
    /// All pass.
    Ignore,
}

/// The members called `names`, in that order. Every other member, and every repeated one, is looked at too.
pub(crate) fn members<'j, 'a, const N: usize>(
    json: &'j Json<'a>,
    path: &Path<'_>,
    names: [&str; N],
    unknown: Unknown,
    code: ErrorCode,
) -> Result<[Option<&'j Json<'a>>; N], ErrorResponse> {
    let Json::Object(members) = json else { return Err(wrong_type(path, "an object", json, code)) };
    let mut slots = [None; N];
    let mut others = HashSet::new();
    for (name, value) in members {
        let here = path.name(name);
        let repeated = match names.iter().position(|n| n == name).and_then(|i| slots.get_mut(i)) {
            Some(slot) => slot.replace(value).is_some(),
            None if unknown == Unknown::Refuse && !name.starts_with("x-") => {
                return Err(refuse(&here, format!("no member {:?} is known here", shorten(name)), code));
            }
            None => {
                no_repeats(value, &here, code)?;
                !others.insert(name)
            }
        };
        if repeated {
            return Err(repeat(&here, name, code));
        }
    }
    Ok(slots)
}

/// Refuses repeated member names anywhere in a value that is otherwise ignored.
fn no_repeats(json: &Json<'_>, path: &Path<'_>, code: ErrorCode) -> Result<(), ErrorResponse> {
    match json {
        Json::Array(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| no_repeats(item, &path.index(i), code))
        }
        Json::Object(members) => {
            let mut seen = HashSet::new();
            members.iter().try_for_each(|(name, value)| {
                let here = path.name(name);
                if !seen.insert(name) {
                    return Err(repeat(&here, name, code));
                }
                no_repeats(value, &here, code)
            })
        }
        _ => Ok(()),
    }
}

fn repeat(path: &Path<'_>, name: &str, code: ErrorCode) -> ErrorResponse {
    refuse(path, format!("member {:?} is there twice", shorten(name)), code)
}

pub(crate) fn refuse(path: &Path<'_>, message: impl Into<String>, code: ErrorCode) -> ErrorResponse {
    ErrorResponse::new(code, message).with_path(path.pointer())
}

pub(crate) fn wrong_type(path: &Path<'_>, wanted: &str, json: &Json<'_>, code: ErrorCode) -> ErrorResponse {
    let got = match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    };
    refuse(path, format!("expected {wanted}, got {got}"), code)
}

/// Readers of one member of an object that answer `INVALID_REQUEST`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'p> {
    pub(crate) path: Path<'p>,
}

const CODE: ErrorCode = ErrorCode::InvalidRequest;

impl Reader<'_> {
    pub(crate) fn required<'j, 'a>(
        &self,
        json: Option<&'j Json<'a>>,
        name: &str,
    ) -> Result<&'j Json<'a>, ErrorResponse> {
        json.ok_or_else(|| refuse(&self.path.name(name), format!("{name} is missing"), CODE))
    }

    pub(crate) fn string(
        &self,
        json: Option<&Json<'_>>,
        name: &str,
    ) -> Result<Option<String>, ErrorResponse> {
        match json {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone().into_owned())),
            Some(other) => Err(wrong_type(&self.path.name(name), "a string", other, CODE)),
        }
    }

    pub(crate) fn boolean(&self, json: Option<&Json<'_>>, name: &str) -> Result<Option<bool>, ErrorResponse> {
        match json {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(&self.path.name(name), "true or false", other, CODE)),
        }
    }

    pub(crate) fn array<'j, 'a>(
        &self,
        json: Option<&'j Json<'a>>,
        name: &str,
    ) -> Result<Option<&'j [Json<'a>]>, ErrorResponse> {
        match json {
            None => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong_type(&self.path.name(name), "an array", other, CODE)),
        }
    }

    /// A number written without fraction or exponent, `1..=max`.
    pub(crate) fn count(
        &self,
        json: Option<&Json<'_>>,
        name: &str,
        max: u64,
    ) -> Result<Option<u64>, ErrorResponse> {
        let path = self.path.name(name);
        match json {
            None => Ok(None),
            Some(Json::Number(text)) => match text.parse::<u64>() {
                Ok(n) if (1..=max).contains(&n) => Ok(Some(n)),
                _ => {
                    let text = shorten(text);
                    Err(refuse(&path, format!("expected an integer from 1 to {max}, got {text}"), CODE))
                }
            },
            Some(other) => Err(wrong_type(&path, "an integer", other, CODE)),
        }
    }
}
