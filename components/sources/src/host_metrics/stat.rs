//! Parses `/proc/stat`, which the cpu and processes scrapers and every counter's start time share.

/// Ticks of one CPU, or of all. Older kernels write fewer columns; what is absent is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuTicks {
    pub(super) user: u64,
    pub(super) nice: u64,
    pub(super) system: u64,
    pub(super) idle: u64,
    pub(super) iowait: u64,
    pub(super) irq: u64,
    pub(super) softirq: u64,
    pub(super) steal: u64,
}

/// What this source uses of `/proc/stat`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) total: Option<CpuTicks>,
    /// Online CPUs by their number; numbers may have gaps.
    pub(super) cpus: Vec<(u64, CpuTicks)>,
    /// Boot time in seconds since the Unix epoch.
    pub(super) boot_seconds: Option<u64>,
    /// Processes created since boot.
    pub(super) created: Option<u64>,
}

impl Stat {
    /// Reads every line that it understands and skips the others: kernels add lines.
    pub(super) fn parse(text: &str) -> Stat {
        let mut stat = Stat::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once(' ') else {
                continue;
            };
            match name {
                "cpu" => stat.total = Some(CpuTicks::parse(rest)),
                "btime" => stat.boot_seconds = rest.trim().parse().ok(),
                "processes" => stat.created = rest.trim().parse().ok(),
                _ => {
                    let number = name.strip_prefix("cpu").and_then(|number| number.parse().ok());
                    stat.cpus.extend(number.map(|number| (number, CpuTicks::parse(rest))));
                }
            }
        }
        stat
    }
}

impl CpuTicks {
    fn parse(columns: &str) -> CpuTicks {
        let mut numbers = columns.split_ascii_whitespace().map(|column| column.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        CpuTicks {
            user: next(),
            nice: next(),
            system: next(),
            idle: next(),
            iowait: next(),
            irq: next(),
            softirq: next(),
            steal: next(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is a failed test")]
    use super::*;

    /// Known lines are read, the long interrupt line and unknown lines are skipped.
    #[test]
    fn reads_what_it_knows() {
        let stat = Stat::parse(
            "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu3 9 9 9 9 9 9 9 9 9 9\n\
             intr 248783 0 0 1 6\nctxt 361380\nbtime 1795505093\nprocesses 10636\nprocs_running 7\nfuture 1 2 3\n",
        );
        assert_eq!(stat.total.unwrap().steal, 80);
        let numbers: Vec<u64> = stat.cpus.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 3]);
        assert_eq!(stat.cpus[0].1.iowait, 5);
        assert_eq!(stat.boot_seconds, Some(1_795_505_093));
        assert_eq!(stat.created, Some(10_636));
    }

    /// A row of an old kernel or of a container's own `/proc` with fewer columns counts as zero there.
    #[test]
    fn short_rows_are_tolerated() {
        let stat = Stat::parse("cpu 5 6 7 8\n");
        let expected = CpuTicks { user: 5, nice: 6, system: 7, idle: 8, ..Default::default() };
        assert_eq!(stat.total, Some(expected));
        assert_eq!(stat.boot_seconds, None);
    }

    /// Two hundred CPUs are two hundred rows.
    #[test]
    fn many_cpus() {
        let text: String = (0..200).map(|number| format!("cpu{number} 1 1 1 1 1 1 1 1 0 0\n")).collect();
        assert_eq!(Stat::parse(&text).cpus.len(), 200);
    }
}
