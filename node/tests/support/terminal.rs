//! Runs the program on a pseudo-terminal, as a user would.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{DEADLINE, signal};

/// A program whose stdin, stdout and stderr are a terminal.
pub(crate) struct OnTerminal {
    child: Child,
    shown: Receiver<Vec<u8>>,
    /// Output of the terminal so far.
    pub(crate) screen: String,
    // The terminal would hang up when its last descriptor is closed.
    _terminal: File,
}

impl OnTerminal {
    /// Starts the program.
    pub(crate) fn start(command: &mut Command) -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open(std::ffi::OsStr::from_bytes(name.to_bytes()))
            .unwrap();
        let end = || terminal.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        // The command's descriptors would keep the terminal open.
        use std::process::Stdio;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut main = File::from(main);
            let mut buffer = [0; 4096];
            // An error means that no process has the terminal open any more.
            while let Ok(n @ 1..) = main.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            shown,
            screen: String::new(),
            _terminal: terminal,
        }
    }

    /// Waits until the terminal shows `part`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, part: &str) {
        self.wait_until(part, |screen| screen.contains(part));
    }

    /// Waits until the output satisfies `holds`.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(&self.screen) {
            match self
                .shown
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.screen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(why) => panic!("{why}: no {what:?} in {}", self.screen),
            }
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn stop(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Waits for the end; returns the exit status and the whole output.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let (sender, ended) = channel();
        let mut child = self.child;
        std::thread::spawn(move || {
            let _ = sender.send(child.wait());
        });
        let Ok(status) = ended.recv_timeout(DEADLINE) else {
            panic!("did not end: {:?}", self.screen)
        };
        // Collects the rest of the output.
        drop(self._terminal);
        let end = Instant::now() + DEADLINE;
        loop {
            match self
                .shown
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.screen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the terminal stays open"),
            }
        }
        (status.unwrap().code(), self.screen)
    }
}
