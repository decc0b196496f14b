//! A corpus made small: of all inputs those that together reach what all of them reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, ensure};

use super::{Fuzzer, MAX_INPUT_BYTES};

/// Writes the corpus in the work tree anew, and says how many inputs and bytes it has. A file that a person named stays.
pub(super) fn reduce(fuzzer: &Fuzzer) -> anyhow::Result<(usize, u64)> {
    let corpus = fuzzer.target.corpus();
    let mut inputs = files(&corpus)?;
    inputs.extend(files(&fuzzer.found())?);
    let reached = reach(fuzzer, &inputs)?;
    let sized = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut chosen: BTreeSet<usize> = (0..inputs.len()).filter(|index| is_named(&inputs[*index])).collect();
    let mut covered: BTreeSet<u32> = chosen.iter().filter_map(|index| reached.get(index)).flatten().copied().collect();
    loop {
        let gain = |index: &usize| reached[index].iter().filter(|feature| !covered.contains(feature)).count();
        // most for its bytes; where two are alike, the smaller
        let best = reached.keys().map(|index| (gain(index), *index)).filter(|(gain, _)| *gain > 0).max_by_key(
            |(gain, index)| (*gain as u64 * 1_000_000 / (sized(&inputs[*index]) + 200), std::cmp::Reverse(*index)),
        );
        let Some((_, index)) = best else { break };
        covered.extend(&reached[&index]);
        chosen.insert(index);
    }
    let contents = chosen
        .iter()
        .map(|index| Ok((inputs[*index].file_name().unwrap_or_default().to_owned(), fs::read(&inputs[*index])?)))
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    for path in files(&corpus)? {
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    for (name, content) in &contents {
        fs::write(corpus.join(name), content).with_context(|| format!("write {}", corpus.display()))?;
    }
    Ok((contents.len(), contents.values().map(|content| content.len() as u64).sum()))
}

/// The files of a directory, in order.
pub(super) fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether a person gave the input its name; libFuzzer's are SHA-1.
fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() != 40 || !name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What each input reaches, by its number. libFuzzer writes it into a file that names the inputs, for merges of its own.
fn reach(fuzzer: &Fuzzer, inputs: &[PathBuf]) -> anyhow::Result<BTreeMap<usize, BTreeSet<u32>>> {
    let control = fuzzer.directory.join("reached");
    let names: Vec<_> = inputs.iter().map(|path| path.display().to_string()).collect();
    fs::write(&control, format!("{}\n0\n{}\n", inputs.len(), names.join("\n")))?;
    let arguments = [
        "-merge_inner=1".to_string(),
        "-use_counters=0".to_string(),
        format!("-max_len={MAX_INPUT_BYTES}"),
        format!("-merge_control_file={}", control.display()),
        fuzzer.found().display().to_string(),
    ];
    let status = fuzzer.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "look at what the inputs of {} reach: {status}", fuzzer.target.name);
    let said = fs::read_to_string(&control)?;
    let features = said.lines().filter_map(|line| {
        let mut numbers = line.strip_prefix("FT ")?.split(' ').filter_map(|number| number.parse::<u32>().ok());
        Some((usize::try_from(numbers.next()?).ok()?, numbers.collect()))
    });
    Ok(features.collect())
}
