//! Something of each member of a group.

/// By the members' ids, in order. A sorted list and no map: a group has few members, and a map's nodes are made for eleven.
#[derive(Clone, Debug)]
pub(super) struct ByMember<T>(Vec<(Box<str>, T)>);

impl<T> Default for ByMember<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByMember<T> {
    /// That of a member.
    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.place(id).ok().map(|place| &self.0[place].1)
    }

    /// That of a member, new if there is none.
    pub(super) fn of(&mut self, id: &str) -> &mut T
    where
        T: Default,
    {
        let place = self.place(id).unwrap_or_else(|place| {
            self.0.insert(place, (id.into(), T::default()));
            place
        });
        &mut self.0[place].1
    }

    /// Those of all members.
    pub(super) fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Drops members, and the room for them.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        self.0.retain(|(_, value)| is_kept(value));
        self.0.shrink_to_fit();
    }

    fn place(&self, id: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(id))
    }
}
