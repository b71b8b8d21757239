//! Parts of the configuration that hold secrets, read before they are judged.
//!
//! The errors of a format show what they found. What is found in the wrong place may be a secret, and errors go to the
//! log; so anything can be read into a [`Written`], and the errors about it, made here, show names of known members only.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What stands in a file, whatever it is.
pub(super) enum Written {
    Text(String),
    Number(u64),
    List(Vec<Self>),
    /// Members in their order; a name may be there twice.
    Object(Vec<(String, Self)>),
    /// Nothing that is expected anywhere.
    Other,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Written, E> {
        Ok(Written::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Written, E> {
        Ok(u64::try_from(number).map_or(Written::Other, Written::Number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Written, E> {
        Ok(Written::Number(number))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Written, E> {
        Ok(Written::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Written, E> {
        Ok(Written::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Written, E> {
        Ok(Written::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Written, E> {
        Ok(Written::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Written, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Written::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Written, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Written::Object(object))
    }
}

/// The members of an object, taken one after another.
pub(super) struct Members<'a> {
    /// Where the object stands.
    pub(super) at: &'a str,
    members: Vec<(String, Written)>,
}

impl<'a> Members<'a> {
    /// Of an object with none but the known members, each at most once.
    pub(super) fn of(at: &'a str, written: Written, known: &[&str]) -> Result<Self, String> {
        let Written::Object(members) = written else {
            return Err(format!("{at} is not an object of {}", known.join(", ")));
        };
        if members.iter().any(|(name, _)| !known.contains(&name.as_str())) {
            return Err(format!("{at} has a member that is none of {}", known.join(", ")));
        }
        let count = |name: &str| members.iter().filter(|(member, _)| member == name).count();
        if let Some(twice) = known.iter().find(|name| count(name) > 1) {
            return Err(format!("{at} has {twice} twice"));
        }
        Ok(Self { at, members })
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Written> {
        let found = self.members.iter().position(|(member, _)| member == name)?;
        Some(self.members.swap_remove(found).1)
    }

    /// A text that has to be there.
    pub(super) fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name) {
            Some(Written::Text(text)) => Ok(text),
            Some(_) => Err(format!("{}.{name} is not a text", self.at)),
            None => Err(format!("{}.{name} is missing", self.at)),
        }
    }

    /// A number that may be left out.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        match self.take(name) {
            Some(Written::Number(number)) => Ok(Some(number)),
            Some(_) => Err(format!("{}.{name} is not a whole number from 0", self.at)),
            None => Ok(None),
        }
    }

    /// A list that may be left out; `read` is told where each item stands.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str, Written) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let at = format!("{}.{name}", self.at);
        match self.take(name) {
            Some(Written::List(items)) => {
                items.into_iter().enumerate().map(|(n, item)| read(&format!("{at}[{n}]"), item)).collect()
            }
            Some(_) => Err(format!("{at} is not a list")),
            None => Ok(Vec::new()),
        }
    }
}
