//! moehog.

fn main() {}
