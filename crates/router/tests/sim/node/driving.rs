//! What comes out of the machines, and what the node does with it.

use headwater_media::{Cut, Instant};
use headwater_router::claim::{Base, Event, Holder, Outcome, PeerReply, RegistryRequest, Stop};

use super::{Claim, FETCH_TIME, Fetch, Node, WAITS, address_of};
use crate::bug::Bug;
use crate::context::{Caller, Context, Message};
use crate::log::Log;

impl Node {
    /// Carries out what the machines want, and sees to the next timer.
    pub(crate) fn drive(&mut self, cx: &mut Context) {
        let now = self.clock.now(cx.now);
        loop {
            let busy = self.drive_claim(cx, now) | self.drive_holder(cx, now);
            if !busy {
                break;
            }
        }
        if let (Some(holder), Some(log)) = (&self.holder, &mut self.log) {
            let joins =
                |before: Option<&Cut>, cut: &Cut| before.is_some_and(|it| it.discontinuity == cut.discontinuity);
            log.flush(|before, cut| match cx.bug {
                Bug::DiscontinuityEarly if before.is_some() => holder.may_stamp(cut.msn),
                Bug::FirstCutEarly if before.is_none() => holder.may_stamp(cut.msn),
                Bug::NoReserve | Bug::ReserveNotAwaited if joins(before, cut) => true,
                _ => holder.may_leave(before, cut),
            });
        }
        self.wake(cx);
    }

    fn drive_claim(&mut self, cx: &mut Context, now: Instant) -> bool {
        let Some(claim) = &mut self.claim else { return false };
        let connection = claim.connection;
        if let Some((id, request)) = claim.claimant.poll_request() {
            self.ask(cx, Caller::Claimant(connection), id, request);
            return true;
        }
        if let Some((home, asked)) = claim.claimant.poll_question() {
            let to = address_of(&home);
            if to == self.address && home != self.id {
                claim.claimant.handle_peer(now, asked.epoch, PeerReply::NotHeld);
            } else {
                cx.send(self.address, to, Message::Yield { question: 0, asked });
            }
            return true;
        }
        match claim.claimant.poll_outcome() {
            None => false,
            Some(outcome) => {
                let claim = self.claim.take().expect("it is there");
                self.settle(cx, now, claim, outcome);
                true
            }
        }
    }

    fn settle(&mut self, cx: &mut Context, now: Instant, claim: Claim, outcome: Outcome) {
        let Claim { from, connection, priority, .. } = claim;
        let claimed = match outcome {
            Outcome::Denied(why) => {
                cx.trace(|| format!("node {}: publisher {from} is denied: {why}", self.id.0));
                cx.checks.stats.denied += 1;
                return cx.send_in_order(self.address, from, Message::Closed { connection });
            }
            Outcome::Won(claimed) => claimed,
        };
        cx.trace(|| {
            let base = match &claimed.base {
                Base::Fresh => "fresh",
                Base::Unsealed => "unsealed",
                Base::Sealed(_) => "sealed",
            };
            format!(
                "node {}: publisher {from} gets {:?} {base}, first {}",
                self.id.0,
                claimed.record.epoch,
                claimed.first()
            )
        });
        cx.checks.home(cx.now, claimed.record.epoch, &self.id);
        if let Some((encoder, connection)) = self.publisher.take() {
            cx.send_in_order(self.address, encoder, Message::Closed { connection });
        }
        let stats = &mut cx.checks.stats;
        self.fetch = None;
        match &claimed.base {
            Base::Fresh => stats.fresh += 1,
            Base::Unsealed => stats.unsealed += 1,
            Base::Sealed(answer) => {
                stats.sealed += 1;
                let from = address_of(&answer.home);
                self.fetch = Some(Fetch { from, epoch: answer.epoch, until: now + FETCH_TIME });
            }
        }
        self.sent_reserved = 0;
        self.holder = Some(Holder::new(now, &claimed, self.lease, priority, WAITS));
        self.old = self.log.replace(Log::new(&claimed));
        self.queue.clear();
        self.publisher = Some((from, connection));
        self.next_tick = now;
        self.worker_heard = now;
        cx.send_in_order(self.address, from, Message::Accepted { connection });
    }

    fn drive_holder(&mut self, cx: &mut Context, now: Instant) -> bool {
        let Some(holder) = &mut self.holder else { return false };
        let epoch = holder.epoch();
        if let Some((id, request)) = holder.poll_request() {
            if let RegistryRequest::Write { record, .. } = &request {
                self.sent_reserved = record.reserved.0;
            }
            self.ask(cx, Caller::Holder(epoch), id, request);
            return true;
        }
        if let Some((id, reply)) = holder.poll_reply() {
            if let Some((to, _)) = self.questions.remove(&id.0) {
                cx.trace(|| format!("node {} answers {to}: {}", self.id.0, name_of(&reply)));
                cx.send(self.address, to, Message::Yielded { epoch, reply });
            }
            return true;
        }
        match holder.poll_event() {
            None => return false,
            Some(Event::Acknowledged) => self.stamp(cx, now),
            Some(Event::Seal) => {
                if let Some(log) = &mut self.log {
                    let sealed = log.seal(&self.id);
                    holder.handle_sealed(now, sealed);
                }
                if cx.bug != Bug::SealIgnored {
                    self.close_publisher(cx);
                }
            }
            Some(Event::End) => {
                let outline = self.log.as_mut().and_then(|log| {
                    log.close();
                    log.outline()
                });
                holder.handle_end(now, outline);
            }
            Some(Event::Stopped(stop)) => {
                cx.trace(|| format!("node {} stops {epoch:?}: {stop}", self.id.0));
                cx.checks.stats.lease_over += u64::from(stop == Stop::LeaseOver);
                cx.checks.stats.ended += u64::from(stop == Stop::Ended);
                // Its last answers go out first.
                while let Some((id, reply)) = holder.poll_reply() {
                    if let Some((to, _)) = self.questions.remove(&id.0) {
                        cx.send(self.address, to, Message::Yielded { epoch, reply });
                    }
                }
                if let Some(log) = self.log.as_mut().filter(|_| stop == Stop::Ended) {
                    log.announce_end();
                }
                self.holder = None;
                self.close_publisher(cx);
            }
        }
        true
    }

    pub(super) fn close_publisher(&mut self, cx: &mut Context) {
        self.queue.clear();
        if let Some((encoder, connection)) = self.publisher.take() {
            cx.send_in_order(self.address, encoder, Message::Closed { connection });
        }
    }
}

fn name_of(reply: &PeerReply) -> &'static str {
    match reply {
        PeerReply::Refused => "refused",
        PeerReply::Sealed(_) => "sealed",
        PeerReply::NotHeld => "not held",
        PeerReply::Unreachable => "unreachable",
    }
}
