//! A claim of a source of the journal in memory.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use moehog_proto::{
    Sequence,
    journal::{Mapping, Progress},
};

use super::Shared;
use crate::{
    Batch, Claim, ReadError, ReadLimit, Record, RecordError, growth::Growths, reopened::Reopened, watch::Known,
};

pub(super) struct MemoryClaim {
    pub(super) shared: Arc<Shared>,
    pub(super) growths: Arc<Growths>,
    pub(super) reopened: Arc<Reopened>,
    pub(super) source: String,
    pub(super) epoch: u64,
}

impl fmt::Debug for MemoryClaim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryClaim").field("source", &self.source).field("epoch", &self.epoch).finish()
    }
}

#[async_trait]
impl Claim for MemoryClaim {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn read(&self, destination: &str, from: Sequence, limit: ReadLimit) -> Result<Batch, ReadError> {
        let store = self.shared.store.lock();
        store.check_read()?;
        Ok(store.read(&self.shared.life, &self.source, destination, from, limit))
    }

    async fn grown(&self, destination: &str, seen: Sequence) -> Option<Sequence> {
        self.growths.wait((&self.source, destination), seen, || self.shared.store.lock().durable()).await
    }

    async fn reopened(&self, destination: &str) -> Option<BTreeSet<Sequence>> {
        self.reopened.wait(&self.source, destination).await
    }

    async fn record(&self, records: Vec<Record>) -> Result<(), RecordError> {
        let mut store = self.shared.store.lock();
        store.check_claim(&self.source, self.epoch)?;
        let watchers = &self.shared.watchers;
        let watched = records.iter().filter(|record| watchers.watch(record.sequence));
        let told: Vec<_> = watched.map(|record| (record.sequence, Known::recorded(record))).collect();
        store.record(records);
        for (sequence, known) in told {
            watchers.tell(sequence, &known);
        }
        Ok(())
    }

    fn announce(&self, sequence: Sequence, progress: &Arc<Progress>) {
        let watchers = &self.shared.watchers;
        if watchers.count() > 0 && self.shared.store.lock().holds_claim(&self.source, self.epoch) {
            watchers.tell(sequence, &Known { progress: progress.clone(), settled: false });
        }
    }

    fn is_awaited(&self, sequence: Sequence) -> bool {
        self.shared.watchers.is_awaited(sequence)
    }

    async fn transform_started(&self, sequences: &[Sequence]) -> Result<(), RecordError> {
        let mut store = self.shared.store.lock();
        store.check_claim(&self.source, self.epoch)?;
        store.transforms.push(sequences.to_vec());
        Ok(())
    }

    async fn transform_ended(&self, sequences: &[Sequence]) -> Result<(), RecordError> {
        let mut store = self.shared.store.lock();
        store.check_claim(&self.source, self.epoch)?;
        if let Some(at) = store.transforms.iter().position(|started| started == sequences) {
            store.transforms.swap_remove(at);
        }
        Ok(())
    }

    async fn decide(&self, mapping: &Mapping, sequences: &[Sequence]) -> Result<(), RecordError> {
        let mut store = self.shared.store.lock();
        store.check_claim(&self.source, self.epoch)?;
        store.decide(mapping, sequences);
        Ok(())
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        self.shared.store.lock().give_up(&self.source, self.epoch);
    }
}
