//! What the steps of an exchange share, and the question that the plan is made for.

use std::sync::Arc;

use http::{Response, request};

use super::Shared;
use super::answer;
use super::body::Body;
use super::log::Meter;
use super::routing::{Place, Routing};
use crate::base::Now;
use crate::front::{Connection, Upload};
use crate::rules::asked::Asked;
use crate::rules::entry::Slot;
use crate::rules::fault::Fault;
use crate::rules::plan::{Plan, Question, plan};

/// The client's body, if there is one.
pub(super) type Sent = Option<Upload>;

/// What the steps of an exchange share. It is made once and then lent, because it is large:
/// moving it from step to step was a visible share of the work of a hit.
pub(super) struct Visit {
    pub shared: Arc<Shared>,
    pub routing: Arc<Routing>,
    pub conn: Arc<Connection>,
    pub place: Place,
    pub asked: Asked,
    /// Hash of the cache key.
    pub hash: u128,
    /// Request head, normalised by the site's policy.
    pub parts: Arc<request::Parts>,
    /// When the request arrived.
    pub now: Now,
    /// Until it is taken.
    pub(super) meter: Option<Box<Meter>>,
}

impl Visit {
    /// The meter, for the answer's body. There is one answer, so there is one taker.
    pub fn meter(&mut self) -> Box<Meter> {
        self.meter.take().unwrap_or_else(|| Meter::start(&self.shared, &self.conn))
    }

    /// The answer for a fault.
    pub fn fail(&mut self, fault: Fault) -> Response<Body> {
        let meter = self.meter();
        answer::fault(&self.routing.node, fault, meter)
    }
}

/// What is to be done, given what is stored.
pub(super) fn decide(visit: &Visit, has_body: bool, slot: Option<&Slot>) -> Plan {
    let question = Question {
        method: &visit.parts.method,
        headers: &visit.parts.headers,
        has_body,
        policy: visit.place.policy(),
        now: visit.now,
    };
    plan(&question, slot)
}
