//! `moehog test`: golden cases of the user's own, a body each and the events that are expected of it.

mod case;
mod compare;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, ensure};
use moehog_runtime::Exit;
use moehog_telemetry::terminal::{shown, shown_lines};
use moehog_transformer::{Mapping, Rules, Transformer};

use self::{case::Case, compare::difference};
use crate::{
    check, cli,
    mapped::{self, Sent},
};

/// Directories within directories.
const MAX_DEPTH: usize = 32;

/// What became of one case.
enum Ended {
    Passed,
    Written,
    /// The lines that differ.
    Differs(String),
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command's answer")]
pub(crate) fn run(command: &cli::Test) -> ExitCode {
    let prepared = check::mapping(command.config.as_deref()).and_then(|mapping| Ok((files(&command.files)?, mapping)));
    let (files, mapping) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("error: {}", shown_lines(&format!("{error:#}"), "  "));
            return code(Exit::Configuration);
        }
    };
    let mut runner = Runner { command, mapping, transformers: HashMap::new() };
    let (mut differ, mut wrong) = (0, 0);
    for file in &files {
        let name = shown(&file.to_string_lossy()).into_owned();
        match runner.run(file) {
            Ok(Ended::Passed) => println!("passed {name}"),
            Ok(Ended::Written) => println!("written {name}"),
            Ok(Ended::Differs(lines)) => {
                differ += 1;
                println!("failed {name}\n{lines}");
            }
            Err(error) => {
                wrong += 1;
                println!("wrong {name}: {}", shown_lines(&format!("{error:#}"), "  "));
            }
        }
    }
    println!("{} passed, {differ} failed, {wrong} wrong", files.len() - differ - wrong);
    match (differ, wrong) {
        (0, 0) => ExitCode::SUCCESS,
        (_, 0) => code(Exit::Failure),
        _ => code(Exit::Configuration),
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(u8::try_from(exit.code()).unwrap_or(1))
}

struct Runner<'c> {
    command: &'c cli::Test,
    mapping: Mapping,
    /// By mapping file; none is the built-in mapping.
    transformers: HashMap<Option<PathBuf>, Transformer>,
}

impl Runner<'_> {
    fn run(&mut self, file: &Path) -> anyhow::Result<Ended> {
        let text = moehog_runtime::read_text(file).context("read the case")?;
        let mut case = Case::read(&text, self.command.write)?;
        let directory = file.parent().unwrap_or(Path::new("."));
        let body = case.body(directory)?;
        let named = case.mapping.as_ref().map(|mapping| directory.join(mapping));
        let mapping = named.or_else(|| self.command.mapping.clone()).or_else(|| self.mapping.file.clone());
        let transformer = self.transformer(mapping)?;
        let sent = Sent {
            source: &case.source,
            content_type: &case.content_type,
            ..Sent::of(&body, case.received_at.as_millisecond())
        };
        let (mapped, _) = mapped::map(transformer, &sent);
        if self.command.write {
            case.expect = mapped.iter().map(|mapped| compare::expected(mapped, case.exact)).collect();
            fs::write(file, case.text()?).context("write the case")?;
            return Ok(Ended::Written);
        }
        Ok(difference(&case.expect, &mapped, case.exact)?.map_or(Ended::Passed, Ended::Differs))
    }

    fn transformer(&mut self, mapping: Option<PathBuf>) -> anyhow::Result<&Transformer> {
        if !self.transformers.contains_key(&mapping) {
            let rules = match &mapping {
                None => Rules::default(),
                Some(path) => check::usable(path, &self.mapping)?,
            };
            self.transformers.insert(mapping.clone(), Transformer::new(&self.mapping, rules));
        }
        self.transformers.get(&mapping).ok_or_else(|| anyhow!("no mapping"))
    }
}

/// The files that are named, and all *.json below the directories that are.
fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        below(path, MAX_DEPTH, &mut files).with_context(|| format!("read {}", path.display()))?;
        ensure!(files.len() > before, "{} holds no case: no file below it ends in .json", path.display());
    }
    Ok(files)
}

fn below(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        // a link to a directory may lead back
        if entry.file_type()?.is_dir() {
            ensure!(depth > 0, "{} is more than {MAX_DEPTH} directories deep", path.display());
            below(&path, depth - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}
