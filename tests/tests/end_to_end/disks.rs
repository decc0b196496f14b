//! What disks do to a journal, with real processes: `cargo xtask soak disks` runs these at length.

mod a_clock_that_jumps;
mod a_neighbour_fills_the_disk;
mod copies_share_no_receipt;
mod damage_is_counted;
mod restarts_need_no_more_files;
