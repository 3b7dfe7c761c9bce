//! Lists in parts.

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// What to ask for the next part with; `None` at the end.
    pub next: Option<String>,
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
}
