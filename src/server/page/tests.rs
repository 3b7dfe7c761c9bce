//! The page as a browser gets it, on a store of its own.

mod adding;
mod ground;
mod looking;
