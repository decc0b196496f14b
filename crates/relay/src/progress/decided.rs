//! By which mapping an entry is mapped, once events of it may have been sent.

use std::sync::Arc;

use moehog_proto::journal::Mapping;

use super::Carried;

impl Carried {
    /// The mapping that it must be mapped by.
    pub(crate) fn wants(&self) -> Option<&Arc<Mapping>> {
        self.mapping.as_ref().filter(|_| self.decided)
    }

    /// Says by which mapping its events were made. Where one of before could not be had, that is told of it.
    pub(crate) fn mapped_by(&mut self, revision: &str, mapping: Option<Arc<Mapping>>) {
        let former = self.wants().filter(|wanted| wanted.revision != revision).map(|wanted| wanted.revision.clone());
        if let Some(former) = former {
            self.known().former_revision = former;
            self.decided = false;
        }
        if !self.decided {
            self.mapping = mapping;
        }
    }

    /// The mapping that the journal is to know of before a call sends events of it; none where it does.
    pub(crate) fn undecided(&self) -> Option<&Arc<Mapping>> {
        self.mapping.as_ref().filter(|_| !self.decided)
    }

    /// A call was made before which the journal noted that.
    pub(crate) fn was_noted(&mut self) {
        self.decided = self.mapping.is_some();
    }
}
