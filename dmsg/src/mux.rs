//! yamux as a state machine without I/O: many byte streams over one connection.
//!
//! Bytes that come are put where [`Mux::space`] says, and [`Mux::received`] takes them in; what is
//! to be sent stands in [`Mux::output`]; [`Mux::poll_event`] says what happened. The format is that of
//! hashicorp/yamux (spec.md there); what this adds are bounds: a stream's window stays at 256 KiB, a
//! frame is never longer than that, and while resets pile up that the connection does not take, no
//! stream opens and nothing more is to be read ([`Mux::wants_input`]).
//!
//! Streams of the peer's are not counted here: the session that takes [`Event::Opened`] drops
//! those that are too many before the next bytes are read.

mod flow;
mod frame;
mod input;
mod output;

use std::collections::{BTreeMap, VecDeque};

pub(crate) use flow::Read;
pub(crate) use frame::Violation;

use flow::{Flow, Phase, WINDOW};
use frame::{ACK, FIN, Frame, Kind, RST, SYN};
use input::{Input, Part};
use output::Output;

/// Streams of ours that the peer has not acknowledged, at most; Go's side has room for as many.
const MOST_UNACKNOWLEDGED: usize = 256;
/// Streams that both we and our user are done with, and the peer may not be.
const MOST_ABANDONED: usize = 256;

/// Which end of the connection this is. yamux numbers streams by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We dialled.
    Client,
    /// We accepted.
    Server,
}

/// Something that the other side of a stream did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// The peer opened a stream.
    Opened(u32),
    /// A stream can be read again, or has ended.
    Readable(u32),
    /// A stream can be written again, or was reset.
    Writable(u32),
    /// The peer ends the session.
    GoAway,
}

/// A stream was reset, or is finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken;

/// One end of a multiplexed connection.
pub(crate) struct Mux {
    role: Role,
    /// Of the next stream of ours; 0 when there are no numbers left.
    next: u32,
    /// Boxed, since most sessions have few at a time and a map's node has room for eleven.
    streams: BTreeMap<u32, Box<Flow>>,
    unacknowledged: usize,
    abandoned: VecDeque<u32>,
    input: Input,
    output: Output,
    events: VecDeque<Event>,
    /// Bytes of all streams that have come and were not read, with the buffers that they are in.
    held: usize,
    /// Frames that have begun.
    frames: u64,
    /// Numbers of our pings: those up to the first are answered, up to the second sent.
    pings: (u32, u32),
    /// Counts reads, so that streams can be told apart by when they were read last.
    reads: u64,
}

impl Mux {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            next: match role {
                Role::Client => 1,
                Role::Server => 2,
            },
            streams: BTreeMap::new(),
            unacknowledged: 0,
            abandoned: VecDeque::new(),
            input: Input::default(),
            output: Output::default(),
            events: VecDeque::new(),
            held: 0,
            frames: 0,
            pings: (0, 0),
            reads: 0,
        }
    }

    /// Whether [`Self::open`] would give a stream.
    pub(crate) fn can_open(&self) -> bool {
        self.unacknowledged < MOST_UNACKNOWLEDGED && !self.output.is_full()
    }

    /// A new stream, unless the peer must first acknowledge some of ours. The peer learns of it with
    /// its first frame.
    pub(crate) fn open(&mut self) -> Option<u32> {
        if !self.can_open() || self.next == 0 {
            return None;
        }
        let id = self.next;
        // Zero after two billion streams.
        self.next = id.checked_add(2).unwrap_or(0);
        self.streams.insert(id, Box::new(Flow::new(SYN, WINDOW)));
        self.unacknowledged += 1;
        Some(id)
    }

    /// Takes as much of `data` as goes into one frame and has credit; 0 means to wait for
    /// [`Event::Writable`].
    pub(crate) fn write(&mut self, id: u32, data: &[u8]) -> Result<usize, Broken> {
        let flow = self.streams.get_mut(&id).ok_or(Broken)?;
        if !flow.may_write() {
            return Err(Broken);
        }
        let len = data.len().min(flow.credit as usize).min(output::MOST_DATA);
        if len == 0 && !data.is_empty() {
            return Ok(0);
        }
        flow.credit -= frame::length(len);
        let flags = std::mem::take(&mut flow.flags_due);
        self.output.data(id, flags, &data[..len]);
        Ok(len)
    }

    /// Whether a stream is neither finished by us nor reset.
    pub(crate) fn may_write(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|flow| flow.may_write())
    }

    /// Whether a stream was reset by [`Self::cut_down_to`].
    pub(crate) fn is_cut(&self, id: u32) -> bool {
        let flow = self.streams.get(&id);
        flow.is_some_and(|flow| flow.phase == Phase::Cut)
    }

    /// Tells the peer of a new stream, unless it knows.
    pub(crate) fn announce(&mut self, id: u32) {
        let flow = self.streams.get_mut(&id);
        if let Some(flow) = flow.filter(|flow| flow.flags_due & SYN != 0) {
            let flags = std::mem::take(&mut flow.flags_due);
            self.output.data(id, flags, &[]);
        }
    }

    /// Nothing more will be written to a stream.
    pub(crate) fn finish(&mut self, id: u32) -> Result<(), Broken> {
        let flow = self.streams.get_mut(&id).ok_or(Broken)?;
        if matches!(flow.phase, Phase::Reset | Phase::Cut) {
            return Err(Broken);
        }
        if flow.may_write() {
            let flags = std::mem::take(&mut flow.flags_due) | FIN;
            flow.finish();
            self.output.frame(Frame::of(Kind::Data, flags, id, 0));
        }
        Ok(())
    }

    /// Reads what has come on a stream. What came before a reset can still be read.
    pub(crate) fn read(&mut self, id: u32, buf: &mut [u8]) -> Read {
        let Some(flow) = self.streams.get_mut(&id) else {
            return Read::Reset;
        };
        let before = flow.held();
        let read = flow.take(buf);
        if read == 0 {
            return flow.without_data();
        }
        self.reads += 1;
        flow.read_at = self.reads;
        let credit = flow.take_credit_due();
        if credit > 0 {
            let flags = std::mem::take(&mut flow.flags_due);
            self.output
                .urgent(Frame::of(Kind::WindowUpdate, flags, id, credit));
        }
        self.held = self.held + flow.held() - before;
        Read::Data(read)
    }

    /// The reader of a stream still has so many bytes that it has read: they count as unread.
    pub(crate) fn keep(&mut self, id: u32, bytes: usize) {
        if let Some(flow) = self.streams.get_mut(&id) {
            self.held = self.held - flow.kept + bytes;
            flow.kept = bytes;
        }
    }

    /// Its user is done with a stream. One that is not finished is reset; one that only the peer
    /// has finished is finished.
    pub(crate) fn leave(&mut self, id: u32) {
        let Some(flow) = self.streams.get_mut(&id) else {
            return;
        };
        match flow.phase {
            Phase::Open => self.reset(id),
            Phase::PeerFinished => {
                let flags = flow.flags_due | FIN;
                self.output.frame(Frame::of(Kind::Data, flags, id, 0));
                self.remove(id);
            }
            // Were it reset, Go's side would lose what it has not read of ours. A peer that waits
            // for credit would wait for ever.
            Phase::Finished if flow.window() == 0 => self.reset(id),
            Phase::Finished => self.abandon(id),
            Phase::BothFinished | Phase::Reset | Phase::Cut => self.remove(id),
        }
    }

    fn reset(&mut self, id: u32) {
        let flow = self.streams.get(&id);
        if flow.is_some_and(|flow| flow.flags_due & SYN == 0) {
            self.output.reset(id);
        }
        self.remove(id);
    }

    fn abandon(&mut self, id: u32) {
        if let Some(flow) = self.streams.get_mut(&id) {
            self.held -= flow.held();
            flow.forget();
            flow.is_abandoned = true;
        }
        self.abandoned.push_back(id);
        if self.abandoned.len() > MOST_ABANDONED
            && let Some(oldest) = self.abandoned.pop_front()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: u32) {
        if let Some(flow) = self.streams.remove(&id) {
            self.held -= flow.held();
            if self.is_ours(id) && !flow.is_acknowledged {
                self.unacknowledged -= 1;
            }
            if flow.is_abandoned {
                self.abandoned.retain(|other| *other != id);
            }
        }
    }

    fn is_ours(&self, id: u32) -> bool {
        id % 2 == u32::from(self.role == Role::Client)
    }

    /// Bytes of all streams that have come and were not read.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Resets streams until no more than `most` bytes are held, those first that were read longest
    /// ago. Streams that hold little in comparison go last. Says which.
    pub(crate) fn cut_down_to(&mut self, most: usize) -> Vec<u32> {
        let mut holding: Vec<_> = self
            .streams
            .iter()
            .map(|(id, flow)| (flow.held(), flow.read_at, *id))
            .filter(|(held, ..)| *held > 0)
            .collect();
        let largest = holding.iter().map(|(held, ..)| *held).max().unwrap_or(0);
        holding.sort_unstable_by_key(|(held, read_at, id)| (*held < largest / 2, *read_at, *id));
        let mut cut = Vec::new();
        for (.., id) in holding {
            if self.held <= most {
                break;
            }
            if let Some(flow) = self.streams.get_mut(&id) {
                self.held -= flow.held();
                flow.forget();
                if flow.phase != Phase::Reset {
                    self.output.reset(id);
                }
                flow.phase = Phase::Cut;
                cut.push(id);
            }
        }
        cut
    }

    /// What is to be sent next; empty when there is nothing. It stays until [`Self::sent`].
    pub(crate) fn output(&mut self) -> &[u8] {
        self.output.next()
    }

    /// The connection has taken so many bytes of [`Self::output`].
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.output.sent(bytes);
    }

    /// Bytes that wait for the connection.
    pub(crate) fn unsent(&self) -> usize {
        self.output.unsent()
    }

    /// Asks the peer for a sign of life. Streams of the peer's that were not acknowledged yet are:
    /// Go's side ends a session with one that is not for 75 s.
    pub(crate) fn ping(&mut self) {
        for (id, flow) in &mut self.streams {
            if flow.flags_due == ACK && flow.phase != Phase::Cut {
                flow.flags_due = 0;
                self.output
                    .urgent(Frame::of(Kind::WindowUpdate, ACK, *id, 0));
            }
        }
        // After four billion of them, answers pass for violations: in 4,000 years.
        self.pings.1 = self.pings.1.saturating_add(1);
        self.output.ping(self.pings.1);
    }

    /// How many frames have come.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Says that the session is over because of a violation.
    pub(crate) fn go_away(&mut self) {
        const PROTOCOL_ERROR: u32 = 1;
        self.output
            .frame(Frame::of(Kind::GoAway, 0, 0, PROTOCOL_ERROR));
    }

    /// Whether more may be read from the connection.
    pub(crate) fn wants_input(&self) -> bool {
        !self.output.is_full()
    }

    /// Whether everything that came were whole frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.input.is_between_frames()
    }

    /// Where the next bytes from the connection go. Never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let Part::Body { stream, left } = self.input.part() else {
            return self.input.header_space();
        };
        match self.streams.get_mut(&stream) {
            Some(flow) if flow.takes_data() => {
                let before = flow.held();
                flow.reserve(left);
                self.held = self.held + flow.held() - before;
                flow.space(left)
            }
            _ => self.input.skip_space(),
        }
    }

    /// So many bytes have come and are in [`Self::space`].
    ///
    /// # Errors
    /// The peer broke the rules: nothing more of it is to be read.
    pub(crate) fn received(&mut self, bytes: usize) -> Result<(), Violation> {
        match self.input.part() {
            Part::Header => {
                // smux's frames are shorter than ours: waiting for a whole header, we would let a
                // peer wait that waits for us.
                if self.frames == 0 && self.input.is_smux() {
                    return Err(Violation::Smux);
                }
                if let Some(header) = self.input.header_received(bytes) {
                    self.frames += 1;
                    self.frame_begins(Frame::of_header(&header)?)?;
                }
            }
            Part::Body { stream, .. } => {
                if let Some(flow) = self.streams.get_mut(&stream)
                    && flow.received(bytes)
                {
                    self.events.push_back(Event::Readable(stream));
                }
                self.input.body_received(bytes);
            }
        }
        if let Some((stream, is_last)) = self.input.frame_ended()
            && is_last
        {
            self.peer_finished(stream);
        }
        Ok(())
    }

    /// The next thing that happened, if any.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn frame_begins(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.kind {
            Kind::Data | Kind::WindowUpdate => self.stream_frame(frame),
            Kind::Ping if frame.flags & SYN != 0 => {
                self.output.pong(frame.length);
                Ok(())
            }
            Kind::Ping => {
                let (answered, sent) = &mut self.pings;
                if frame.length <= *answered || frame.length > *sent {
                    return Err(Violation::Pong);
                }
                *answered = frame.length;
                Ok(())
            }
            Kind::GoAway => {
                self.events.push_back(Event::GoAway);
                Ok(())
            }
        }
    }

    fn stream_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        let id = frame.stream;
        let body = match frame.kind {
            Kind::Data => frame.length,
            _ => 0,
        };
        if body > WINDOW {
            return Err(Violation::TooLong);
        }
        self.input
            .body_begins(id, body as usize, frame.flags & FIN != 0);
        if frame.flags & RST != 0 {
            self.peer_reset(id);
            return Ok(());
        }
        if frame.flags & SYN != 0 {
            if id == 0 || self.is_ours(id) {
                return Err(Violation::StreamNumber);
            }
            if self.streams.contains_key(&id) {
                return Err(Violation::OpenedTwice);
            }
            self.streams.insert(id, Box::new(Flow::new(ACK, WINDOW)));
            self.events.push_back(Event::Opened(id));
        }
        self.acknowledged(id);
        let Some(flow) = self.streams.get_mut(&id) else {
            return Ok(()); // of a stream that is gone: the peer does not know yet
        };
        match frame.kind {
            Kind::WindowUpdate => {
                let had_none = flow.credit == 0;
                flow.credit = flow
                    .credit
                    .checked_add(frame.length)
                    .ok_or(Violation::Credit)?;
                if had_none && flow.credit > 0 {
                    self.events.push_back(Event::Writable(id));
                }
            }
            _ if flow.is_abandoned => {
                if body > 0 && frame.flags & FIN == 0 {
                    self.reset(id);
                }
            }
            _ => flow.expect(body).ok_or(Violation::TooLong)?,
        }
        Ok(())
    }

    /// The peer knows of a stream of ours.
    fn acknowledged(&mut self, id: u32) {
        let is_ours = self.is_ours(id);
        if let Some(flow) = self.streams.get_mut(&id)
            && is_ours
            && !std::mem::replace(&mut flow.is_acknowledged, true)
        {
            self.unacknowledged -= 1;
        }
    }

    fn peer_finished(&mut self, id: u32) {
        let Some(flow) = self.streams.get_mut(&id) else {
            return;
        };
        flow.peer_finished();
        if flow.is_abandoned {
            self.remove(id);
        } else {
            self.events.push_back(Event::Readable(id));
        }
    }

    fn peer_reset(&mut self, id: u32) {
        self.acknowledged(id);
        let Some(flow) = self.streams.get_mut(&id) else {
            return;
        };
        if flow.is_abandoned {
            return self.remove(id);
        }
        flow.phase = Phase::Reset;
        self.events.push_back(Event::Readable(id));
        self.events.push_back(Event::Writable(id));
    }
}

#[cfg(test)]
mod tests;
