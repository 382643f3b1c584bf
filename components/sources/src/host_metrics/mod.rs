//! Source `host_metrics`: the CPU, memory, load, disks, file systems, network, paging, processes and uptime of the
//! host, by the Collector's names or by those of the semantic conventions. Linux only. Reports no single process.

mod cpu;
mod disk;
mod filesystem;
mod filter;
mod host;
mod load;
mod memory;
mod mounts;
mod names;
mod network;
mod paging;
mod prober;
mod processes;
mod scrape;
mod sheet;
mod stat;
mod system;
