//! Advances time: the next scheduled event happens, hosts handle inputs, and their outputs are
//! started.

use std::borrow::Cow;
use std::time::Duration;

use skydht_core::node::{CloseReason, Input, Outcome, Output};

use super::slot::State;
use super::{Due, NotQuiet, Observer, Scheduled, SimEvent, World};
use crate::clock::SimTime;
use crate::network::{Delivery, Departure, HostId, Request};

/// Time that a host that has shut down takes to send queued data.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Delay after which a deadline in the past fires.
pub(super) const MOMENT: Duration = Duration::from_micros(1);
/// Delay after which an event that is due for a suspended host, such as the end of a write or of a
/// verification, is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

impl World {
    /// Runs until an event is to be reported; `None` if nothing will ever happen.
    pub fn step(&mut self) -> Option<SimEvent> {
        self.step_until(SimTime(u64::MAX))
    }

    /// Runs until an event is to be reported, up to a time. If nothing happens before it, time
    /// advances to it.
    pub fn step_until(&mut self, end: SimTime) -> Option<SimEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.advance(end) {
                if end != SimTime(u64::MAX) && end > self.now {
                    self.now = end;
                    self.network.advance(end);
                }
                return None;
            }
        }
    }

    /// Runs until `end`. The observer gets every event.
    pub fn run_until(&mut self, end: SimTime, observer: &mut impl Observer) {
        while let Some(event) = self.step_until(end) {
            observer.observe(self, event);
        }
    }

    /// Runs for a duration. The observer gets every event.
    pub fn run_for(&mut self, time: Duration, observer: &mut impl Observer) {
        self.run_until(self.now.plus(time), observer);
    }

    /// Runs until an event is to be reported; `None` once only timers are left: no messages in
    /// transit, no jobs, no writes, no operations. `budget` is the maximum number of steps.
    ///
    /// # Errors
    /// [`NotQuiet`] when the budget is used up.
    pub fn step_until_quiet(&mut self, budget: &mut u64) -> Result<Option<SimEvent>, NotQuiet> {
        while *budget > 0 {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.is_quiet() || !self.advance(SimTime(u64::MAX)) {
                return Ok(None);
            }
            *budget -= 1;
        }
        Err(NotQuiet {
            messages: self.network.in_flight(),
            jobs: self.jobs,
            operations: self.operations.len(),
        })
    }

    /// Whether only timers are left.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.network.in_flight() == 0 && self.jobs == 0 && self.operations.is_empty()
    }

    /// Schedules a [`SimEvent::Woke`] with this number at a time, or now if that is past.
    pub fn wake_at(&mut self, at: SimTime, token: u64) {
        let due = Due::Wake(token);
        self.queue.push(
            at.max(self.now),
            Scheduled {
                host: HostId::default(),
                life: 0,
                due,
            },
        );
    }

    /// Runs one step. Returns false if none is left up to `end`.
    fn advance(&mut self, end: SimTime) -> bool {
        if let Some((host, delivery)) = self.network.poll_output() {
            self.deliver(host, delivery);
            return true;
        }
        let (own, net) = (self.queue.next_at(), self.network.next_at());
        let at = match (own, net) {
            (Some(own), Some(net)) => own.min(net),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return false,
        };
        if at > end {
            return false;
        }
        self.now = self.now.max(at);
        self.network.advance(self.now);
        if net == Some(at) {
            self.network.tick();
        } else if let Some(scheduled) = self.queue.pop() {
            self.due(scheduled);
        }
        true
    }

    pub(super) fn schedule(&mut self, at: SimTime, host: HostId, due: Due) {
        let life = self.slots.get(host.index()).map_or(0, |slot| slot.life);
        self.queue.push(at, Scheduled { host, life, due });
    }

    pub(super) fn emit(&mut self, event: SimEvent) {
        self.digest.event(self.now, &event);
        self.events.push_back(event);
    }

    fn deliver(&mut self, host: HostId, delivery: Delivery) {
        let input = match delivery {
            Delivery::Opened { stream, path } => Input::StreamOpened { stream, path },
            Delivery::Failed { stream, reason } => Input::StreamFailed { stream, reason },
            Delivery::Accepted { stream, peer, path } => {
                Input::StreamAccepted { stream, peer, path }
            }
            Delivery::Bytes { stream, ref bytes } => Input::Bytes {
                stream,
                bytes: Cow::Borrowed(bytes),
            },
            Delivery::Sent { stream } => Input::Sent { stream },
            Delivery::Closed { stream, end } => Input::StreamClosed { stream, end },
            Delivery::Probed { probe, result } => Input::Probed { probe, result },
        };
        self.feed(host, input);
        if self.watch.deliveries
            && let Delivery::Bytes { stream, bytes } = delivery
        {
            self.events.push_back(SimEvent::Delivered {
                host,
                stream,
                bytes,
            });
        }
    }

    fn due(&mut self, scheduled: Scheduled) {
        let Scheduled { host, life, due } = scheduled;
        if let Due::Wake(token) = due {
            return self.emit(SimEvent::Woke { token });
        }
        let Some(slot) = self.slots.get_mut(host.index()) else {
            return;
        };
        let current = slot.life == life && slot.state != State::Down;
        if slot.state == State::Suspended && current && !matches!(due, Due::Timer) {
            let again = self.now.plus(TRY_AGAIN);
            return self.schedule(again, host, due);
        }
        match due {
            Due::Timer => {
                if current && slot.timer == Some(self.now) {
                    slot.timer = None;
                    self.timer(host);
                }
            }
            Due::Verified(job, verdict) => {
                self.jobs -= 1;
                if current {
                    self.feed(host, Input::Verified { job, verdict });
                }
            }
            Due::Written | Due::Retry => {
                self.jobs -= 1;
                match due {
                    Due::Written if current => self.written(host),
                    Due::Retry if current => self.retry(host),
                    _ => {}
                }
            }
            Due::Sync if current => self.sync(host),
            Due::Poll if current => self.poll_storage(host),
            Due::Load if current => self.load(host),
            Due::Sync | Due::Poll | Due::Load => {}
            Due::Gone => {
                if current {
                    self.flush(host);
                    self.end(host, Departure::Process);
                    self.emit(SimEvent::Stopped { host });
                }
            }
            Due::Wake(_) => {}
        }
    }

    /// Fires a host's timer, or sets it again if the host's deadline is later by now.
    fn timer(&mut self, host: HostId) {
        let now = self.now;
        let due = self.slots.get(host.index()).is_some_and(|slot| {
            let deadline = slot.host.as_ref().and_then(|host| host.next_deadline());
            deadline.is_some_and(|at| slot.clock.when(at) <= now)
        });
        if due {
            self.feed(host, Input::TimerFired);
        } else {
            self.set_timer(host);
        }
    }

    /// Sets a host's timer to its deadline. A timer set to an earlier time is kept and checked
    /// again when it is due.
    pub(super) fn set_timer(&mut self, host: HostId) {
        let soon = self.now.plus(MOMENT);
        let Some(slot) = self.slots.get_mut(host.index()) else {
            return;
        };
        if matches!(slot.state, State::Down | State::Suspended) {
            return;
        }
        let Some(deadline) = slot.host.as_ref().and_then(|host| host.next_deadline()) else {
            return;
        };
        let at = slot.clock.when(deadline).max(soon);
        if slot.timer.is_none_or(|set| at < set) {
            slot.timer = Some(at);
            self.schedule(at, host, Due::Timer);
        }
    }

    /// Gives an input to a host and starts its outputs.
    pub(super) fn feed(&mut self, host: HostId, input: Input<'_>) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(host.index()) else {
            return;
        };
        if slot.state == State::Suspended {
            return;
        }
        let Some(mut running) = slot.host.take() else {
            return;
        };
        let time = slot.clock.read(now);
        self.stats.inputs += 1;
        self.digest.input(now, host, &input);
        running.handle(time, input);
        while let Some(output) = running.poll_output() {
            self.output(host, output);
        }
        if let Some(slot) = self.slots.get_mut(host.index()) {
            slot.host = Some(running);
        }
        self.set_timer(host);
        if self.watch.inputs {
            self.events.push_back(SimEvent::Handled { host });
        }
    }

    fn output(&mut self, host: HostId, output: Output) {
        let request = match output {
            Output::OpenStream {
                stream,
                peer,
                addrs,
                session,
            } => Request::Open {
                stream,
                peer,
                addrs,
                session,
            },
            Output::Send { stream, bytes } => Request::Send { stream, bytes },
            Output::CloseStream { stream, reason } => Request::Close {
                stream,
                graceful: CloseReason::is_graceful(reason),
            },
            Output::PauseReading { stream } => Request::Pause { stream },
            Output::ResumeReading { stream } => Request::Resume { stream },
            Output::Probe { probe, peer, addr } => Request::Probe { probe, peer, addr },
            Output::Verify { job, work } => {
                self.stats.jobs += 1;
                self.jobs += 1;
                let verdict = self.verdicts.of(&work);
                let (now, takes) = (self.now, self.config.verify);
                let at = self.slots.get_mut(host.index()).map_or(now, |slot| {
                    slot.busy_until = slot.busy_until.max(now).plus(takes);
                    slot.busy_until
                });
                return self.schedule(at, host, Due::Verified(job, verdict));
            }
            Output::Persist {
                change,
                what,
                acknowledge,
            } => return self.persist(host, change, what, acknowledge),
            Output::PersistMark { change } => return self.persist_mark(host, change),
            // Never happens: no `LoadedUpTo` is sent here, so the node loads no single targets.
            Output::LoadTarget { .. } => return,
            Output::Finished { op, outcome } => {
                self.operations.remove(&op);
                if outcome == Outcome::Shutdown {
                    self.schedule(self.now.plus(CLOSE_GRACE), host, Due::Gone);
                }
                return self.emit(SimEvent::Finished { host, op, outcome });
            }
            Output::Event(event) => {
                let event = SimEvent::Event { host, event };
                if self.watch.events {
                    return self.emit(event);
                }
                return self.digest.event(self.now, &event);
            }
        };
        self.network.handle(host, request);
    }
}
