//! One path of a lookup: candidates in the order of distance, and a window over them.

use alloc::vec::Vec;
use core::time::Duration;

use smallvec::SmallVec;

use crate::id::Distance;
use crate::lookup::{Candidate, Counts, OPEN_PER_PLACE, PATIENCE, SILENT_PER_CALL, Step, Why};
use crate::time::Mono;

/// Among so many of the nearest known the first ones to be asked are chosen by round trip.
const NEARBY: usize = 4;

/// What a path is told at every step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) k: usize,
    pub(super) alpha: usize,
    pub(super) max_candidates: usize,
    pub(super) max_asks: usize,
    pub(super) hard_deadline: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Unasked,
    /// In the window.
    Asked,
    /// Past its soft deadline, or never expected to answer; still open.
    Slow,
    Answered,
    /// Past its hard deadline; an answer would still count.
    Silent,
    Failed,
}

impl State {
    /// Whether the candidate still belongs to the nearest, as far as is known.
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
    pub(super) state: State,
    /// Referrals from a seed to this candidate.
    pub(super) depth: u16,
}

/// The clock of a call that is open.
#[derive(Clone, Copy, Debug)]
struct Call {
    distance: Distance,
    soft: Mono,
    patience: Mono,
    hard: Mono,
    /// Past `soft`.
    slow: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// Nearest first, no distance twice.
    entries: Vec<Entry>,
    open: SmallVec<[Call; 4]>,
    /// The nearest known has answered once: no much nearer peer is likely to turn up, and the
    /// rest of the k nearest are asked together (Kademlia §2.3).
    together: bool,
    asked: usize,
    answered: usize,
    failed: usize,
    slow: usize,
}

/// What became of a candidate that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offer {
    Added {
        /// Who went for it, when that one was asked before.
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

    /// Takes in a candidate that no path knows. When there is no room, the farthest goes,
    /// but never an open call nor one of the k nearest that answered.
    pub(super) fn offer(
        &mut self,
        candidate: Candidate,
        distance: Distance,
        depth: u16,
        rules: &Rules,
    ) -> Offer {
        let mut forgotten = None;
        if self.entries.len() >= rules.max_candidates {
            let answered = |it: &&Entry| it.state == State::Answered;
            let needs_answers = self.entries.iter().filter(answered).count() <= rules.k;
            let farthest = self.entries.iter().rposition(|it| {
                !(it.state.is_open() || needs_answers && it.state == State::Answered)
            });
            match farthest {
                Some(i) if self.entries[i].distance > distance => {
                    let dropped = self.entries.remove(i);
                    if dropped.state != State::Unasked {
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
                    state: State::Unasked,
                    depth,
                },
            );
        }
        Offer::Added { forgotten }
    }

    /// A call was answered. The depth of who answered; none when no call to it was made, or
    /// it was answered or failed before.
    pub(super) fn answered(&mut self, distance: &Distance) -> Option<u16> {
        let i = self.position(distance).ok()?;
        match self.entries[i].state {
            State::Asked | State::Slow => self.close(distance),
            State::Silent => self.failed -= 1,
            State::Unasked | State::Answered | State::Failed => return None,
        }
        self.answered += 1;
        self.entries[i].state = State::Answered;
        Some(self.entries[i].depth)
    }

    pub(super) fn failed(&mut self, distance: &Distance) {
        let Ok(i) = self.position(distance) else {
            return;
        };
        match self.entries[i].state {
            State::Asked | State::Slow => {
                self.close(distance);
                self.failed += 1;
            }
            State::Silent => {}
            State::Unasked | State::Answered | State::Failed => return,
        }
        self.entries[i].state = State::Failed;
    }

    fn close(&mut self, distance: &Distance) {
        self.open.retain(|call| call.distance != *distance);
    }

    fn set(&mut self, distance: &Distance, state: State) {
        if let Ok(i) = self.position(distance) {
            self.entries[i].state = state;
        }
    }

    /// Moves calls past their deadlines on.
    fn age(&mut self, now: Mono) {
        for i in (0..self.open.len()).rev() {
            let call = self.open[i];
            if now >= call.soft && !call.slow {
                self.open[i].slow = true;
                self.slow += 1;
                self.set(&call.distance, State::Slow);
            }
            if now >= call.hard {
                self.failed += 1;
                self.set(&call.distance, State::Silent);
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
                State::Slow | State::Silent | State::Failed => continue,
                State::Answered if answered == counted => answered += 1,
                State::Answered => {}
                State::Asked => asked += 1,
                State::Unasked => unasked = unasked.or(Some(i)),
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
            // Calls to those who are far by now hold nothing up, nor do those to the silent.
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
        // Fewer than k answered and no candidate is left: slow ones are worth some patience, and
        // all of it when there is no other answer.
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

    /// Until a peer answered, any of the nearest known does about as well: the one that is
    /// expected to answer soonest. `first` is the nearest that was not asked.
    fn quickest(&self, first: usize, soft: &impl Fn(&Candidate) -> Option<Duration>) -> usize {
        let unasked = (first..self.entries.len())
            .filter(|i| self.entries[*i].state == State::Unasked)
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
        // A peer that is not expected to answer has no place in the window from the first.
        let slow = expected.is_none();
        entry.state = if slow { State::Slow } else { State::Asked };
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

    /// The next deadline that can change the step.
    fn wait(&self, now: Mono, patiently: bool) -> Step {
        let deadlines = self.open.iter().flat_map(|call| {
            let patience = patiently.then_some(call.patience);
            [Some(call.soft), patience, Some(call.hard)]
        });
        // A path waits only for open calls, and those are past no hard deadline.
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
