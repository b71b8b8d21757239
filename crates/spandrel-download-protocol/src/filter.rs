//! Filters: from JSON to columns and typed values (protocol section 6).

use crate::error::shorten;
use crate::json::{self, Json};
use crate::path::Path;
use crate::resolve::unknown_field;
use crate::shape::{self, Unknown, refuse, wrong_type};
use crate::{
    Column, ColumnType, Decimal, ErrorCode, ErrorResponse, Filter, Limits, RequestFilter, Schema, Test,
    Timestamp, Value,
};

const CODE: ErrorCode = ErrorCode::InvalidFilter;

/// Types every entry of `filters`.
pub(crate) fn resolve_filters(
    filters: &[RequestFilter],
    schema: &Schema,
    limits: &Limits,
    path: &Path<'_>,
) -> Result<Vec<Filter>, ErrorResponse> {
    let mut resolver = Resolver { schema, limits, leaves: 0 };
    let one = |(i, filter): (usize, &RequestFilter)| {
        let path = path.index(i);
        let json = json::parse(filter.as_json(), limits.json_depth_max)
            .map_err(|fault| refuse(&path, fault.message(), CODE))?;
        resolver.filter(&json, &path, 1)
    };
    filters.iter().enumerate().map(one).collect()
}

struct Resolver<'s> {
    schema: &'s Schema,
    limits: &'s Limits,
    leaves: usize,
}

impl Resolver<'_> {
    fn filter(&mut self, json: &Json<'_>, path: &Path<'_>, depth: usize) -> Result<Filter, ErrorResponse> {
        if depth > self.limits.filter_depth_max {
            let max = self.limits.filter_depth_max;
            return Err(refuse(path, format!("filters may be {max} levels deep"), CODE));
        }
        let Json::Object(members) = json else { return Err(wrong_type(path, "a filter object", json, CODE)) };
        if members.iter().any(|(name, _)| matches!(name.as_ref(), "and" | "or" | "not")) {
            self.group(json, path, depth)
        } else {
            self.leaf(json, path)
        }
    }

    fn group(&mut self, json: &Json<'_>, path: &Path<'_>, depth: usize) -> Result<Filter, ErrorResponse> {
        match shape::members(json, path, ["and", "or", "not"], Unknown::Refuse, CODE)? {
            [Some(list), None, None] => self.entries(list, &path.name("and"), depth).map(Filter::And),
            [None, Some(list), None] => self.entries(list, &path.name("or"), depth).map(Filter::Or),
            [None, None, Some(inner)] => {
                let inner = self.filter(inner, &path.name("not"), depth + 1)?;
                Ok(Filter::Not(Box::new(inner)))
            }
            _ => Err(refuse(path, "a group has exactly one of and, or, not", CODE)),
        }
    }

    fn entries(
        &mut self,
        json: &Json<'_>,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<Vec<Filter>, ErrorResponse> {
        let Json::Array(items) = json else {
            return Err(wrong_type(path, "an array of filters", json, CODE));
        };
        let max = self.limits.group_entries_max;
        if items.is_empty() || items.len() > max {
            return Err(refuse(path, format!("expected 1 to {max} filters, got {}", items.len()), CODE));
        }
        items.iter().enumerate().map(|(i, item)| self.filter(item, &path.index(i), depth + 1)).collect()
    }

    fn leaf(&mut self, json: &Json<'_>, path: &Path<'_>) -> Result<Filter, ErrorResponse> {
        self.leaves += 1;
        if self.leaves > self.limits.filter_leaves_max {
            let max = self.limits.filter_leaves_max;
            return Err(refuse(path, format!("there may be {max} tests in all filters together"), CODE));
        }
        let [field, op, value] = shape::members(json, path, ["field", "op", "value"], Unknown::Refuse, CODE)?;
        let field = text(field, path, "field")?;
        let op = text(op, path, "op")?;
        let value_path = path.name("value");
        let value = value.ok_or_else(|| refuse(&value_path, "value is missing", CODE))?;
        let column = self.schema.index_of(field).ok_or_else(|| unknown_field(field, &path.name("field")))?;
        let found = self.schema.column(column).ok_or_else(|| unknown_field(field, &path.name("field")))?;
        let operand = Operand { column: found, limits: self.limits, path: &value_path };
        let test = operand.test(op, value, &path.name("op"))?;
        Ok(Filter::Leaf { column, test })
    }
}

fn text<'j>(json: Option<&'j Json<'_>>, path: &Path<'_>, name: &str) -> Result<&'j str, ErrorResponse> {
    match json {
        Some(Json::String(text)) => Ok(text),
        Some(other) => Err(wrong_type(&path.name(name), "a string", other, CODE)),
        None => Err(refuse(&path.name(name), format!("{name} is missing"), CODE)),
    }
}

/// The right-hand side of a leaf.
struct Operand<'a> {
    column: &'a Column,
    limits: &'a Limits,
    path: &'a Path<'a>,
}

impl Operand<'_> {
    fn test(&self, op: &str, json: &Json<'_>, op_path: &Path<'_>) -> Result<Test, ErrorResponse> {
        let kind = self.column.kind;
        let fits = match op {
            "eq" | "ne" | "in" | "exists" => true,
            "lt" | "lte" | "gt" | "gte" | "between" => kind != ColumnType::Bool,
            "contains" | "startsWith" => kind == ColumnType::String,
            _ => return Err(refuse(op_path, format!("there is no operator {:?}", shorten(op)), CODE)),
        };
        if !fits {
            let name = shorten(&self.column.name);
            let message = format!("{op} does not apply to {name:?}, a {} column", kind.as_str());
            return Err(refuse(op_path, message, CODE));
        }
        let one = |json| self.value(json, self.path);
        match op {
            "eq" => one(json).map(Test::Eq),
            "ne" => one(json).map(Test::Ne),
            "lt" => one(json).map(Test::Lt),
            "lte" => one(json).map(Test::Lte),
            "gt" => one(json).map(Test::Gt),
            "gte" => one(json).map(Test::Gte),
            "in" => self.list(json).map(Test::In),
            "between" => self.between(json),
            "exists" => match json {
                Json::Bool(wanted) => Ok(Test::Exists(*wanted)),
                other => Err(wrong_type(self.path, "true or false", other, CODE)),
            },
            "contains" => self.string(json, self.path).map(Test::Contains),
            _ => self.string(json, self.path).map(Test::StartsWith),
        }
    }

    fn list(&self, json: &Json<'_>) -> Result<Vec<Value>, ErrorResponse> {
        let Json::Array(items) = json else {
            return Err(wrong_type(self.path, "an array of values", json, CODE));
        };
        let max = self.limits.in_values_max;
        if items.is_empty() || items.len() > max {
            return Err(refuse(self.path, format!("expected 1 to {max} values, got {}", items.len()), CODE));
        }
        items.iter().enumerate().map(|(i, item)| self.value(item, &self.path.index(i))).collect()
    }

    fn between(&self, json: &Json<'_>) -> Result<Test, ErrorResponse> {
        let bounds = match json {
            Json::Array(items) => items.as_slice(),
            _ => &[],
        };
        let [low, high] = bounds else {
            return Err(refuse(self.path, "expected [low, high]", CODE));
        };
        let low = self.value(low, &self.path.index(0))?;
        let high = self.value(high, &self.path.index(1))?;
        match low.partial_cmp_same(&high) {
            Some(std::cmp::Ordering::Greater) | None => {
                Err(refuse(self.path, "the low bound is above the high one", CODE))
            }
            _ => Ok(Test::Between(low, high)),
        }
    }

    fn string(&self, json: &Json<'_>, path: &Path<'_>) -> Result<String, ErrorResponse> {
        match json {
            Json::String(text) => {
                self.bounded(text, path)?;
                Ok(text.clone().into_owned())
            }
            other => Err(wrong_type(path, "a string", other, CODE)),
        }
    }

    fn bounded(&self, text: &str, path: &Path<'_>) -> Result<(), ErrorResponse> {
        let max = self.limits.filter_value_bytes_max;
        if text.len() > max {
            return Err(refuse(path, format!("{} bytes are over the limit of {max}", text.len()), CODE));
        }
        Ok(())
    }

    fn value(&self, json: &Json<'_>, path: &Path<'_>) -> Result<Value, ErrorResponse> {
        if let Json::String(text) = json {
            self.bounded(text, path)?;
        }
        if let Json::Number(text) = json {
            self.bounded(text, path)?;
        }
        let kind = self.column.kind;
        let value = match (kind, json) {
            (ColumnType::String, Json::String(text)) => Some(Value::String(text.clone().into_owned())),
            (ColumnType::Int, Json::Number(text)) => int(text).map(Value::Int),
            (ColumnType::Int, Json::String(text)) => int(text).map(Value::Int),
            (ColumnType::Decimal, Json::Number(text)) => Decimal::parse(text).map(Value::Decimal),
            (ColumnType::Decimal, Json::String(text)) => Decimal::parse(text).map(Value::Decimal),
            (ColumnType::Float, Json::Number(text)) => {
                text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float)
            }
            (ColumnType::Bool, Json::Bool(wanted)) => Some(Value::Bool(*wanted)),
            (ColumnType::Timestamp, Json::String(text)) => Timestamp::parse(text).ok().map(Value::Timestamp),
            _ => None,
        };
        let wanted = match kind {
            ColumnType::String => "a string",
            ColumnType::Int => {
                "an integer of 64 bits, as a number without fraction or exponent or as a string"
            }
            ColumnType::Decimal => "a decimal, as a string like \"1.50\" or a number without exponent",
            ColumnType::Float => "a number that a binary64 holds",
            ColumnType::Bool => "true or false",
            ColumnType::Timestamp => "a time like \"2024-03-01T09:00:00+09:00\"",
        };
        value.ok_or_else(|| refuse(path, format!("expected {wanted}"), CODE))
    }
}

/// `-?(0|[1-9][0-9]*)` within 64 bits.
fn int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !leading_zero;
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
