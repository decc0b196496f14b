//! What a mapping file says beside its rules.

use std::collections::BTreeMap;

use toml::{Spanned, de::DeTable};

use super::{
    super::{
        Clocks, Identity, Otherwise, Rules, dates,
        expression::{self, Expression},
    },
    Reader, below,
};
use crate::value::{
    privacy::Privacy,
    time::{Clock, Order},
    types::Type,
};

impl Reader {
    pub(super) fn types(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Type> {
        let mut types = BTreeMap::new();
        for (name, value) in self.table(table, "", "types").into_iter().flatten() {
            match value.get_ref().as_str().and_then(Type::named) {
                Some(known) => drop(types.insert(name.get_ref().to_string(), known)),
                None => {
                    let place = format!("types.{}", name.get_ref());
                    self.report(value.span(), &place, "must be \"number\", \"boolean\" or \"string\"".to_string());
                }
            }
        }
        types
    }

    pub(super) fn identity(&mut self, table: &DeTable<'_>) -> Identity {
        let mut identity = Identity::default();
        let Some(table) = self.table(table, "", "identity") else { return identity };
        self.known(table, "identity", &["distinct_id", "join", "missing", "refused", "trim", "whole_numbers"]);
        for (source, span) in self.texts(table, "identity", "distinct_id") {
            match Expression::compile(expression::bare(&source)) {
                Ok(expression) => {
                    self.needs_key(expression.hashes(), span, "identity.distinct_id");
                    identity.distinct_id.push(expression);
                }
                Err(message) => self.report(span, "identity.distinct_id", message),
            }
        }
        identity.joins = self.flag(table, "identity", "join") == Some(true);
        identity.keeps_blanks = self.flag(table, "identity", "trim") == Some(false);
        identity.keeps_fractions = self.flag(table, "identity", "whole_numbers") == Some(false);
        for (key, otherwise) in [("missing", &mut identity.missing), ("refused", &mut identity.refused)] {
            let Some(word) = self.text(table, "identity", key) else { continue };
            match Otherwise::named(&word) {
                Some(known) => *otherwise = Some(known),
                None => self.at(table, "identity", key, "must be \"dead\", \"drop\" or \"personless\""),
            }
        }
        identity
    }

    pub(super) fn privacy(&mut self, table: &DeTable<'_>) -> Privacy {
        let Some(table) = self.table(table, "", "privacy") else { return Privacy::default() };
        self.known(table, "privacy", &["drop", "hash"]);
        let (drop, hash) = (self.names(table, "privacy", "drop"), self.names(table, "privacy", "hash"));
        let span = table.get("hash").map_or(0..0, Spanned::span);
        self.needs_key(!hash.is_empty(), span, "privacy.hash");
        if let Some(both) = drop.intersection(&hash).next() {
            let message = format!("`{both}` is dropped already: take it out of one of the lists");
            self.at(table, "privacy", "hash", &message);
        }
        Privacy { drop, hash }
    }

    /// What is said of all sources, and of each.
    pub(super) fn sources(&mut self, table: &DeTable<'_>, rules: &mut Rules) {
        let mut clocks = Clocks { of_all: self.clock(table, ""), ..Clocks::default() };
        for (name, value) in self.table(table, "", "sources").into_iter().flatten() {
            let (name, place) = (name.get_ref().to_string(), below("sources", name.get_ref()));
            let Some(source) = value.get_ref().as_table() else {
                self.report(value.span(), &place, "must be a table, as in [sources.shop]".to_string());
                continue;
            };
            self.known(source, &place, &["timezone", "date_order", "historical"]);
            if self.flag(source, &place, "historical") == Some(true) {
                rules.historical.insert(name.clone());
            }
            let own = self.clock(source, &place);
            let clock = Clock {
                zone: own.zone.or_else(|| clocks.of_all.zone.clone()),
                order: own.order.or(clocks.of_all.order),
            };
            clocks.of_sources.insert(name, clock);
        }
        rules.clocks = clocks;
    }

    fn clock(&mut self, table: &DeTable<'_>, place: &str) -> Clock {
        let mut clock = Clock::default();
        if let Some(name) = self.text(table, place, "timezone") {
            match dates::zone(&name) {
                Ok(zone) => clock.zone = Some(zone),
                Err(wrong) => self.at(table, place, "timezone", &wrong),
            }
        }
        if let Some(order) = self.text(table, place, "date_order") {
            match order.as_str() {
                "dmy" => clock.order = Some(Order::DayFirst),
                "mdy" => clock.order = Some(Order::MonthFirst),
                _ => self.at(table, place, "date_order", "must be \"dmy\" (28/11/2026) or \"mdy\" (11/28/2026)"),
            }
        }
        clock
    }
}

#[cfg(test)]
mod tests {
    use crate::Rules;

    #[test]
    fn arguments_of_a_filter_that_are_none_are_named() {
        for (arguments, expected) in [
            (
                "toFormat='%Y', timezone='UTC'",
                "`dateTimeFormatter` has no argument `timezone`: it has toFormat, fromFormat, timeZone, tzOffset",
            ),
            ("toFormat='%Y', timeZone='IST'", "`IST` is no time zone"),
            ("toFormat='%Y', tzOffset='east'", "tzOffset must be minutes"),
            ("toFormat='%'", "toFormat is no pattern of strftime"),
            ("toFormat='YYYY-MM-DD'", "it has no `%`"),
            ("timeZone='UTC'", "`dateTimeFormatter` needs a pattern"),
            ("toFormat='%Y', timeZone='UTC', tzOffset=330", "timeZone or tzOffset, not both"),
            ("toFormat='%Y-%m-%dT%H:%M:%SZ', timeZone='Asia/Kolkata'", "toFormat prints `Z`, which means UTC"),
        ] {
            let text = format!("[[rule]]\ntimestamp = \"{{{{ properties.ts | dateTimeFormatter({arguments}) }}}}\"\n");
            let problems = Rules::read(&text, None).unwrap_err();
            let said = problems[0].to_string();
            assert!(said.contains("line 2: rule 1, timestamp") && said.contains(expected), "{said}");
        }
    }

    #[test]
    fn what_other_filters_lack_is_named() {
        for (expression, expected) in [
            ("properties.ts | days", "`days` needs the other date"),
            ("'%d' | today('IST')", "`IST` is no time zone"),
            ("properties.amount | money", "`money` needs the language"),
            ("properties.amount | money('xx')", "does not know how numbers are written in `xx`"),
        ] {
            let problems = Rules::read(&format!("[all]\nproperties = {{ a = \"{{{{ {expression} }}}}\" }}\n"), None);
            let said = problems.unwrap_err()[0].to_string();
            assert!(said.contains("line 2: all, properties.a") && said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_zone_and_an_order_that_are_none_are_named() {
        let problems = Rules::read(
            "timezone = \"Asia/Kolkatta\"\ndate_order = \"ymd\"\n[sources.shop]\ntimezone = \"IST\"\nzone = 1\nhistorical = \"yes\"\n[sources]\nblog = 1\n",
            None,
        );
        let said: String = problems.unwrap_err().iter().map(|problem| format!("{problem}\n")).collect();
        for expected in [
            "line 1: timezone: is no time zone of the tz database, as \"Asia/Kolkata\" is; did you mean `Asia/Kolkata`?",
            "line 2: date_order: must be \"dmy\"",
            "line 4: sources.shop.timezone: is no time zone",
            "line 5: sources.shop.zone: unknown key",
            "line 6: sources.shop.historical: must be",
            "line 8: sources.blog: must be a table",
        ] {
            assert!(said.contains(expected), "{said}\nlacks\n{expected}");
        }
    }
}
