//! What the cluster has to do with our aggregated API: whom the API server's front proxy is known by, the certificate
//! that we serve with, and the APIService that sends requests to us. It knows these three objects, each by its name, and
//! nothing of HTTP or of what is served.
//!
//! Only the leader writes. It never creates, deletes or takes over an APIService: a broken one harms the whole cluster,
//! and what came with the manifests goes with the manifests.

pub mod api_service;
pub mod certificates;
pub mod front_proxy;
