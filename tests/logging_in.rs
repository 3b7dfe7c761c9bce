//! People at the service: a real provider, real stores, and browsers that keep cookies.

mod browser;
mod flow;
mod forging;
mod ground;
mod hostile;
mod lasting;
mod links;
mod provider;
