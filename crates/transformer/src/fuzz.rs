//! Webhooks and mapping files of any bytes, guided by coverage. They stand in the library, since a fuzzer of its tests is built
//! without the binary.

mod bodies;
#[path = "../tests/mutated_bodies/event.rs"]
mod event;
mod mappings;
