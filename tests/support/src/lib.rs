//! What the tests on real stores share: the test stack, fresh namespaces, waiting with a deadline.
