//! Figures of the process, as Linux has them.

use std::fmt;

use crate::telemetry::metrics::{Answer, Collector, DescriptorEncoder};

/// The figures of the process, under the names that all client libraries of Prometheus have for them.
/// <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Where /proc cannot be read there are none.
        let Ok(process) = procfs::process::Process::myself() else {
            return Ok(());
        };
        let Ok(stat) = process.stat() else {
            return Ok(());
        };
        let mut answer = Answer(encoder);
        let ticks_per_s = procfs::ticks_per_second() as f64;
        answer.seconds_counter(
            "process_cpu",
            "User and system CPU time",
            (stat.utime + stat.stime) as f64 / ticks_per_s,
        )?;
        let page_bytes = procfs::page_size();
        answer.gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            (stat.rss * page_bytes) as f64,
        )?;
        answer.gauge(
            "process_virtual_memory_bytes",
            "Virtual memory",
            stat.vsize as f64,
        )?;
        answer.gauge("process_threads", "Threads", stat.num_threads as f64)?;
        if let Ok(open) = process.fd_count() {
            answer.gauge("process_open_fds", "Open file descriptors", open as f64)?;
        }
        if let Ok(limits) = process.limits()
            && let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            answer.gauge(
                "process_max_fds",
                "Open file descriptors at most",
                most as f64,
            )?;
        }
        if let Ok(booted) = procfs::boot_time_secs() {
            answer.gauge(
                "process_start_time_seconds",
                "When the process started, since the Unix epoch",
                booted as f64 + stat.starttime as f64 / ticks_per_s,
            )?;
        }
        Ok(())
    }
}
