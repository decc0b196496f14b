//! The UUID of an event: the same for the same event however often it is received, where the body says which it is.

use sha1::{Digest, Sha1};
use uuid::{Builder, Uuid};

/// Namespace of all UUIDs that moehog makes. It must never change: resends would become new events.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d6f_6568_6f67_5001_9e5b_0a7c_41d2_8f33);

/// The UUID of the event that carries `id` itself.
pub(crate) fn of_id(source: &str, id: &str) -> Uuid {
    of_name(&[b"id\0", source.as_bytes(), b"\0", id.as_bytes()])
}

/// The UUID of an event without an id: its place in the webhook first taken.
pub(crate) fn of_place(source: &str, origin_address: &str, position: u32) -> Uuid {
    of_name(&[b"at\0", source.as_bytes(), b"\0", origin_address.as_bytes(), &position.to_be_bytes()])
}

/// The UUID of an event without an id whose webhook has a key: the key, and its place in the body.
pub(crate) fn of_key(source: &str, key: &str, position: u32) -> Uuid {
    of_name(&[b"key\0", source.as_bytes(), b"\0", key.as_bytes(), b"\0", &position.to_be_bytes()])
}

/// Version 5 in our namespace, of a name in parts: as [`Uuid::new_v5`] makes it, by the processor's own instructions
/// where it has them.
pub(crate) fn of_name(parts: &[&[u8]]) -> Uuid {
    let hash = parts.iter().fold(Sha1::new().chain_update(NAMESPACE), |hash, part| hash.chain_update(part)).finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    Builder::from_sha1_bytes(first).into_uuid()
}

/// A UUID that a body gives, in any of its written forms; none for the nil UUID, which says nothing.
pub(crate) fn given(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.trim()).ok().filter(|uuid| !uuid.is_nil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_apart_by_source_kind_and_place() {
        let uuid = of_id("shop", "e1");
        assert_eq!(uuid.to_string(), "6a0dd1f9-0748-520c-902b-e1712547aa32");
        assert_eq!(uuid, Uuid::new_v5(&NAMESPACE, b"id\0shop\0e1"));
        assert_eq!(of_place("shop", "e1", 7), Uuid::new_v5(&NAMESPACE, b"at\0shop\0e1\0\0\0\x07"));
        let all = [
            uuid,
            of_id("shop2", "e1"),
            of_id("shop", "e2"),
            of_place("shop", "e1", 0),
            of_place("shop", "e1", 1),
            of_key("shop", "e1", 0),
            of_key("shop", "e1", 1),
            of_key("shop2", "e1", 0),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
    }

    #[test]
    fn a_given_uuid_is_read_in_every_form() {
        let expected = Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
        for text in [
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67E5504410B1426F9247BB680E5FE0C8",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
        ] {
            assert_eq!(given(text), Some(expected), "{text}");
        }
        for text in ["", "not-a-uuid", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(given(text), None, "{text}");
        }
    }
}
