//! One path of a lookup: candidates in the order of distance, and a window over them.

use alloc::vec::Vec;
use core::time::Duration;

use smallvec::SmallVec;

use crate::id::Distance;
use crate::lookup::{Candidate, Counts, OPEN_PER_PLACE, PATIENCE, SILENT_PER_CALL, Step, Why};
use crate::time::Mono;

/// Number of nearest known candidates among which the first to ask are chosen by round-trip time.
const NEARBY: usize = 4;

/// Parameters of a path, passed to every step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) k: usize,
    pub(super) alpha: usize,
    pub(super) max_candidates: usize,
    pub(super) max_asks: usize,
    pub(super) hard_deadline: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CandidateState {
    Unasked,
    /// In the window.
    Asked,
    /// Past its soft deadline, or not expected to answer; the call is still open.
    Slow,
    Answered,
    /// Past its hard deadline; a late answer would still count.
    Silent,
    Failed,
}

impl CandidateState {
    /// Whether the candidate still counts among the nearest.
    pub(super) const fn may_live(self) -> bool {
        !matches!(self, Self::Silent | Self::Failed)
    }

    const fn is_open(self) -> bool {
        matches!(self, Self::Asked | Self::Slow)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Distance from the target, the order of the list.
    pub(super) distance: Distance,
    pub(super) candidate: Candidate,
    pub(super) state: CandidateState,
    /// Referrals from a seed to this candidate.
    pub(super) depth: u16,
}

/// The deadlines of an open call.
#[derive(Clone, Copy, Debug)]
struct Call {
    distance: Distance,
    soft: Mono,
    patience: Mono,
    hard: Mono,
    /// Whether `soft` has passed.
    slow: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// Candidates, nearest first, without duplicates.
    entries: Vec<Entry>,
    open: SmallVec<[Call; 4]>,
    /// Set once the nearest known node has answered: a much nearer peer is unlikely to appear, so
    /// the rest of the k nearest are asked together (Kademlia §2.3).
    together: bool,
    asked: usize,
    answered: usize,
    failed: usize,
    slow: usize,
}

/// The result of offering a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offer {
    Added {
        /// Distance of a dropped candidate that had been asked before.
        forgotten: Option<Distance>,
    },
    NoRoom,
}

impl Path {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn get(&self, distance: &Distance) -> Option<&Entry> {
        self.position(distance).ok().map(|i| &self.entries[i])
    }

    fn position(&self, distance: &Distance) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|it| it.distance.cmp(distance))
    }

    /// Adds a candidate that no path knows. At the limit the farthest is dropped, but never an open
    /// call nor one of the k nearest that answered.
    pub(super) fn offer(
        &mut self,
        candidate: Candidate,
        distance: Distance,
        depth: u16,
        rules: &Rules,
    ) -> Offer {
        let mut forgotten = None;
        if self.entries.len() >= rules.max_candidates {
            let answered = |it: &&Entry| it.state == CandidateState::Answered;
            let needs_answers = self.entries.iter().filter(answered).count() <= rules.k;
            let farthest = self.entries.iter().rposition(|it| {
                !(it.state.is_open() || needs_answers && it.state == CandidateState::Answered)
            });
            match farthest {
                Some(i) if self.entries[i].distance > distance => {
                    let dropped = self.entries.remove(i);
                    if dropped.state != CandidateState::Unasked {
                        forgotten = Some(dropped.distance);
                    }
                }
                _ => return Offer::NoRoom,
            }
        }
        if let Err(rank) = self.position(&distance) {
            self.entries.insert(
                rank,
                Entry {
                    distance,
                    candidate,
                    state: CandidateState::Unasked,
                    depth,
                },
            );
        }
        Offer::Added { forgotten }
    }

    /// Records an answer. Returns the depth of the node; `None` if it was not asked, or has
    /// answered or failed before.
    pub(super) fn answered(&mut self, distance: &Distance) -> Option<u16> {
        let i = self.position(distance).ok()?;
        match self.entries[i].state {
            CandidateState::Asked | CandidateState::Slow => self.close(distance),
            CandidateState::Silent => self.failed -= 1,
            CandidateState::Unasked | CandidateState::Answered | CandidateState::Failed => {
                return None;
            }
        }
        self.answered += 1;
        self.entries[i].state = CandidateState::Answered;
        Some(self.entries[i].depth)
    }

    pub(super) fn failed(&mut self, distance: &Distance) {
        let Ok(i) = self.position(distance) else {
            return;
        };
        match self.entries[i].state {
            CandidateState::Asked | CandidateState::Slow => {
                self.close(distance);
                self.failed += 1;
            }
            CandidateState::Silent => {}
            CandidateState::Unasked | CandidateState::Answered | CandidateState::Failed => return,
        }
        self.entries[i].state = CandidateState::Failed;
    }

    fn close(&mut self, distance: &Distance) {
        self.open.retain(|call| call.distance != *distance);
    }

    fn set(&mut self, distance: &Distance, state: CandidateState) {
        if let Ok(i) = self.position(distance) {
            self.entries[i].state = state;
        }
    }

    /// Updates the calls whose deadlines have passed.
    fn age(&mut self, now: Mono) {
        for i in (0..self.open.len()).rev() {
            let call = self.open[i];
            if now >= call.soft && !call.slow {
                self.open[i].slow = true;
                self.slow += 1;
                self.set(&call.distance, CandidateState::Slow);
            }
            if now >= call.hard {
                self.failed += 1;
                self.set(&call.distance, CandidateState::Silent);
                self.open.swap_remove(i);
            }
        }
    }

    pub(super) fn step(
        &mut self,
        now: Mono,
        rules: &Rules,
        soft: &impl Fn(&Candidate) -> Option<Duration>,
    ) -> Step {
        self.age(now);
        let (mut counted, mut asked, mut answered) = (0, 0, 0);
        let mut unasked = None;
        for (i, entry) in self.entries.iter().enumerate() {
            match entry.state {
                CandidateState::Slow | CandidateState::Silent | CandidateState::Failed => continue,
                CandidateState::Answered if answered == counted => answered += 1,
                CandidateState::Answered => {}
                CandidateState::Asked => asked += 1,
                CandidateState::Unasked => unasked = unasked.or(Some(i)),
            }
            counted += 1;
            if counted == rules.k {
                break;
            }
        }
        let may_ask = self.asked < rules.max_asks;
        if let Some(i) = unasked.filter(|_| may_ask) {
            self.together |= answered > 0;
            let alpha = rules.alpha.min(rules.k);
            let width = if self.together { rules.k } else { alpha };
            // Calls to nodes that are no longer among the nearest, and to silent ones, occupy no
            // window.
            let waited_for = self.open.iter().filter(|call| now < call.patience).count();
            let places = asked < width
                && waited_for < width * OPEN_PER_PLACE
                && self.open.len() < width * OPEN_PER_PLACE * SILENT_PER_CALL;
            return match places {
                true if self.answered == 0 => self.ask(self.quickest(i, soft), now, rules, soft),
                true => self.ask(i, now, rules, soft),
                false => self.wait(now, asked < width),
            };
        }
        if asked > 0 {
            return self.wait(now, false);
        }
        if unasked.is_some() {
            return Step::Done(Why::Exhausted);
        }
        if counted == rules.k {
            return Step::Done(Why::Converged);
        }
        // Fewer than k answered and no candidate is left: wait for slow calls for a limited time,
        // or until their hard deadline if there is no other answer.
        let patient = |call: &Call| self.answered == 0 || now < call.patience;
        if self.open.iter().any(patient) {
            return self.wait(now, true);
        }
        let short = !self.open.is_empty() || self.answered == 0;
        Step::Done(if short {
            Why::Exhausted
        } else {
            Why::Converged
        })
    }

    /// Returns the candidate that is expected to answer soonest. Before any peer has answered, all
    /// of the nearest known serve equally well. `first` is the nearest unasked one.
    fn quickest(&self, first: usize, soft: &impl Fn(&Candidate) -> Option<Duration>) -> usize {
        let unasked = (first..self.entries.len())
            .filter(|i| self.entries[*i].state == CandidateState::Unasked)
            .take(NEARBY);
        let expected = |i: &usize| soft(&self.entries[*i].candidate).unwrap_or(Duration::MAX);
        let quickest = unasked.min_by_key(expected);
        quickest.unwrap_or(first)
    }

    fn ask(
        &mut self,
        i: usize,
        now: Mono,
        rules: &Rules,
        soft: &impl Fn(&Candidate) -> Option<Duration>,
    ) -> Step {
        let entry = &mut self.entries[i];
        let candidate = entry.candidate;
        let expected = soft(&candidate);
        let soft = expected.unwrap_or_default();
        // A peer that is not expected to answer never occupies the window.
        let slow = expected.is_none();
        entry.state = if slow {
            CandidateState::Slow
        } else {
            CandidateState::Asked
        };
        self.asked += 1;
        self.slow += usize::from(slow);
        self.open.push(Call {
            distance: entry.distance,
            soft: now.plus(soft),
            patience: now.plus(soft.saturating_mul(PATIENCE)),
            hard: now.plus(rules.hard_deadline),
            slow,
        });
        Step::Ask(candidate)
    }

    /// Waits for the next deadline that can change the step.
    fn wait(&self, now: Mono, patiently: bool) -> Step {
        let deadlines = self.open.iter().flat_map(|call| {
            let patience = patiently.then_some(call.patience);
            [Some(call.soft), patience, Some(call.hard)]
        });
        // A path waits only for open calls, none of which is past its hard deadline.
        let next = deadlines.flatten().filter(|at| *at > now).min();
        Step::Wait(next.unwrap_or(Mono(u64::MAX)))
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            known: self.entries.len(),
            asked: self.asked,
            open: self.open.len(),
            answered: self.answered,
            failed: self.failed,
            slow: self.slow,
        }
    }
}
