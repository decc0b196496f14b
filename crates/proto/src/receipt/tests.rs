use super::*;

const JOURNAL: JournalId = JournalId(0x3f9a_1c2b);
const KEY: [u8; 16] = *b"a key of a test.";
const LIFE: Incarnation = Incarnation(0x0123_4567_89ab_cdef);

fn mint() -> Mint {
    Mint::new(JOURNAL, KEY)
}

/// The digits that hide incarnation and sequence.
fn block(receipt: Receipt) -> String {
    receipt.to_string().split('-').nth(1).unwrap().to_string()
}

#[test]
fn a_receipt_survives_its_text_and_a_changed_digit_is_caught() {
    for receipt in [Receipt::plain(JOURNAL, 303), mint().receipt(LIFE, 303), mint().receipt(LIFE, u64::MAX)] {
        let text = receipt.to_string();
        assert_eq!(mint().read(&text), Ok(receipt), "{text}");
        assert_eq!(mint().read(&format!(" {}\n", text.to_uppercase())), Ok(receipt), "{text}");
        for (at, old) in text.char_indices().filter(|(_, c)| *c != '-') {
            let new = if old == '0' { '1' } else { '0' };
            let mistyped: String = text.char_indices().map(|(i, c)| if i == at { new } else { c }).collect();
            assert_eq!(mint().read(&mistyped), Err(ParseReceiptError::Check), "{mistyped}");
        }
    }
}

#[test]
fn a_text_is_the_journal_a_block_and_check_digits() {
    let receipt = mint().receipt(LIFE, 303);
    assert_eq!(receipt.to_string(), "3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d");
    assert_eq!((receipt.to_string().len(), Receipt::plain(JOURNAL, 303).to_string().len()), (46, 17));
}

#[test]
fn receipts_of_0_1_are_read_and_printed_as_they_were() {
    for (text, sequence) in
        [("3f9a1c2b-12f-daed", 303), ("3f9a1c2b-1-7363", 1), ("3f9a1c2b-ffffffffffffffff-092d", u64::MAX)]
    {
        let receipt = mint().read(text);
        assert_eq!(receipt, Ok(Receipt::plain(JOURNAL, sequence)), "{text}");
        assert_eq!(receipt.map(|receipt| receipt.to_string()).as_deref(), Ok(text));
        assert_eq!(Mint::new(JOURNAL, [0; 16]).receipt(Incarnation::NONE, sequence).to_string(), text);
    }
}

#[test]
fn an_address_tells_incarnation_and_number_and_one_of_0_1_is_its_text() {
    assert_eq!(mint().receipt(LIFE, 303).address(), "0123456789abcdef-12f");
    assert_eq!(Receipt::plain(JOURNAL, 303).address(), "3f9a1c2b-12f-daed");
}

#[test]
fn what_is_no_receipt_is_told() {
    let long = "3f9a1c2b-0000000000000000000000000000012f1-a07c";
    let between = "3f9a1c2b-0000000000000012f-a07c";
    for text in ["", "3f9a1c2b", "3f9a1c2b-12f", "3f9a1c2b-+12f-a07c", "3f9a1c2b--a07c", "x-12f-a07c", long, between] {
        assert_eq!(mint().read(text), Err(ParseReceiptError::Shape), "{text}");
    }
}

#[test]
fn a_receipt_of_another_journal_is_told() {
    let journal = JournalId(0x0a0b_0c0d);
    for receipt in [Receipt::plain(journal, 303), Mint::new(journal, [7; 16]).receipt(LIFE, 303)] {
        assert_eq!(mint().read(&receipt.to_string()), Err(ParseReceiptError::OtherJournal { journal }));
    }
    let message = ParseReceiptError::OtherJournal { journal }.to_string();
    assert!(message.contains("another journal, 0a0b0c0d: each gateway has a journal of its own"), "{message}");
}

#[test]
fn two_incarnations_never_print_alike() {
    let of = |incarnation: u64| (1..=1000).map(move |sequence| mint().receipt(Incarnation(incarnation), sequence));
    let texts: std::collections::HashSet<_> = (1..=10).flat_map(of).map(|receipt| receipt.to_string()).collect();
    assert_eq!(texts.len(), 10_000);
}

#[test]
fn successive_numbers_show_nothing_in_common() {
    let blocks: Vec<_> = (1..=1000).map(|sequence| block(mint().receipt(LIFE, sequence))).collect();
    for pair in blocks.windows(2) {
        let common = pair[0].bytes().zip(pair[1].bytes()).filter(|(one, next)| one == next).count();
        assert!(common < 12, "{pair:?}");
        assert_ne!(pair[0][..4], pair[1][..4], "{pair:?}");
    }
    let other = block(Mint::new(JOURNAL, [7; 16]).receipt(LIFE, 1));
    assert_ne!(other, blocks[0], "another key");
}

#[test]
fn a_mint_does_not_print_its_key() {
    assert_eq!(format!("{:?}", mint()), "Mint { journal: JournalId(3f9a1c2b), .. }");
}
