//! The lines that are broken, and who must notice.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "proto: the check digits of a receipt are compared",
        file: "crates/proto/src/receipt.rs",
        old: "if receipt.check() == check {",
        new: "if receipt.check() == check || check != 0 {",
        package: "moehog-proto",
        test: &["receipt"],
    },
    Mutant {
        name: "tests: the oracle sees what was refused and delivered",
        file: "tests/src/oracle.rs",
        old: "1 if bound => judgement.ghosts.push(person.clone()),",
        new: "1 if bound => {}",
        package: "moehog-tests",
        test: &["oracle"],
    },
];
