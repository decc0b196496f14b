//! Damage to the files of a journal whose process is dead.

use std::{fmt, fs, io, os::unix::fs::FileExt as _, path::Path};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// What happens to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// One bit turns over.
    Flip {
        /// The byte.
        offset: u64,
        /// The bit of it.
        bit: u8,
    },
    /// A sector or a page of it is zeros.
    Zero {
        /// Where they begin.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// It ends here.
    Truncate {
        /// Its new length.
        length: u64,
    },
    /// It is gone.
    Remove,
}

/// One file and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub name: String,
    /// What happens to it.
    pub harm: Harm,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} in {}", self.harm, self.name)
    }
}

impl Damage {
    /// Draws one that changes something: half of them in the newest webhooks file, the others anywhere.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or holds nothing to damage.
    pub fn draw(directory: &Path, chance: &mut StdRng) -> io::Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if end_of_content(&directory.join(&name))? > 0 {
                names.push(name);
            }
        }
        names.sort();
        let newest = names.iter().rfind(|name| name.ends_with(".webhooks")).filter(|_| chance.random_bool(0.5));
        let name = newest.or_else(|| names.choose(chance)).ok_or(io::ErrorKind::NotFound)?.clone();
        let end = end_of_content(&directory.join(&name))?;
        // what was written last is what is least sure
        let from = if chance.random_ratio(1, 3) { end.saturating_sub(1024) } else { 0 };
        let offset = chance.random_range(from..end);
        let harm = match chance.random_range(0..8) {
            0 => Harm::Remove,
            1 => Harm::Truncate { length: offset },
            2 | 3 => Harm::Zero { offset: offset / 512 * 512, bytes: 512 },
            4 | 5 => Harm::Zero { offset: offset / 4096 * 4096, bytes: 4096 },
            _ => Harm::Flip { offset, bit: chance.random_range(0..8) },
        };
        Ok(Self { name, harm })
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// The file is not there, or cannot be changed.
    pub fn apply(&self, directory: &Path) -> io::Result<()> {
        let path = directory.join(&self.name);
        let open = || fs::OpenOptions::new().read(true).write(true).open(&path);
        match self.harm {
            Harm::Remove => fs::remove_file(&path),
            Harm::Truncate { length } => open()?.set_len(length),
            Harm::Zero { offset, bytes } => {
                let file = open()?;
                let within = bytes.min(file.metadata()?.len().saturating_sub(offset));
                file.write_all_at(&vec![0; usize::try_from(within).unwrap_or(usize::MAX)], offset)
            }
            Harm::Flip { offset, bit } => {
                let (file, mut byte) = (open()?, [0]);
                file.read_exact_at(&mut byte, offset)?;
                file.write_all_at(&[byte[0] ^ (1 << bit)], offset)
            }
        }
    }

    /// Whether so much may be gone of the last group that no byte tells how many webhooks it held.
    #[must_use]
    pub fn hides_the_last(&self) -> bool {
        !matches!(self.harm, Harm::Flip { .. })
    }
}

/// Where the last byte ends that is not zero: what is allocated ahead is no content.
fn end_of_content(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_damage_changes_its_file_and_no_other() -> anyhow::Result<()> {
        let mut chance = StdRng::seed_from_u64(1);
        for _ in 0..200 {
            let directory = tempfile::tempdir()?;
            let files = [("0000000000000001.webhooks", 9_000), ("marks", 100), ("reserve", 0)];
            for (name, content) in files {
                let mut bytes = vec![7; content];
                bytes.resize(20_000, 0);
                fs::write(directory.path().join(name), bytes)?;
            }
            let read = || files.map(|(name, _)| fs::read(directory.path().join(name)).ok());
            let before = read();
            let damage = Damage::draw(directory.path(), &mut chance)?;
            damage.apply(directory.path())?;
            for ((name, _), (before, after)) in files.iter().zip(before.iter().zip(read())) {
                anyhow::ensure!((*before == after) == (*name != damage.name), "{damage} and {name}");
            }
        }
        Ok(())
    }
}
