//! What the responses to all requests that describe groups have in common.

use std::borrow::Cow;

use super::codec::{DecodeError, Decoder, Encoder};

/// The response to a request that describes groups; `A` is what a member holds.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct DescribeResponse<'a, A> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) groups: Vec<GroupDetails<'a, A>>,
}

/// A group. What the request does not give is empty.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct GroupDetails<'a, A> {
    pub(in super::super) error: i16,
    pub(in super::super) group: Cow<'a, str>,
    /// "Stable", "Empty", "Dead", …
    pub(in super::super) state: Cow<'a, str>,
    /// "consumer", "connect", … of a classic group.
    pub(in super::super) protocol_type: Cow<'a, str>,
    /// The assignor's name; of a classic group where the group is stable.
    pub(in super::super) assignor: Cow<'a, str>,
    /// Of a streams group.
    pub(in super::super) subtopologies: Vec<Subtopology<'a>>,
    pub(in super::super) members: Vec<GroupMember<'a, A>>,
}

/// A member of a group.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct GroupMember<'a, A> {
    pub(in super::super) id: Cow<'a, str>,
    pub(in super::super) client_id: Cow<'a, str>,
    pub(in super::super) host: Cow<'a, str>,
    /// The current assignment.
    pub(in super::super) assignment: A,
}

/// A part of the topology of a streams group: it has a task per partition of its source topics.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Subtopology<'a> {
    pub(in super::super) id: Cow<'a, str>,
    /// The topics that it reads: others' and repartition topics.
    pub(in super::super) sources: Vec<Cow<'a, str>>,
    /// Whether it has changelogs, so state.
    pub(in super::super) is_stateful: bool,
}

/// The body of the requests for groups whose members the broker assigns: the groups, without our authorized operations.
pub(super) fn encode_groups(groups: &[&str], to: &mut Encoder) {
    to.array(groups, |to, group| to.string(group));
    to.bool(false);
    to.no_tags();
}

/// The responses to them. `middle` reads what is before the members: the assignor or the topology.
pub(super) fn decode_groups<'a, A>(
    from: &mut Decoder<'a>,
    mut middle: impl FnMut(&mut Decoder<'a>) -> Result<(Cow<'a, str>, Vec<Subtopology<'a>>), DecodeError>,
    least_member: usize,
    mut member: impl FnMut(&mut Decoder<'a>) -> Result<GroupMember<'a, A>, DecodeError>,
) -> Result<DescribeResponse<'a, A>, DecodeError> {
    let throttle_ms = from.i32()?;
    let groups = from.array(19, |from| {
        let error = from.i16()?;
        // The error's text.
        from.skip_string()?;
        let (group, state) = (from.string()?, from.string()?);
        let (_epoch, _assignment_epoch) = (from.i32()?, from.i32()?);
        let (assignor, subtopologies) = middle(from)?;
        let members = from.array(least_member, &mut member)?;
        let _authorized_operations = from.i32()?;
        from.tags()?;
        Ok(GroupDetails { error, group, state, protocol_type: Cow::default(), assignor, subtopologies, members })
    })?;
    from.tags()?;
    Ok(DescribeResponse { throttle_ms, groups })
}
