//! The promises of the journal, on the embedded one over the simulated disk.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Journal,
    conformance::{Store, conformance},
    disk::simulated::{Call, Death, SimulatedDisk},
};

use super::{Clock, Config, Embedded};

fn config() -> Config {
    Config { segment_bytes: 24 * 1024, budget_bytes: 64 * 1024 * 1024, clock: Clock::new(|| 0), ..Config::default() }
}

mod simulated {
    use super::*;

    /// A machine whose processes and power can be ended.
    struct Machine(SimulatedDisk);

    #[async_trait]
    impl Store for Machine {
        async fn open(&mut self) -> Arc<dyn Journal> {
            Arc::new(Embedded::open(Arc::new(self.0.clone()), config()).unwrap())
        }

        async fn kill(&mut self) {
            self.0.reboot(Death::Kill);
        }

        async fn cut_power(&mut self) {
            self.0.reboot(Death::PowerCut);
        }

        fn stall(&mut self) {
            self.0.hang(Call::SyncData);
        }

        fn resume(&mut self) {
            self.0.release();
        }
    }

    conformance!(Machine(SimulatedDisk::new(1)));
}
