//! OTLP/JSON on one line, as the specification writes it: names in lowerCamelCase, ids in hexadecimal, 64-bit
//! integers as strings, enumerations as numbers, `NaN` and infinities as strings. Both directions go by the table of
//! messages and never through structs. Unknown fields have no JSON form and are left out; unknown keys are ignored.
//!
//! [`Members`] reads JSON that is no OTLP: what an application writes becomes attributes.

mod any_value;
mod error;
mod members;
mod output;
mod read;
mod scan;
mod skip;
mod text;
mod usual;
mod value;
mod write;

pub use self::any_value::Value;
pub use self::error::{JsonError, Malformed};
pub use self::members::{Member, Members, NotAnObject, hash_of_key};
pub use self::read::{Conversion, Converted, FromJson, SnakeCase, from_json, read};
pub use self::write::to_json;
