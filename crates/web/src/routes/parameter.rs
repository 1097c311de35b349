//! What a request can say, as the document tells it. Each list of them stands beside what reads it.

use serde_json::{Value, json};

/// One thing a request can say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) is_header: bool,
    pub(super) is_required: bool,
    values: Values,
}

#[derive(Debug, Clone, Copy)]
enum Values {
    Text,
    Flag,
    Words(&'static [&'static str]),
    Whole {
        least: u64,
        most: u64,
    },
    /// One of several texts, each by itself.
    Several,
    /// Names and values of a client's choice.
    Named,
    /// A text of a pattern (ECMA 262).
    Pattern(&'static str),
}

impl Parameter {
    const fn new(name: &'static str, about: &'static str, values: Values) -> Self {
        Self { name, about, is_header: false, is_required: false, values }
    }

    /// Text.
    pub(crate) const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Values::Text)
    }

    /// True or false.
    pub(crate) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Values::Flag)
    }

    /// One of these words.
    pub(crate) const fn words(
        name: &'static str,
        about: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self::new(name, about, Values::Words(words))
    }

    /// A whole number.
    pub(crate) const fn whole(name: &'static str, about: &'static str, least: u64, most: u64) -> Self {
        Self::new(name, about, Values::Whole { least, most })
    }

    /// Text of a pattern (ECMA 262).
    pub(crate) const fn pattern(name: &'static str, about: &'static str, pattern: &'static str) -> Self {
        Self::new(name, about, Values::Pattern(pattern))
    }

    /// Text, as often as wanted.
    pub(crate) const fn several(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Values::Several)
    }

    /// Names and values of the client's choice, each a parameter of its own.
    pub(crate) const fn named(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Values::Named)
    }

    /// Text in a header.
    pub(crate) const fn header(name: &'static str, about: &'static str) -> Self {
        Self { is_header: true, ..Self::text(name, about) }
    }

    /// Not to be left out.
    pub(crate) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Its values (JSON Schema 2020-12).
    pub(super) fn schema(&self) -> Value {
        match self.values {
            Values::Text => json!({ "type": "string" }),
            Values::Flag => json!({ "type": "boolean" }),
            Values::Words(words) => json!({ "type": "string", "enum": words }),
            Values::Whole { least, most } => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Values::Several => json!({ "type": "array", "items": { "type": "string" } }),
            Values::Named => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            Values::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        }
    }

    /// As an operation lists it.
    pub(super) fn told(&self) -> Value {
        let place = if self.is_header { "header" } else { "query" };
        let mut told = json!({
            "name": self.name,
            "in": place,
            "description": self.about,
            "required": self.is_required,
            "schema": self.schema(),
        });
        if matches!(self.values, Values::Several | Values::Named) {
            told["style"] = "form".into();
            told["explode"] = true.into();
        }
        told
    }
}
