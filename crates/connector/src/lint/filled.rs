//! A body filled for its checks.

use super::{
    probe::{Outcome, Probes},
    shape::Shape,
    template::Template,
    text::Text,
    values::Fill,
};

/// What the checks of the event share.
pub(super) struct Filled<'a> {
    pub(super) text: &'a Text<'a>,
    pub(super) template: &'a Template,
    pub(super) probes: &'a Probes<'a>,
    /// Look-ups that stand without quotes where JSON has a value; they are filled with numbers.
    pub(super) unquoted: Vec<usize>,
}

impl Filled<'_> {
    /// The body filled with `fill`, save for look-ups that nothing but a number suits.
    pub(super) fn shape(&self, fill: impl Fn(usize) -> Fill) -> Option<Shape> {
        match self.probes.filled(|at| self.suited(at, fill(at))) {
            Outcome::Sent(filled) if !filled.trim().is_empty() => Some(Shape::read(&filled)),
            Outcome::Sent(_) | Outcome::NotSent | Outcome::Failed(_) => None,
        }
    }

    /// What suits a look-up in place of `fill`.
    pub(super) fn suited(&self, at: usize, fill: Fill) -> Fill {
        match fill {
            Fill::Word | Fill::Nasty | Fill::Blank if self.unquoted.contains(&at) => Fill::Number,
            fill => fill,
        }
    }
}
