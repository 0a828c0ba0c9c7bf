//! A node without sockets: the same parts from the same configuration, put between a
//! device, an origin and a clock of the caller's.
//!
//! This is what the seeded simulation runs. It is built by the very functions that build a
//! serving node, so there is no second way of wiring the parts that could drift from the
//! first.

use std::sync::Arc;

use super::error::NodeError;
use super::seams::Seams;
use super::warm::Doors;
use super::{build, staff};
use crate::admin::Api;
use crate::base::Clock;
use crate::config::Config;
use crate::serve::{Serve, Shared};

/// A node without listeners, on the runtime of its caller.
pub struct Core {
    shared: Arc<Shared>,
    api: Option<Api>,
    seams: Seams,
}

impl Core {
    /// Builds it; to be called on a runtime, which its background work uses.
    ///
    /// # Errors
    /// As of [`super::Node::start`], but for listeners and certificates, which are not
    /// looked at.
    pub fn build(config: &Config, clock: Clock, seams: Seams) -> Result<Core, NodeError> {
        let built = build::build(config, clock, &seams)?;
        let shared = Arc::new(built.shared);
        let nobody = Doors { plain: None, tls: None };
        let handles = staff::handles(config, nobody, &shared, built.purges);
        let api = match config.admin.clone() {
            Some(options) => Some(Api::new(options, handles)?),
            None => None,
        };
        Ok(Core { shared, api, seams })
    }

    /// What all exchanges share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The handler of requests.
    pub fn serve(&self) -> Serve {
        Serve::new(self.shared.clone())
    }

    /// The admin API, if it is on.
    pub fn api(&self) -> Option<&Api> {
        self.api.as_ref()
    }

    /// Takes over sites, rules and origins of `config`, as a reload does.
    ///
    /// # Errors
    /// An origin's settings; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), NodeError> {
        let old = self.shared.routing.load_full();
        let routing = build::routing(config, self.shared.seed, Some(&old), &self.seams)?;
        self.shared.routing.store(Arc::new(routing));
        Ok(())
    }
}
