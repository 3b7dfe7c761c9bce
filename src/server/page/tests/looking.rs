//! Pages that only show.
