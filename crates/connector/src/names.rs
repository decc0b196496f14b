//! What names tell: which properties are quantities, which attributes are MoEngage's own, which tell an event from another.

use crate::attribute::{Attribute, Object};

/// Those that the mapping makes numbers of.
const QUANTITIES: &str = include_str!("../../transformer/src/value/quantities.txt");
const RESERVED: &str = include_str!("names/reserved.txt");

/// Attributes of a campaign that a Flow's Connector stage fills.
///
/// Source: MoEngage, "Personalization in Flows" (read 2026-08).
pub(crate) const CAMPAIGN: [&str; 6] =
    ["Flow Name", "Parent Flow Id", "Version Name", "Flow Tags", "Stage Name", "Stage Id"];

/// Properties that name one event and no other, the best first.
const KEYS: [&str; 8] =
    ["event_uuid", "event_id", "order_uuid", "order_id", "transaction_id", "invoice_id", "booking_id", "payment_id"];

/// Whether a property of this name holds a number.
pub(crate) fn is_quantity(property: &str) -> bool {
    let name = snake_case(property);
    lines(QUANTITIES).any(|quantity| quantity == name)
}

/// Whether MoEngage resolves an event's attribute of this name to its own.
pub(crate) fn is_reserved(attribute: &Attribute) -> bool {
    attribute.object == Object::Event && lines(RESERVED).any(|name| name.eq_ignore_ascii_case(&attribute.name))
}

/// How well an attribute of this name tells one event from another; less is better.
pub(crate) fn key_rank(name: &str) -> Option<usize> {
    let name = snake_case(name);
    KEYS.iter().position(|key| *key == name)
}

/// Whether an attribute of this name is an address or number that a person may change.
pub(crate) fn is_contact(name: &str) -> bool {
    let name = snake_case(name);
    let words: Vec<_> = name.split('_').collect();
    ["u_em", "u_mb"].contains(&&*name)
        || ["email", "mail", "mobile", "phone", "msisdn"].iter().any(|word| words.contains(word))
}

/// A display name as PostHog's properties are named: `Email (Standard)` is `email`, `Item Names` is `item_names`.
pub(crate) fn snake_case(name: &str) -> String {
    let name = name.strip_suffix("(Standard)").unwrap_or(name).trim();
    let mut snake = String::new();
    let mut after_lower = false;
    for character in name.chars() {
        if !character.is_alphanumeric() {
            after_lower = false;
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        if character.is_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = !character.is_uppercase();
        snake.extend(character.to_lowercase());
    }
    snake.trim_end_matches('_').to_string()
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_become_property_names() {
        for (name, expected) in [
            ("Email (Standard)", "email"),
            ("Item Names", "item_names"),
            ("orderId", "order_id"),
            ("Order ID", "order_id"),
            ("Add to Cart. Product Id", "add_to_cart_product_id"),
            ("  Größe %", "größe"),
            ("u_em", "u_em"),
            ("%", ""),
        ] {
            assert_eq!(snake_case(name), expected, "{name}");
        }
    }

    #[test]
    fn names_tell_what_a_value_is() {
        assert!(is_quantity("Unit Price") && is_quantity("value") && !is_quantity("currency"));
        assert!(is_reserved(&Attribute::event("campaign name")) && !is_reserved(&Attribute::user("Campaign Name")));
        assert!(is_contact("Email (Standard)") && is_contact("Mobile Number") && !is_contact("ID"));
        assert!(key_rank("Order ID") < key_rank("payment_id") && key_rank("Item Names").is_none());
    }

    #[test]
    fn lists_are_read_without_their_comments() {
        assert_eq!((lines(QUANTITIES).count(), lines(RESERVED).count()), (40, 59));
        let mut sorted: Vec<_> = lines(QUANTITIES).collect();
        sorted.sort_unstable();
        sorted.dedup();
        assert!(lines(QUANTITIES).eq(sorted), "sorted, each once");
    }
}
