//! Lists in parts, by the key of the last item of the part before.
//!
//! Invariant: what is added or removed between two requests neither repeats nor hides others.

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// What to ask for the next part with; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A part of at most `request.limit()` items, from one more than that.
    pub(super) fn cut(
        mut items: Vec<T>,
        request: &PageRequest,
        key: impl Fn(&T) -> String,
    ) -> Self {
        let limit = request.limit();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    /// The same part of other items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The `next` of the part before; `None` for the first.
    pub after: Option<String>,
    /// How many at most; 1 to [`PageRequest::MAX`], other numbers are brought into that range.
    pub limit: u32,
}

impl PageRequest {
    /// The most that is given at once.
    pub const MAX: u32 = 500;

    /// The first part, as long as it may be.
    pub fn first() -> Self {
        Self { after: None, limit: Self::MAX }
    }

    /// How many at most.
    pub(super) fn limit(&self) -> usize {
        self.limit.clamp(1, Self::MAX) as usize
    }

    /// How many rows to read: one more, which says whether there are any.
    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, Self::MAX)) + 1
    }

    /// Behind which key; no key is empty.
    pub(super) fn behind(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_and_limits_are_kept() {
        let part = |count, limit| {
            let request = PageRequest { after: None, limit };
            let items = (0..count).take(usize::try_from(request.rows()).unwrap()).collect();
            let page: Page<i32> = Page::cut(items, &request, ToString::to_string);
            (page.items.len(), page.next)
        };
        assert_eq!(part(3, 2), (2, Some("1".into())));
        assert_eq!(part(2, 2), (2, None));
        assert_eq!(part(0, 2), (0, None));
        assert_eq!(part(2, 0), (1, Some("0".into())));
        assert_eq!(part(1000, u32::MAX), (500, Some("499".into())));
    }
}
