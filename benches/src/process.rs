//! What a process and its children take: CPU and memory as Linux counts them in `/proc`; ended by id.

use std::{
    collections::HashMap,
    fs,
    process::Child,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// How long a receiver may take to end once it is asked to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A process started here, ended at the latest when this is dropped.
#[derive(Debug)]
pub(crate) struct Owned(Child);

impl Owned {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.pid().cast_signed()).context("a process id")?;
        kill_process(pid, Signal::TERM).context("ask a receiver to end")?;
        let asked = Instant::now();
        while self.is_running() {
            if asked.elapsed() > END_WITHIN {
                bail!("a receiver did not end within {} s", END_WITHIN.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.is_running() {
            // Whatever goes wrong here, there is nobody left to tell.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A process with its children, and theirs.
#[derive(Debug)]
pub(crate) struct Tree {
    root: u32,
    /// Whether a process seen so far belongs here; others are not looked at again.
    known: HashMap<u32, bool>,
}

impl Tree {
    pub(crate) fn new(root: u32) -> Self {
        Self { root, known: HashMap::from([(root, true)]) }
    }

    /// The processes of the tree that there are now, dead ones not waited for among them.
    fn pids(&mut self) -> Vec<u32> {
        let mut there = processes();
        there.retain(|&pid| pid >= self.root);
        there.sort_unstable();
        for &pid in &there {
            if !self.known.contains_key(&pid)
                && let Ok(stat) = Stat::read(pid)
            {
                let ours = self.known.get(&stat.parent).copied().unwrap_or(false);
                self.known.insert(pid, ours);
            }
        }
        there.retain(|pid| self.known.get(pid) == Some(&true));
        there
    }

    /// User and system time of the tree and of children waited for, in seconds.
    pub(crate) fn cpu_seconds(&mut self) -> Result<f64> {
        let ticks: u64 =
            self.pids().into_iter().filter_map(|pid| Stat::read(pid).ok()).map(|stat| stat.ticks).sum();
        if ticks == 0 && Stat::read(self.root).is_err() {
            bail!("a receiver ended by itself");
        }
        Ok(seconds(ticks))
    }

    /// Resident memory of the tree now. Pages that forked children share count once for each.
    fn memory(&mut self) -> Memory {
        self.pids().into_iter().map(Memory::of).fold(Memory::default(), |sum, one| Memory {
            resident_bytes: sum.resident_bytes + one.resident_bytes,
            anonymous_bytes: sum.anonymous_bytes + one.anonymous_bytes,
        })
    }
}

/// User and system time of this process's children that have ended, in seconds.
pub(crate) fn ended_children_cpu_seconds() -> Result<f64> {
    Ok(seconds(Stat::read(std::process::id())?.children_ticks))
}

/// User and system time of this process, in seconds.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    let stat = Stat::read(std::process::id())?;
    Ok(seconds(stat.ticks - stat.children_ticks))
}

/// The cores' time from one moment on, to tell what others took of it.
pub(crate) struct Account {
    started: Instant,
    busy_ticks: u64,
    kernel_ticks: HashMap<u32, u64>,
}

impl Account {
    pub(crate) fn open() -> Result<Self> {
        let (busy_ticks, kernel_ticks) = (busy_ticks()?, kernel_ticks());
        Ok(Self { started: Instant::now(), busy_ticks, kernel_ticks })
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Share of all cores' time that went neither to us, who took `our_seconds`, nor to the kernel's own threads,
    /// which write what we left in the page cache.
    pub(crate) fn other_share(&self, our_seconds: f64) -> Result<f64> {
        let busy = seconds(busy_ticks()?.saturating_sub(self.busy_ticks));
        let kernel = kernel_ticks()
            .into_iter()
            .map(|(pid, ticks)| ticks.saturating_sub(self.kernel_ticks.get(&pid).copied().unwrap_or(0)));
        let others = busy - seconds(kernel.sum()) - our_seconds;
        let all = self.seconds() * thread::available_parallelism()?.get() as f64;
        Ok((others / all).clamp(0.0, 1.0))
    }
}

/// Time all cores together were busy since the machine started; what the host took away counts as busy.
fn busy_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("the line of all cores")?;
    let ticks = line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    // user nice system idle iowait irq softirq steal guest guest_nice; guest time is in user time already.
    let busy = ticks.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at));
    Ok(busy.map(|(_, ticks)| ticks).sum())
}

/// Time of each of the kernel's own threads, all of them children of process 2.
fn kernel_ticks() -> HashMap<u32, u64> {
    let threads = processes().into_iter().filter_map(|pid| Some((pid, Stat::read(pid).ok()?)));
    threads.filter(|(_, stat)| stat.parent == 2).map(|(pid, stat)| (pid, stat.ticks)).collect()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

struct Stat {
    parent: u32,
    /// Its own and those of children waited for.
    ticks: u64,
    children_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name stands in brackets and may hold anything; after it comes field 3.
        let (_, fields) = text.rsplit_once(')').context("a process's name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |number: usize| -> Result<u64> {
            let text = fields.get(number - 3).ok_or_else(|| anyhow!("field {number}"))?;
            Ok(text.parse::<i64>()?.try_into()?)
        };
        let children_ticks = field(16)? + field(17)?;
        Ok(Self { parent: field(4)? as u32, ticks: field(14)? + field(15)? + children_ticks, children_ticks })
    }
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// Not backed by files: heap and stacks.
    pub(crate) anonymous_bytes: u64,
}

impl Memory {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        Self { resident_bytes: kilobytes(&status, "VmRSS:"), anonymous_bytes: kilobytes(&status, "RssAnon:") }
    }

    fn max(self, other: Self) -> Self {
        Self {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            anonymous_bytes: self.anonymous_bytes.max(other.anonymous_bytes),
        }
    }
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Looks at a tree's memory until it is asked for the most it saw.
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Memory>,
    root: u32,
}

impl Watch {
    /// Begins to watch; the kernel's own high-water mark of the root starts anew.
    pub(crate) fn start(root: u32) -> Self {
        // Refused for processes of others only; the samples remain then.
        let _ = fs::write(format!("/proc/{root}/clear_refs"), "5");
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut tree, mut most) = (Tree::new(root), Memory::default());
            loop {
                most = most.max(tree.memory());
                if !matches!(stopped.recv_timeout(SAMPLE_EVERY), Err(RecvTimeoutError::Timeout)) {
                    return most;
                }
            }
        });
        Self { stop, thread, root }
    }

    /// The most there was.
    pub(crate) fn finish(self) -> Result<Memory> {
        drop(self.stop);
        let most = self.thread.join().map_err(|_| anyhow!("watching memory failed"))?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.root)).unwrap_or_default();
        Ok(most.max(Memory { resident_bytes: kilobytes(&status, "VmHWM:"), anonymous_bytes: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn children_and_their_time_belong_to_the_tree() {
        let child = Command::new("sh")
            .args(["-c", "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done & wait; sleep 60"])
            .spawn()
            .expect("a shell");
        let child = Owned::new(child);
        let mut tree = Tree::new(child.pid());
        let begun = Instant::now();
        while tree.cpu_seconds().expect("the shell runs") < 0.05 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child's time is not counted");
            thread::sleep(Duration::from_millis(10));
        }
        assert!(Watch::start(child.pid()).finish().expect("memory").resident_bytes > 0);
        child.end().expect("it ends when asked");
    }
}
