//! Any rotations, kills and ends, against a model: what was written arrives, in its order, and once unless there was a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};

use engine_core::state_store::{Document, StateError, StateStore};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::harness::{self, Folder};
use super::stepped::Stepped;
use crate::tail::{Format, Settings};

/// Positions in memory.
#[derive(Default)]
struct Memory(Mutex<Option<Document>>);

impl StateStore for Memory {
    fn load(&self, _: &str) -> Result<Option<Document>, StateError> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn store(&self, _: &str, document: &Document) -> Result<(), StateError> {
        *self.0.lock().unwrap() = Some(document.clone());
        Ok(())
    }
}

/// A log that is written to, rotated and read.
struct World {
    random: StdRng,
    folder: Folder,
    store: Arc<Memory>,
    reader: Option<Stepped>,
    /// Lines that were written, each a number, and how often each came.
    written: u32,
    came: BTreeMap<u32, u32>,
    /// Lines in the order in which they came first.
    order: Vec<u32>,
    /// A line has begun and not ended.
    is_inside: bool,
    rotations: u32,
    /// Rotation copies and truncates, and does not rename.
    copies: bool,
    has_killed: bool,
    trail: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = Folder::new();
        folder.append("a.log", "");
        let store = Arc::new(Memory::default());
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            folder,
            store,
            reader: None,
            written: 0,
            came: BTreeMap::new(),
            order: Vec::new(),
            is_inside: false,
            rotations: 0,
            copies: seed % 4 == 3,
            has_killed: false,
            trail: Vec::new(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let settings = Settings { max_in_flight: 1 << 20, ..harness::settings() };
        let store: Arc<dyn StateStore> = Arc::<Memory>::clone(&self.store);
        self.reader = Some(self.folder.step_to(store, settings, Format::plain()));
    }

    fn write(&mut self) {
        let mut text = String::new();
        if fs::metadata(self.folder.path("a.log")).map_or(0, |found| found.len()) == 0 {
            // A shorter file is told from others only by all that is in it.
            text.push_str(&format!("{:6} {}\n", self.written, "first".repeat(300)));
            self.written += 1;
        }
        if self.is_inside {
            text.push_str(" end\n");
            self.is_inside = false;
        }
        for _ in 0..self.random.random_range(0..40) {
            text.push_str(&format!("{:6} {}\n", self.written, "x".repeat(self.random.random_range(0..200))));
            self.written += 1;
        }
        if self.random.random_ratio(1, 4) {
            text.push_str(&format!("{:6} begin", self.written));
            self.written += 1;
            self.is_inside = true;
        }
        self.folder.append("a.log", &text);
        self.trail.push(format!("write to {}", self.written));
    }

    /// Ends a line, as a writer does before it goes on in another file.
    fn end_line(&mut self) {
        if std::mem::take(&mut self.is_inside) {
            self.folder.append("a.log", " end\n");
        }
    }

    fn rename(&mut self) {
        self.end_line();
        self.rotations += 1;
        self.folder.rename("a.log", &format!("a.log.20261130-{:06}", self.rotations));
        self.trail.push(format!("rename {}", self.rotations));
        if self.random.random_ratio(1, 2) {
            self.folder.append("a.log", "");
        } else {
            self.write();
        }
    }

    fn copy_and_truncate(&mut self) {
        self.end_line();
        self.rotations += 1;
        self.trail.push(format!("copytruncate {}", self.rotations));
        let copy = self.folder.path(&format!("a.log.20261130-{:06}", self.rotations));
        fs::copy(self.folder.path("a.log"), copy).unwrap();
        fs::File::options().write(true).open(self.folder.path("a.log")).unwrap().set_len(0).unwrap();
    }

    fn compress(&mut self) {
        let plain = |name: &String| name.starts_with("a.log.") && !name.ends_with(".gz");
        if let Some(name) = self.names().into_iter().find(plain) {
            self.trail.push(format!("compress {name}"));
            self.folder.compress(&name);
        }
    }

    fn delete(&mut self) {
        let names = self.names();
        let rotated: Vec<_> = names.iter().filter(|name| name.starts_with("a.log.")).collect();
        if rotated.len() > 3 && self.came.len() == self.written as usize - usize::from(self.is_inside) {
            self.trail.push(format!("delete {}", rotated[0]));
            fs::remove_file(self.folder.path(rotated[0])).unwrap();
        }
    }

    fn names(&self) -> Vec<String> {
        let folder = self.folder.path("");
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn take(&mut self, lines: Vec<String>) {
        if !lines.is_empty() {
            self.trail.push(format!("took {} {:?}..{:?}", lines.len(), &lines[0][..7], &lines[lines.len() - 1][..7]));
        }
        for line in lines {
            let number = line
                .trim()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap_or_else(|_| panic!("{line:?} after {}", self.trail.join(" ")));
            let times = self.came.entry(number).or_default();
            *times += 1;
            if *times == 1 {
                self.order.push(number);
            }
        }
    }

    fn step(&mut self, rounds: u32) {
        for _ in 0..rounds {
            let lines = self.reader.as_mut().unwrap().step();
            self.take(lines);
        }
    }

    fn act(&mut self) {
        let choice = self.random.random_range(0..100);
        self.trail.push(format!("\n{choice}:"));
        match choice {
            0..35 => self.write(),
            35..45 if !self.copies => self.rename(),
            35..45 => {
                self.copy_and_truncate();
                // Rotations by copying are not that quick.
                self.step(1);
            }
            45..48 => self.step(1),
            48..54 => self.compress(),
            54..58 => self.delete(),
            58..75 => self.step(1),
            75..90 => self.reader.as_mut().unwrap().deliver(),
            90..93 => {
                self.reader.as_mut().unwrap().deliver();
                let rounds = self.random.random_range(1..150);
                self.step(rounds);
            }
            93..96 => {
                let lines = self.reader.take().unwrap().stop();
                self.take(lines);
                let away = self.random.random_range(0..3);
                (0..away).for_each(|_| self.away());
                self.start();
            }
            96..98 => {
                self.has_killed = true;
                self.reader = None;
                let away = self.random.random_range(0..3);
                (0..away).for_each(|_| self.away());
                self.start();
            }
            _ => {
                self.step(1);
                self.reader.as_mut().unwrap().deliver();
            }
        }
    }

    /// What happens while nobody reads.
    fn away(&mut self) {
        match self.random.random_range(0..3) {
            0 => self.write(),
            1 if !self.copies => self.rename(),
            _ => self.compress(),
        }
    }

    fn check(mut self, seed: u64) {
        self.end_line();
        self.reader.as_mut().unwrap().deliver();
        for _ in 0..150 {
            self.step(1);
            self.reader.as_mut().unwrap().deliver();
        }
        let missing: Vec<u32> = (0..self.written).filter(|number| !self.came.contains_key(number)).collect();
        let twice: Vec<u32> = self.came.iter().filter(|(_, times)| **times > 1).map(|(number, _)| *number).collect();
        let trail = self.trail.join(" ");
        assert!(missing.is_empty(), "seed {seed}: {missing:?} are missing of {} after {trail}", self.written);
        assert!(self.has_killed || twice.is_empty(), "seed {seed}: {twice:?} came twice after {trail}");
        assert!(self.has_killed || self.order.is_sorted(), "seed {seed}: the order is not kept after {trail}");
    }
}

/// Whatever happens, nothing is missing; without a kill nothing comes twice, and in its order. `MODEL_FIRST` and `MODEL_SEEDS` say
/// which worlds, and how many.
#[test]
fn nothing_is_missing_or_twice() {
    let count: u64 = std::env::var("MODEL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let first: u64 = std::env::var("MODEL_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut bad = BTreeSet::new();
    for seed in first..first + count {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..60 {
                world.act();
            }
            world.check(seed);
        });
        if run.is_err() {
            bad.insert(seed);
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}
