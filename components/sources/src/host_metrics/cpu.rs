//! `system.cpu.time`, per mode and, where asked for, per CPU. Computes no utilization: backends derive it from the rate.

use engine_config::sources::host_metrics::{CpuOptions, Semconv};

use super::{
    names::{self, key},
    sheet::{Attribute, Points, Sheet},
    stat::{CpuTicks, Stat},
};

/// Writes the CPU metrics. `ticks_per_second` is the kernel's `USER_HZ`.
pub(super) fn write(sheet: &mut Sheet<'_>, stat: &Stat, options: &CpuOptions, ticks_per_second: u64) {
    let semconv = sheet.semconv();
    let mut time = sheet.metric(&names::CPU_TIME);
    if options.per_cpu {
        for (number, ticks) in &stat.cpus {
            let label = format!("cpu{number}");
            let cpu = match semconv {
                Semconv::Legacy => Attribute::Text(key::CPU, &label),
                Semconv::Stable => Attribute::Int(key::CPU, *number),
            };
            write_modes(&mut time, semconv, *ticks, ticks_per_second, Some(cpu));
        }
    } else if let Some(ticks) = stat.total {
        // The kernel's own sum, unlike a sum of the rows, never falls when a CPU goes offline.
        write_modes(&mut time, semconv, ticks, ticks_per_second, None);
    }
    if semconv == Semconv::Stable && !stat.cpus.is_empty() {
        sheet.metric(&names::CPU_LOGICAL_COUNT).int(stat.cpus.len() as u64, &[]);
    }
}

/// Guest time is part of `user` and `nice` already, so it has no mode of its own.
fn write_modes(
    time: &mut Points<'_>,
    semconv: Semconv,
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
    let modes: &[(&str, u64)] = match semconv {
        Semconv::Legacy => &legacy,
        Semconv::Stable => &stable,
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
