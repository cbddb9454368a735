//! What the cluster has to do with the aggregated API, on a real API server: whom the front proxy is known by, the
//! serving certificate in its Secret, and the APIService.

mod api_service;
mod certificates;
mod front_proxy;
mod parts;
mod rights;
mod rotation;
