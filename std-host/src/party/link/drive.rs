//! Moves the frames of a sans-io endpoint over its links: the few lines between the core and the operating
//! system.

use std::time::Duration;

use halfnet_core::endpoint::{
    Endpoint, EndpointError, Event, Phase, Who, longest_between_parties, longest_from_client,
    longest_to_client,
};
use halfnet_core::plan::{Plan, Role};

use super::{DriveError, Link, LinkError, Reactor, Trace};

/// Bytes that may wait for the socket before the endpoint is asked for more: about a layer of a large network.
const WAITING: usize = 1 << 20;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After so long without a byte, in a phase of the conversation, who is waited for is taken for gone.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30) }
    }
}

/// One of an endpoint's links.
#[derive(Debug)]
pub struct End<'l> {
    who: Who,
    link: &'l mut Link,
    /// Bytes of the longest frame that the endpoint sends over it.
    longest: usize,
}

impl<'l> End<'l> {
    /// The link of the party of `role` to the other one.
    pub fn peer(plan: &Plan<'_>, role: Role, link: &'l mut Link) -> Self {
        Self { who: Who::party(role.peer()), link, longest: longest_between_parties(plan, role) }
    }

    /// A party's link to a third client.
    pub fn client(plan: &Plan<'_>, link: &'l mut Link) -> Self {
        Self { who: Who::Client, link, longest: longest_to_client(plan) }
    }

    /// A third client's link to the party of `role`.
    pub fn of_client(plan: &Plan<'_>, role: Role, link: &'l mut Link) -> Self {
        Self { who: Who::party(role), link, longest: longest_from_client(plan) }
    }
}

/// Moves frames, and sleeps where none can move, until the caller has something to do: then it is returned.
/// [`Event::Done`] comes when everything has left.
///
/// Frames are sent as soon as they are ready and taken as soon as they are wanted; a frame that comes early
/// waits in its link, which reads ahead by a frame at most. Nothing blocks in a write while there is something
/// to read. `trace` counts what passes between the parties layer by layer.
///
/// # Errors
/// Another end left, was silent or misbehaved, or the material failed. The error says where the conversation
/// stood.
pub fn drive(
    endpoint: &mut dyn Endpoint,
    ends: &mut [End<'_>],
    reactor: &mut Reactor,
    limits: &Limits,
    mut trace: Option<&mut Trace>,
) -> Result<Event, DriveError> {
    let mut phase = None;
    loop {
        if let Some(event) = advance(endpoint, ends, trace.as_deref_mut())? {
            return Ok(event);
        }
        if phase.replace(endpoint.phase()) != Some(endpoint.phase()) {
            // Silence is measured from here.
            ends.iter_mut().for_each(|end| end.link.touch());
        }
        wait(endpoint, ends, reactor, limits)?;
    }
}

/// As [`drive`], but where no frame can move it returns nothing. Then every socket that the endpoint waits for
/// has been tried, so the caller may sleep.
///
/// # Errors
/// As [`drive`]; silence is none.
pub fn advance(
    endpoint: &mut dyn Endpoint,
    ends: &mut [End<'_>],
    mut trace: Option<&mut Trace>,
) -> Result<Option<Event>, DriveError> {
    let mut limited = None;
    loop {
        let mut moved = false;
        let mut unsent = None;
        for end in &mut *ends {
            moved |= send(endpoint, end, trace.as_deref_mut())?;
            let was_full = end.link.waiting() >= WAITING;
            if let Err(source) = end.link.flush() {
                unsent.get_or_insert(failed(endpoint, end.who, source));
            }
            // There is room again: no socket would wake a sleeper for what the endpoint still has.
            moved |= was_full && end.link.waiting() < WAITING;
        }
        match endpoint.event() {
            // Told as far as it listens.
            Some(Event::Refused(error)) => return Ok(Some(Event::Refused(error))),
            _ if unsent.is_some() => {}
            Some(Event::Done) if ends.iter().any(|end| end.link.waiting() > 0) => {}
            Some(event) => {
                if let (Event::Done, Some(trace)) = (event, trace) {
                    trace.mark(endpoint.at().map(|(layer, _)| layer));
                }
                return Ok(Some(event));
            }
            None => {}
        }
        if let Some(error) = unsent {
            // Who left may have said why.
            for end in ends {
                receive(endpoint, end, trace.as_deref_mut())?;
            }
            return Err(error);
        }
        if limited.replace(endpoint.phase()) != Some(endpoint.phase()) {
            for end in &mut *ends {
                end.link.set_limit(endpoint.longest_frame(end.who));
            }
        }
        for end in &mut *ends {
            moved |= receive(endpoint, end, trace.as_deref_mut())?;
        }
        if !moved {
            for end in ends {
                // The other end may wait for room before it reads what waits here.
                if end.link.waiting() > 0 && !endpoint.can_receive(end.who) {
                    end.link.fill().map_err(|source| failed(endpoint, end.who, source))?;
                }
            }
            return Ok(None);
        }
    }
}

fn failed(endpoint: &dyn Endpoint, who: Who, source: LinkError) -> DriveError {
    DriveError::Link { phase: endpoint.phase(), at: endpoint.at(), who, source }
}

/// Queues the endpoint's next frame for an end, if it has one.
fn send(
    endpoint: &mut dyn Endpoint,
    end: &mut End<'_>,
    trace: Option<&mut Trace>,
) -> Result<bool, DriveError> {
    if end.link.waiting() >= WAITING {
        return Ok(false);
    }
    let phase = endpoint.phase();
    let room = end.link.room(end.longest);
    let polled = endpoint.poll_transmit(end.who, room);
    let Some(length) = polled.map_err(|source| DriveError::Endpoint { phase, source })? else {
        return Ok(false);
    };
    if let (Phase::Layers, Some(trace)) = (phase, trace) {
        trace.frame(true, &room[..length]);
    }
    end.link.queue(length);
    Ok(true)
}

/// Hands the endpoint the next frame of an end, if it wants one and it has come.
fn receive(
    endpoint: &mut dyn Endpoint,
    end: &mut End<'_>,
    trace: Option<&mut Trace>,
) -> Result<bool, DriveError> {
    let who = end.who;
    if !endpoint.can_receive(who) {
        return Ok(false);
    }
    let lost = |source| failed(endpoint, who, source);
    let frame = match end.link.frame().map_err(lost)? {
        None => {
            end.link.fill().map_err(lost)?;
            end.link.frame().map_err(lost)?
        }
        frame => frame,
    };
    let Some(frame) = frame else { return Ok(false) };
    let phase = endpoint.phase();
    let handled = match trace.filter(|_| phase == Phase::Layers) {
        None => endpoint.handle_frame(who, frame),
        Some(trace) => {
            trace.mark(endpoint.at().map(|(layer, _)| layer));
            let handled = endpoint.handle_frame(who, frame);
            trace.frame(false, frame);
            handled
        }
    };
    handled.map_err(|source| DriveError::Endpoint { phase, source })?;
    let length = frame.len();
    end.link.consume(length);
    Ok(true)
}

/// Sleeps until a link that is waited for can go on.
fn wait(
    endpoint: &dyn Endpoint,
    ends: &[End<'_>],
    reactor: &mut Reactor,
    limits: &Limits,
) -> Result<(), DriveError> {
    let awaited = || ends.iter().filter(|end| end.link.waiting() > 0 || endpoint.can_receive(end.who));
    let Some(first) = awaited().next() else {
        // Nothing to send, nothing to wait for: a fault of ours, never a reason to hang.
        return Err(DriveError::Endpoint { phase: endpoint.phase(), source: EndpointError::Misuse });
    };
    let mut sleep = Duration::MAX;
    for end in awaited() {
        let left = end.link.patience(limits.timeout);
        sleep = sleep.min(left.map_err(|source| failed(endpoint, end.who, source))?);
    }
    reactor.wait(sleep).map_err(|source| failed(endpoint, first.who, first.link.failure(source)))
}
