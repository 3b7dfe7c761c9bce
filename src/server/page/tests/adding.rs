//! Adding, replacing and removing.
