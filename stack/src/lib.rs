//! The local stores without Docker: fetch, start, watch and stop.
