//! How much memory this process may use.

use std::{fs, path::Path};

/// Bytes of memory that this process's control group, or one above it, may use: a container's limit. None where there is
/// no limit, or no control groups.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    limit_under(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// `groups` is what the kernel says of the process's control groups; version 2 has one line, `0::PATH`, version 1 one for
/// each controller, `N:memory:PATH`. A container may see its own group as the root, or by a path of its host's, which is
/// then not there: each directory up to the root is looked at.
///
/// Source: Linux, cgroups(7) and Documentation/admin-guide/cgroup-v2.rst, `memory.max` (read 2026-11-28).
fn limit_under(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let directory = root.join(path.trim_start_matches('/'));
        let up = directory.ancestors().take_while(|directory| directory.starts_with(&root));
        up.filter_map(|directory| fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()).collect()
    });
    // version 1 says "no limit" by the largest number of whole pages
    limits.min().filter(|bytes| *bytes < u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)], groups: &str) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        limit_under(root.path(), groups)
    }

    #[test]
    fn the_smallest_limit_of_a_group_and_those_above_it_counts() {
        let files = [("a/b/memory.max", "max\n"), ("a/memory.max", "1073741824\n"), ("memory.max", "4294967296\n")];
        assert_eq!(limit(&files, "0::/a/b\n"), Some(1 << 30));
        assert_eq!(limit(&files, "0::/\n"), Some(1 << 32));
        assert_eq!(limit(&[("memory.max", "536870912")], "0::/kubepods/pod1/of-the-host\n"), Some(512 << 20));
        assert_eq!(limit(&[("a/memory.max", "max")], "0::/a\n"), None);
    }

    #[test]
    fn version_one_has_a_file_and_a_word_for_none_of_its_own() {
        let groups = "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n";
        assert_eq!(limit(&[("memory/docker/1/memory.limit_in_bytes", "268435456\n")], groups), Some(256 << 20));
        assert_eq!(limit(&[("memory/memory.limit_in_bytes", "268435456\n")], groups), Some(256 << 20));
        assert_eq!(limit(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")], groups), None);
        assert_eq!(limit(&[], groups), None);
    }
}
