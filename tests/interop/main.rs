//! umcp against other people's servers.
