//! What external metrics read and write in the cluster, on a real API server: the front proxy's ConfigMap, the Secret of
//! the serving certificate, and the APIService.

mod api_service;
mod certificates;
mod front_proxy;
mod parts;
mod readiness;
mod rights;
mod rotation;
