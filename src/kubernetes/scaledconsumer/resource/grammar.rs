//! How names, addresses and patterns are written: what the CRD's schema checks.

/// A DNS subdomain (RFC 1123), as the names of objects are.
pub(super) const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A DNS label (RFC 1123).
pub(super) const LABEL_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The name of an object, or of a connector of Kafka Connect, which may have upper case and underscores as well.
pub(super) const TARGET_NAME: &str = r"^[a-zA-Z0-9_][-._a-zA-Z0-9]*$";
/// CEL: whether the name of a target is that of an object, unless it is a connector. The same as [`OBJECT_NAME`].
pub(super) const IS_NAME_OF_KIND: &str = r"self.apiVersion == 'connect.paceline.dev/v1alpha1' || self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
/// CEL: whether a spec has the workers of a connector where its target is one, and nowhere else.
pub(super) const IS_CONNECTOR_WITH_WORKERS: &str = "has(self.connect) == (self.scaleTargetRef.apiVersion == 'connect.paceline.dev/v1alpha1' && self.scaleTargetRef.kind == 'Connector')";
/// An API group and a version, or the version alone for the core group.
pub(super) const API_VERSION: &str =
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?v[a-z0-9]{1,62}$";
/// A group's id: no control characters, and neither a blank nor a byte order mark at its ends.
pub(super) const GROUP: &str = r"^[^\p{Z}\p{Cc}\x{FEFF}]([^\p{Cc}]*[^\p{Z}\p{Cc}])?$";
/// A topic's name: anything but `.` and `..` of these characters.
pub(super) const TOPIC: &str = r"^(\.{0,2}[a-zA-Z0-9_-]|\.{3})[a-zA-Z0-9._-]*$";
/// A host and a port up to 65535; the host is a name, an IPv4 address, or an IPv6 address in brackets.
macro_rules! address {
    () => {
        r"([a-zA-Z0-9._-]{1,253}|\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    };
}
/// `host:port,host:port`.
pub(super) const ADDRESSES: &str = concat!("^", address!(), "(,", address!(), ")*$");
/// An HTTP server, such as `https://connect.kafka.svc:8083`.
pub(super) const HTTP_ADDRESS: &str = concat!("^https?://", address!(), "$");
/// Partitions, such as `0-11,20`.
pub(super) const PARTITIONS: &str = r"^[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*$";
/// CEL: whether the ranges of [`PARTITIONS`] run forwards. There are at most 500 of them in 1,000 characters; with this limit and
/// without splitting each, eight sources stay within the API server's budget.
pub(super) const ARE_RANGES_FORWARD: &str = "self.split(',', 501).all(r, r.indexOf('-') < 0 || int(r.substring(0, r.indexOf('-'))) <= int(r.substring(r.indexOf('-') + 1)))";
/// CEL: whether a text is a regular expression. An expression that is none can't be evaluated, which refuses the object.
pub(super) const IS_PATTERN: &str = "type(''.matches(self)) == bool";
