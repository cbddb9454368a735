//! The metrics of the controller itself.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec};
use crate::kubernetes::ListState;
use crate::registry::Registry;

const LEADER: FamilySpec = FamilySpec { name: "paceline_leader", help: "Whether this process may write.", labels: &[] };
const BUILD: FamilySpec =
    FamilySpec { name: "paceline_build_info", help: "The version that runs; always 1.", labels: &["version"] };
const SCALED_CONSUMERS: FamilySpec =
    FamilySpec { name: "paceline_scaledconsumers", help: "ScaledConsumers that this process knows.", labels: &[] };
const WATCHES: FamilySpec = FamilySpec {
    name: "paceline_watch_listed",
    help: "Whether the objects of a watch have been listed: 0 while the list is awaited, or refused by RBAC. The namespace is empty for a watch of all.",
    labels: &["resource", "namespace"],
};
const ALL: [&FamilySpec; 4] = [&LEADER, &BUILD, &SCALED_CONSUMERS, &WATCHES];

/// The controller's state.
#[derive(Clone, Copy, Debug)]
pub struct ControllerState {
    /// Whether it may write.
    pub is_leader: bool,
}

type ControllerSource = Box<dyn Fn() -> ControllerState + Send + Sync>;

/// Asks the controller at each scrape.
pub(super) struct ControllerCollector {
    registry: Registry,
    source: ControllerSource,
    descs: Vec<Desc>,
}

impl ControllerCollector {
    pub(super) fn new(registry: Registry, source: ControllerSource) -> Self {
        Self { registry, source, descs: ALL.iter().map(|spec| spec.desc()).collect() }
    }
}

impl Collector for ControllerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let [mut leader, mut build, mut consumers, mut watches] = ALL.map(FamilySpec::empty);
        leader.add(&[], f64::from(u8::from((self.source)().is_leader)));
        build.add(&[env!("CARGO_PKG_VERSION")], 1.0);
        consumers.add(&[], self.registry.len() as f64);
        for (key, state) in self.registry.watches().all() {
            let is_listed = f64::from(u8::from(state.list == ListState::Listed));
            watches.add(&[&key.resource, key.namespace.as_deref().unwrap_or_default()], is_listed);
        }
        [leader, build, consumers, watches].into_iter().filter_map(Family::finish).collect()
    }
}
