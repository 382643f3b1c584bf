//! `system.cpu.time`, per mode and, where asked for, per CPU. Computes no utilization: backends derive it from the rate.

use super::{
    names::{self, Naming, key},
    sheet::{Attribute, Points, Sheet},
    stat::{CpuTicks, Stat},
};

/// Whether CPUs are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CpuDetail {
    /// One sum over all CPUs for each mode.
    Total,
    /// One value for each CPU and mode.
    PerCpu,
}

/// Writes the CPU metrics. `ticks_per_second` is the kernel's `USER_HZ`.
pub(super) fn write(sheet: &mut Sheet<'_>, stat: &Stat, detail: CpuDetail, ticks_per_second: u64) {
    let naming = sheet.naming();
    let mut time = sheet.metric(&names::CPU_TIME);
    match detail {
        CpuDetail::Total => {
            // The kernel's own sum, unlike a sum of the rows, never falls when a CPU goes offline.
            if let Some(ticks) = stat.total {
                write_modes(&mut time, naming, ticks, ticks_per_second, None);
            }
        }
        CpuDetail::PerCpu => {
            for (number, ticks) in &stat.cpus {
                let label = format!("cpu{number}");
                let cpu = match naming {
                    Naming::Legacy => Attribute::Text(key::CPU, &label),
                    Naming::Stable => Attribute::Int(key::CPU, *number),
                };
                write_modes(&mut time, naming, *ticks, ticks_per_second, Some(cpu));
            }
        }
    }
    if naming == Naming::Stable && !stat.cpus.is_empty() {
        sheet.metric(&names::CPU_LOGICAL_COUNT).int(stat.cpus.len() as u64, &[]);
    }
}

/// Guest time is part of `user` and `nice` already, so it has no mode of its own.
fn write_modes(
    time: &mut Points<'_>,
    naming: Naming,
    ticks: CpuTicks,
    ticks_per_second: u64,
    cpu: Option<Attribute<'_>>,
) {
    let legacy = [
        ("user", ticks.user),
        ("system", ticks.system),
        ("idle", ticks.idle),
        ("interrupt", ticks.irq),
        ("nice", ticks.nice),
        ("softirq", ticks.softirq),
        ("steal", ticks.steal),
        ("wait", ticks.iowait),
    ];
    let stable = [
        ("user", ticks.user),
        ("system", ticks.system),
        ("idle", ticks.idle),
        ("interrupt", ticks.irq + ticks.softirq),
        ("nice", ticks.nice),
        ("steal", ticks.steal),
        ("iowait", ticks.iowait),
    ];
    let modes: &[(&str, u64)] = match naming {
        Naming::Legacy => &legacy,
        Naming::Stable => &stable,
    };
    for (mode, value) in modes {
        let seconds = *value as f64 / ticks_per_second as f64;
        let mode = Attribute::Text(key::CPU_MODE, mode);
        match cpu {
            Some(cpu) => time.double(seconds, &[cpu, mode]),
            None => time.double(seconds, &[mode]),
        }
    }
}
