//! The body of a MoEngage Connector: written for the marketer, or looked at for what breaks.
//!
//! A Connector's body is a Jinja template that MoEngage fills and sends. Nothing there checks it: a placeholder that MoEngage does not
//! know goes out as it stands, a name with a quote breaks the JSON, a number arrives as text, and no preview shows any of it.
//! [`Connector::body`] writes a template that prints valid JSON whatever the attributes hold; [`lint`] says what in a template
//! breaks, why, and the line to write instead. Both are pure functions of their input; what reads files and prints is `moehog`.
//!
//! What MoEngage's engine does with either cannot be tried from here. The promise is held against two engines: Python's Jinja2,
//! which MoEngage names, in the two versions it names, and minijinja.

mod attribute;
mod connector;
mod jinja;
mod lint;
mod literal;
mod names;
mod request;
mod sample;

pub use self::{
    attribute::{Attribute, AttributeError, Object},
    connector::{Connector, Property, PropertyError, Source},
    jinja::Kind,
    lint::{Finding, Linter, ReadTime, ReadsTime, Severity, lint},
    request::{Request, Target, TargetError},
    sample::{Sample, SampleError},
};
