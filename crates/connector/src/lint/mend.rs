//! The edits that mend a body, each looked at before it is told.

use std::collections::BTreeMap;

use super::{
    Linter, Severity,
    found::{Edit, Found, Mend, Need},
    skeleton, suggest,
    template::Template,
    text::Text,
};
use crate::jinja;

/// Rounds of mending; what a round mends may show what stood behind it.
const MAX_ROUNDS: usize = 20;

/// Bodies that are looked at to judge the edits of one: of a large body with many that are wrong some are not told.
const MAX_LOOKS: usize = 80;

/// Makes an edit of all that is found in one print.
pub(super) fn join_prints(text: &Text<'_>, template: &Template, found: &mut [Found]) {
    let mut needs: BTreeMap<usize, Vec<Need>> = BTreeMap::new();
    for found in found.iter() {
        if let Mend::Print(tag, need) = &found.mend {
            needs.entry(*tag).or_default().push(need.clone());
        }
    }
    for found in found {
        if let Mend::Print(tag, _) = &found.mend {
            let edit = printed(text, template, *tag, &needs[tag]);
            found.mend = edit.map_or(Mend::None, Mend::Put);
        }
    }
}

/// A print that has what it lacked; none where it stands where no such thing can.
fn printed(text: &Text<'_>, template: &Template, tag: usize, needs: &[Need]) -> Option<Edit> {
    let (index, tag) = (tag, template.tags.get(tag)?.range.clone());
    let expression = suggest::expression(text, template, &tag);
    let guard = needs.iter().find_map(|need| match need {
        Need::Guard(attribute) => {
            Some(format!("{{% if not {attribute} %}}{}{{% endif %}}", jinja::not_send(attribute)))
        }
        _ => None,
    });
    if needs.contains(&Need::Number) {
        let quoted = text.body[..tag.start].ends_with('"') && text.body[tag.end..].starts_with('"');
        let in_text = quoted || skeleton::is_in_text(text.body, &template.tags, index);
        let range = match (quoted, in_text) {
            (true, _) => tag.start - 1..tag.end + 1,
            (false, true) => return None,
            (false, false) => tag,
        };
        return Some(Edit { range, text: guard.unwrap_or_default() + &suggest::number_or_text(&expression) });
    }
    let print = if needs.contains(&Need::Escape) {
        suggest::escaped(&expression)
    } else {
        let whole = &text.body[tag.clone()];
        let (open, close) = (if whole.starts_with("{{-") { 3 } else { 2 }, if whole.ends_with("-}}") { 3 } else { 2 });
        let inside = tag.start + open..tag.end - close;
        format!("{}{}{}", &whole[..open], suggest::corrected(text, template, inside), &whole[whole.len() - close..])
    };
    Some(Edit { range: tag, text: guard.unwrap_or_default() + &print })
}

/// A body with these edits; of two that touch each other the first counts.
fn apply(body: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<_> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let (mut mended, mut at) = (String::with_capacity(body.len()), 0);
    for Edit { range, text } in edits {
        if range.start >= at && body.is_char_boundary(range.start) && body.is_char_boundary(range.end) {
            mended += &body[at..range.start];
            mended += text;
            at = range.end;
        }
    }
    mended + &body[at..]
}

impl Linter<'_> {
    /// Leaves only the edits after which less is found.
    pub(super) fn keep_accepted(&self, body: &str, found: &mut [Found]) {
        let before = found.to_vec();
        let (mut accepted, mut groups, mut looks) = (Vec::<Edit>::new(), vec![distinct(found)], 0);
        // most are right, so that one look tells; of a group that is not, each half is looked at
        while let Some(mut group) = groups.pop()
            && looks < MAX_LOOKS
        {
            looks += 1;
            if group.is_empty() || is_less(&before, &self.look(&apply(body, &group)), &group) {
                accepted.append(&mut group);
            } else if group.len() > 1 {
                let half = group.split_off(group.len() / 2);
                groups.extend([half, group]);
            }
        }
        for found in found {
            if matches!(&found.mend, Mend::Put(edit) if !accepted.contains(edit)) {
                found.mend = Mend::None;
            }
        }
    }

    /// A body with all edits that lead to less being found, until there are none.
    pub(super) fn mended(&self, body: &str) -> String {
        let mut body = body.to_string();
        for _ in 0..MAX_ROUNDS {
            let mut found = self.look(&body);
            self.keep_accepted(&body, &mut found);
            let edits = distinct(&found);
            if edits.is_empty() {
                break;
            }
            let all = apply(&body, &edits);
            // what is right by itself may not be beside another
            let is_right = edits.len() == 1 || self.look(&all).len() < self.look(&body).len();
            body = if is_right { all } else { apply(&body, &edits[..1]) };
        }
        body
    }
}

/// The edits of what was found, each once.
fn distinct(found: &[Found]) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for found in found {
        if let Mend::Put(edit) = &found.mend
            && !edits.contains(edit)
        {
            edits.push(edit.clone());
        }
    }
    edits
}

/// Whether edits led to less: what they were for is gone, and no error came.
fn is_less(before: &[Found], after: &[Found], edits: &[Edit]) -> bool {
    let count = |found: &[Found], is: &dyn Fn(&Found) -> bool| found.iter().filter(|found| is(found)).count();
    let of_edits = |found: &Found| matches!(&found.mend, Mend::Put(edit) if edits.contains(edit));
    let codes: Vec<_> = before.iter().filter(|found| of_edits(found)).map(|found| found.says.code).collect();
    if codes.iter().any(|code| ["invalid_json", "template_syntax"].contains(code)) {
        let unread = |found: &Found| ["invalid_json", "template_syntax"].contains(&found.says.code);
        let first = |found: &[Found]| found.iter().filter(|found| unread(found)).map(|found| found.at).min();
        // it hid what stood behind it
        return first(after).is_none_or(|after| first(before).is_some_and(|before| after > before))
            || count(after, &unread) < count(before, &unread);
    }
    let is_error = |found: &Found| found.says.severity == Severity::Error;
    codes.iter().all(|code| {
        let of_code = |found: &Found| found.says.code == *code;
        let mended = codes.iter().filter(|other| *other == code).count();
        count(after, &of_code) + mended <= count(before, &of_code)
    }) && count(after, &is_error) <= count(before, &is_error)
        && after.len() < before.len()
}
